// The explorer's door: the search, the newest blocks and payments, the accounts with names.

import { get } from "./api.js";
import { chain } from "./chain.js";
import { h, Part, paced, show } from "./dom.js";
import { count, plural } from "./format.js";
import { addressLink, ago, blank, blockLink, card, copyable, refusal, table, transactionLink } from "./parts.js";

const PACE_MS = 500;
const BLOCKS_SHOWN = 14;
const PAYMENTS_SHOWN = 12;

const VIEWS = { block: "block", transaction: "tx", account: "address" };

class ExplorerView extends Part {
  start() {
    const input = h("input", { id: "find", type: "search", autocomplete: "off", spellcheck: "false",
      placeholder: "Height, hash, transaction, address or name" });
    const form = h("form", { class: "find" },
      h("label", { for: "find", class: "unseen" }, "Search"), input, h("button", {}, "Search"));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const wanted = input.value.trim();
      if (wanted) location.hash = `#/find/${encodeURIComponent(wanted)}`;
    });
    this.append(
      h("h1", {}, "Explorer"),
      card("Find anything on this chain", { class: "hero" }, form,
        h("div", { class: "answer" }),
        h("p", { class: "muted" }, "A number is a height; 64 hex digits are a block or a transaction; "
          + "anything else an address or a name.")),
      h("div", { class: "columns" },
        card("Newest blocks", {}, h("div", { class: "blocks" })),
        h("div", { class: "stack" },
          card("Newest payments", {}, h("div", { class: "payments inner" })),
          card("Accounts with a name here", { class: "grow" }, h("div", { class: "named inner" })))),
    );
    const update = paced(() => this.#update(), PACE_MS);
    for (const name of ["blocks", "status"]) this.on(chain, name, update);
    this.#update();
    if (this.getAttribute("word") === "find") this.#find(this.getAttribute("subject"), input);
  }

  async #find(wanted, input) {
    input.value = wanted;
    const answer = this.querySelector(".answer");
    show(answer, h("p", { class: "muted" }, `Looking for ${wanted} …`));
    try {
      const { matches, height } = await get(`/api/v1/search/${encodeURIComponent(wanted)}`);
      if (matches.length > 0) {
        location.replace(`#/${VIEWS[matches[0].kind]}/${matches[0].ref}`);
        return;
      }
      show(answer, h("div", { class: "refusal", role: "alert" },
        h("p", {}, h("strong", {}, `Nothing on this chain is called ${wanted}.`)),
        h("p", {}, `Blocks go up to ${height}. A transaction is known once it was accepted; an address is `
          + "checked for typing errors, so look at it again; names are those below.")));
    } catch (problem) {
      show(answer, refusal(problem, () => this.#find(wanted, input)));
    }
  }

  #update() {
    const blocks = chain.blocks.slice(0, BLOCKS_SHOWN);
    show(this.querySelector(".blocks"), blocks.length === 0
      ? blank("No block is final yet.")
      : table(["Block", "Made", "Payments#", "By", "Hash~"], blocks.map((block) => [
        blockLink(block.height), ago(block.time_ms), count(block.transaction_count),
        block.proposer === null ? "–" : addressLink(block.proposer), copyable(block.hash, "hash"),
      ]), { label: "Newest blocks" }));
    const payments = chain.blocks.flatMap((block) => block.tx_ids.map((id) => [id, block]));
    show(this.querySelector(".payments"), payments.length === 0
      ? blank("The newest blocks are empty. ", h("a", { href: "#/payments" }, "Make a payment"), " and find it here.")
      : table(["Transaction", "Block", "Made"], payments.slice(0, PAYMENTS_SHOWN).map(([id, block]) => [
        transactionLink(id, 10), blockLink(block.height), ago(block.time_ms),
      ]), { label: "Newest payments" }));
    const named = this.querySelector(".named");
    if (named.childElementCount && chain.accounts.length === 0) return;
    show(named, chain.accounts.length === 0
      ? blank("This node keeps nobody's keys. Search for an address.")
      : h("p", { class: "chips" }, chain.accounts.map((each) =>
        h("a", { class: "pill", href: `#/address/${each.address}` }, each.name))),
    chain.accounts.length === 0 ? null
      : h("p", { class: "muted" }, `${plural(chain.accounts.length, "account")} whose keys this node keeps.`));
  }
}

customElements.define("explorer-view", ExplorerView);
