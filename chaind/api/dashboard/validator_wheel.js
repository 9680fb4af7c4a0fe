// <validator-wheel>: who voted what, view by view. A sector is a validator, a ring a view; the
// newest view is the outermost, so the wheel grows like a tree and drops its oldest ring.

import { Part, svg, text } from "./dom.js";

const RINGS = 10;
const INNER = 46;
const OUTER = 132;
const GAP = 1.6; // between segments, in units of the picture
const LABELS_MAX = 16;

const WORDS = {
  finalize: "voted, and voted to finalise",
  first: "voted for the block",
  fallback: "fell back to the block",
  nullify: "voted to end the view without a block",
  none: "later than the quorum, or silent",
};

/** What a validator said in a view, the strongest word. */
export function voteOf(view, index) {
  if (view.nullify.includes(index)) return "nullify";
  if (view.finalize.includes(index)) return "finalize";
  if (view.first.includes(index)) return "first";
  return view.fallback.includes(index) ? "fallback" : "none";
}

function point(radius, angle) {
  return `${(radius * Math.sin(angle)).toFixed(2)} ${(-radius * Math.cos(angle)).toFixed(2)}`;
}

function segment(inner, outer, from, to) {
  const wide = to - from > Math.PI ? 1 : 0;
  const [a, b] = [GAP / 2 / outer, GAP / 2 / inner];
  return (
    `M${point(outer, from + a)}A${outer} ${outer} 0 ${wide} 1 ${point(outer, to - a)}` +
    `L${point(inner, to - b)}A${inner} ${inner} 0 ${wide} 0 ${point(inner, from + b)}Z`
  );
}

class ValidatorWheel extends Part {
  #picture = svg("svg", { viewBox: "-165 -160 330 320", role: "img" });
  #number = svg("text", { class: "wheel-view", y: 2 });
  #word = svg("text", { class: "wheel-word", y: 19 });
  #segments = []; // by ring from the newest, then by validator
  #leaders = [];
  #count = 0;

  start() {
    if (!this.firstChild) this.append(this.#picture);
  }

  /** Show a message of the channel `consensus`. */
  set news(news) {
    const { validators, views } = news;
    if (validators.length !== this.#count) this.#draw(validators);
    for (let ring = 0; ring < RINGS; ring += 1) {
      const view = views[ring];
      for (let index = 0; index < this.#count; index += 1) {
        const kind = view === undefined ? "empty" : voteOf(view, index);
        this.#segments[ring][index].setAttribute("class", `vote ${kind}`);
      }
      const angle = view === undefined ? 0 : this.#middle(view.leader);
      const [x, y] = point(this.#radius(ring), angle).split(" ");
      this.#leaders[ring].setAttribute("cx", x);
      this.#leaders[ring].setAttribute("cy", y);
      this.#leaders[ring].setAttribute("class", view === undefined ? "unseen" : "leader");
    }
    text(this.#number, String(views[0]?.view ?? news.view));
    text(this.#word, views[0] ? views[0].outcome : "no view yet");
    this.#picture.setAttribute("aria-label", this.#words(validators, views[0]));
  }

  #radius(ring) {
    return OUTER - ((ring + 0.5) * (OUTER - INNER)) / RINGS;
  }

  #middle(index) {
    return ((index + 0.5) * 2 * Math.PI) / this.#count;
  }

  #draw(validators) {
    this.#count = validators.length;
    this.#segments = [];
    this.#leaders = [];
    const rings = svg("g", {});
    const thick = (OUTER - INNER) / RINGS;
    for (let ring = 0; ring < RINGS; ring += 1) {
      const outer = OUTER - ring * thick;
      const row = validators.map((each, index) => {
        const from = (index * 2 * Math.PI) / this.#count;
        const to = ((index + 1) * 2 * Math.PI) / this.#count;
        // A full circle has no arc: one validator's sector stops just short of it.
        return svg("path", {
          d: segment(outer - thick + GAP, outer, from, Math.min(to, from + 2 * Math.PI - 0.01)),
        });
      });
      rings.append(...row);
      this.#segments.push(row);
      const leader = svg("circle", { r: 2.8, class: "unseen" });
      this.#leaders.push(leader);
    }
    this.#picture.replaceChildren(rings, ...this.#leaders, ...this.#labels(validators));
    this.#picture.append(this.#number, this.#word);
  }

  #labels(validators) {
    if (validators.length > LABELS_MAX) return [];
    return validators.map((each, index) => {
      const [x, y] = point(OUTER + 14, this.#middle(index)).split(" ").map(Number);
      const anchor = Math.abs(x) < 20 ? "middle" : x > 0 ? "start" : "end";
      const [dx, dy] = anchor === "middle" ? [0, 0] : [x > 0 ? -8 : 8, 0];
      const props = { x: x + dx, y: y + dy + 4, "text-anchor": anchor, class: "wheel-name" };
      return svg("text", props, each.name || `#${each.index}`);
    });
  }

  #words(validators, view) {
    if (view === undefined) return "Votes of the validators: none seen yet";
    const said = validators.map((each) => `${each.name}: ${WORDS[voteOf(view, each.index)]}`);
    return `Votes in view ${view.view}, ${view.outcome}. ${said.join(". ")}.`;
  }
}

customElements.define("validator-wheel", ValidatorWheel);
