// Why a triple is an answer: the known facts that speak for it, where the server explains.

import { post } from "./api.js";
import { link, make, named, percent, problemBox } from "./dom.js";
import { selector } from "./models.js";
import { to } from "./routes.js";

export async function explanation([head, relation, tail], key) {
  try {
    const answer = await post("Explain", { model: selector(key), heads: [head], relations: [relation], tails: [tail] });
    if (answer.errors.length) return make("div", { class: "why" }, problemBox(answer.errors[0].status));
    return make("div", { class: "why" }, whole(answer.explanations[0], answer.has_rules));
  } catch (error) {
    return make("div", { class: "why" }, problemBox(error.body ?? { title: String(error) }));
  }
}

function whole(one, hasRules) {
  return [
    one.supporting_facts.length ? make("p", {}, "The score rests most on: ", one.supporting_facts.flatMap((fact, i) => [i ? "; " : "", entity(fact.head), " → ", named(fact.relation.label), " → ", entity(fact.tail)])) : null,
    one.paths.length ? make("ul", { class: "plain" }, one.paths.map((path) => make("li", {}, steps(one, path), measured(one, path)))) : null,
    one.paths.length ? null : make("p", {}, hasRules ? "No known facts connect the two in a way that often means this." : "This model was exported without rules, so no paths are shown."),
    one.similar_facts.length ? make("p", {}, "Known facts like this one: ", one.similar_facts.flatMap((fact, i) => [i ? "; " : "", entity(fact.head), " → ", entity(fact.tail)])) : null,
    make("p", { class: "soft" }, prior(one), plausible(one)),
  ];
}

const entity = ({ id, label }) => link(label, to("entity", { id }));

function steps(one, path) {
  return [entity(one.head), ...path.steps.flatMap((step) => [step.backwards ? " ← " : " → ", named(step.relation.label), step.backwards ? " ← " : " → ", entity(step.entity)])];
}

function measured(one, path) {
  return make("span", { class: "soft" }, ` (${percent(path.confidence)} of what such a path reaches are answers; ${path.support} of ${path.sampled} facts have one)`);
}

function prior(one) {
  if (!one.tail_prior && !one.head_prior) return "Relation priors say nothing. ";
  return `Relation prior of the tail ${one.tail_prior.toFixed(2)}, of the head ${one.head_prior.toFixed(2)}. `;
}

const plausible = (one) => (one.plausibility === undefined ? "" : `Plausibility ${percent(one.plausibility)}.`);
