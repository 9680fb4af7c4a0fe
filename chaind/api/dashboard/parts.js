// Small pieces that several views are made of.

import { setToken } from "./api.js";
import { chain } from "./chain.js";
import { h, Part, text } from "./dom.js";
import { age, amount, moment, short } from "./format.js";

/** <time-ago ms="…">: an age that goes on by itself. */
class TimeAgo extends Part {
  #label = h("time", {});

  start() {
    if (!this.firstChild) this.append(this.#label);
    const ms = Number(this.getAttribute("ms"));
    this.#label.dateTime = new Date(ms).toISOString();
    this.#label.title = moment(ms);
    const update = () => text(this.#label, age(ms, chain.now()));
    this.on(chain, "second", update);
    update();
  }
}

customElements.define("time-ago", TimeAgo);

export function ago(timeMs) {
  return h("time-ago", { ms: timeMs });
}

/** <copy-text text="…">: an id, whole to the clipboard at a press. */
class CopyText extends Part {
  start() {
    if (this.firstChild) return;
    const whole = this.getAttribute("text");
    const what = this.getAttribute("what") ?? "text";
    const button = h(
      "button",
      { type: "button", class: "copy", title: "Copy", "aria-label": `Copy the ${what}` },
    );
    this.append(h("code", { title: whole }, this.hasAttribute("whole") ? whole : short(whole, 10)), button);
    button.addEventListener("click", async () => {
      try {
        await navigator.clipboard.writeText(whole);
        toast(`Copied the ${what}`);
      } catch {
        getSelection().selectAllChildren(this.firstChild); // no clipboard here: it is marked instead
        toast("Marked: copy it with the keyboard");
      }
    });
  }
}

customElements.define("copy-text", CopyText);

export function copyable(whole, what, { inFull = false } = {}) {
  return h("copy-text", { text: whole, what, whole: inFull });
}

/** A line that goes by itself, read out by screen readers. */
export function toast(words) {
  const line = h("p", {}, words);
  document.getElementById("toasts").append(line);
  setTimeout(() => line.remove(), 4000);
}

export function addressLink(address, ends = 8) {
  const name = chain.nameOf(address) ?? chain.validatorOf(address)?.name ?? null;
  const href = `#/address/${encodeURIComponent(address)}`;
  return h("a", { href, class: name ? "name" : "id", title: address }, name ?? short(address, ends));
}

export function transactionLink(id, ends = 8) {
  return h("a", { href: `#/tx/${id}`, class: "id", title: id }, short(id, ends));
}

export function blockLink(height) {
  return h("a", { href: `#/block/${height}`, class: "num" }, String(height));
}

export function money(decimal, symbol = chain.status?.native_symbol ?? "") {
  return h("span", { class: "money" }, amount(decimal), " ", h("small", {}, symbol));
}

export function chip(kind, words = kind) {
  return h("span", { class: `chip ${kind}` }, words);
}

/** A panel with a heading. */
export function card(title, props, ...children) {
  const head = typeof title === "string" ? h("h2", {}, title) : title;
  return h("section", { ...props, class: `card ${props?.class ?? ""}` }, head, ...children);
}

/** What stands where there is nothing yet, with what to do about it. */
export function blank(words, ...more) {
  return h("div", { class: "blank" }, h("p", {}, words), ...more);
}

/** A refusal in the node's words, and what to do. */
export function refusal(problem, retry = null) {
  const box = h(
    "div",
    { class: "refusal", role: "alert", data: { code: problem.code ?? "unknown" } },
    h("p", {}, h("strong", {}, sentence(problem.message))),
    problem.advice ? h("p", {}, problem.advice) : null,
  );
  const passing = [0, 408, 409, 429].includes(problem.status) || problem.status >= 500;
  if (problem.code === "token-needed") box.append(tokenForm(retry));
  else if (retry !== null && passing) {
    box.append(h("button", { type: "button", class: "second", onclick: retry }, "Try again"));
  }
  return box;
}

let forms = 0;

function tokenForm(retry) {
  const input = h("input", { type: "password", name: "token", id: `token-${(forms += 1)}`, autocomplete: "off" });
  const form = h(
    "form",
    { class: "inline token" },
    h("label", { for: input.id }, "The node's token"),
    input,
    h("button", { class: "second" }, "Use it"),
  );
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    setToken(input.value);
    retry?.();
  });
  return form;
}

export function sentence(words) {
  return words.charAt(0).toUpperCase() + words.slice(1);
}

/**
 * A table. A heading that ends in "#" makes numbers of its column, one that ends in "~" leaves it
 * out where there is little room.
 */
export function table(columns, rows, props = {}) {
  const heads = columns.map((name) => h("th", { scope: "col", class: columnClass(name) }, name.replace(/[#~]+$/, "")));
  const body = h("tbody", {}, rows.map((cells) => h("tr", {}, cells.map((cell, index) =>
    h("td", { class: columnClass(columns[index]) }, cell)))));
  return h("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": props.label },
    h("table", {}, h("thead", {}, h("tr", {}, heads)), body));
}

function columnClass(name) {
  const classes = [name.includes("#") ? "num" : "", name.includes("~") ? "roomy" : ""];
  return classes.join(" ").trim() || null;
}

/** Terms and what they are. */
export function facts(pairs) {
  return h("dl", { class: "facts" },
    pairs.filter((pair) => pair !== null).map(([name, value]) =>
      h("div", {}, h("dt", {}, name), h("dd", {}, value))));
}
