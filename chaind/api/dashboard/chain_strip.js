// <chain-strip>: the newest blocks as a chain, and before them the one that is being filled.

import { chain } from "./chain.js";
import { h, Part, paced, show, text } from "./dom.js";
import { age, bytes, plural, short } from "./format.js";

const SHOWN = 16;
const PACE_MS = 250;

class ChainStrip extends Part {
  #next = null;
  #tiles = new Map(); // by height
  #row = h("ol", { class: "strip", "aria-label": "Newest blocks", tabindex: 0 });

  start() {
    if (!this.firstChild) {
      this.#next = this.#makeNext();
      this.#row.append(this.#next.tile);
      this.append(this.#row);
    }
    const update = paced(() => this.#update(), PACE_MS);
    for (const name of ["blocks", "news", "second"]) this.on(chain, name, update);
    this.#update();
  }

  #makeNext() {
    const fill = h("span", { class: "fill" });
    const number = h("span", { class: "block-height" });
    const what = h("span", { class: "block-count" });
    const who = h("span", { class: "block-age" });
    const tile = h("li", {}, h("span", { class: "block next" }, fill, number, what, who));
    return { tile, fill, number, what, who };
  }

  #update() {
    this.#updateNext();
    const blocks = chain.blocks.slice(0, SHOWN);
    const wanted = new Set(blocks.map((each) => each.height));
    for (const [height, tile] of this.#tiles) {
      if (wanted.has(height)) continue;
      tile.remove();
      this.#tiles.delete(height);
    }
    // One that comes alone slides in; where they come in crowds, moving all the time shows nothing.
    const fresh = blocks.filter((each) => !this.#tiles.has(each.height)).length;
    const slides = fresh === 1 && this.#tiles.size > 0;
    let before = this.#next.tile;
    for (const block of blocks) {
      let tile = this.#tiles.get(block.height);
      if (tile === undefined) {
        tile = this.#makeTile(block);
        if (slides) tile.classList.add("arriving");
        this.#tiles.set(block.height, tile);
        before.after(tile);
      }
      text(tile.querySelector(".block-age"), age(block.time_ms, chain.now()));
      before = tile;
    }
  }

  #updateNext() {
    const next = chain.news?.next_block;
    if (next === undefined) {
      show(this.#next.number, "next");
      return;
    }
    const share = Math.min(1, next.bytes / next.bytes_max);
    // The first transaction is seen at once; then the scale is that of the block.
    const shown = next.transactions === 0 ? 0 : Math.max(0.08, share);
    this.#next.fill.style.height = `${(shown * 100).toFixed(1)}%`;
    // What is told of it may be older than the newest block.
    const newest = chain.blocks[0]?.height ?? 0;
    text(this.#next.number, String(Math.max(next.height, newest + 1)));
    const words = next.transactions === 0 ? "empty so far" : plural(next.transactions, "waiting", "waiting");
    text(this.#next.what, words);
    text(this.#next.who, this.#maker(next.leader));
    this.#next.tile.title = `The next block: ${plural(next.transactions, "transaction")}, ${bytes(next.bytes)}`;
  }

  /** Who makes the next block: the leader, or miners, on blocks that are not final yet. */
  #maker(leader) {
    if (leader !== null) return `${chain.validators?.[leader]?.name ?? `validator ${leader}`} leads`;
    return chain.onTop === 0 ? "being mined" : `mined on ${plural(chain.onTop, "block")}`;
  }

  #makeTile(block) {
    const made = chain.validatorOf(block.proposer);
    const name = block.proposer === null ? "a miner" : made?.name ?? short(block.proposer, 4);
    return h(
      "li",
      {},
      h(
        "a",
        {
          class: block.transaction_count ? "block" : "block empty",
          href: `#/block/${block.height}`,
          title: `Block ${block.height}, made by ${name}`,
        },
        h("span", { class: "block-height" }, String(block.height)),
        h("span", { class: "block-count" }, block.transaction_count
          ? plural(block.transaction_count, "payment") : "empty"),
        h("span", { class: "block-age" }, age(block.time_ms, chain.now())),
      ),
    );
  }
}

customElements.define("chain-strip", ChainStrip);
