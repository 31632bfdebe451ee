// Which models there are, which one is chosen, and the relations of it.

import { get } from "./api.js";
import { make } from "./dom.js";
import { setNotice } from "./notice.js";

const CHOSEN = "mulde.model";
const select = document.getElementById("model");
const relations = new Map();
const versions = new Map();
let listed = [];

export async function loadModels() {
  const { models } = await get("ListModels", { page_size: 1000 });
  listed = models.filter((model) => model.state === "MODEL_STATE_READY");
  const wanted = sessionStorage.getItem(CHOSEN);
  select.replaceChildren(...options());
  if ([...select.options].some((option) => option.value === wanted)) select.value = wanted;
}

select.addEventListener("change", () => {
  sessionStorage.setItem(CHOSEN, select.value);
  dispatchEvent(new Event("mulde-again"));
});

// The current version is asked for by its name alone, so that the next version takes its place.
export function options() {
  return listed.map((model) => {
    const key = model.current ? model.name : `${model.name}/${model.version}`;
    return make("option", { value: key }, model.current ? `${model.name} (now ${model.version})` : key);
  });
}

export const chosen = () => select.value;
export const modelCount = () => listed.length;

export function about(key = chosen()) {
  const [name, version] = key.split("/");
  return listed.find((model) => model.name === name && (version ? model.version === version : model.current));
}

export function selector(key = chosen()) {
  const [name, version] = key.split("/");
  return version ? { name, version } : { name };
}

// Remember which version answered; say it where another one answers now.
export function answeredBy(model, key = chosen()) {
  const before = versions.get(key);
  versions.set(key, model.version);
  document.getElementById("served").textContent = `Answered by ${model.name}/${model.version}.`;
  if (before === undefined || before === model.version) return;
  relations.clear();
  setNotice("swap", `${model.name} was replaced while this page was open: version ${model.version} answers now, before it was ${before}.`);
  dispatchEvent(new Event("mulde-swapped"));
  loadModels();
}

export async function relationsOf(key = chosen()) {
  if (!relations.has(key)) {
    const found = [];
    let page_token = "";
    do {
      const page = await get("ListRelations", { model: selector(key), page_size: 1000, page_token });
      page.ids.forEach((id, i) => found.push({ id, label: page.labels[i] }));
      page_token = page.next_page_token;
      answeredBy(page.model, key);
    } while (page_token);
    relations.set(key, found);
  }
  return relations.get(key);
}
