// <depth-chart>, <candle-chart>: what is open at each price, and what traded when. Drawn anew each time.

import { Part, show, svg } from "./dom.js";
import { amount } from "./format.js";

const WIDTH = 640;
const HEIGHT = 190;
const FOOT = 18; // for the words below
const LEVELS = 60; // of each side
const CANDLES = 60;

function frame(words, ...parts) {
  return svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, role: "img", "aria-label": words }, ...parts);
}

function label(x, words, anchor) {
  return svg("text", { x, y: HEIGHT - 4, "text-anchor": anchor, class: "axis" }, words);
}

class DepthChart extends Part {
  start() {
    this.classList.add("market-chart");
  }

  /** Levels of both sides, best first. */
  draw(bids, asks) {
    const sides = [bids, asks].map((levels) => {
      let total = 0;
      return levels.slice(0, LEVELS).map(([price, quantity]) => {
        total += Number(quantity);
        return { price: Number(price), total, words: price };
      });
    });
    const all = sides.flat();
    if (all.length === 0) {
      show(this);
      return;
    }
    const low = Math.min(...all.map((each) => each.price));
    const span = Math.max(...all.map((each) => each.price)) - low || 1;
    const top = Math.max(...all.map((each) => each.total)) * 1.08;
    const x = (price) => ((price - low) / span) * WIDTH;
    const y = (total) => (HEIGHT - FOOT) * (1 - total / top);
    const areas = sides.map((levels, index) => {
      if (levels.length === 0) return null;
      let path = `M${x(levels[0].price).toFixed(1)} ${HEIGHT - FOOT}`;
      for (const level of levels) path += `H${x(level.price).toFixed(1)}V${y(level.total).toFixed(1)}`;
      path += `H${index === 0 ? 0 : WIDTH}V${HEIGHT - FOOT}Z`;
      return svg("path", { d: path, class: index === 0 ? "depth bid" : "depth ask" });
    });
    const ends = [...all].sort((one, two) => one.price - two.price);
    show(this, frame("Quantity open up to each price, bids left, asks right", areas.filter(Boolean),
      label(0, amount(ends[0].words), "start"), label(WIDTH, amount(ends.at(-1).words), "end")));
  }
}

customElements.define("depth-chart", DepthChart);

class CandleChart extends Part {
  start() {
    this.classList.add("market-chart");
  }

  /** Candles, oldest first. */
  draw(candles) {
    const shown = candles.slice(-CANDLES);
    if (shown.length === 0) {
      show(this);
      return;
    }
    const low = Math.min(...shown.map((each) => Number(each.low)));
    const span = Math.max(...shown.map((each) => Number(each.high))) - low || 1;
    const step = WIDTH / CANDLES;
    const y = (price) => 4 + (HEIGHT - FOOT - 8) * (1 - (Number(price) - low) / span);
    const bars = shown.map((candle, index) => {
      const x = (CANDLES - shown.length + index + 0.5) * step;
      const [first, last] = [y(candle.open), y(candle.close)];
      const kind = Number(candle.close) >= Number(candle.open) ? "candle up" : "candle down";
      return svg("g", { class: kind },
        svg("line", { x1: x, x2: x, y1: y(candle.high), y2: y(candle.low) }),
        svg("rect", { x: x - step * 0.32, width: step * 0.64, y: Math.min(first, last),
          height: Math.max(1.5, Math.abs(first - last)) }));
    });
    const time = (ms) => new Date(ms).toISOString().slice(11, 16);
    show(this, frame("Prices minute by minute", bars, label(0, `${time(shown[0].time_ms)} UTC`, "start"),
      label(WIDTH, `last ${amount(shown.at(-1).close)}`, "end")));
  }
}

customElements.define("candle-chart", CandleChart);
