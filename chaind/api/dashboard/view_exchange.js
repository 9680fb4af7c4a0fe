// Exchange: a market's book with its depth, trades and candles, an order form, and open orders. Live.

import { drawKey, get, post, remove } from "./api.js";
import { BookFollower } from "./book_follower.js";
import { chain } from "./chain.js";
import { h, Part, paced, show } from "./dom.js";
import { amount } from "./format.js";
import { live } from "./live.js";
import "./market_charts.js";
import { ago, blank, card, chip, facts, refusal, table } from "./parts.js";
import { busy, field, textInput, values } from "./view_payments.js";

const PACE_MS = 250;
const LEVELS_SHOWN = 10;
const TRADES_SHOWN = 15;
const CANDLES_KEPT = 100;
const TRADERS = "trader-names";
const FIRST_TRADER = "trader1";
const NOTHING_TRADED = { last: null, change_percent: null, high: null, low: null, volume: "0", bid: null, ask: null };

class ExchangeView extends Part {
  #market = null;
  #book = new BookFollower();
  #trades = [];
  #candles = new Map(); // by start
  #orders = new Map(); // open ones, by id
  #account = FIRST_TRADER;
  #ends = []; // of the channels of this market
  #endOrders = null;
  #draw = paced(() => this.#drawMarket(), PACE_MS);
  #drawOrders = paced(() => this.#showOrders(), PACE_MS);
  #outcome = h("div", { class: "outcome", "aria-live": "polite" });

  async start() {
    const subject = (this.getAttribute("subject") ?? "").replace("-", "/");
    this.append(h("h1", {}, "Exchange"), h("div", { class: "body" }));
    this.until(() => this.#leave());
    const body = this.querySelector(".body");
    try {
      const { markets } = await get("/api/v1/markets");
      if (!this.isConnected) return;
      if (markets.length === 0) {
        show(body, blank("This chain has no markets yet. Whoever issued an asset may open one; a devnet has two."));
        return;
      }
      this.#market = markets.find((each) => each.symbol === subject) ?? markets[0];
      show(body, this.#frame(markets));
      this.#showTicker(NOTHING_TRADED); // the page stands still when the first figures come
      this.#follow();
    } catch (problem) {
      show(body, refusal(problem));
    }
  }

  #frame(markets) {
    const links = markets.map((each) => h("a", { class: "pill", href: `#/exchange/${each.symbol.replace("/", "-")}`,
      "aria-current": each === this.#market ? "page" : null }, each.symbol));
    return [
      h("div", { class: "chips" }, links),
      card(this.#market.symbol, { class: "hero ticker" }, h("div", { class: "day" })),
      h("div", { class: "columns" },
        h("div", { class: "stack wide" },
          card("Price, minute by minute", { class: "price" }, h("candle-chart", {})),
          card("Depth", { class: "depth-card" }, h("depth-chart", {})),
          card("Trades", { class: "trades grow" }, h("div", { class: "inner" }))),
        h("div", { class: "stack narrow" },
          card("Order", { class: "order" }, this.#form(), this.#outcome),
          card("Book", { class: "book grow" }, h("div", { class: "inner" }))),
        card("Open orders", { class: "full orders" }, h("div", { class: "inner" }))),
    ];
  }

  #form() {
    const { base, quote, tick, lot } = this.#market;
    const choice = (name, options) => h("select", { name }, options.map(([value, words]) => h("option", { value }, words)));
    const price = textInput("price", { inputmode: "decimal", placeholder: `in ${quote}, steps of ${tick}` });
    const form = h("form", { class: "form", id: "order" },
      h("datalist", { id: TRADERS }, chain.accounts.map((each) => h("option", { value: each.name }))),
      h("div", { class: "row" },
        field("Account", textInput("account", { list: TRADERS, value: this.#account, required: true })),
        field("Side", choice("side", [["buy", `Buy ${base}`], ["sell", `Sell ${base}`]]))),
      h("div", { class: "row" },
        field("Quantity", textInput("quantity", { inputmode: "decimal", placeholder: `in ${base}, steps of ${lot}`, required: true })),
        field("Price; none is the market's", price)),
      h("div", { class: "row" },
        field("How long", choice("time_in_force", [["gtc", "until cancelled"], ["ioc", "at once, or not"],
          ["fok", "all of it at once, or none"]]))),
      h("div", {}, h("button", {}, "Place the order")));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      this.#place(form, drawKey());
    });
    form.elements.account.addEventListener("change", () => this.#followOrders(form.elements.account.value.trim()));
    return form;
  }

  async #place(form, key) {
    const { price, time_in_force: timeInForce, ...rest } = values(form);
    const limits = price === "" ? { type: "market" } : { price, time_in_force: timeInForce };
    const body = { symbol: this.#market.symbol, ...rest, ...limits };
    try {
      const answer = await busy(form, () => post("/api/v1/orders", body, { "Idempotency-Key": key }));
      const order = answer.body;
      show(this.#outcome, h("div", { class: "success", data: { order: order.order_id, status: order.status } },
        h("p", {}, h("strong", {}, words(order.status)), ` ${order.filled} of ${order.quantity} ${this.#market.base} filled.`),
        h("a", { class: "id", href: `#/tx/${order.order_id}` }, order.order_id.slice(0, 16))));
    } catch (problem) {
      show(this.#outcome, refusal(problem, () => this.#place(form, key)));
    }
  }

  // What is heard.

  #follow() {
    const name = this.#market.symbol.replace("/", "-");
    this.#hear(`book:${name}`, (message, again) => {
      if (message.type === "snapshot" || message.type === "delta") {
        if (!this.#book.take(message.data)) again();
      }
    });
    this.#hear(`trades:${name}`, (message) => {
      if (message.type !== "trades") return;
      const known = new Set(this.#trades.map((each) => each.id));
      const fresh = message.data.trades.filter((each) => !known.has(each.id)).reverse();
      this.#trades = [...fresh, ...this.#trades].slice(0, TRADES_SHOWN);
    });
    this.#hear(`candles:${name}:1m`, (message) => {
      if (message.type !== "candles") return;
      for (const candle of message.data.candles) this.#candles.set(candle.time_ms, candle);
      for (const start of [...this.#candles.keys()].slice(0, -CANDLES_KEPT)) this.#candles.delete(start);
    });
    this.#hear(`ticker:${name}`, (message) => {
      if (message.type === "ticker") this.#showTicker(message.data);
    });
    this.#followOrders(this.#account);
  }

  /** Hear a channel of the market; `read` may ask to begin it anew. */
  #hear(name, read) {
    let end;
    const begin = () => {
      end = live.subscribe(name, (message) => {
        read(message, () => {
          end();
          begin();
        });
        this.#draw();
      });
    };
    begin();
    this.#ends.push(() => end());
  }

  #followOrders(account) {
    this.#endOrders?.();
    this.#orders.clear();
    this.#account = account;
    this.#drawOrders();
    const known = chain.accounts.some((each) => each.name === account || each.address === account);
    this.#endOrders = !known ? null : live.subscribe(`orders:${account}`, (message) => {
      if (message.type === "snapshot") this.#orders.clear();
      for (const order of message.data?.orders ?? []) {
        if (["open", "partially_filled", "untriggered"].includes(order.status)) this.#orders.set(order.order_id, order);
        else this.#orders.delete(order.order_id);
      }
      this.#drawOrders();
    });
  }

  #leave() {
    for (const end of this.#ends.splice(0)) end();
    this.#endOrders?.();
  }

  // What is shown.

  #drawMarket() {
    if (!this.isConnected) return;
    const { bids, asks } = this.#book;
    this.querySelector("depth-chart").draw(bids, asks);
    this.querySelector("candle-chart").draw([...this.#candles.values()].sort((one, two) => one.time_ms - two.time_ms));
    const line = (kind) => ([price, quantity, orders]) =>
      [h("span", { class: kind }, kind), amount(price), amount(quantity), String(orders)];
    const rows = [...asks.slice(0, LEVELS_SHOWN).reverse().map(line("ask")), ...bids.slice(0, LEVELS_SHOWN).map(line("bid"))];
    show(this.querySelector(".book .inner"), rows.length === 0
      ? blank("Nobody offers anything yet. ", h("code", {}, "chaind load --exchange"), " makes a devnet's markets live.")
      : table(["Side", "Price#", "Quantity#", "Orders#"], rows, { label: "Book" }));
    show(this.querySelector(".trades .inner"), this.#trades.length === 0 ? blank("No trades yet.")
      : table(["Side", "Price#", "Quantity#", "When"], this.#trades.map((each) => [
        h("span", { class: each.side === "buy" ? "bid" : "ask" }, each.side === "buy" ? "bought" : "sold"),
        amount(each.price), amount(each.quantity), ago(each.time_ms)]), { label: "Trades" }));
  }

  #showTicker(ticker) {
    const { base, quote } = this.#market;
    const price = (value) => (value === null ? "–" : `${amount(value)} ${quote}`);
    const change = ticker.change_percent === null ? "–" : `${ticker.change_percent} %`;
    show(this.querySelector(".day"), facts([
      ["Last", price(ticker.last)], ["Change in a day", change], ["High", price(ticker.high)], ["Low", price(ticker.low)],
      ["Traded in a day", `${amount(ticker.volume)} ${base}`], ["Best bid", price(ticker.bid)], ["Best ask", price(ticker.ask)],
    ]));
  }

  #showOrders() {
    const host = this.querySelector(".orders .inner");
    if (host === null) return;
    const orders = [...this.#orders.values()].sort((one, two) => two.timestamp - one.timestamp);
    show(host, orders.length === 0 ? blank(`${this.#account || "The account"} has no open orders.`)
      : table(["Market", "Side", "Price#", "Quantity#", "Filled#", "State", ""], orders.map((each) => [each.symbol,
        h("span", { class: each.side === "buy" ? "bid" : "ask" }, each.side),
        each.price === null ? "market" : amount(each.price), amount(each.quantity), amount(each.filled),
        chip("open", words(each.status)), this.#cancelButton(each)]), { label: "Open orders" }));
  }

  #cancelButton(order) {
    const button = h("button", { type: "button", class: "second" }, "Cancel");
    button.addEventListener("click", async () => {
      button.disabled = true;
      try {
        await remove(`/api/v1/orders/${order.order_id}`);
      } catch (problem) {
        show(this.#outcome, refusal(problem));
        button.disabled = false;
      }
    });
    return button;
  }
}

/** A status in a person's words. */
function words(status) {
  return status.replace("_", " ");
}

customElements.define("exchange-view", ExchangeView);
