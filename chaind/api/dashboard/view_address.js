// One address: what it holds, its statement, its coins, the rule that guards it.

import { get } from "./api.js";
import { chain } from "./chain.js";
import { h, Part, paced, show, svg } from "./dom.js";
import { amount, count, plural, short, units } from "./format.js";
import { live } from "./live.js";
import { addressLink, ago, blank, blockLink, card, copyable, facts, money, refusal, table, transactionLink } from "./parts.js";
import { policyWords } from "./transaction_words.js";
import "./qr_code.js";

const PACE_MS = 500;
const ENTRIES = 100;
const COINS = 50;
const SPANS = [["200", "last 200 blocks"], ["5000", "last 5,000 blocks"], ["", "everything"]];
const POLICY_BYTES = 32;

class AddressView extends Part {
  #who = null;
  #span = "5000";
  #ended = null;

  start() {
    this.append(h("h1", {}, this.getAttribute("subject")), h("p", { class: "muted" }, "Loading …"));
    this.until(() => this.#ended?.());
    this.#load();
  }

  async #load() {
    const subject = this.getAttribute("subject");
    let balance;
    try {
      balance = await get(`/api/v1/accounts/${encodeURIComponent(subject)}`);
    } catch (problem) {
      show(this, h("h1", {}, subject), refusal(problem, () => this.#load()));
      return;
    }
    this.#who = balance.address;
    this.#draw(balance);
    const refresh = paced(() => this.#refresh(), PACE_MS);
    this.#ended = live.subscribe(`account:${this.#who}`, refresh);
    this.#refresh();
  }

  #draw(balance) {
    const name = chain.nameOf(balance.address) ?? chain.validatorOf(balance.address)?.name;
    const spans = h("select", { "aria-label": "Period of the statement" },
      SPANS.map(([value, words]) => h("option", { value, selected: value === this.#span }, words)));
    spans.addEventListener("change", () => {
      this.#span = spans.value;
      this.#refresh();
    });
    show(this,
      h("div", { class: "head" },
        h("div", {}, h("p", { class: "kicker" }, name === undefined || name === null ? "Address" : "Address of"),
          h("h1", {}, name ?? short(balance.address, 10)), copyable(balance.address, "address", { inFull: true })),
        h("div", { class: "actions" },
          h("a", { class: "button", href: `#/payments/${encodeURIComponent(name ?? balance.address)}` }, "Pay this address"))),
      h("div", { class: "columns" },
        h("div", { class: "stack wide" },
          card("Holds", { class: "hero" }, h("div", { class: "holds inner" })),
          card("Who may spend", { class: "grow" }, h("div", { class: "rule" }))),
        card("To be paid here", { class: "narrow qr" }, h("qr-code", { text: `chaind:${balance.address}`,
          label: "The address as a QR code" })),
        card(h("div", { class: "head" }, h("h2", {}, "Statement"), spans), { class: "full" },
          h("div", { class: "statement inner" })),
        card("Coins", { class: "full" }, h("div", { class: "coins inner" }))));
  }

  async #refresh() {
    if (!this.isConnected) return;
    const base = `/api/v1/accounts/${this.#who}`;
    const from = this.#span === "" ? 0 : Math.max(0, chain.height - Number(this.#span));
    try {
      const [balance, history, coins] = await Promise.all([
        get(base), get(`${base}/transactions?limit=20`), get(`${base}/coins?limit=${COINS}`),
      ]);
      this.#showHolds(balance);
      this.#showCoins(coins, balance);
      await Promise.all([this.#showStatement(base, from), this.#showRule(history)]);
    } catch (problem) {
      show(this.querySelector(".statement"), refusal(problem, () => this.#refresh()));
    }
  }

  #showHolds(balance) {
    const native = chain.status?.native_symbol ?? "";
    const others = Object.entries(balance.accounts).filter(([symbol]) => symbol !== native);
    show(this.querySelector(".holds"),
      h("p", { class: "balance", data: { units: String(units(balance.balance)) } }, money(balance.balance)),
      facts([
        ["In the account", money(balance.accounts[native] ?? "0")],
        ["In coins", h("span", {}, money(balance.coins), ` · ${plural(balance.utxo_count, "coin")}`)],
        ...others.map(([symbol, held]) => [symbol, money(held, symbol)]),
        ["Last active", balance.last_activity_block === null ? "never"
          : h("span", {}, "block ", blockLink(balance.last_activity_block))],
      ]),
      balance.last_activity_block === null
        ? blank("Nobody has paid this address yet. ", h("a", { href: `#/payments/${this.#who}` }, "Pay it"),
          ", and it appears here at once.") : null);
  }

  async #showStatement(base, from) {
    const query = `from_height=${from}&limit=${ENTRIES}`;
    let page = await get(`${base}/statement?${query}`);
    const entries = [...page.entries];
    const opening = page.opening_balance;
    while (page.next_cursor !== null && entries.length < 5 * ENTRIES) {
      page = await get(`${base}/statement?${query}&cursor=${page.next_cursor}`);
      entries.push(...page.entries);
    }
    const host = this.querySelector(".statement");
    if (host === null) return; // somebody went on meanwhile
    if (entries.length === 0) {
      show(host, blank(`Nothing moved here between block ${page.from_height} and ${page.to_height}. `
        + `The balance is ${amount(page.closing_balance)}.`));
      return;
    }
    const rows = entries.slice().reverse().map((each) => [
      h("span", {}, blockLink(each.height)),
      ago(each.time_ms),
      each.tx_id === null ? h("span", { class: "muted" }, each.kind) : transactionLink(each.tx_id, 6),
      each.counterparties.length === 0 ? "–" : addressLink(each.counterparties[0]),
      h("span", { class: "memo", title: each.memo ?? each.memo_hex }, each.memo ?? each.memo_hex),
      h("span", { class: each.change.startsWith("-") ? "money out" : "money in" },
        each.change.startsWith("-") ? amount(each.change) : `+${amount(each.change)}`),
      amount(each.balance),
    ]);
    rows.push(["", "", h("span", { class: "muted" }, "opening balance"), "", "", "", amount(opening)]);
    show(host,
      h("div", { class: "head" },
        h("p", { class: "muted" }, `${plural(entries.length, "entry", "entries")}, from ${amount(opening)} to `
          + `${amount(page.closing_balance)}${page.next_cursor === null ? "" : "; older ones first, the rest is in the CSV file"}`),
        h("a", { href: `${base}/statement?format=csv&${query}`, download: "statement.csv" }, "Save as CSV")),
      this.#curve([opening, ...entries.map((each) => each.balance)]),
      table(["Block~", "When", "Transaction", "With", "Memo~", "Change#", "Balance#"], rows, { label: "Statement" }));
  }

  /** The balance as steps, from the first entry to the last. */
  #curve(balances) {
    const values = balances.map((each) => Number(units(each)));
    const [low, high] = [Math.min(...values), Math.max(...values)];
    const y = (value) => (high === low ? 30 : 55 - ((value - low) / (high - low)) * 50).toFixed(1);
    const step = 600 / values.length;
    const line = values.map((value, index) => `${index ? "V" : "M0 "}${y(value)}H${((index + 1) * step).toFixed(1)}`).join("");
    return svg("svg", { class: "curve", viewBox: "0 0 600 60", preserveAspectRatio: "none", role: "img",
      "aria-label": `The balance went from ${amount(balances[0])} to ${amount(balances.at(-1))}` },
    svg("path", { class: "area", d: `${line}V60H0Z` }), svg("path", { class: "line", d: line }));
  }

  #showCoins(coins, balance) {
    show(this.querySelector(".coins"), coins.count === 0
      ? blank("No coins: what this address holds is in its account.")
      : table(["Coin", "Block", "Amount#"], coins.utxos.map((coin) => [
        h("span", {}, transactionLink(coin.tx_id), ` : ${coin.output_index}`),
        coin.height === 0 ? "genesis" : blockLink(coin.height), money(coin.amount)]), { label: "Coins" }),
    coins.next_cursor === null ? null
      : h("p", { class: "muted" }, `The first ${count(coins.count)} of ${count(balance.utxo_count)}.`));
  }

  /** A policy is known once it was spent from: its hash alone is the address. */
  async #showRule(history) {
    const host = this.querySelector(".rule");
    if (host === null) return;
    if (addressBytes(this.#who) !== POLICY_BYTES) {
      show(host, h("p", {}, "Whoever has the private key of this address: one signature is enough."));
      return;
    }
    for (const entry of history.transactions.filter((each) => each.direction !== "received")) {
      const { transaction } = await get(`/api/v1/transactions/${entry.tx_id}`);
      const policies = transaction?.witnesses.filter((each) => each.type === "policy") ?? [];
      if (policies.length === 1 && transaction.witnesses.length === 1) {
        show(host, policyWords(policies[0].policy));
        return;
      }
    }
    show(host, blank("A policy guards this address. What it says is shown with the first payment from here: "
      + "until then only its hash is on the chain."));
  }
}

/** How many bytes a Bech32 address holds; Base58 ones hold 20. */
function addressBytes(address) {
  const data = address.slice(address.lastIndexOf("1") + 1);
  const bech32 = /^[a-z0-9]+$/.test(address) && address.includes("1");
  return bech32 ? Math.floor(((data.length - 7) * 5) / 8) : 20;
}

customElements.define("address-view", AddressView);
