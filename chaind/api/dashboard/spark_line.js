// <spark-line>: the last minute of one figure as a filled line.

import { Part, svg } from "./dom.js";

const WIDTH = 120;
const HEIGHT = 36;
const POINTS = 60; // seconds: the line grows in from the right

class SparkLine extends Part {
  #line = svg("path", { class: "line" });
  #area = svg("path", { class: "area" });

  start() {
    if (this.firstChild) return;
    this.append(
      svg(
        "svg",
        { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, preserveAspectRatio: "none", "aria-hidden": "true" },
        this.#area,
        this.#line,
      ),
    );
  }

  /** Numbers from old to new; where nothing was measured the last one holds. */
  set values(values) {
    const known = new Array(Math.max(0, POINTS - values.length)).fill(0);
    for (const value of values) known.push(value ?? known.at(-1) ?? 0);
    const top = Math.max(...known, 1e-9) * 1.15;
    const step = WIDTH / Math.max(1, known.length - 1);
    const points = known.map((value, index) => {
      const y = HEIGHT - 2 - (value / top) * (HEIGHT - 6);
      return `${(index * step).toFixed(1)} ${y.toFixed(1)}`;
    });
    const line = points.length > 1 ? `M${points.join("L")}` : "";
    this.#line.setAttribute("d", line);
    this.#area.setAttribute("d", line && `${line}L${WIDTH} ${HEIGHT}L0 ${HEIGHT}Z`);
  }
}

customElements.define("spark-line", SparkLine);
