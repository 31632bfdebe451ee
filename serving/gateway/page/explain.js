// Why a triple is an answer: the known facts for and against it, where the server explains.

import { post } from "./api.js";
import { make, named, problemBox } from "./dom.js";
import { selector } from "./models.js";

let known = false;

export async function loadAbilities() {
  const document = await fetch("openapi.json").then((answer) => answer.json(), () => ({ paths: {} }));
  known = "/v1/Explain" in document.paths;
}

export const canExplain = () => known;

export async function explanation([head, relation, tail], key) {
  try {
    const answer = await post("Explain", { model: selector(key), heads: [head], relations: [relation], tails: [tail] });
    return make("div", { class: "why" }, make("pre", {}, named(JSON.stringify(answer))));
  } catch (error) {
    return make("div", { class: "why" }, problemBox(error.body ?? { title: String(error) }));
  }
}
