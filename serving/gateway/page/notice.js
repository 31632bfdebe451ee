// Sentences above the view, which a screen reader reads out: one for each reason.

import { make } from "./dom.js";

const place = document.getElementById("notice");

export function setNotice(reason, sentence, ask = null) {
  clearNotice(reason);
  const box = make("div", { "data-reason": reason }, make("p", {}, sentence));
  if (ask) {
    const input = make("input", { type: "password", autocomplete: "off", required: true });
    const form = make(
      "form",
      {
        class: "row",
        onsubmit: (event) => {
          event.preventDefault();
          ask.done(input.value.trim());
        },
      },
      make("label", {}, ask.label, input),
      make("button", {}, ask.action),
    );
    box.append(form);
  }
  place.append(box);
}

export function clearNotice(reason) {
  place.querySelector(`[data-reason=${reason}]`)?.remove();
}
