// The overview: how high, how fast, who votes, what comes next.

import "./chain_strip.js";
import "./spark_line.js";
import "./validator_wheel.js";
import { chain } from "./chain.js";
import { h, Part, paced, show, text } from "./dom.js";
import { count, millis, plural, span } from "./format.js";
import { addressLink, ago, blank, blockLink, card, chip, copyable, table } from "./parts.js";

const PACE_MS = 250;
const BLOCKS_SHOWN = 9;
const VIEWS_SHOWN = 8;
const COLUMNS = ["Block", "Made", "Payments#", "By", "Hash~"];

class OverviewView extends Part {
  #figures = {};

  start() {
    this.append(
      h("h1", { class: "unseen" }, "Overview"),
      h(
        "div",
        { class: "tiles" },
        this.#tile("height", "Final height"),
        this.#tile("lag", "Finality lag"),
        this.#tile("rate", "Payments per second"),
        this.#tile("latency", "Latency, submit to final"),
      ),
      h("chain-strip", {}),
      h(
        "div",
        { class: "columns" },
        card("Votes, view by view", { class: "votes" }, h("validator-wheel", {}),
          h("div", { class: "views" }), this.#legend()),
        card("Mined, not voted", { class: "mined", hidden: true },
          h("p", {}, "Miners make the blocks of this chain, and work makes them final: whatever is deep enough "
            + "below the newest block stays."),
          h("p", {}, h("a", { href: "#/mining" }, "Difficulty, hash rate, workers, and how to join in"), ".")),
        card("Newest blocks", { class: "newest" }, h("div", { class: "rows inner" })),
      ),
    );
    const update = paced(() => this.#update(), PACE_MS);
    for (const name of ["blocks", "news", "second", "status"]) this.on(chain, name, update);
    this.#update();
  }

  #tile(name, title) {
    const value = h("strong", { class: "value" }, "–");
    const note = h("span", { class: "note" }, " ");
    const line = name === "height" ? null : h("spark-line", {});
    const heading = h("h2", {}, title);
    this.#figures[name] = { title: heading, value, note, line };
    return h("section", { class: `tile ${name}` }, heading, value, note, line);
  }

  #legend() {
    const entry = (kind, words) => h("li", {}, h("i", { class: `vote ${kind}` }), words);
    return h("ul", { class: "legend" }, entry("finalize", "voted twice, final"),
      entry("first", "voted"), entry("fallback", "fell back"), entry("nullify", "no block"),
      entry("none", "late or silent"),
      h("li", {}, "○ leads; fast: one round of votes was enough, final: it took two"));
  }

  #update() {
    this.querySelector(".mined").hidden = !chain.mined;
    this.querySelector(".votes").hidden = chain.mined;
    this.#updateFigures();
    this.#updateVotes();
    this.#updateBlocks();
  }

  #updateFigures() {
    const { height, lag, rate, latency } = this.#figures;
    const newest = chain.blocks[0];
    text(height.value, chain.status === null ? "–" : count(chain.height));
    if (newest !== undefined) {
      const idle = chain.now() - newest.time_ms;
      text(height.note, idle < 1000 ? "final just now" : `final ${span(Math.floor(idle / 1000) * 1000).replace(".0", "")} ago`);
    }
    const pulse = chain.news?.pulse;
    if (pulse === undefined) return;
    if (chain.mined) {
      text(lag.title, "Blocks on top");
      text(lag.value, count(chain.onTop));
      text(lag.note, "mined, and not final yet");
    } else {
      text(lag.value, millis(pulse.lag_ms));
      text(lag.note, pulse.lag_ms === null ? "measured from the next block on" : "from proposal to final");
      lag.line.values = chain.history("lag");
    }
    const perSecond = chain.rate;
    text(rate.value, perSecond < 10 ? perSecond.toFixed(1) : count(Math.round(perSecond)));
    text(rate.note, `${count(pulse.transactions_total)} since the node started`);
    rate.line.values = chain.history("transactions");
    text(latency.value, millis(pulse.latency_ms));
    text(latency.note, pulse.samples === 0 ? "measured from the next payment on"
      : `median; 99 % within ${millis(pulse.latency_p99_ms)}`);
    latency.line.values = chain.history("latency");
  }

  #updateVotes() {
    const news = chain.news;
    if (news === null || chain.mined) return;
    this.querySelector("validator-wheel").news = news;
    const rows = news.views.slice(0, VIEWS_SHOWN).map((view) => {
      const leader = news.validators[view.leader]?.name ?? String(view.leader);
      const voted = new Set([...view.first, ...view.fallback, ...view.finalize]);
      return h("li", {},
        h("span", { class: "num" }, String(view.view)),
        h("span", {}, leader),
        h("span", { class: "num" }, `${voted.size}/${news.validators.length}`),
        view.height === null ? chip(view.outcome)
          : h("a", { href: `#/block/${view.height}` }, chip(view.outcome)));
    });
    show(this.querySelector(".views"), h("ol", { "aria-label": "Newest views" }, rows));
  }

  #updateBlocks() {
    const host = this.querySelector(".rows");
    const blocks = chain.blocks.slice(0, BLOCKS_SHOWN);
    if (blocks.length === 0) {
      show(host, chain.mined
        ? blank("No block is final yet: each needs a few others on top of it. ", h("a", { href: "#/mining" },
          "See who mines"), ".")
        : blank("No block is final yet. The first one comes as soon as enough validators "
          + "are connected: ", h("a", { href: "#/network" }, "see the network"), "."));
      return;
    }
    if (host.dataset.tip === String(blocks[0].height)) return;
    host.dataset.tip = String(blocks[0].height);
    show(host, table(COLUMNS, blocks.map((block) => [
      blockLink(block.height),
      ago(block.time_ms),
      block.transaction_count === 0 ? h("span", { class: "muted" }, "empty") : count(block.transaction_count),
      block.proposer === null ? "–" : addressLink(block.proposer),
      copyable(block.hash, "hash"),
    ]), { label: "Newest blocks" }));
    const busy = blocks.reduce((found, each) => found + each.transaction_count, 0);
    if (busy === 0) {
      host.append(blank("Nobody pays just now. ", h("a", { href: "#/payments" }, "Make a payment"),
        chain.mined ? " and watch it become final."
          : ` and watch it become final, ${plural(chain.status?.validators ?? 0, "validator")} voting.`));
    }
  }
}

customElements.define("overview-view", OverviewView);
