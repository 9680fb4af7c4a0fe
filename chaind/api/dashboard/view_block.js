// One block: what it says, who vouches for it, what is in it.

import { get } from "./api.js";
import { chain } from "./chain.js";
import { h, Part, show } from "./dom.js";
import { bytes, count, moment, plural } from "./format.js";
import { addressLink, ago, blank, card, chip, copyable, facts, refusal, table, transactionLink } from "./parts.js";
import { movement } from "./transaction_words.js";

const PAGE = 50;
const COLUMNS = ["Transaction", "What", "Size#"];
const PROOFS = {
  FAST: "one round of votes of (nearly) all validators",
  FINAL: "two rounds of votes of a quorum",
  NOTAR: "a quorum's votes",
};

class BlockView extends Part {
  start() {
    this.append(h("h1", {}, `Block ${this.getAttribute("subject")}`), h("p", { class: "muted" }, "Loading …"));
    this.#load();
  }

  async #load() {
    const ref = encodeURIComponent(this.getAttribute("subject"));
    let block;
    try {
      block = await get(`/api/v1/blocks/${ref}?limit=${PAGE}`);
    } catch (problem) {
      const heading = h("h1", {}, `Block ${this.getAttribute("subject")}`);
      const latest = h("p", {}, "The newest block is ", h("a", { href: "#/block/latest" }, String(chain.height)), ".");
      show(this, heading, refusal(problem, () => this.#load()), latest);
      return;
    }
    show(this, this.#head(block), this.#facts(block), this.#proof(block), this.#contents(block));
  }

  #head(block) {
    const older = block.final ? block.height - 1 : block.previous_hash; // heights are those of final blocks
    const before = h("a", { class: "button second", href: `#/block/${older}`, rel: "prev" }, "← Older");
    const after = h("a", { class: "button second", href: `#/block/${block.height + 1}`, rel: "next" }, "Newer →");
    return h("div", { class: "head" },
      h("div", {}, h("p", { class: "kicker" }, block.height === 0 ? "Genesis"
        : block.final ? "Final block" : "Not final yet"),
        h("h1", {}, `Block ${block.height}`)),
      h("div", { class: "actions" }, block.height > 0 ? before : null, block.height < chain.height ? after : null));
  }

  #facts(block) {
    const rows = facts([
      ["Hash", copyable(block.hash, "hash")],
      ["Made", h("span", {}, ago(block.time_ms), " · ", moment(block.time_ms))],
      block.proposer === null ? null : ["Proposer", addressLink(block.proposer)],
      chain.mined ? null : ["View", count(block.view)],
      ["Payments", count(block.transaction_count)],
      ["Before it", block.height === 0 ? "nothing" : h("a", { href: `#/block/${block.previous_hash}` },
        `block ${block.height - 1}`)],
      ["Merkle root", copyable(block.merkle_root, "Merkle root")],
      ["Header, 80 bytes", copyable(block.header, "header")],
    ]);
    return card("What it says", {}, rows);
  }

  #proof(block) {
    const proof = block.certificate;
    if (proof === null) {
      const words = block.height === 0
        ? "Every node of this chain begins with this block: its genesis file is the proof."
        : !block.final ? "Nothing yet: it may still be reorganised away, until enough blocks stand on top of it."
        : chain.mined ? "Work: it lies deeper below the newest block than this chain is ever reorganised."
          : "No certificate covers this block yet.";
      return card("What makes it final", {}, h("p", { class: "muted" }, words));
    }
    const names = chain.validators ?? [];
    const said = names.map((each) => {
      const signed = proof.signers.includes(each.index);
      return h("li", { class: signed ? "signer" : "signer away" },
        h("i", { class: `vote ${signed ? "finalize" : "none"}` }), each.name || `#${each.index}`,
        h("span", { class: "unseen" }, signed ? " signed" : " did not sign"));
    });
    const covers = proof.height === block.height ? "" : ` The certificate is of block ${proof.height}, `
      + "which descends from this one.";
    return card("What makes it final", {},
      h("p", {}, chip("final", proof.kind === "FAST" ? "fast" : "final"),
        ` ${proof.signers.length} of ${names.length || "?"} signatures in view ${proof.view}: `
        + `${PROOFS[proof.kind] ?? proof.kind}.${covers}`),
      h("ul", { class: "signers" }, said));
  }

  #contents(block) {
    const host = card(plural(block.transaction_count, "payment"), {});
    if (block.transaction_count === 0) {
      host.append(blank(chain.mined ? "This block is empty: nobody paid meanwhile."
        : "This block is empty: nobody paid, and it shows that the validators live."));
      return host;
    }
    const list = table(COLUMNS, block.transactions.map((each) => this.#row(each)), { label: "Payments" });
    host.append(list);
    this.#more(host, list, block.height, block.next_cursor);
    return host;
  }

  #row(item) {
    return [transactionLink(item.tx_id), movement(item.transaction), bytes(item.size)];
  }

  #more(host, list, height, cursor) {
    if (cursor === null) return;
    const button = h("button", { type: "button", class: "second" }, "More of this block");
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        const page = await get(`/api/v1/blocks/${height}?limit=${PAGE}&cursor=${cursor}`);
        const rows = table(COLUMNS, page.transactions.map((each) => this.#row(each))).querySelectorAll("tbody tr");
        list.querySelector("tbody").append(...rows);
        button.remove();
        this.#more(host, list, height, page.next_cursor);
      } catch (problem) {
        button.disabled = false;
        host.append(refusal(problem));
      }
    });
    host.append(button);
  }
}

customElements.define("block-view", BlockView);
