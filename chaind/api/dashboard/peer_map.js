// <peer-map>: this node in the middle, its peers around it, the nearer the sooner they answer.

import { Part, svg } from "./dom.js";
import { millis } from "./format.js";

const NEAR = 58;
const FAR = 122;
const LABELS_MAX = 20;

class PeerMap extends Part {
  #picture = svg("svg", { viewBox: "-200 -172 400 344", role: "img" });

  start() {
    if (!this.firstChild) this.append(this.#picture);
  }

  /** `peers` of the API, `named` what each is called, `height` ours. */
  draw({ peers, named, height, self }) {
    const slowest = Math.log1p(Math.max(1, ...peers.map((each) => each.latency_ms ?? 0)));
    const parts = peers.map((peer, index) => {
      const angle = ((index + 0.5) / peers.length) * 2 * Math.PI;
      const share = peer.latency_ms === null ? 1 : Math.log1p(peer.latency_ms) / slowest;
      const radius = NEAR + (FAR - NEAR) * share;
      const [x, y] = [radius * Math.sin(angle), -radius * Math.cos(angle)];
      return this.#peer(peer, named(peer), x, y, height - peer.height > 1, peers.length);
    });
    this.#picture.replaceChildren(
      ...[NEAR, (NEAR + FAR) / 2, FAR].map((r) => svg("circle", { r, class: "orbit" })),
      ...parts,
      svg("circle", { r: 27, class: "self" }),
      svg("text", { class: "self-name", y: 4.5, "text-anchor": "middle" }, self.slice(0, 8)),
    );
    const words = peers.map((each) => `${named(each)}: ${millis(each.latency_ms)}, height ${each.height}`);
    this.#picture.setAttribute("aria-label", peers.length ? `Peers of ${self}. ${words.join(". ")}.` : `${self} has no peers`);
  }

  #peer(peer, name, x, y, behind, many) {
    // The arrow says who called.
    const [from, to] = peer.inbound ? [0.82, 0.3] : [0.3, 0.82];
    const line = svg("line", { x1: x * from, y1: y * from, x2: x * to, y2: y * to, class: "wire" });
    const head = svg("circle", { cx: x * to, cy: y * to, r: 2.6, class: "arrow-head" });
    const dot = svg("circle", { cx: x, cy: y, r: many > LABELS_MAX ? 5 : 11,
      class: behind ? "peer behind" : peer.validator_index === null ? "peer" : "peer voter" });
    const label = many > LABELS_MAX ? [] : [
      svg("text", { x, y: y + (y > 0 ? 26 : -18), class: "peer-name", "text-anchor": "middle" }, name),
      svg("text", { x, y: y + (y > 0 ? 39 : -31), class: "peer-note", "text-anchor": "middle" }, millis(peer.latency_ms)),
    ];
    return svg("g", {}, line, head, dot, ...label);
  }
}

customElements.define("peer-map", PeerMap);
