// Mining: how hard the next block is, who works on it, who mined the last ones, how to join in.

import { get } from "./api.js";
import { chain } from "./chain.js";
import { h, Part, paced, show, text } from "./dom.js";
import { count, difficulty, hashes, plural, span } from "./format.js";
import { addressLink, ago, blank, blockLink, card, chip, copyable, money, refusal, table } from "./parts.js";

const PACE_MS = 1500;
const BLOCKS_SHOWN = 12;
const ATTRIBUTED = 1000;
const MINERS_SHOWN = 10;

class MiningView extends Part {
  #figures = {};
  #update = paced(() => this.#load(), PACE_MS);

  start() {
    this.append(h("h1", {}, "Mining"));
    if (chain.status.mode !== "pow") {
      this.append(card("Nobody mines here", { class: "unmined" },
        h("p", {}, "Blocks of this chain are made by its validators, in turn, and are final at once."),
        h("p", {}, h("a", { href: "#/network" }, "See who votes"), ", or begin a chain of miners: ",
          h("code", {}, "chaind devnet --mode pow"), ".")));
      return;
    }
    this.append(
      h("div", { class: "tiles" },
        this.#tile("height", "Next block"),
        this.#tile("difficulty", "Difficulty"),
        this.#tile("network", "Network"),
        this.#tile("node", "Through this node")),
      h("div", { class: "columns" },
        card("Newest blocks", { class: "wide" }, h("div", { class: "recent inner" })),
        h("div", { class: "stack narrow" },
          card("Join in", {}, h("div", { class: "join inner" })),
          card("Who mined", { class: "grow" }, h("div", { class: "miners inner" }))),
        card("Workers of this node", { class: "full" }, h("div", { class: "workers inner" }))),
    );
    for (const name of ["second", "blocks"]) this.on(chain, name, this.#update);
    this.#load();
  }

  #tile(name, title) {
    const value = h("strong", { class: "value" }, "–");
    const note = h("span", { class: "note" }, " ");
    this.#figures[name] = { value, note };
    return h("section", { class: `tile ${name}` }, h("h2", {}, title), value, note);
  }

  async #load() {
    if (!this.isConnected) return;
    try {
      const [mining, workers, recent, found] = await Promise.all([
        get("/api/v1/mining"), get("/api/v1/mining/workers"),
        get(`/api/v1/mining/recent?blocks=${BLOCKS_SHOWN}`),
        get(`/api/v1/mining/attribution?blocks=${ATTRIBUTED}`),
      ]);
      if (!this.isConnected) return;
      this.#showFigures(mining);
      this.#showRecent(recent.blocks);
      this.#showJoin(mining);
      this.#showMiners(found);
      this.#showWorkers(mining, workers.workers);
    } catch (problem) {
      show(this.querySelector(".recent"), refusal(problem, this.#update));
    }
  }

  #showFigures(mining) {
    const figures = this.#figures;
    text(figures.height.value, count(mining.height));
    text(figures.height.note, `pays ${mining.reward} ${chain.status.native_symbol}; the aim is one `
      + `every ${span(mining.target_spacing_ms).replace(".0", "")}`);
    text(figures.difficulty.value, difficulty(mining.difficulty));
    text(figures.difficulty.note, `bits ${mining.bits}`);
    const rate = mining.network_hashes_per_second;
    text(figures.network.value, rate === null ? "–" : hashes(rate));
    text(figures.network.note, rate === null ? "measured from the next blocks on"
      : `by what the last ${plural(mining.rate_blocks, "block")} took`);
    const { own, stratum } = mining;
    const here = (own?.hashes_per_second ?? 0) + (stratum?.hashes_per_second ?? 0);
    text(figures.node.value, own === null && stratum === null ? "–" : hashes(here));
    const words = [
      own === null ? null : `${plural(own.threads, "process", "processes")} of its own`,
      stratum === null ? null : plural(stratum.workers, "worker"),
    ].filter((each) => each !== null);
    text(figures.node.note, words.length === 0 ? "it neither mines nor serves Stratum"
      : mining.serving ? words.join(", ") : "no work before it knows the best chain");
  }

  #showRecent(blocks) {
    const host = this.querySelector(".recent");
    if (blocks.length === 0) {
      show(host, blank("No block has been mined yet."));
      return;
    }
    const mark = `${blocks[0].hash} ${blocks.findIndex((each) => each.final)}`;
    if (host.dataset.mark === mark) return;
    host.dataset.mark = mark;
    const rows = blocks.map((block) => [
      block.final ? blockLink(block.height)
        : h("a", { href: `#/block/${block.hash}`, class: "num" }, String(block.height)),
      ago(block.time_ms),
      block.miners.length === 0 ? h("span", { class: "muted" }, "nobody")
        : block.miners.map((each, index) => [index > 0 ? ", " : null, addressLink(each.address, 6)]),
      block.transactions === 0 ? h("span", { class: "muted" }, "empty") : count(block.transactions),
      block.final ? chip("final") : chip("open", "on top"),
    ]);
    show(host, table(["Block", "Made", "Mined by", "Payments#", "State"], rows, { label: "Newest blocks" }),
      h("p", { class: "muted" }, "Blocks on top may still be reorganised away; those that are deep enough are final."));
  }

  #showJoin(mining) {
    const host = this.querySelector(".join");
    const url = mining.stratum?.url ?? null;
    const who = chain.accounts[0]?.address ?? "ADDRESS";
    const mark = `${url} ${who}`;
    if (host.dataset.mark === mark) return;
    host.dataset.mark = mark;
    if (url === null) {
      show(host, h("p", {}, "This node serves no Stratum. Turn it on with ",
        h("code", {}, "[miner] stratum_port"), ". Mining software that speaks getblocktemplate asks at ",
        h("code", {}, location.origin), "."));
      return;
    }
    const line = (words, what) => h("div", {}, h("h3", {}, what), copyable(words, "command line", { inFull: true }));
    show(host,
      h("div", { class: "stratum" }, h("h3", {}, "Stratum"), copyable(url, "address", { inFull: true })),
      line(`chaind mine --url ${url} --address ${who}.rig`, "This machine"),
      line(`minerd -a sha256d -o ${url} -u ${who}.rig -p x`, "Other mining software"));
  }

  #showMiners(found) {
    const all = found.miners.reduce((sum, each) => sum + each.blocks, 0);
    if (all === 0) {
      show(this.querySelector(".miners"), blank("Nobody yet."));
      return;
    }
    const rows = found.miners.slice(0, MINERS_SHOWN).map((each) => {
      const share = each.blocks / all;
      const name = each.user ?? each.address;
      return [
        addressLink(each.address, 6),
        h("span", { class: "share" }, h("meter", { min: 0, max: 1, value: share, "aria-label": `Share of ${name}` }),
          ` ${count(each.blocks)}`),
        money(each.reward),
      ];
    });
    show(this.querySelector(".miners"), table(["Miner", "Blocks", "Reward#"], rows, { label: "Miners" }),
      h("p", { class: "muted" }, `Of blocks ${count(found.from_height)} to ${count(found.to_height)}.`));
  }

  #showWorkers(mining, workers) {
    const host = this.querySelector(".workers");
    if (workers.length === 0) {
      show(host, blank(mining.stratum === null ? "Workers are those who mine through Stratum."
        : "Nobody mines through this node just now. The command lines above are enough to begin."));
      return;
    }
    const rows = workers.map((each) => [
      h("span", { class: "name" }, each.name),
      each.connections > 0 ? chip("ok", "connected") : chip("bad", "away"),
      each.connections > 0 ? hashes(each.hashes_per_second)
        : h("span", { class: "muted", title: "its last rate; it counts no more" }, hashes(each.hashes_per_second)),
      count(each.accepted),
      each.stale === 0 ? h("span", { class: "muted" }, "none") : count(each.stale),
      each.rejected === 0 ? h("span", { class: "muted" }, "none") : h("span", { class: "lagging" }, count(each.rejected)),
      count(each.blocks),
      ago(each.last_seen_ms),
    ]);
    show(host, table(["Worker", "Link", "Rate#", "Shares#", "Stale#~", "Rejected#~", "Blocks#", "Last seen~"], rows,
      { label: "Workers" }));
  }
}

customElements.define("mining-view", MiningView);
