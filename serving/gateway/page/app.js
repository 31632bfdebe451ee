// Shows the view that the address names, again whenever something changed.

import { askView } from "./ask.js";
import { Problem } from "./api.js";
import { compareView } from "./compare.js";
import { count, decisionsView } from "./decisions.js";
import { make, problemBox } from "./dom.js";
import { entityView } from "./entity.js";
import { mapView } from "./map.js";
import { about, loadModels, modelCount } from "./models.js";
import { go, here } from "./routes.js";
import { search } from "./search.js";

const main = document.getElementById("main");
const VIEWS = { home, entity: entityView, ask: askView, compare: compareView, map: mapView, decisions: decisionsView };
let shown = 0, leave = null;

function home() {
  const model = about();
  return [
    make("h1", {}, "Which facts are missing?"),
    make("p", {}, "Search an entity to see what is known about it, and ask for what is not."),
    search("Entity", (found) => go("entity", { id: found.id })),
    model ? make("p", { class: "soft" }, `${model.entities.toLocaleString("en")} entities, ${model.relations.toLocaleString("en")} relations.`) : null,
  ];
}

async function show() {
  const mine = ++shown;
  const { view, fields } = here();
  for (const one of document.querySelectorAll("nav a")) {
    if (one.dataset.view === view) one.setAttribute("aria-current", "page");
    else one.removeAttribute("aria-current");
  }
  main.setAttribute("aria-busy", "true");
  let parts;
  try {
    if (!modelCount()) await loadModels();
    parts = await (VIEWS[view] ?? home)(fields);
  } catch (error) {
    const problem = error instanceof Problem ? error.body : { title: "This page failed", detail: String(error) };
    parts = [make("h1", {}, "No answer"), problemBox(problem)];
  }
  if (mine !== shown) return;
  leave?.();
  leave = parts.leave ?? null;
  main.replaceChildren(...parts.filter(Boolean));
  main.removeAttribute("aria-busy");
  const title = main.querySelector("h1")?.textContent ?? "";
  document.title = title ? `${title.slice(0, 80)} – mulde` : "mulde";
  parts.shown?.();
}

addEventListener("hashchange", async () => {
  await show();
  main.focus({ preventScroll: true });
  scrollTo(0, 0);
});
addEventListener("mulde-again", show);
count();
show();
