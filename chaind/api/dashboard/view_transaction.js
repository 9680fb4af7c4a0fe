// One transaction: its way from pending to final, live; who pays whom; what signs it.

import { get } from "./api.js";
import { chain } from "./chain.js";
import { h, Part, show } from "./dom.js";
import { count, millis, moment, short, sum, units } from "./format.js";
import { live } from "./live.js";
import { ago, blank, blockLink, card, chip, copyable, facts, money, refusal, sentence, table, transactionLink } from "./parts.js";
import { action, inputLine, memo, movement, outputLine, witnessWords } from "./transaction_words.js";

const STEPS = [
  ["accepted", "Accepted", "durable on this node, on its way to the others"],
  ["included", "In a block", "a leader took it up, the validators vote"],
  ["final", "Final", "nothing can undo it"],
];
const REACHED = { pending: 1, included: 2, final: 3 };
const ENDED = { rejected: "Rejected", expired: "Expired" };

/** The three steps of a transaction's way. `since` is when it was first seen here, if it was. */
export function way(state, tookMs = null) {
  const reached = REACHED[state.status] ?? 1;
  const ended = ENDED[state.status];
  const steps = STEPS.map(([name, title, words], index) => {
    const done = index < reached;
    const failed = ended !== undefined && index === 1;
    const note = failed ? `${state.reason ?? "it can never apply any more"}` : words;
    const block = done && index > 0 && state.height ? h("span", {}, "block ", blockLink(state.height)) : null;
    const time = index === 2 && done && tookMs !== null ? h("span", {}, `after ${millis(tookMs)}`) : null;
    const kind = failed ? "failed" : done ? "done" : ended ? "off" : index === reached ? "now" : "todo";
    return h("li", { class: kind, "aria-current": kind === "now" ? "step" : null },
      h("strong", {}, failed ? ended : title), h("span", { class: "muted" }, note), block, time);
  });
  return h("ol", { class: "way", data: { status: state.status } }, steps);
}

class TransactionView extends Part {
  #first = performance.now();
  #sawPending = false;
  #way = h("div", {});
  #rest = h("div", { class: "stack" });
  #status = h("span", {});

  start() {
    const id = this.getAttribute("subject");
    this.append(
      h("div", { class: "head" }, h("div", {}, h("p", { class: "kicker" }, "Transaction"),
        h("h1", {}, short(id, 10))), this.#status),
      this.#way, this.#rest,
    );
    this.until(live.subscribe(`tx:${id}`, (message) => this.#hear(message)));
    this.#load();
  }

  #hear(message) {
    if (message.type === "resync") {
      this.#load();
      return;
    }
    const state = message.data;
    if (state.status === "unknown") return;
    this.#sawPending ||= state.status === "pending" || state.status === "included";
    this.#tell(state);
    if (state.status === "final" || state.status in ENDED) this.#load();
  }

  #tell(state) {
    const took = this.#sawPending && state.status === "final" ? performance.now() - this.#first : null;
    show(this.#status, chip(state.status));
    show(this.#way, card("Its way", {}, way(state, took)));
  }

  async #load() {
    const id = this.getAttribute("subject");
    let info;
    try {
      info = await get(`/api/v1/transactions/${id}`);
    } catch (problem) {
      show(this.#rest, refusal(problem, () => this.#load()));
      return;
    }
    this.#tell(info);
    const body = info.transaction;
    if (body === null) {
      show(this.#rest, card("What it was", {}, blank(info.by === null
        ? "This node no longer keeps what it said."
        : h("span", {}, "Another one took its place: ", transactionLink(info.by)))));
      return;
    }
    show(this.#rest, this.#flow(info, body), this.#facts(info, body), this.#witnesses(body), this.#raw(info));
  }

  #flow(info, body) {
    const ins = table(["From", "Takes#"], body.inputs.map(inputLine), { label: "Inputs" });
    const outs = table(["To", "Gives#"], body.outputs.map(outputLine), { label: "Outputs" });
    const words = h("p", { class: "lead" }, movement(body));
    return card("Who pays whom", {}, words, h("div", { class: "flow" },
      body.inputs.length ? ins : blank("No inputs"),
      h("span", { class: "big-arrow", "aria-hidden": "true" }, "→"),
      body.outputs.length ? outs : blank(`No outputs: it ${action(body.action)}`)));
  }

  #facts(info, body) {
    const written = memo(body.memo);
    return card("Facts", {}, facts([
      ["Id", copyable(info.tx_id, "id")],
      info.time_ms === null ? null : ["Block time", h("span", {}, ago(info.time_ms), " · ", moment(info.time_ms))],
      info.height === null ? null : ["Place", h("span", {}, `number ${info.place} of block `, blockLink(info.height))],
      info.status === "final" ? ["Confirmations", count(info.confirmations)] : null,
      ["Fee", this.#fee(body)],
      written === null ? null : ["Memo", written],
      body.valid_until === null ? null : ["Valid until", moment(body.valid_until)],
      body.lease === null ? null : ["Pays once", h("span", {}, "lease ",
        copyable(body.lease.id, "lease"), h("small", {}, " another transaction with it is refused"))],
      info.refund_of === null ? null : ["Gives back", h("span", {}, "some of ", transactionLink(info.refund_of.tx_id))],
      info.refunds === null || info.refunds.length === 0 ? null
        : ["Given back", h("span", {}, info.refunds.map((each) => [transactionLink(each.tx_id, 5), " "]))],
      body.action === null ? null : ["Also", sentence(action(body.action))],
    ]));
  }

  /** What goes in and not out, where all inputs say how much they are. */
  #fee(body) {
    const native = chain.status?.native_symbol ?? "COIN";
    if (body.inputs.some((each) => each.type === "coin")) return "what its coins are worth beyond its outputs";
    const ofNative = (list) => list.filter((each) => (each.asset ?? native) === native).map((each) => each.amount);
    const burnt = body.action?.type === "burn" && body.action.asset === native ? [body.action.amount] : [];
    const paid = units(sum(ofNative(body.inputs))) - units(sum([...ofNative(body.outputs), ...burnt]));
    return paid === 0n ? "none" : money(sum([...ofNative(body.inputs),
      ...[...ofNative(body.outputs), ...burnt].map((each) => `-${each}`)]));
  }

  #witnesses(body) {
    return card("What signs it", {}, body.witnesses.map(witnessWords));
  }

  #raw(info) {
    return h("details", { class: "card" }, h("summary", {}, "As the API gives it"),
      h("pre", { tabindex: 0 }, JSON.stringify(info, null, 2)));
  }
}

customElements.define("transaction-view", TransactionView);
