// The same question to two models or versions, side by side.

import { ask, rows, table } from "./answers.js";
import { make, problemBox } from "./dom.js";
import { chosen, modelCount, options, relationsOf } from "./models.js";
import { go } from "./routes.js";
import { search } from "./search.js";
import { labelsOf, sentence } from "./ask.js";

export async function compareView(fields) {
  const title = make("h1", {}, "Compare two models");
  if (modelCount() < 2) {
    return [title, make("p", {}, "Only one model is loaded. Serve a folder of models, NAME/VERSION/, to compare two of them.")];
  }
  const relations = await relationsOf();
  const keys = sides(fields);
  const form = question(fields, relations, keys);
  if (!fields.entity || (!fields.relation && !fields.other)) return [title, form];
  const labels = await labelsOf(fields).catch(() => ({ [fields.entity]: fields.entity }));
  const answers = await Promise.all(keys.map((key) => ask(fields, key).catch((error) => error)));
  const whole = answers.every((answer) => answer.answers);
  const places = answers.map((answer) => whole ? new Map(rows(answer).map((one, i) => [one.id, i + 1])) : null);
  return [
    title, form, make("h2", {}, sentence(fields, relations, labels)),
    whole ? make("p", { class: "soft" }, shared(answers)) : null,
    make("div", { class: "columns" }, answers.map((answer, i) =>
      make("section", { "aria-label": keys[i] }, make("h2", {}, keys[i]),
        answer.answers ? table(fields, answer, keys[i], places[1 - i]) : problemBox(answer.body ?? { title: String(answer) })))),
  ];
}

function sides(fields) {
  const all = options().map((option) => option.value);
  const left = all.includes(fields.left) ? fields.left : chosen();
  const other = all.find((key) => key !== left);
  return [left, all.includes(fields.right) ? fields.right : other];
}

function shared(answers) {
  const [left, right] = answers.map((answer) => rows(answer).map((one) => one.id));
  const both = left.filter((id) => right.includes(id)).length;
  return `${both} of ${Math.max(left.length, right.length)} answers are in both lists.`;
}

function question(fields, relations, keys) {
  const selects = keys.map((key) => {
    const select = make("select", {}, options());
    select.value = key;
    return select;
  });
  const relation = make("select", {}, relations.map((one) => make("option", { value: one.id, selected: one.id === fields.relation }, one.label.slice(0, 80))));
  const kind = make("select", {},
    make("option", { value: "tails" }, "(entity, relation, ?)"),
    make("option", { value: "heads", selected: fields.kind === "heads" }, "(?, relation, entity)"));
  const show = (entity = fields.entity) =>
    go("compare", { kind: kind.value, entity, relation: relation.value, left: selects[0].value, right: selects[1].value });
  for (const control of [...selects, relation, kind]) control.addEventListener("change", () => show());
  return make(
    "form", { class: "row", onsubmit: (event) => event.preventDefault() },
    make("label", {}, "Left", selects[0]), make("label", {}, "Right", selects[1]),
    search("Entity", (found) => show(found.id), fields.entity ?? ""),
    make("label", {}, "Question", kind), make("label", {}, "Relation", relation),
  );
}
