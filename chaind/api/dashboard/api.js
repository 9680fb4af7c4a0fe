// The node's API: what it refuses comes back as a Problem with the node's own words.

const UNREACHABLE = {
  status: 0,
  code: "unreachable",
  detail: "the node does not answer",
  advice: "It may be starting again. This page connects by itself as soon as it is back.",
};

/** A refusal: `detail` says what, `advice` what to do, `code` is stable. */
export class Problem extends Error {
  constructor(document) {
    super(document.detail ?? document.title ?? "the node failed to answer");
    this.status = document.status;
    this.code = document.code ?? "unknown";
    this.advice = document.advice ?? "";
    this.values = document.values ?? {};
  }
}

let token = ""; // what a person typed, for this page alone: it is written nowhere

export function setToken(text) {
  token = text.trim();
}

async function ask(path, options) {
  let response;
  const headers = { Accept: "application/json", ...options.headers };
  if (token) headers.Authorization = `Bearer ${token}`;
  try {
    response = await fetch(path, { ...options, headers });
  } catch {
    throw new Problem(UNREACHABLE);
  }
  let body;
  try {
    body = await response.json();
  } catch {
    throw new Problem({ ...UNREACHABLE, status: response.status });
  }
  // /health/ready answers 503 with a document that is no problem.
  if (!response.ok && body.code !== undefined) throw new Problem(body);
  return { body, headers: response.headers, status: response.status };
}

export async function get(path) {
  return (await ask(path, {})).body;
}

/** {body, headers, status} of a POST of JSON. */
export function post(path, body, headers = {}) {
  return ask(path, {
    method: "POST",
    body: body === undefined ? undefined : JSON.stringify(body),
    headers: { "Content-Type": "application/json", ...headers },
  });
}

/** {body, headers, status} of a DELETE. */
export function remove(path) {
  return ask(path, { method: "DELETE" });
}

/** An Idempotency-Key that nobody has used. */
export function drawKey() {
  const data = crypto.getRandomValues(new Uint8Array(12));
  return `page-${Array.from(data, (byte) => byte.toString(16).padStart(2, "0")).join("")}`;
}
