// The card of an entity: names, types, known facts by relation, questions worth asking.

import { get, post } from "./api.js";
import { bar, link, make, named, percent, problemBox } from "./dom.js";
import { questionForm } from "./question.js";
import { about, answeredBy, relationsOf, selector } from "./models.js";
import { to } from "./routes.js";

const PAGE = 20;
const WORTH = 8;
const LONGEST = 2000;

export async function entityView({ id }) {
  const card = await get("GetEntity", { model: selector(), entity: id });
  answeredBy(card.model);
  const relations = await relationsOf();
  return [
    make("h1", {}, named(card.label)),
    card.label === card.id ? null : make("p", { class: "id" }, named(card.id)),
    card.description ? make("p", { class: "description" }, named(card.description, {}, LONGEST)) : null,
    card.types.length ? make("ul", { class: "types", "aria-label": "Types" }, card.types.map((type) => make("li", {}, named(type)))) : null,
    make("p", {}, make("a", { href: to("map", { lit: card.id }) }, "Show on the map")),
    make("section", { "aria-labelledby": "ask" }, make("h2", { id: "ask" }, "Ask"), questionForm(card, relations)),
    make("div", { class: "columns" }, facts(card), worthAsking(card, relations)),
  ];
}

function facts(card) {
  const section = make("section", { "aria-labelledby": "facts" }, make("h2", { id: "facts" }, "Known facts"));
  if (card.known_facts === "KNOWN_FACTS_UNAVAILABLE") {
    section.append(make("p", { class: "soft" }, "This model was exported without its facts."));
  } else if (card.facts.length === 0) {
    section.append(make("p", { class: "soft" }, "The graph says nothing about this entity yet."));
  }
  for (const group of card.facts) section.append(factGroup(card, group));
  return section;
}

function factGroup(card, group) {
  const head = group.side === "ENTITY_SIDE_HEAD";
  const list = make("ul", { class: "plain" });
  const more = make("button", { type: "button" }, "Show more");
  let page_token = "";
  const load = async () => {
    more.disabled = true;
    try {
      const fields = { model: selector(), entity: card.id, relation: group.relation, side: group.side, page_size: PAGE, page_token };
      const page = await get("ListFacts", fields);
      page_token = page.next_page_token;
      page.ids.forEach((id, i) => list.append(make("li", {}, link(page.labels[i], to("entity", { id })))));
      more.hidden = !page_token;
    } catch (error) {
      list.append(make("li", {}, problemBox(error.body ?? { title: String(error) })));
    }
    more.disabled = false;
  };
  more.addEventListener("click", load);
  const number = make("span", { class: "soft" }, ` (${group.count.toLocaleString("en")})`);
  const title = head ? ["this → ", named(group.label), " →", number] : ["→ ", named(group.label), " → this", number];
  const box = make("details", {}, make("summary", {}, title), list, more);
  box.addEventListener("toggle", () => { if (box.open && !list.children.length) load(); });
  if (card.facts[0] === group) box.open = true;
  return box;
}

// The best new answer of every relation in both directions, the most promising first: by the product of
// probability (among the candidates of its question) and plausibility (as a triple).
function worthAsking(card, relations) {
  const list = make("ol", { class: "plain" }, make("li", { class: "soft" }, "…"));
  const section = make("section", { "aria-labelledby": "worth" }, make("h2", { id: "worth" }, "Questions worth asking"), list);
  if (!about()?.has_probabilities) {
    list.replaceChildren(make("li", { class: "soft" }, "This model has no probabilities to compare questions by."));
    return section;
  }
  const some = relations.slice(0, 512);
  const common = { model: selector(), relations: some.map((relation) => relation.id), options: { k: 1, plausibility: true } };
  const same = some.map(() => card.id);
  Promise.all([post("PredictTails", { ...common, heads: same }), post("PredictHeads", { ...common, tails: same })])
    .then((both) => {
      const found = both.flatMap(({ answers }, side) => some.flatMap((relation, i) => best(answers, i, relation, side)));
      found.sort((one, other) => other.worth - one.worth);
      list.replaceChildren(...found.slice(0, WORTH).map((one) => question(card, one)));
    })
    .catch((error) => list.replaceChildren(make("li", {}, problemBox(error.body ?? { title: String(error) }))));
  return section;
}

function best(answers, i, relation, side) {
  const at = answers.offsets[i];
  if (answers.offsets[i + 1] === at) return [];
  const chance = answers.probabilities[at];
  return [{ relation, side, label: answers.labels[at], chance, worth: chance * (answers.plausibilities[at] ?? 1) }];
}

function question(card, { relation, side, label, chance }) {
  const kind = side === 0 ? "tails" : "heads";
  const words = side === 0 ? ["this → ", named(relation.label), " → ?"] : ["? → ", named(relation.label), " → this"];
  return make(
    "li", {},
    make("a", { href: to("ask", { kind, entity: card.id, relation: relation.id }) }, words),
    make("div", { class: "soft" }, bar(chance), `${percent(chance)} `, named(label)),
  );
}
