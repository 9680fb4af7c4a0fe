// Schemas of the document in words: what a value is, its bounds, and its fields, opened on demand.

import { el, prose } from "./dom.js";

const ENDLESS = 1e12; // a bound that nobody reaches says nothing
const DEPTH_MAX = 6; // a schema may contain itself

// 0.00000001 rather than 1e-8.
function plain(number) {
  return number.toLocaleString("en", { maximumFractionDigits: 8, useGrouping: false });
}

export class Schemas {
  constructor(document) {
    this.document = document;
  }

  // What a reference stands for; its own keywords win over what it refers to.
  resolve(schema) {
    let found = schema;
    while (found.$ref) {
      const { $ref, ...own } = found;
      const target = $ref
        .slice(2)
        .split("/")
        .reduce((part, step) => part[step], this.document);
      found = { ...target, ...own };
    }
    return found;
  }

  name(schema) {
    return schema.$ref?.split("/").at(-1);
  }

  // "string or null", "list of CoinForm", "number from 1 to 100".
  words(schema) {
    if (schema.$ref) return this.name(schema);
    if (schema.const !== undefined) return JSON.stringify(schema.const);
    if (schema.enum) return schema.enum.map((one) => JSON.stringify(one)).join(" or ");
    const choices = schema.anyOf ?? schema.oneOf;
    if (choices) return [...new Set(choices.map((one) => this.words(one)))].join(" or ");
    if (schema.allOf) return this.words(schema.allOf[0]);
    if (schema.prefixItems)
      return `[${schema.prefixItems.map((one) => this.words(one)).join(", ")}]`;
    if (schema.type === "array")
      return `list of ${schema.items ? this.words(schema.items) : "anything"}`;
    if (schema.type === "object" && typeof schema.additionalProperties === "object") {
      return `${this.words(schema.additionalProperties)} by name`;
    }
    const type = [schema.type ?? "anything"].flat().join(" or ");
    return type.replace("integer", "whole number").replace("string", "text");
  }

  bounds(schema) {
    const { minimum: low, maximum: high } = schema;
    const said = [];
    if (low !== undefined && high < ENDLESS) said.push(`${plain(low)} to ${plain(high)}`);
    else if (low !== undefined) said.push(`${plain(low)} or more`);
    else if (high !== undefined) said.push(`${high} or less`);
    if (schema.minLength > 1 || schema.maxLength) {
      said.push(`${schema.minLength ?? 0} to ${schema.maxLength} characters`);
    }
    if (schema.minItems) said.push(`at least ${schema.minItems}`);
    if (schema.maxItems) said.push(`at most ${schema.maxItems}`);
    if (schema.default !== undefined && schema.default !== null) {
      said.push(`${JSON.stringify(schema.default)} by default`);
    }
    for (const one of schema.anyOf ?? []) said.push(...this.bounds(one));
    return said;
  }

  // Where the fields are: in this object, in the items of a list, in one of several kinds.
  inner(schema) {
    const found = this.resolve(schema);
    if (found.properties) return [[this.name(schema) ?? "", found]];
    if (found.type === "array" && found.items) return this.inner(found.items);
    if (typeof found.additionalProperties === "object")
      return this.inner(found.additionalProperties);
    return (found.anyOf ?? []).flatMap((one) => this.inner(one));
  }

  // The fields of a value, as nested lists.
  render(schema, depth = 0) {
    const kinds = this.inner(schema);
    if (!kinds.length || depth > DEPTH_MAX) return null;
    return el(
      "div",
      { class: "kinds" },
      kinds.map(([name, kind]) => this.#kind(name, kind, kinds.length > 1, depth)),
    );
  }

  #kind(name, kind, named, depth) {
    const required = new Set(kind.required ?? []);
    const fields = Object.entries(kind.properties).map(([field, schema]) =>
      this.#field(field, schema, required.has(field), depth),
    );
    return el(
      "div",
      { class: "kind" },
      named && name ? el("h4", {}, name) : null,
      depth === 0 || named ? prose(kind.description ?? "") : null,
      el("ul", { class: "fields" }, fields),
    );
  }

  #field(name, schema, required, depth) {
    const resolved = this.resolve(schema);
    const head = [
      el("code", { class: "field" }, name),
      el("span", { class: "type" }, this.words(schema)),
      ...this.bounds(schema).map((bound) => el("span", { class: "bound" }, bound)),
      required ? null : el("span", { class: "bound" }, "optional"),
      schema.pattern ? el("code", { class: "pattern" }, schema.pattern) : null,
    ];
    if (!this.inner(schema).length) return el("li", {}, head);
    const details = el("details", {}, el("summary", {}, head));
    details.addEventListener("toggle", () => {
      if (details.open && details.children.length === 1) {
        details.append(...prose(resolved.description ?? ""), this.render(schema, depth + 1) ?? "");
      }
    });
    return el("li", {}, details);
  }

  // A first draft of a value, where the document has no example.
  draft(schema) {
    const found = this.resolve(schema);
    if (found.examples) return found.examples[0];
    if (found.default !== undefined) return found.default;
    if (found.enum) return found.enum[0];
    if (found.anyOf) return this.draft(found.anyOf[0]);
    if (found.properties) {
      const required = (found.required ?? []).map((name) => [
        name,
        this.draft(found.properties[name]),
      ]);
      return Object.fromEntries(required);
    }
    return { array: [], object: {}, integer: 0, number: 0, boolean: false }[found.type] ?? "";
  }
}
