// The page: reads /openapi.json of the node that serves it, and shows one route at a time.

import { renderAnswers } from "./answers.js";
import { el, prose } from "./dom.js";
import { Listen } from "./listen.js";
import { Schemas } from "./schema.js";
import { TryIt } from "./try_it.js";

const THEME_KEY = "chaind-theme"; // as on the dashboard
let current = null; // the form of the route that is shown
const main = document.querySelector("#main");
const routes = document.querySelector("#routes");
const search = document.querySelector("#search");
const token = document.querySelector("#token");

let description;
let schemas;
let entries = []; // one per operation, aliases folded in, in the order of the document
let hits = [];

function read(found) {
  description = found;
  schemas = new Schemas(found);
  const byPath = new Map();
  for (const [path, item] of Object.entries(found.paths)) {
    for (const [method, operation] of Object.entries(item)) {
      const key = `${method} ${operation["x-alias-of"] ?? path}`;
      const entry = byPath.get(key) ?? { aliases: [] };
      if (operation["x-alias-of"]) entry.aliases.push(path);
      else {
        byPath.delete(key); // an alias that came before it is no place for it
        Object.assign(entry, {
          path,
          method: method.toUpperCase(),
          operation,
          tag: operation.tags[0],
        });
      }
      byPath.set(key, entry);
    }
  }
  entries = [...byPath.values()];
  for (const entry of entries) entry.words = wordsOf(entry);
}

// What a search looks through: names first of all, then fields and codes.
function wordsOf(entry) {
  const { operation, path, aliases, method } = entry;
  const texts = [
    method,
    path,
    ...aliases,
    operation.operationId,
    operation.summary,
    operation.description,
    entry.tag,
  ];
  texts.push(...(operation.parameters ?? []).map((one) => one.name));
  const contents = Object.values(operation.responses).flatMap((answer) =>
    Object.entries(schemas.resolve(answer).content ?? {}),
  );
  for (const [media, { schema }] of contents) {
    if (media === "application/problem+json") texts.push(...schema.allOf[1].properties.code.enum);
    else if (schema) texts.push(...fieldsOf(schema));
  }
  if (operation.requestBody)
    texts.push(...fieldsOf(operation.requestBody.content["application/json"].schema));
  return texts.join(" ").toLowerCase();
}

function fieldsOf(schema) {
  return schemas.inner(schema).flatMap(([name, kind]) => [name, ...Object.keys(kind.properties)]);
}

function badge(method) {
  return el("span", { class: `method ${method.toLowerCase()}` }, method);
}

function spaced(path) {
  // A line may break after a slash, and the parts that vary stand out.
  return path
    .split(/(\{\w+\})/)
    .flatMap((part) =>
      part.startsWith("{")
        ? [el("em", {}, part)]
        : part.split(/(?<=\/)/).flatMap((step) => [step, el("wbr")]),
    );
}

function listRoutes() {
  const asked = search.value.trim().toLowerCase().split(/\s+/).filter(Boolean);
  hits = entries.filter((entry) => asked.every((word) => entry.words.includes(word)));
  if (asked.length) {
    const near = (entry) =>
      asked.every((word) =>
        `${entry.path} ${entry.aliases.join(" ")} ${entry.operation.summary}`
          .toLowerCase()
          .includes(word),
      );
    hits = [...hits.filter(near), ...hits.filter((entry) => !near(entry))];
  }
  const groups = asked.length
    ? [["", hits]]
    : description.tags.map(({ name }) => [name, hits.filter((entry) => entry.tag === name)]);
  routes.replaceChildren(
    ...groups
      .filter(([, members]) => members.length)
      .map(([name, members]) =>
        el(
          "section",
          {},
          name ? el("h2", {}, name) : null,
          el(
            "ul",
            {},
            members.map((entry) =>
              el(
                "li",
                {},
                el(
                  "a",
                  {
                    href: `#/${entry.operation.operationId}`,
                    "data-id": entry.operation.operationId,
                  },
                  badge(entry.method),
                  el("span", { class: "path" }, spaced(entry.path.replace("/api/v1", ""))),
                ),
              ),
            ),
          ),
        ),
      ),
    hits.length
      ? ""
      : el(
          "p",
          { class: "none" },
          "No route, field or error code has these words. Try one of them alone, or clear the search.",
        ),
  );
  mark();
}

function mark() {
  const id = location.hash.slice(2);
  for (const link of routes.querySelectorAll("a")) {
    if (link.dataset.id === id) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
}

function show() {
  current?.close?.(); // a WebSocket ends with the page of its route
  current = null;
  const id = decodeURIComponent(location.hash.slice(2));
  const entry = entries.find((one) => one.operation.operationId === id);
  main.replaceChildren(...(entry ? operationPage(entry) : overview()));
  document.title = entry ? `${entry.method} ${entry.path} · chaind API` : "chaind API";
  mark();
  routes.querySelector("[aria-current]")?.scrollIntoView({ block: "nearest" });
  window.scrollTo(0, 0);
}

function operationPage(entry) {
  const { operation, path, method, aliases } = entry;
  const schemes = (operation.security ?? []).map((one) => Object.keys(one).length);
  const access =
    schemes.length === 0
      ? null
      : schemes.includes(0)
        ? "token, or a development chain over loopback"
        : "token";
  const tryIt =
    path === "/ws"
      ? new Listen()
      : new TryIt({
          schemas,
          entry,
          readToken: () => token.value.trim(),
          follow: (next) => (location.hash = `#/${next}`),
        });
  current = tryIt;
  return [
    el(
      "div",
      { class: "head" },
      el("p", { class: "crumb" }, entry.tag),
      el("h1", {}, operation.summary),
      el(
        "p",
        { class: "route" },
        badge(method),
        el("code", {}, spaced(path)),
        access
          ? el("span", { class: "access" }, access)
          : el("span", { class: "access open" }, "open"),
      ),
      aliases.length
        ? el(
            "p",
            { class: "aliases" },
            "Also as ",
            aliases.flatMap((alias, index) => [index ? ", " : "", el("code", {}, alias)]),
          )
        : null,
      prose(operation.description),
    ),
    el(
      "div",
      { class: "columns" },
      el("div", {}, [tryIt.render()].flat()),
      renderAnswers(description, schemas, operation),
    ),
  ];
}

function overview() {
  const codes = Object.entries(description["x-problems"]);
  return [
    el(
      "div",
      { class: "head" },
      el("h1", {}, description.info.summary),
      prose(description.info.description),
    ),
    el(
      "div",
      { class: "tags" },
      description.tags.map(({ name, description: said }) => {
        const members = entries.filter((entry) => entry.tag === name);
        return el(
          "section",
          { class: "tag" },
          el("h2", {}, name),
          el("p", {}, said),
          el(
            "ul",
            {},
            members.map((entry) =>
              el(
                "li",
                {},
                el(
                  "a",
                  { href: `#/${entry.operation.operationId}` },
                  badge(entry.method),
                  entry.operation.summary,
                ),
              ),
            ),
          ),
        );
      }),
    ),
    el(
      "section",
      { class: "keys" },
      el("h2", {}, "Keys"),
      el(
        "p",
        {},
        el("kbd", {}, "/"),
        " search · ",
        el("kbd", {}, "j"),
        " ",
        el("kbd", {}, "k"),
        " next and previous route · ",
        el("kbd", {}, "Ctrl ⏎"),
        " send · ",
        el("kbd", {}, "Esc"),
        " leave a field",
      ),
    ),
    el(
      "section",
      { class: "all-codes" },
      el("h2", {}, `${codes.length} error codes`),
      el(
        "dl",
        { class: "problems" },
        codes.flatMap(([code, problem]) => [
          el(
            "dt",
            {},
            el("span", { class: "status refused" }, String(problem.status)),
            el("code", {}, code),
          ),
          el("dd", {}, problem.advice),
        ]),
      ),
    ),
  ];
}

function step(by) {
  if (!hits.length) return;
  const now = hits.findIndex((entry) => entry.operation.operationId === location.hash.slice(2));
  const next = hits[Math.min(hits.length - 1, Math.max(0, now + by))];
  location.hash = `#/${next.operation.operationId}`;
}

function onKey(event) {
  const typing = event.target.matches("input, textarea, select");
  if (event.key === "Escape" && typing) {
    if (event.target === search && search.value) {
      search.value = "";
      listRoutes();
    } else event.target.blur();
  } else if (event.target === search && ["ArrowDown", "ArrowUp", "Enter"].includes(event.key)) {
    event.preventDefault();
    if (event.key === "Enter")
      location.hash = hits.length ? `#/${hits[0].operation.operationId}` : location.hash;
    else step(event.key === "ArrowDown" ? 1 : -1);
  } else if (!typing && !event.ctrlKey && !event.metaKey && !event.altKey) {
    if (event.key === "/") {
      event.preventDefault();
      search.focus();
      search.select();
    } else if (event.key === "j") step(1);
    else if (event.key === "k") step(-1);
  }
}

// Storage may be switched off: a choice then lasts as long as the page.
function stored(act) {
  try {
    return act();
  } catch {
    return null;
  }
}

function wearTheme() {
  const root = document.documentElement;
  const dark = matchMedia("(prefers-color-scheme: dark)");
  const kept = stored(() => localStorage.getItem(THEME_KEY));
  if (kept === "light" || kept === "dark") root.dataset.theme = kept;
  document.querySelector("#theme").addEventListener("click", () => {
    const now = root.dataset.theme ?? (dark.matches ? "dark" : "light");
    root.dataset.theme = now === "dark" ? "light" : "dark";
    stored(() => localStorage.setItem(THEME_KEY, root.dataset.theme));
  });
}

async function nameNode() {
  const response = await fetch("/status");
  if (!response.ok) return;
  const status = await response.json();
  document.querySelector("#node").textContent =
    `${status.name} · ${status.chain}${status.dev ? " (development)" : ""}`;
}

async function begin() {
  wearTheme();
  try {
    const response = await fetch("/openapi.json");
    if (!response.ok) throw new Error(`the node answered ${response.status}`);
    read(await response.json());
  } catch (error) {
    main.replaceChildren(
      el(
        "p",
        { class: "notice" },
        `The description did not arrive: ${error.message}. Load this page again once the node runs.`,
      ),
    );
    return;
  }
  search.addEventListener("input", listRoutes);
  token.addEventListener("input", () => current?.show?.());
  document.addEventListener("keydown", onKey);
  addEventListener("hashchange", show);
  listRoutes();
  show();
  await nameNode();
}

await begin();
