// Ranked answers to one question, each with its chance, and what a curator decides about it.

import { post } from "./api.js";
import { bar, link, make, named, percent, problemBox } from "./dom.js";
import { decide, verdictOf } from "./decisions.js";
import { explanation } from "./explain.js";
import { answeredBy, chosen, selector } from "./models.js";
import { to } from "./routes.js";

// fields: kind ("tails", "heads" or "relations"), entity, relation or other, k, known. key: of the model.
export async function ask(fields, key = chosen()) {
  const options = { k: Number(fields.k ?? 10) };
  if (fields.known) options.exclude_known = false;
  const model = selector(key);
  const given = {
    tails: ["PredictTails", { model, heads: [fields.entity], relations: [fields.relation], options }],
    heads: ["PredictHeads", { model, relations: [fields.relation], tails: [fields.entity], options }],
    relations: ["PredictRelations", { model, heads: [fields.entity], tails: [fields.other], options }],
  }[fields.kind] ?? ["PredictTails", { model, heads: [fields.entity], relations: [fields.relation], options }];
  if (fields.kind === "relations") delete options.k;
  const answer = await post(...given);
  answeredBy(answer.model, key);
  return answer;
}

// The triple that an answer stands for.
export function tripleOf(fields, id) {
  if (fields.kind === "heads") return [id, fields.relation, fields.entity];
  if (fields.kind === "relations") return [fields.entity, id, fields.other];
  return [fields.entity, fields.relation, id];
}

export function rows({ answers }) {
  const chances = answers.probabilities.length ? answers.probabilities : answers.plausibilities;
  return answers.ids.map((id, i) => ({
    id, label: answers.labels[i], score: answers.scores[i], chance: chances[i], known: answers.known[i] ?? false,
  }));
}

// others: places in another list by id, which each answer is compared with.
export function table(fields, answer, key = chosen(), others = null) {
  const { answers } = answer;
  if (answers.errors.length) return problemBox(answers.errors[0].status);
  const found = rows(answer);
  if (!found.length) return make("p", {}, "No answer: every candidate is a known fact, or none is left.");
  const what = fields.kind === "relations" || !answers.probabilities.length ? "plausibility" : "probability";
  return make(
    "table", { class: "answers" },
    make("caption", {}, exactness(answers.exact[0]), ` ${answer.model.name}/${answer.model.version}`),
    make("thead", {}, make("tr", {},
      ["#", "answer", what, "score", "decision"].map((name, i) => make("th", { scope: "col", class: i === 0 ? "number" : undefined }, name)))),
    make("tbody", {}, found.map((one, i) => row(fields, one, i, answer.model.name, key, others))),
  );
}

function exactness(exact) {
  return exact
    ? make("span", { class: "badge", title: "Certainly the best of all candidates" }, "exact")
    : make("span", { class: "badge loose", title: "A better candidate may have been missed" }, "approximate");
}

function row(fields, one, place, model, key, others) {
  const name = fields.kind === "relations" ? named(one.label) : link(one.label, to("entity", { id: one.id }));
  const chance = one.chance === undefined ? "not calibrated" : [bar(one.chance), percent(one.chance)];
  const cell = make("td", {}, name, one.label === one.id ? null : [" ", named(one.id, { class: "id" })], one.known ? [" ", make("span", { class: "badge" }, "known")] : null,
    others ? make("div", { class: "soft" }, others.has(one.id) ? `place ${others.get(one.id)} in the other list` : "not in the other list") : null);
  return make(
    "tr", {},
    make("td", { class: "number" }, String(place + 1)),
    cell,
    make("td", { class: "chance" }, chance),
    make("td", { class: "score soft" }, one.score.toFixed(3)),
    make("td", {}, actions(model, tripleOf(fields, one.id), one, cell, key)),
  );
}

function actions(model, triple, one, cell, key) {
  const buttons = ["accept", "reject"].map((verdict) => {
    const words = verdict === "accept" ? "Accept" : "Reject";
    const button = make("button", { type: "button", class: verdict, "aria-pressed": "false", "aria-label": `${words} ${one.label.slice(0, 80)}` }, words);
    button.addEventListener("click", () => {
      decide(model, triple, verdictOf(model, triple) === verdict ? null : verdict);
      show();
    });
    return button;
  });
  const show = () => {
    const now = verdictOf(model, triple);
    buttons.forEach((button) => button.setAttribute("aria-pressed", String(button.classList.contains(now))));
  };
  show();
  const why = make("button", { type: "button", "aria-label": `Why ${one.label.slice(0, 80)}?`, "aria-expanded": "false" }, "Why?");
  why.addEventListener("click", async () => {
    const open = cell.querySelector(".why");
    why.setAttribute("aria-expanded", String(!open));
    if (open) open.remove();
    else cell.append(await explanation(triple, key));
  });
  return make("div", { class: "acts" }, buttons, why);
}
