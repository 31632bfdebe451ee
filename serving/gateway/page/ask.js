// One question and its answers.

import { ask, table } from "./answers.js";
import { get } from "./api.js";
import { link, make, named } from "./dom.js";
import { modelCount, relationsOf, selector } from "./models.js";
import { go, to } from "./routes.js";

export async function askView(fields) {
  const [relations, labels, answer] = await Promise.all([relationsOf(), labelsOf(fields), ask(fields)]);
  return [make("h1", {}, sentence(fields, relations, labels)), controls(fields), table(fields, answer), ways(fields)];
}

// Labels of the entities that are asked about, by id.
export async function labelsOf({ entity, other }) {
  const ids = [entity, other].filter(Boolean);
  const cards = await Promise.all(ids.map((id) => get("GetEntity", { model: selector(), entity: id })));
  return Object.fromEntries(ids.map((id, i) => [id, cards[i].label]));
}

export function sentence(fields, relations, labels) {
  const entity = link(labels[fields.entity], to("entity", { id: fields.entity }));
  const label = relations.find((one) => one.id === fields.relation)?.label ?? fields.relation;
  if (fields.kind === "relations") return [entity, " → ? → ", link(labels[fields.other], to("entity", { id: fields.other }))];
  const relation = named(label ?? "");
  return fields.kind === "heads" ? ["? → ", relation, " → ", entity] : [entity, " → ", relation, " → ?"];
}

function controls(fields) {
  if (fields.kind === "relations") return null;
  const k = make("select", {}, [10, 25, 50, 100].map((n) => make("option", { value: n, selected: String(n) === fields.k }, String(n))));
  const known = make("input", { type: "checkbox", checked: Boolean(fields.known) });
  const change = () => go("ask", { ...fields, k: k.value, known: known.checked ? "1" : undefined });
  k.addEventListener("change", change);
  known.addEventListener("change", change);
  return make(
    "form", { class: "row", onsubmit: (event) => event.preventDefault() },
    make("label", {}, "Answers", k), make("label", { class: "check" }, known, "Also known facts, marked"),
  );
}

function ways(fields) {
  return make(
    "p", {},
    fields.kind === "relations" ? null : make("a", { href: to("map", { ...fields, lit: fields.entity }) }, "Light the answers up on the map"),
    modelCount() > 1 ? [" · ", make("a", { href: to("compare", fields) }, "Compare with another model")] : null,
  );
}
