// What the page knows of the chain: the newest final blocks, the votes, the rates of the last minute.
//
// Law: everything here is bounded, and comes from the node; nothing is worked out twice elsewhere.

import { get } from "./api.js";
import { live } from "./live.js";

export const BLOCKS_KEPT = 60;
export const SECONDS_KEPT = 60;
const RATE_SECONDS = 5;

class Chain extends EventTarget {
  blocks = []; // final ones, the newest first
  status = null;
  news = null; // the last message of the channel `consensus`
  names = new Map(); // of addresses
  accounts = []; // named, whose keys the node keeps
  assets = [];
  /** Resolves once the chain's names and parameters are known here. */
  ready = new Promise((resolve) => this.addEventListener("status", resolve, { once: true }));
  #offsetMs = 0; // the node's clock ahead of this machine's
  #transactions = null; // the node's total at the last message
  #seconds = []; // {at, transactions, latency, lag}, one for each second, the oldest first

  start() {
    live.prepare = () => this.#prepare();
    live.subscribe("blocks", (message) => this.#hearBlock(message), () => this.#fromHeight());
    live.subscribe("consensus", (message) => this.#hearNews(message));
    setInterval(() => {
      this.#second();
      this.#say("second");
    }, 1000);
  }

  /** Now, by the node's clock. */
  now() {
    return Date.now() + this.#offsetMs;
  }

  /** Whether miners make the blocks. */
  get mined() {
    return this.status?.mode === "pow";
  }

  /** Blocks that are not final yet: on chains of miners, those on top of the final one. */
  get onTop() {
    return this.news === null ? 0 : Math.max(0, this.news.next_block.height - 1 - this.height);
  }

  get height() {
    return Math.max(this.blocks[0]?.height ?? 0, this.status?.height ?? 0);
  }

  /** Transactions per second over the last few. */
  get rate() {
    const recent = this.#seconds.slice(-RATE_SECONDS);
    return recent.reduce((found, each) => found + each.transactions, 0) / RATE_SECONDS;
  }

  /** One figure of each of the last seconds; null where nothing was measured. */
  history(name) {
    return this.#seconds.map((each) => each[name]);
  }

  nameOf(address) {
    return this.names.get(address) ?? null;
  }

  /** The validator whose address this is. */
  validatorOf(address) {
    return this.validators?.find((each) => each.address === address) ?? null;
  }

  async #prepare() {
    const [status, named, voters, assets] = await Promise.all([
      get("/api/v1/status"),
      get("/api/v1/accounts"),
      get("/api/v1/validators"),
      get("/api/v1/assets"),
    ]);
    if (this.status !== null && this.status.genesis_hash !== status.genesis_hash) {
      location.reload(); // another chain answers here now
    }
    this.status = status;
    this.accounts = named.accounts;
    this.validators = voters.validators;
    this.assets = assets.assets;
    this.names = new Map(named.accounts.map((each) => [each.address, each.name]));
    this.#say("status");
  }

  /** Where the replay of blocks begins: after what is known, but not far in the past. */
  #fromHeight() {
    const known = this.blocks[0]?.height ?? 0;
    return Math.max(1, known + 1, this.status.height - BLOCKS_KEPT + 1);
  }

  #hearBlock(message) {
    if (message.type !== "block") return;
    const block = message.data;
    const tip = this.blocks[0]?.height;
    if (tip !== undefined && block.height > tip + 1) this.#fill(tip + 1, block.height - 1);
    this.#keep([block]);
  }

  /** Fetch blocks that the channel left out. */
  async #fill(first, last) {
    const start = Math.max(first, last - BLOCKS_KEPT + 1);
    try {
      this.#keep((await get(`/api/v1/blocks/range?start=${start}&end=${last}`)).blocks);
    } catch {
      this.blocks = this.blocks.filter((each) => each.height > last); // rather fewer than a hole
    }
  }

  #keep(blocks) {
    const known = new Set(this.blocks.map((each) => each.height));
    const fresh = blocks.filter((each) => !known.has(each.height));
    if (fresh.length === 0) return;
    this.blocks = [...fresh, ...this.blocks]
      .sort((one, other) => other.height - one.height)
      .slice(0, BLOCKS_KEPT);
    this.#say("blocks");
  }

  #hearNews(message) {
    if (message.type !== "consensus") return;
    this.news = message.data;
    const { pulse } = message.data;
    this.#offsetMs = pulse.time_ms - Date.now();
    const before = this.#transactions;
    this.#transactions = pulse.transactions_total;
    const second = this.#second();
    if (before !== null && pulse.transactions_total > before) {
      second.transactions += pulse.transactions_total - before;
      second.latency = pulse.latency_ms;
    }
    second.lag = pulse.lag_ms;
    this.#say("news");
  }

  /** The second that runs now; those that went by without a message are filled in. */
  #second() {
    const at = Math.floor(this.now() / 1000);
    const last = this.#seconds.at(-1)?.at ?? at - 1;
    for (let next = Math.max(last + 1, at - SECONDS_KEPT); next <= at; next += 1) {
      this.#seconds.push({ at: next, transactions: 0, latency: null, lag: null });
    }
    this.#seconds = this.#seconds.slice(-SECONDS_KEPT);
    return this.#seconds.at(-1);
  }

  #say(name) {
    this.dispatchEvent(new Event(name));
  }
}

export const chain = new Chain();
