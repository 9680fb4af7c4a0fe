// Payments: pay once and see it become final, the faucet, invoices, who has what, what waits.

import { drawKey, get, post } from "./api.js";
import { chain } from "./chain.js";
import { h, Part, paced, show } from "./dom.js";
import { count, millis, plural } from "./format.js";
import { live } from "./live.js";
import { addressLink, ago, blank, card, chip, money, refusal, table, transactionLink } from "./parts.js";
import { movement } from "./transaction_words.js";
import { way } from "./view_transaction.js";

const PACE_MS = 1000;
const PENDING_SHOWN = 25;
const INVOICES_SHOWN = 8;
const ACCOUNTS_SHOWN = 12;
const NAMES = "payment-names";

let made = 0;

/** A labelled field. */
export function field(label, input) {
  input.id ||= `field-${(made += 1)}`;
  return h("div", { class: "field" }, h("label", { for: input.id }, label), input);
}

export function textInput(name, props = {}) {
  return h("input", { name, autocomplete: "off", spellcheck: "false", ...props });
}

export function amountInput() {
  return textInput("amount", { inputmode: "decimal", placeholder: "12.5", required: true,
    pattern: "[0-9]+(\\.[0-9]{1,8})?", title: "A number with at most 8 decimals" });
}

/** Run `work` while the form's button says that it is under way. */
export async function busy(form, work) {
  const button = form.querySelector("button:not([type])");
  button.disabled = true;
  form.setAttribute("aria-busy", "true");
  try {
    return await work();
  } finally {
    button.disabled = false;
    form.removeAttribute("aria-busy");
  }
}

/** The fields of a form, by name. */
export function values(form) {
  return Object.fromEntries(new FormData(form).entries());
}

class PaymentsView extends Part {
  #key = drawKey();
  #transfer = h("div", { class: "outcome", "aria-live": "polite" });
  #gift = h("div", { class: "outcome", "aria-live": "polite" });
  #names = h("datalist", { id: NAMES });
  #asset = h("select", { name: "asset" });

  start() {
    this.append(
      h("h1", {}, "Payments"), this.#names,
      h("div", { class: "columns" },
        h("div", { class: "stack wide" },
          card("Pay", { class: "pay" }, this.#transferForm(), this.#transfer),
          card("Accounts", { class: "grow" }, h("div", { class: "accounts" }))),
        h("div", { class: "stack narrow" },
          card("Faucet", { class: "faucet" }, this.#faucetForm(), this.#gift),
          card("Ask for a payment", { class: "ask" }, this.#invoiceForm()),
          card("Invoices", { class: "grow" }, h("div", { class: "invoices inner" }))),
        card("Waiting for a block", { class: "full" }, h("div", { class: "pending inner" }))),
    );
    const balances = paced(() => this.#showAccounts(), PACE_MS);
    const waiting = paced(() => this.#showPending(), PACE_MS);
    const invoices = paced(() => this.#showInvoices(), PACE_MS);
    this.until(live.subscribe("mempool", (message) => {
      waiting();
      if (message.type === "included" && message.data.transaction_count === 0) return;
      balances();
      invoices();
    }));
    this.on(chain, "status", () => this.#fillChoices());
    this.#fillChoices();
    balances();
    waiting();
    invoices();
  }

  #fillChoices() {
    show(this.#names, chain.accounts.map((each) => h("option", { value: each.name })));
    show(this.#asset, chain.assets.map((each) => h("option", { value: each.symbol }, each.symbol)));
  }

  #transferForm() {
    const key = h("code", { class: "key" }, this.#key);
    const to = textInput("to", { list: NAMES, placeholder: "bob, or an address", required: true,
      value: this.getAttribute("subject") || null });
    const form = h("form", { class: "form", id: "transfer" },
      h("div", { class: "row" },
        field("From", textInput("from", { list: NAMES, placeholder: "alice", required: true })), field("To", to)),
      h("div", { class: "row" }, field("Amount", amountInput()), field("Asset", this.#asset)),
      field("Memo, for all to read", textInput("memo", { placeholder: "optional", maxlength: 256 })),
      h("div", { class: "head" }, h("button", {}, "Pay"),
        h("p", { class: "muted once" }, "Pays once, however often it is sent: ", key)));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#pay(form, key);
    });
    // Another payment needs another key; the same one sent again must keep it.
    form.addEventListener("input", () => this.#newKey(key));
    return form;
  }

  #newKey(shown) {
    this.#key = drawKey();
    shown.textContent = this.#key;
  }

  async #pay(form, key) {
    const body = values(form);
    const used = this.#key;
    const send = async () => {
      show(this.#transfer, way({ status: "pending" }));
      const begun = performance.now();
      try {
        const answer = await busy(form, () => post("/api/v1/transfers", body, { "Idempotency-Key": used }));
        this.#paid(answer, performance.now() - begun, used, send);
        if (this.#key === used) this.#newKey(key);
      } catch (problem) {
        const under = problem.values?.txid ? h("p", {}, "Its transaction: ", transactionLink(problem.values.txid)) : null;
        const safe = problem.status === 0 || problem.status === 409 || problem.status >= 500
          ? h("p", { class: "muted" }, "Trying again is safe: the key is the same, so it is paid once at most.") : null;
        show(this.#transfer, refusal(problem, send), under, safe);
      }
    };
    await send();
  }

  #paid(answer, tookMs, key, again) {
    const { body, headers } = answer;
    const repeated = headers.get("X-Idempotency-Hit") === "true";
    const words = repeated ? "This was paid before: the same answer again, and nothing more was taken."
      : `Final after ${millis(tookMs)}.`;
    show(this.#transfer, h("div", { class: "success", data: { tx: body.tx_id, hit: String(repeated) } },
      h("p", {}, h("strong", {}, body.message), ` ${words}`),
      way({ status: "final" }, repeated ? null : tookMs),
      h("p", {}, money(body.amount, this.#asset.value), " · ", transactionLink(body.tx_id)),
      h("button", { type: "button", class: "second again", title: `Idempotency-Key: ${key}`, onclick: again },
        "Send the same again")));
  }

  #faucetForm() {
    const form = h("form", { class: "form", id: "faucet" },
      h("div", { class: "row" },
        field("To", textInput("to", { list: NAMES, placeholder: "alice, or an address", required: true })),
        field("Amount", amountInput())),
      h("div", {}, h("button", {}, "Get coins")));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const send = async () => {
        try {
          const { body } = await busy(form, () => post("/api/v1/faucet", values(form)));
          show(this.#gift, h("div", { class: "success", data: { tx: body.tx_id } },
            h("p", {}, h("strong", {}, body.user.length > 20 ? "It" : body.user), " has now ", money(body.balance), "."),
            transactionLink(body.tx_id)));
        } catch (problem) {
          show(this.#gift, refusal(problem, send));
        }
      };
      await send();
    });
    return form;
  }

  #invoiceForm() {
    const outcome = h("div", { class: "outcome", "aria-live": "polite" });
    const life = h("select", { name: "life" },
      [["3600000", "1 hour"], ["86400000", "1 day"], ["604800000", "1 week"]]
        .map(([value, words]) => h("option", { value }, words)));
    const form = h("form", { class: "form", id: "invoice" },
      h("div", { class: "row" },
        field("To", textInput("to", { list: NAMES, placeholder: "bob", required: true })),
        field("Amount", amountInput())),
      h("div", { class: "row" }, field("For", textInput("memo", { placeholder: "two books" })), field("Valid for", life)),
      h("div", {}, h("button", {}, "Make an invoice")), outcome);
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const { life: expires, ...order } = values(form);
      try {
        const { body } = await busy(form, () => post("/api/v1/invoices", { ...order, expires_in_ms: Number(expires) }));
        location.hash = `#/invoice/${body.id}`;
      } catch (problem) {
        show(outcome, refusal(problem));
      }
    });
    return form;
  }

  async #showAccounts() {
    const host = this.querySelector(".accounts");
    if (chain.accounts.length === 0) {
      show(host, blank("This node keeps nobody's keys, so it cannot pay for anybody: sign payments with ",
        h("code", {}, "chaind wallet"), ". On a devnet, or with [custody] enabled, names stand here."));
      return;
    }
    const shown = chain.accounts.slice(0, ACCOUNTS_SHOWN);
    try {
      const balances = await Promise.all(shown.map((each) => get(`/api/v1/accounts/${each.address}`)));
      show(host, table(["Account", "Address~", "Balance#"], balances.map((balance, index) => [
        h("a", { class: "name", href: `#/address/${balance.address}` }, shown[index].name),
        h("span", { class: "id muted", title: balance.address }, `${balance.address.slice(0, 14)}…`),
        money(balance.balance)]), { label: "Accounts" }));
    } catch (problem) {
      show(host, refusal(problem, () => this.#showAccounts()));
    }
  }

  async #showPending() {
    const host = this.querySelector(".pending");
    try {
      const page = await get(`/api/v1/pending?limit=${PENDING_SHOWN}`);
      if (page.count === 0) {
        show(host, blank("Nothing waits: the newest block took everything along. A payment stands here from the "
          + "moment it is accepted until it is in a block."));
        return;
      }
      const rows = page.transactions.map((each) => [transactionLink(each.tx_id), movement(each.transaction),
        each.fee === "0" ? h("span", { class: "muted" }, "none") : money(each.fee), ago(each.received_ms)]);
      show(host, h("p", {}, `${plural(page.count, "payment waits", "payments wait")}.`),
        table(["Transaction", "What", "Fee#", "Came"], rows, { label: "Waiting payments" }));
    } catch (problem) {
      show(host, refusal(problem, () => this.#showPending()));
    }
  }

  async #showInvoices() {
    const host = this.querySelector(".invoices");
    try {
      const page = await get(`/api/v1/invoices?limit=${INVOICES_SHOWN}`);
      show(host, page.count === 0
        ? blank("No invoices yet. An invoice asks for a payment and knows when it has come.")
        : table(["Invoice", "To", "Amount#", "State"], page.invoices.map((each) => [
          h("a", { href: `#/invoice/${each.id}`, class: "id" }, each.memo || each.id.slice(0, 8)),
          addressLink(each.to), money(each.amount, each.asset), chip(each.status)]), { label: "Invoices" }),
      page.next_cursor === null ? null : h("p", { class: "muted" }, `The newest ${count(page.count)}.`));
    } catch (problem) {
      show(host, refusal(problem, () => this.#showInvoices()));
    }
  }
}

customElements.define("payments-view", PaymentsView);
