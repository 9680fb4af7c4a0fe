// The WebSocket, live: channels to subscribe to, and what they tell.

import { el, json } from "./dom.js";

const SHOWN_MAX = 50;

export class Listen {
  #socket = null;

  render() {
    this.channels = el("input", {
      id: "channels",
      value: "blocks mempool",
      autocomplete: "off",
      spellcheck: "false",
      "aria-describedby": "channels-about",
    });
    this.from = el("input", {
      id: "from",
      inputmode: "numeric",
      autocomplete: "off",
      placeholder: "from now on",
      "aria-describedby": "from-about",
    });
    this.button = el("button", { type: "submit", class: "send" }, "Listen");
    this.state = el("span", { class: "bound", role: "status" });
    this.messages = el("div", {
      class: "messages",
      role: "log",
      tabindex: "0",
      "aria-label": "Messages, newest first",
    });
    const row = (input, label, about) =>
      el(
        "div",
        { class: "parameter" },
        el("label", { for: input.id }, el("code", {}, label)),
        input,
        el("p", { id: `${input.id}-about`, class: "about" }, about),
      );
    const form = el(
      "form",
      { class: "request" },
      el("h2", {}, "Listen"),
      row(this.channels, "channels", "Parted by blanks: blocks, mempool, tx:ID, account:bob"),
      row(this.from, "from_height", "Blocks and accounts are replayed from there"),
      el("div", { class: "bar" }, this.button, this.state),
      this.messages,
    );
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      if (this.#socket) this.close();
      else this.#open();
    });
    return form;
  }

  close() {
    this.#socket?.close();
  }

  #open() {
    const command = {
      method: "subscribe",
      channels: this.channels.value.split(/\s+/).filter(Boolean),
    };
    if (this.from.value) command.from_height = Number(this.from.value);
    const socket = new WebSocket(
      `${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`,
    );
    this.#socket = socket;
    this.#say("Stop", "connecting");
    socket.addEventListener("open", () => {
      socket.send(JSON.stringify(command));
      this.#say("Stop", "listening");
    });
    socket.addEventListener("message", (event) => {
      this.messages.prepend(el("pre", {}, json(event.data)));
      while (this.messages.childElementCount > SHOWN_MAX) this.messages.lastChild.remove();
    });
    socket.addEventListener("close", (event) => {
      this.#socket = null;
      this.#say(
        "Listen",
        event.wasClean ? "closed" : "the connection broke: does the node still run?",
      );
    });
  }

  #say(label, state) {
    this.button.textContent = label;
    this.state.textContent = state;
  }
}
