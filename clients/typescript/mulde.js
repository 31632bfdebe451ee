// A client of the REST gateway for Node 18 and newer, and for browsers. Types are in mulde.d.ts.
//
//   import { Client } from "./mulde.js";
//   const client = new Client("http://127.0.0.1:8080/");
//   const { answers } = await client.predictTails({ heads: ["lion.n.01"], relations: ["hypernym"] });

import { CALLS } from "./calls.js";

// A failed call; `problem` is what the gateway told (RFC 9457).
export class MuldeError extends Error {
  constructor(problem) {
    super(problem.detail);
    this.name = "MuldeError";
    this.problem = problem;
  }
}

export class Client {
  #url;
  #token;
  #timeoutMs;

  constructor(url, { token = "", timeoutMs = 30_000 } = {}) {
    this.#url = url.endsWith("/") ? url : `${url}/`;
    this.#token = token;
    this.#timeoutMs = timeoutMs;
  }

  async *lines(call, request = {}) {
    const response = await this.#send(call, request, "application/x-ndjson");
    const decoder = new TextDecoder();
    let rest = "";
    for await (const part of response.body) {
      const lines = (rest + decoder.decode(part, { stream: true })).split("\n");
      rest = lines.pop();
      for (const line of lines) yield JSON.parse(line);
    }
  }

  async call(name, request) {
    return (await this.#send(name, request, "application/json")).json();
  }

  async #send(name, request, accept) {
    const headers = { accept };
    if (this.#token) headers.authorization = `Bearer ${this.#token}`;
    const given = { headers, method: CALLS[name], signal: AbortSignal.timeout(this.#timeoutMs) };
    let address = `${this.#url}v1/${name}`;
    if (given.method === "GET") address += `?${new URLSearchParams(flat(request))}`;
    else {
      headers["content-type"] = "application/json";
      given.body = JSON.stringify(request);
    }
    const response = await fetch(address, given);
    if (!response.ok) throw new MuldeError(await response.json());
    return response;
  }
}

for (const name of Object.keys(CALLS)) {
  Client.prototype[name[0].toLowerCase() + name.slice(1)] = function (request = {}) {
    return this.call(name, request);
  };
}

function flat(fields) {
  return Object.entries(fields).flatMap(([key, value]) => {
    if (Array.isArray(value)) return value.map((one) => [key, one]);
    if (value === null || typeof value !== "object") return value === undefined ? [] : [[key, String(value)]];
    return flat(value).map(([below, one]) => [`${key}.${below}`, one]);
  });
}
