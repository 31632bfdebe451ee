// Calls of the gateway. A failed call throws its problem (RFC 9457).

import { setNotice, clearNotice } from "./notice.js";

const TOKEN = "mulde.token";
let again = null;

export class Problem extends Error {
  constructor(body) {
    super(body.detail);
    this.body = body;
  }
}

export const token = {
  get: () => sessionStorage.getItem(TOKEN) ?? "",
  set: (value) => sessionStorage.setItem(TOKEN, value),
};

export const get = (call, fields = {}) => send(`v1/${call}?${new URLSearchParams(flat(fields))}`);
export const post = (call, body) => send(`v1/${call}`, body);

async function send(path, body) {
  const headers = token.get() ? { authorization: `Bearer ${token.get()}` } : {};
  const given = { headers };
  if (body !== undefined) {
    Object.assign(given, { method: "POST", body: JSON.stringify(body) });
    headers["content-type"] = "application/json";
  }
  let response, answer;
  try {
    response = await fetch(path, given);
    answer = await response.json();
  } catch {
    answer = { status: 503, title: "The gateway is away", detail: "it does not answer; is mulde web running?" };
    response = { ok: false };
  }
  if (response.ok) return answer;
  if (answer.status === 503) waitForServer(answer);
  if (answer.status === 401) askForToken();
  throw new Problem(answer);
}

function flat(fields) {
  const pairs = [];
  for (const [key, value] of Object.entries(fields)) {
    if (value === undefined || value === "") continue;
    if (Array.isArray(value)) pairs.push(...value.map((one) => [key, one]));
    else if (typeof value === "object") pairs.push(...flat(value).map(([below, one]) => [`${key}.${below}`, one]));
    else pairs.push([key, String(value)]);
  }
  return pairs;
}

// Look every 2 s whether the server is back, then show the view again.
function waitForServer(problem) {
  setNotice("away", `${problem.title}. This page asks again every 2 seconds and goes on by itself.`);
  if (again !== null) return;
  again = setInterval(async () => {
    const alive = await fetch("readyz").then((answer) => answer.ok, () => false);
    if (!alive) return;
    clearInterval(again);
    again = null;
    clearNotice("away");
    dispatchEvent(new Event("mulde-again"));
  }, 2000);
}

function askForToken() {
  const why = token.get() ? "The token is not valid, or it has ended." : "This server asks for a token.";
  setNotice("token", why, {
    label: "Token",
    action: "Use it",
    done: (value) => {
      token.set(value);
      clearNotice("token");
      dispatchEvent(new Event("mulde-again"));
    },
  });
}
