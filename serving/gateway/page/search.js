// A text field that completes names of entities (the combobox pattern of ARIA).

import { get } from "./api.js";
import { make, named } from "./dom.js";
import { answeredBy, selector } from "./models.js";

const WAIT_MS = 80;
let count = 0;

// label: of the field; choose: called with {id, label}; value: what stands in it at first.
export function search(label, choose, value = "") {
  const id = `search-${++count}`;
  const list = make("ul", { role: "listbox", id: `${id}-list`, "aria-label": "Entities", hidden: true });
  const told = make("p", { class: "soft", role: "status" });
  const input = make("input", {
    id, type: "text", role: "combobox", autocomplete: "off", spellcheck: "false", maxlength: 256, value,
    "aria-autocomplete": "list", "aria-expanded": "false", "aria-controls": `${id}-list`,
  });
  let found = [], at = -1, timer, asked = 0;

  const close = () => {
    list.hidden = true;
    input.setAttribute("aria-expanded", "false");
    input.removeAttribute("aria-activedescendant");
    at = -1;
  };
  const take = (place) => {
    const entity = found[place];
    if (!entity) return;
    input.value = entity.label;
    close();
    choose(entity);
  };
  const mark = (place) => {
    at = place;
    [...list.children].forEach((option, i) => option.setAttribute("aria-selected", String(i === at)));
    if (at < 0) return input.removeAttribute("aria-activedescendant");
    input.setAttribute("aria-activedescendant", `${id}-${at}`);
    list.children[at].scrollIntoView({ block: "nearest" });
  };
  const show = () => {
    list.replaceChildren(
      ...found.map((entity, i) =>
        make(
          "li",
          { role: "option", id: `${id}-${i}`, "aria-selected": "false", onmousedown: (event) => { event.preventDefault(); take(i); } },
          named(entity.label), entity.id === entity.label ? null : [" ", named(entity.id, { class: "id" })],
        ),
      ),
    );
    list.hidden = found.length === 0;
    input.setAttribute("aria-expanded", String(found.length > 0));
    told.textContent = found.length ? "" : `No entity is called or spelled like that.`;
    at = -1;
  };
  const ask = async () => {
    const mine = ++asked;
    const typed = input.value.trim();
    if (!typed) { found = []; close(); told.textContent = ""; return; }
    try {
      const page = await get("SearchEntities", { model: selector(), queries: typed, page_size: 10 });
      if (mine !== asked) return;
      answeredBy(page.model);
      found = page.ids.map((entity, i) => ({ id: entity, label: page.labels[i] }));
      show();
    } catch (error) {
      if (mine === asked) told.textContent = error.body?.detail ?? String(error);
    }
  };
  input.addEventListener("input", () => { clearTimeout(timer); timer = setTimeout(ask, WAIT_MS); });
  input.addEventListener("blur", close);
  input.addEventListener("keydown", (event) => {
    const moves = { ArrowDown: 1, ArrowUp: -1 };
    if (event.key in moves && found.length) {
      event.preventDefault();
      list.hidden = false;
      input.setAttribute("aria-expanded", "true");
      mark((at + moves[event.key] + found.length) % found.length);
    } else if (event.key === "Enter" && found.length && !list.hidden) {
      event.preventDefault();
      take(Math.max(at, 0));
    } else if (event.key === "Escape") close();
  });
  return make("div", { class: "search" }, make("label", { for: id }, label), input, list, told);
}
