// The WebSocket: channels that outlive connections.
//
// Law: a reader of a channel either hears every message or is told to look anew: `resync` comes
// after every new connection, after a gap that the node tells of, and after a number that is missing.

const WAIT_MS_MIN = 250;
const WAIT_MS_MAX = 4000;

class Live extends EventTarget {
  #socket = null;
  #channels = new Map(); // name → {readers: Set, seq, fromHeight}
  #waitMs = WAIT_MS_MIN;
  state = "connecting";

  /** What is looked up after every connection, before channels are asked for. */
  prepare = async () => {};

  start() {
    this.#connect();
    addEventListener("online", () => this.#hurry());
    document.addEventListener("visibilitychange", () => document.hidden || this.#hurry());
  }

  /**
   * Hear a channel. `read` gets {type, data}; `fromHeight()` says where blocks are replayed from.
   * The result ends it.
   */
  subscribe(name, read, fromHeight = null) {
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      channel = { readers: new Set(), seq: 0, fromHeight };
      this.#channels.set(name, channel);
    }
    channel.readers.add(read);
    if (this.state === "open") this.#ask(name, channel);
    return () => {
      channel.readers.delete(read);
      if (channel.readers.size > 0) return;
      this.#channels.delete(name);
      this.#send({ method: "unsubscribe", channels: [name] });
    };
  }

  #connect() {
    const socket = new WebSocket(`${location.origin.replace("http", "ws")}/ws`);
    this.#socket = socket;
    socket.addEventListener("open", () => this.#opened(socket));
    socket.addEventListener("message", (event) => this.#hear(JSON.parse(event.data)));
    socket.addEventListener("close", () => this.#closed(socket));
  }

  async #opened(socket) {
    try {
      await this.prepare();
    } catch {
      socket.close(); // a node that answers nothing else yet: `closed` tries again
      return;
    }
    if (this.#socket !== socket || socket.readyState !== WebSocket.OPEN) return;
    this.#waitMs = WAIT_MS_MIN;
    this.#become("open");
    for (const [name, channel] of this.#channels) this.#ask(name, channel);
  }

  #closed(socket) {
    if (this.#socket !== socket) return;
    this.#socket = null;
    this.#become("waiting");
    // Half to all of the wait: pages that lost a node together do not come back together.
    const wait = this.#waitMs * (0.5 + Math.random() / 2);
    this.#waitMs = Math.min(WAIT_MS_MAX, this.#waitMs * 2);
    setTimeout(() => this.#hurry(), wait);
  }

  #hurry() {
    if (this.#socket === null) this.#connect();
  }

  #become(state) {
    if (this.state === state) return;
    this.state = state;
    this.dispatchEvent(new Event("state"));
  }

  #ask(name, channel) {
    channel.seq = 0;
    const height = channel.fromHeight?.();
    const from = height === undefined || height === null ? {} : { from_height: height };
    this.#send({ method: "subscribe", channels: [name], ...from });
  }

  #send(command) {
    if (this.#socket?.readyState === WebSocket.OPEN) this.#socket.send(JSON.stringify(command));
  }

  #hear(message) {
    if (message.type === "subscribed") {
      for (const name of message.channels) this.#tell(name, { type: "resync" });
      return;
    }
    if (message.type === "error") {
      this.dispatchEvent(new CustomEvent("refused", { detail: message.problem }));
      return;
    }
    const channel = this.#channels.get(message.channel);
    if (channel === undefined) return; // told before the node heard that nobody reads it
    const missed = message.type === "gap" || message.seq !== channel.seq + 1;
    channel.seq = message.seq;
    if (message.type !== "gap") this.#tell(message.channel, message);
    if (missed) this.#tell(message.channel, { type: "resync" });
  }

  #tell(name, message) {
    for (const read of this.#channels.get(name)?.readers ?? []) read(message);
  }
}

export const live = new Live();
