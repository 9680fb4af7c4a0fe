// The network as this node sees it: is it well, who is connected, who votes and who misses.

import "./peer_map.js";
import { get } from "./api.js";
import { chain } from "./chain.js";
import { h, Part, paced, show, text } from "./dom.js";
import { count, millis, plural, short, span } from "./format.js";
import { addressLink, blank, card, chip, copyable, facts, refusal, table } from "./parts.js";

const PACE_MS = 1000;

class NetworkView extends Part {
  #update = paced(() => this.#load(), PACE_MS);

  start() {
    this.append(
      h("h1", {}, "Network"),
      h("div", { class: "columns" },
        card("This node", { class: "wide" }, h("div", { class: "self-facts inner" })),
        card("Its peers, nearer is quicker", { class: "narrow" }, h("peer-map", {}), h("p", { class: "muted map-note" })),
        card("Peers", { class: "full" }, h("div", { class: "peers inner" })),
        card("Validators", { class: "full" }, h("div", { class: "voters inner" }))),
    );
    for (const name of ["second", "status"]) this.on(chain, name, this.#update);
    this.#load();
  }

  async #load() {
    if (!this.isConnected) return;
    try {
      const [status, stats, peers, ready, news] = await Promise.all([
        get("/api/v1/status"), get("/api/v1/stats"), get("/api/v1/peers"), get("/health/ready"),
        get("/api/v1/consensus"),
      ]);
      if (!this.isConnected) return;
      this.#showSelf(status, stats, ready, peers);
      this.#showPeers(status, peers);
      this.#showVoters(news, status, peers);
    } catch (problem) {
      show(this.querySelector(".self-facts"), refusal(problem, this.#update));
    }
  }

  #showSelf(status, stats, ready, peers) {
    const best = Math.max(status.height, ...peers.peers.map((each) => each.height));
    const behind = best - status.height;
    const share = best === 0 ? 1 : status.height / best;
    const role = status.validator_index === null ? "a full node: it follows and serves"
      : `validator ${status.validator_index}`;
    show(this.querySelector(".self-facts"),
      h("div", { class: "sync" },
        h("p", {}, ready.ready ? chip("ok", "ready") : chip("bad", "not ready"), " ",
          behind <= 1 ? "In step with the highest of its peers."
            : `${plural(behind, "block")} behind; ${status.syncing ? "catching up" : "about to catch up"}.`),
        h("progress", { max: 1, value: share, "aria-label": "Blocks of the chain that are here" }),
        h("p", { class: "muted" }, `${count(status.height)} of ${count(best)} blocks`)),
      ready.reasons.length === 0 ? null
        : h("ul", { class: "reasons" }, ready.reasons.map((each) => h("li", {}, each))),
      facts([
        ["Name", status.name],
        ["Role", role],
        ["Running for", span(stats.uptime_ms)],
        status.mode === "pow" ? null : ["View", count(status.view)],
        ["Version", status.version],
        ["Chain", `${status.chain}, ${status.mode}${status.dev ? ", for development" : ""}`],
        ["Genesis", copyable(status.genesis_hash, "genesis hash")],
        ["Accepted, refused", `${count(stats.accepted_total)}, ${count(stats.refused_total)}`],
        ["Lateness of its loop", millis(stats.loop_lag_ms)],
      ]));
  }

  #name(peer) {
    const voter = peer.validator_index === null ? null : chain.validators?.[peer.validator_index];
    return voter?.name || short(peer.node_id, 4);
  }

  #showPeers(status, peers) {
    this.querySelector("peer-map").draw({ peers: peers.peers, named: (peer) => this.#name(peer),
      height: status.height, self: status.name });
    text(this.querySelector(".map-note"), peers.count === 0 ? "Nobody is connected."
      : "The dot on a line is at the end that was called. Times are round trips.");
    if (peers.count === 0) {
      const alone = status.validators === 1 && status.validator_index !== null;
      show(this.querySelector(".peers"), blank(alone
        ? "This node is the only validator and needs nobody. Others join with "
        : "No peers. Name one with ", h("code", {}, alone ? "chaind run --peer HOST:PORT" : "--peer HOST:PORT"),
      alone ? "." : ", or under [network] peers."));
      return;
    }
    const rows = peers.peers.map((peer) => [
      h("span", { class: "name" }, this.#name(peer)),
      h("code", {}, peer.address),
      peer.inbound ? "called us" : "we called",
      h("span", { class: "latency" }, millis(peer.latency_ms)),
      h("span", { class: status.height - peer.height > 1 ? "lagging" : null }, count(peer.height)),
      peer.score < 0.5 ? h("span", { class: "muted" }, "clean") : h("span", { class: "lagging" }, `${Math.round(peer.score)} of 100`),
      span(peer.connected_ms),
      peer.agent,
    ]);
    show(this.querySelector(".peers"), table(["Peer", "Address~", "Direction", "Round trip#", "Height#", "Faults#",
      "Connected#~", "Software~"], rows, { label: "Peers" }));
  }

  #showVoters(news, status, peers) {
    if (status.mode === "pow") {
      show(this.querySelector(".voters"), blank("Nobody votes: blocks of this chain are mined. ",
        h("a", { href: "#/mining" }, "See who mines"), "."));
      return;
    }
    const connected = new Set(peers.peers.map((each) => each.validator_index));
    const rows = news.validators.map((voter) => {
      const share = news.window === 0 ? 0 : voter.voted / news.window;
      const here = voter.index === status.validator_index;
      const known = chain.validators?.[voter.index];
      return [
        known ? addressLink(known.address) : voter.name,
        here ? chip("ok", "this node") : connected.has(voter.index) ? chip("ok", "connected") : chip("bad", "not connected"),
        count(voter.weight),
        h("span", { class: "share" }, h("meter", { min: 0, max: 1, low: 0.5, high: 0.67, optimum: 1, value: share,
          "aria-label": `${voter.name} voted in time` }), ` ${voter.voted} of ${news.window}`),
        `${voter.led}`,
        voter.missed === 0 ? h("span", { class: "muted" }, "none") : h("span", { class: "lagging" }, String(voter.missed)),
        voter.evidence === 0 ? h("span", { class: "muted" }, "none") : h("span", { class: "lagging" }, String(voter.evidence)),
      ];
    });
    show(this.querySelector(".voters"),
      table(["Validator", "Link", "Weight#", "Votes in time", "Led#", "Missed#", "Evidence#"], rows, { label: "Validators" }),
      h("p", { class: "muted" }, `Over the last ${plural(news.window, "view")} that this node saw. A quorum is ${news.quorum} of `
        + `${news.weight}; whoever votes after it is decided counts as late. Missed are views that a validator led and that `
        + "ended without a block; evidence is proof of double votes."));
  }
}

customElements.define("network-view", NetworkView);
