// Elements out of names, properties and children. Text becomes text nodes, never markup.

const MOST = 200;

export function make(name, properties = {}, ...children) {
  const element = document.createElement(name);
  for (const [key, value] of Object.entries(properties)) {
    if (value === undefined || value === null || value === false) continue;
    if (key.startsWith("on")) element.addEventListener(key.slice(2), value);
    else if (key === "class") element.className = value;
    else element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return element;
}

// A name from the graph: cut where it is long, and kept apart from the direction of the text around it.
export function named(text, properties = {}, most = MOST) {
  return make("bdi", properties, cut(text, most));
}

export function cut(text, most = MOST) {
  const shown = String(text).replace(/[\u0000-\u001f\u007f]/g, " ");
  return shown.length > most ? `${shown.slice(0, most)}…` : shown;
}

export function percent(share) {
  return share >= 0.0995 ? `${Math.round(share * 100)} %` : `${(share * 100).toFixed(1)} %`;
}

export function bar(share) {
  const inner = make("span");
  inner.style.setProperty("--share", `${Math.max(1, share * 100)}%`);
  return make("span", { class: "bar", "aria-hidden": "true" }, inner);
}

export function problemBox(problem) {
  return make(
    "div",
    { class: "problem", role: "alert" },
    make("p", {}, make("strong", {}, cut(problem.title)), ` `, cut(problem.detail ?? "")),
    problem.choices?.length
      ? make("p", {}, "Nearest names: ", problem.choices.slice(0, 8).map((one, i) => [i ? ", " : "", named(one)]).flat())
      : null,
  );
}

export function link(text, target, properties = {}) {
  return make("a", { href: target, ...properties }, named(text));
}
