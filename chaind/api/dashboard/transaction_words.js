// Transactions and policies in words.

import { h } from "./dom.js";
import { count, decoded, moment, plural, short } from "./format.js";
import { addressLink, copyable, money, transactionLink } from "./parts.js";

/** "alice pays bob 12.5 COIN", as elements, from the JSON form of a transaction. */
export function movement(transaction) {
  const payers = [...new Set(transaction.inputs.filter((each) => each.type === "account").map((each) => each.address))];
  const coins = transaction.inputs.length - transaction.inputs.filter((each) => each.type === "account").length;
  const others = transaction.outputs.filter((each) => !payers.includes(each.address));
  const shown = others.length > 0 ? others : transaction.outputs;
  const from = payers.length > 0 ? addressLink(payers[0])
    : coins > 0 ? `${count(coins)} ${coins === 1 ? "coin" : "coins"}` : "nobody";
  if (shown.length === 0) return h("span", {}, from, " ", action(transaction.action));
  const rest = shown.length > 1 ? ` and ${shown.length - 1} more` : "";
  return h("span", { class: "movement" }, from, h("span", { class: "arrow", "aria-label": "pays" }, " → "),
    addressLink(shown[0].address), " ", money(shown[0].amount, shown[0].asset), rest,
    transaction.action === null ? "" : ` · ${action(transaction.action)}`);
}

/** What else a transaction does. */
export function action(form) {
  switch (form?.type) {
    case "issue":
      return `issues ${form.amount} ${form.asset}${form.mintable ? ", more may follow" : ""}`;
    case "mint":
      return `mints ${form.amount} ${form.asset}`;
    case "burn":
      return `burns ${form.amount} ${form.asset}`;
    case undefined:
      return "pays nobody";
    default:
      return form.type;
  }
}

export function memo(hex) {
  if (hex === "") return null;
  return decoded(hex) ?? h("code", {}, hex);
}

export function inputLine(input) {
  if (input.type === "account") {
    return [addressLink(input.address), money(input.amount, input.asset)];
  }
  return [h("span", {}, `coin ${input.output_index} of `, transactionLink(input.tx_id)), "whole"];
}

export function outputLine(output) {
  return [
    h("span", {}, addressLink(output.address), output.type === "coin" ? h("small", {}, " as a coin") : null),
    money(output.amount, output.asset),
  ];
}

/** What a witness shows, in words. */
export function witnessWords(witness) {
  if (witness.type === "key") {
    return h("p", {}, "Signed with the key ", copyable(witness.public_key, "public key"));
  }
  const [signers, secrets] = [witness.signatures.length, witness.preimages.length];
  return h("div", { class: "policy" },
    h("p", {}, `Spent under a policy, with ${plural(signers, "signature")}`
      + `${secrets ? ` and ${plural(secrets, "revealed secret")}` : ""}:`),
    policyWords(witness.policy),
    h("p", { class: "muted" }, h("code", {}, witness.policy)));
}

/** A policy as nested sentences: an element. Raises where it is no policy. */
export function policyWords(source) {
  return branch(parsePolicy(source));
}

/** A policy's text as {name, parts}, parts being texts or policies. */
export function parsePolicy(source) {
  const tokens = source.match(/[a-z]+\d*(?=\s*\()|[0-9a-fA-F]+|[(),]/g) ?? [];
  let at = 0;
  const term = () => {
    const name = tokens[at++];
    if (tokens[at] !== "(") return name;
    const parts = [];
    do {
      at += 1;
      parts.push(term());
    } while (tokens[at] === ",");
    at += 1;
    return { name, parts };
  };
  return term();
}

const LEAVES = {
  pk: ([key]) => ["a signature of ", keyText(key)],
  after: ([time]) => [`chain time has reached ${moment(Number(time))}`],
  older: ([blocks]) => [`the coin is at least ${plural(Number(blocks), "block")} old`],
  sha256: ([hash]) => ["the secret is revealed whose SHA-256 is ", h("code", { title: hash }, short(hash, 8))],
};

function branch(policy) {
  const { name, parts } = policy;
  if (name in LEAVES) return h("span", { class: "leaf" }, LEAVES[name](parts));
  const heading = {
    and: "All of",
    or: "One of",
    multi: `${parts[0]} signatures of these ${parts.length - 1} keys`,
    thresh: `At least ${parts[0]} of these ${parts.length - 1}`,
  }[name];
  const inner = name === "multi" ? parts.slice(1).map((key) => h("li", {}, keyText(key)))
    : (name === "thresh" ? parts.slice(1) : parts).map((each) => h("li", {}, branch(each)));
  return h("div", { class: "branch" }, h("strong", {}, heading), h("ul", {}, inner));
}

function keyText(key) {
  return h("code", { title: key }, short(key, 8));
}
