// What a curator accepted and rejected; kept in this browser until it is exported or cleared.

import { make, named } from "./dom.js";

const KEPT = "mulde.decisions";
const COLUMNS = ["head", "relation", "tail", "decision", "model"];
const load = () => {
  try {
    return JSON.parse(localStorage.getItem(KEPT) ?? "[]");
  } catch {
    return [];
  }
};
let decisions = load();
addEventListener("storage", () => { decisions = load(); count(); });

const same = (one, model, triple) => one.model === model && one.triple.every((name, i) => name === triple[i]);

export const verdictOf = (model, triple) => decisions.find((one) => same(one, model, triple))?.verdict ?? null;

export function decide(model, triple, verdict) {
  decisions = decisions.filter((one) => !same(one, model, triple));
  if (verdict) decisions.push({ model, triple, verdict, at: new Date().toISOString() });
  localStorage.setItem(KEPT, JSON.stringify(decisions));
  count();
}

export function count() {
  document.getElementById("decided").textContent = decisions.length ? `(${decisions.length})` : "";
}

// head TAB relation TAB tail, as `mulde facts add` reads them; a name with a tab or a line end cannot be written.
export function lines(verdict) {
  const kept = decisions.filter((one) => one.verdict === verdict && !one.triple.some((name) => /[\t\r\n]/.test(name)));
  return kept.map((one) => `${one.triple.join("\t")}\n`).join("");
}

export function decisionsView() {
  const title = make("h1", {}, "Decisions");
  if (!decisions.length) return [title, make("p", {}, "None yet. Accept or reject answers to a question; they are kept in this browser.")];
  return [
    title,
    make("p", {}, "Accepted facts are exported as lines of head, relation and tail, which ", make("code", {}, "mulde facts add"), " reads."),
    make("div", { class: "acts" }, download("accept", "Export accepted"), download("reject", "Export rejected"),
      make("button", { type: "button", onclick: clear }, "Clear all")),
    make("table", { class: "stack" },
      make("thead", {}, make("tr", {}, COLUMNS.map((name) => make("th", { scope: "col" }, name)))),
      make("tbody", {}, decisions.map((one) => make("tr", {},
        [...one.triple, one.verdict === "accept" ? "accepted" : "rejected", one.model].map((text, i) => make("td", { "data-column": COLUMNS[i] }, named(text))))))),
  ];
}

function download(verdict, words) {
  const button = make("button", { type: "button" }, words);
  button.addEventListener("click", () => {
    const url = URL.createObjectURL(new Blob([lines(verdict)], { type: "text/tab-separated-values" }));
    make("a", { href: url, download: `${verdict}ed.tsv` }).click();
    URL.revokeObjectURL(url);
  });
  return button;
}

function clear() {
  if (!confirm("Clear all decisions that were not exported?")) return;
  decisions = [];
  localStorage.setItem(KEPT, "[]");
  count();
  dispatchEvent(new Event("mulde-again"));
}
