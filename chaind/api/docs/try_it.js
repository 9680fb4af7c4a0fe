// The request: its parameters and body to fill in, the same as a curl line, and what was answered.

import { copyButton, el, json } from "./dom.js";
import { statusClass } from "./answers.js";

const SHOWN_CHARS_MAX = 200_000;
const JSON_MEDIA = "application/json";
const LINES_MEDIA = "application/x-ndjson";

// What answers have told: "operation.parameter" → value, by the links of the document.
const remembered = new Map();

export class TryIt {
  constructor({ schemas, entry, readToken, follow }) {
    Object.assign(this, { schemas, entry, readToken, follow });
    this.operation = entry.operation;
    this.parameters = this.operation.parameters ?? [];
    this.inputs = new Map();
    this.curl = el("code", {
      class: "curl-line",
      tabindex: "0",
      "aria-label": "The request as a curl line",
    });
    this.answer = el("section", { class: "answer", "aria-live": "polite" });
  }

  render() {
    const rows = this.parameters.map((parameter) => this.#row(parameter));
    this.send = el("button", { type: "submit", class: "send" }, "Send ", el("kbd", {}, "Ctrl ⏎"));
    this.form = el(
      "form",
      { class: "request" },
      el("h2", {}, "Request"),
      rows.length ? el("div", { class: "parameters" }, rows) : null,
      this.#body(),
      el(
        "div",
        { class: "curl" },
        el("pre", {}, this.curl),
        copyButton(() => this.curl.textContent),
      ),
      this.send,
    );
    this.form.addEventListener("input", () => this.show());
    this.form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#ask();
    });
    this.form.addEventListener("keydown", (event) => {
      if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) this.form.requestSubmit();
    });
    this.show();
    return [this.form, this.answer];
  }

  #row(parameter) {
    const schema = this.schemas.resolve(parameter.schema);
    const known = remembered.get(`${this.operation.operationId}.${parameter.name}`);
    const first = known ?? (parameter.in === "path" ? parameter.example : undefined);
    const id = `p-${parameter.in}-${parameter.name}`;
    const about = `${id}-about`;
    const common = {
      id,
      name: parameter.name,
      required: parameter.required === true,
      "aria-describedby": about,
    };
    const input = schema.enum
      ? el(
          "select",
          common,
          el("option", { value: "" }, "—"),
          schema.enum.map((one) => el("option", { value: one }, one)),
        )
      : el("input", {
          ...common,
          autocomplete: "off",
          spellcheck: "false",
          inputmode: schema.type === "integer" ? "numeric" : undefined,
          placeholder: String(schema.default ?? parameter.example ?? ""),
        });
    if (first !== undefined) input.value = first;
    this.inputs.set(parameter, input);
    const facts = [
      parameter.in === "query" ? null : parameter.in,
      ...this.schemas.bounds(schema),
    ].filter(Boolean);
    return el(
      "div",
      { class: "parameter" },
      el(
        "label",
        { for: id },
        el("code", {}, parameter.name),
        parameter.required ? el("span", { class: "must", title: "required" }, "*") : null,
      ),
      input,
      el(
        "p",
        { id: about, class: "about" },
        parameter.description,
        facts.length ? el("span", { class: "bound" }, facts.join(" · ")) : null,
      ),
    );
  }

  #body() {
    const body = this.operation.requestBody;
    if (!body) return null;
    const content = body.content[JSON_MEDIA];
    const examples = Object.entries(content.examples ?? {});
    const first = examples[0]?.[1].value ?? this.schemas.draft(content.schema);
    this.text = el("textarea", {
      id: "body",
      spellcheck: "false",
      rows: "9",
      "aria-label": "Body of the request",
    });
    this.text.value = JSON.stringify(first, null, 2);
    const media = Object.keys(body.content).filter((one) => one !== "application/msgpack"); // bytes
    this.media = el(
      "select",
      { id: "media", "aria-label": "Content-Type" },
      media.map((one) => el("option", { value: one, selected: one === JSON_MEDIA }, one)),
    );
    this.media.addEventListener("change", () => {
      const items = parse(this.text.value);
      if (this.media.value === LINES_MEDIA && Array.isArray(items))
        this.text.value = items.map((item) => JSON.stringify(item)).join("\n");
    });
    const fill = examples.map(([name, { value }]) =>
      el(
        "button",
        {
          type: "button",
          class: "quiet",
          onclick: () => {
            this.text.value = JSON.stringify(value, null, 2);
            this.show();
          },
        },
        name,
      ),
    );
    return el(
      "div",
      { class: "body-editor" },
      el(
        "div",
        { class: "bar" },
        el("label", { for: "body" }, "Body"),
        media.length > 1 ? this.media : el("code", {}, media[0]),
        fill.length > 1 ? fill : null,
      ),
      this.text,
      el(
        "details",
        { class: "shape" },
        el("summary", {}, "Fields of the body"),
        this.schemas.render(content.schema) ?? "",
      ),
    );
  }

  // The request as it stands. The token is named in it, not told.
  #request() {
    const headers = {};
    const query = new URLSearchParams();
    let path = this.entry.path;
    for (const [parameter, input] of this.inputs) {
      if (parameter.in === "path")
        path = path.replace(`{${parameter.name}}`, encodeURIComponent(input.value));
      else if (input.value === "") continue;
      else if (parameter.in === "query") query.set(parameter.name, input.value);
      else headers[parameter.name] = input.value;
    }
    if (this.text) headers["Content-Type"] = this.media.value;
    const asked = query.toString();
    return {
      method: this.entry.method,
      path: asked ? `${path}?${asked}` : path,
      headers,
      body: this.text?.value,
    };
  }

  show() {
    const { method, path, headers, body } = this.#request();
    const parts = ["curl -s"];
    if (method !== "GET") parts.push(`-X ${method}`);
    for (const [name, value] of Object.entries(headers))
      parts.push(`-H ${quote(`${name}: ${value}`)}`);
    if (this.readToken() && this.operation.security)
      parts.push('-H "Authorization: Bearer $TOKEN"');
    if (body !== undefined) parts.push(`-d ${quote(compact(body))}`);
    this.curl.textContent = [...parts, quote(`${location.origin}${path}`)].join(" ");
  }

  async #ask() {
    const { method, path, headers, body } = this.#request();
    const token = this.readToken();
    if (token && this.operation.security) headers.Authorization = `Bearer ${token}`;
    this.send.disabled = true;
    const started = performance.now();
    try {
      const response = await fetch(path, { method, headers, body, cache: "no-store" });
      const bytes = new Uint8Array(await response.arrayBuffer());
      this.#told(response, bytes, performance.now() - started);
    } catch (error) {
      this.answer.replaceChildren(
        el(
          "p",
          { class: "notice" },
          `No answer came: ${error.message}. Is the node still running?`,
        ),
      );
    } finally {
      this.send.disabled = false;
    }
  }

  #told(response, bytes, elapsed_ms) {
    const media = (response.headers.get("Content-Type") ?? "").split(";")[0];
    const text = media.includes("msgpack") ? null : new TextDecoder().decode(bytes);
    const value =
      media.endsWith("json") && media !== LINES_MEDIA ? parse(text) : undefined;
    const status = el(
      "span",
      { class: `status ${statusClass(response.status)}` },
      String(response.status),
    );
    const head = el(
      "div",
      { class: "bar" },
      status,
      el("strong", {}, response.statusText),
      el(
        "span",
        { class: "bound" },
        `${Math.round(elapsed_ms)} ms · ${bytes.length.toLocaleString("en")} bytes`,
      ),
      text === null ? null : copyButton(() => text),
    );
    const fields = [...response.headers].flatMap(([name, field]) => [
      el("dt", {}, el("code", {}, name)),
      el("dd", {}, field),
    ]);
    this.answer.replaceChildren(
      el("h2", {}, "Answer"),
      head,
      value?.code
        ? el(
            "p",
            { class: "notice" },
            `${value.detail}. `,
            el("span", { class: "advice" }, value.advice),
          )
        : "",
      this.#links(response.status, value),
      el("pre", { tabindex: "0", "aria-label": "Body of the answer" }, shown(text, value, bytes)),
      el(
        "details",
        {},
        el("summary", {}, `${fields.length / 2} headers`),
        el("dl", { class: "headers" }, fields),
      ),
    );
    this.answer.scrollIntoView({
      block: "nearest",
      behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth",
    });
  }

  // Where the answer leads on: the next operation is opened with its parameter filled in.
  #links(status, value) {
    const links = Object.values(this.operation.responses[status]?.links ?? {});
    const buttons = links.flatMap((link) =>
      Object.entries(link.parameters).map(([parameter, expression]) => {
        const found = value?.[expression.split("#/").at(-1)];
        if (found === undefined || found === null) return null;
        remembered.set(`${link.operationId}.${parameter}`, String(found));
        return el(
          "button",
          { type: "button", class: "quiet", onclick: () => this.follow(link.operationId) },
          `${link.operationId.replaceAll("_", " ")} →`,
        );
      }),
    );
    return buttons.some(Boolean) ? el("div", { class: "bar" }, buttons) : "";
  }
}

function parse(text) {
  try {
    return JSON.parse(text);
  } catch {
    return undefined; // shown as it came
  }
}

// Without the white space between tokens. Numbers stay as they were written.
function compact(text) {
  return parse(text) === undefined ? text : text.replace(/("(?:\\.|[^"\\])*")|\s+/g, "$1");
}

function quote(text) {
  return /^[\w./:@%+=-]+$/.test(text) ? text : `'${text.replaceAll("'", "'\\''")}'`;
}

function shown(text, value, bytes) {
  if (text === null) {
    const hex = [...bytes.slice(0, 512)]
      .map((byte) => byte.toString(16).padStart(2, "0"))
      .join(" ");
    return bytes.length > 512 ? `${hex} …` : hex;
  }
  const full = value === undefined ? text : JSON.stringify(value, null, 2);
  if (full.length > SHOWN_CHARS_MAX)
    return `${full.slice(0, SHOWN_CHARS_MAX)}\n… and ${full.length - SHOWN_CHARS_MAX} characters more`;
  return value === undefined ? full : json(full);
}
