// The form that asks about an entity: its tails, its heads, or its relation to another one.

import { make } from "./dom.js";
import { search } from "./search.js";
import { go } from "./routes.js";

export function questionForm(card, relations) {
  const kind = make(
    "select", {},
    make("option", { value: "tails" }, "(this, relation, ?)"),
    make("option", { value: "heads" }, "(?, relation, this)"),
    make("option", { value: "relations" }, "(this, ?, entity)"),
  );
  const relation = make("select", {}, relations.map((one) => make("option", { value: one.id }, one.label.slice(0, 80))));
  const usual = card.facts.reduce((best, one) => (one.count > (best?.count ?? 0) ? one : best), null);
  if (usual) relation.value = usual.relation;
  const relationLabel = make("label", {}, "Relation", relation);
  const other = make("div", { hidden: true }, search("Entity", (found) => go("ask", { kind: "relations", entity: card.id, other: found.id })));
  const button = make("button", { class: "strong" }, "Ask");
  kind.addEventListener("change", () => {
    const relations = kind.value === "relations";
    relationLabel.hidden = button.hidden = relations;
    other.hidden = !relations;
  });
  return make(
    "form",
    {
      class: "row",
      onsubmit: (event) => {
        event.preventDefault();
        if (kind.value !== "relations") go("ask", { kind: kind.value, entity: card.id, relation: relation.value });
      },
    },
    make("label", {}, "Question", kind), relationLabel, other, button,
  );
}
