// One invoice: what is asked for, as text and as a QR code, and what has come.

import { get, post } from "./api.js";
import { chain } from "./chain.js";
import { h, Part, show, text } from "./dom.js";
import { amount, moment, span, sum } from "./format.js";
import { live } from "./live.js";
import { addressLink, ago, blank, blockLink, card, chip, copyable, facts, money, refusal, table, transactionLink } from "./parts.js";
import { field, textInput } from "./view_payments.js";
import "./qr_code.js";

const OPEN = ["unpaid", "partial"];
const WORDS = {
  unpaid: "Nothing has come yet. This page changes by itself when it does.",
  partial: "Part of it has come.",
  paid: "Paid in full.",
  overpaid: "Paid, and more than was asked for.",
  expired: "Its time has passed: what comes now is late.",
  cancelled: "Cancelled: what comes now is late.",
};

class InvoiceView extends Part {
  #state = h("div", { class: "inner" });
  #outcome = h("div", { class: "outcome", "aria-live": "polite" });
  #invoice = null;

  start() {
    this.append(h("h1", {}, "Invoice"), h("p", { class: "muted" }, "Loading …"));
    this.#load();
  }

  async #load() {
    let invoice;
    try {
      invoice = await get(`/api/v1/invoices/${encodeURIComponent(this.getAttribute("subject"))}`);
    } catch (problem) {
      show(this, h("h1", {}, "Invoice"), refusal(problem, () => this.#load()));
      return;
    }
    show(this,
      h("div", { class: "head" },
        h("div", {}, h("p", { class: "kicker" }, "Invoice"), h("h1", {}, invoice.memo || invoice.id)),
        h("a", { class: "button second", href: "#/payments" }, "All payments")),
      h("div", { class: "columns" },
        card("To be paid", { class: "narrow qr upper" }, h("p", { class: "balance" }, money(invoice.amount, invoice.asset)),
          h("qr-code", { text: invoice.uri, label: "The invoice as a QR code" }), copyable(invoice.uri, "payment link")),
        h("div", { class: "stack wide" }, card("What has come", {}, this.#state),
          card("Pay it from here", { class: "settle" }, this.#payForm(), this.#outcome),
          card("Facts", {}, facts([
            ["To", addressLink(invoice.to)],
            ["Reference, as memo of the payment", copyable(invoice.reference, "reference", { inFull: true })],
            ["Made", h("span", {}, ago(invoice.created_ms), " · ", moment(invoice.created_ms))],
            ["Valid until", moment(invoice.expires_ms)],
          ])))));
    this.#tell(invoice);
    this.until(live.subscribe(`account:${invoice.to}`, () => this.#refresh()));
  }

  async #refresh() {
    try {
      this.#tell(await get(`/api/v1/invoices/${encodeURIComponent(this.getAttribute("subject"))}`));
    } catch (problem) {
      show(this.#outcome, refusal(problem, () => this.#refresh()));
    }
  }

  #tell(invoice) {
    this.#invoice = invoice;
    const left = invoice.expires_ms - chain.now();
    const open = OPEN.includes(invoice.status);
    show(this.#state,
      h("p", { class: "state", data: { status: invoice.status } }, chip(invoice.status), ` ${WORDS[invoice.status]}`,
        open ? h("span", { class: "muted" }, ` Valid for ${span(left)} more.`) : ""),
      h("p", {}, money(invoice.paid, invoice.asset), ` of ${amount(invoice.amount)} came on time`,
        invoice.late === "0" ? "." : `, ${amount(invoice.late)} too late.`),
      invoice.payments.length === 0
        ? blank("Scan the code with a wallet, or pay from an account of this node below.")
        : table(["Transaction", "Block", "When", "Amount#"], invoice.payments.map((each) => [
          transactionLink(each.tx_id), blockLink(each.height), ago(each.time_ms), money(each.amount, invoice.asset),
        ]), { label: "Payments of the invoice" }),
      open ? h("button", { type: "button", class: "second", onclick: () => this.#cancel() }, "Cancel the invoice") : null);
    const due = missing(invoice);
    text(this.querySelector(".settle button"), `Pay ${amount(due)} ${invoice.asset}`);
    const settle = this.querySelector(".settle");
    settle.hidden = !open && this.#outcome.childElementCount === 0;
    settle.querySelector("form").hidden = !open;
  }

  async #cancel() {
    try {
      this.#tell((await post(`/api/v1/invoices/${this.getAttribute("subject")}/cancel`)).body);
    } catch (problem) {
      show(this.#outcome, refusal(problem));
    }
  }

  #payForm() {
    const names = h("datalist", { id: "payers" }, chain.accounts.map((each) => h("option", { value: each.name })));
    const from = textInput("from", { list: "payers", placeholder: "alice", required: true });
    const form = h("form", { class: "form" }, names, h("div", { class: "row" }, field("From", from)),
      h("div", {}, h("button", {}, "Pay")));
    form.addEventListener("submit", async (event) => {
      event.preventDefault();
      const invoice = this.#invoice;
      const due = missing(invoice);
      const body = { from: from.value.trim(), to: invoice.to, amount: due, asset: invoice.asset, memo: invoice.reference };
      try {
        // The invoice's own key: from one account the same rest can be paid once only.
        const answer = await post("/api/v1/transfers", body, { "Idempotency-Key": `invoice ${invoice.id} ${due}` });
        show(this.#outcome, h("div", { class: "success" }, h("p", {}, h("strong", {}, answer.body.message), " ",
          transactionLink(answer.body.tx_id))));
        await this.#refresh();
      } catch (problem) {
        show(this.#outcome, refusal(problem));
      }
    });
    return form;
  }
}

/** What is still to come. */
function missing(invoice) {
  return sum([invoice.amount, `-${invoice.paid}`]);
}

customElements.define("invoice-view", InvoiceView);
