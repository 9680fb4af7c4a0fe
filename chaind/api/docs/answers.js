// What a route can answer: by status, with its fields, its headers, and every error code in words.

import { el } from "./dom.js";

export function renderAnswers(document, schemas, operation) {
  const answers = Object.entries(operation.responses).sort(([a], [b]) => a - b);
  return el(
    "section",
    { class: "answers" },
    el("h2", {}, "Answers"),
    answers.map(([status, answer]) => one(document, schemas, status, schemas.resolve(answer))),
  );
}

export function statusClass(status) {
  return Number(status) < 400 ? "good" : Number(status) < 500 ? "refused" : "failed";
}

function one(document, schemas, status, answer) {
  const contents = Object.entries(answer.content ?? {});
  const problem = answer.content?.["application/problem+json"];
  const codes = problem?.schema.allOf[1].properties.code.enum ?? [];
  const head = el(
    "summary",
    {},
    el("span", { class: `status ${statusClass(status)}` }, status),
    el("span", { class: "said" }, answer.description),
    el(
      "span",
      { class: "codes" },
      codes.length ? codes.join(", ") : contents.map(([media]) => media).join(", "),
    ),
  );
  const details = el("details", { open: Number(status) < 300, id: `answer-${status}` }, head);
  for (const [media, content] of contents) {
    if (media === "application/problem+json") details.append(codeList(document, codes));
    else details.append(body(schemas, media, content.schema, contents.length > 1));
  }
  const headers = Object.entries(answer.headers ?? {});
  if (headers.length) details.append(headerList(schemas, headers));
  return details;
}

function body(schemas, media, schema, named) {
  const said = schema ? schemas.words(schema) : "bytes";
  return el(
    "div",
    { class: "body" },
    el(
      "p",
      { class: "media" },
      named ? el("code", {}, media) : null,
      el(
        "span",
        { class: "type" },
        schema?.description && !schema.$ref ? schema.description : said,
      ),
    ),
    schema ? schemas.render(schema) : null,
  );
}

function codeList(document, codes) {
  return el(
    "dl",
    { class: "problems" },
    codes.flatMap((code) => {
      const problem = document["x-problems"][code];
      return [
        el("dt", {}, el("code", {}, code)),
        el("dd", {}, sentence(problem.text), " ", el("span", { class: "advice" }, problem.advice)),
      ];
    }),
  );
}

// A template of an error: {values} are filled in when it happens.
function sentence(text) {
  const words = text.replace(/\{(\w+)(![rs])?\}/g, "‹$1›");
  return `${words[0].toUpperCase()}${words.slice(1)}.`;
}

function headerList(schemas, headers) {
  return el(
    "dl",
    { class: "headers" },
    headers.flatMap(([name, header]) => {
      const found = schemas.resolve(header);
      return [el("dt", {}, el("code", {}, name)), el("dd", {}, found.description)];
    }),
  );
}
