// The frame around the views: which one is shown, the search, the theme, the state of the connection.

import "./view_overview.js";
import { chain } from "./chain.js";
import { h, show, text } from "./dom.js";
import { live } from "./live.js";
import { refusal, toast } from "./parts.js";

// What the first word after # shows. A view of a thing takes what stands after it.
const VIEWS = {
  "": { tag: "overview-view", module: null, tab: "overview" },
  explorer: { tag: "explorer-view", module: "./view_explorer.js", tab: "explorer" },
  find: { tag: "explorer-view", module: "./view_explorer.js", tab: "explorer" },
  block: { tag: "block-view", module: "./view_block.js", tab: "explorer" },
  tx: { tag: "transaction-view", module: "./view_transaction.js", tab: "explorer" },
  address: { tag: "address-view", module: "./view_address.js", tab: "explorer" },
  payments: { tag: "payments-view", module: "./view_payments.js", tab: "payments" },
  invoice: { tag: "invoice-view", module: "./view_invoice.js", tab: "payments" },
  exchange: { tag: "exchange-view", module: "./view_exchange.js", tab: "exchange" },
  mining: { tag: "mining-view", module: "./view_mining.js", tab: "mining" },
  network: { tag: "network-view", module: "./view_network.js", tab: "network" },
};

const main = document.getElementById("main");
let shown = 0;

async function route() {
  const [word, ...rest] = location.hash.replace(/^#\/?/, "").split("/");
  const view = VIEWS[word];
  const turn = (shown += 1);
  for (const link of document.querySelectorAll("nav a")) {
    if (link.dataset.view === view?.tab) link.setAttribute("aria-current", "page");
    else link.removeAttribute("aria-current");
  }
  if (view === undefined) {
    show(main, h("h1", {}, "Nothing here"), h("p", {}, "This page has no such view. ",
      h("a", { href: "#/" }, "The overview"), " is a good place to begin."));
    return;
  }
  try {
    if (view.module !== null) {
      if (chain.status === null) show(main, h("p", { class: "muted" }, "Connecting to the node …"));
      await Promise.all([import(view.module), chain.ready]);
    }
  } catch {
    if (turn === shown) {
      show(main, refusal({ message: "the view could not be loaded",
        advice: "The node may be starting again.", code: "unreachable" }, route));
    }
    return;
  }
  if (turn !== shown) return; // somebody went on meanwhile
  const subject = decodeURIComponent(rest.join("/"));
  const element = h(view.tag, { subject, word });
  show(main, element);
  const heading = element.querySelector("h1");
  document.title = `${heading?.textContent ?? "chaind"} · ${chain.status?.chain ?? "chaind"}`;
  if (turn > 1) {
    main.focus({ preventScroll: true });
    scrollTo(0, 0);
  }
}

function startSearch() {
  const form = document.getElementById("search");
  const input = document.getElementById("search-text");
  form.addEventListener("submit", (event) => {
    event.preventDefault();
    const wanted = input.value.trim();
    if (wanted === "") return;
    location.hash = `#/find/${encodeURIComponent(wanted)}`;
    input.blur();
  });
  addEventListener("keydown", (event) => {
    const typing = event.target.closest?.("input, textarea, select, [contenteditable]");
    if (event.key !== "/" || typing || event.ctrlKey || event.metaKey || event.altKey) return;
    event.preventDefault();
    input.focus();
    input.select();
  });
}

function startTheme() {
  const button = document.getElementById("theme");
  const label = () => {
    const dark = window.chaindTheme.current() === "dark";
    text(button, dark ? "☀" : "☾");
    button.setAttribute("aria-label", dark ? "Use light colours" : "Use dark colours");
  };
  button.addEventListener("click", () => {
    window.chaindTheme.toggle();
    label();
  });
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", label);
  label();
}

function startState() {
  const state = document.getElementById("link-state");
  const update = () => {
    const open = live.state === "open";
    state.className = `link-state ${live.state}`;
    text(state, open ? "live" : live.state === "connecting" ? "connecting" : "node not reachable");
    state.title = open ? "Connected to the node" : "This page connects again by itself";
  };
  live.addEventListener("state", update);
  live.addEventListener("refused", (event) => toast(`${event.detail.detail}. ${event.detail.advice}`));
  chain.addEventListener("status", () => {
    text(document.getElementById("chain-name"), chain.status.chain);
    text(document.getElementById("node-name"), `${chain.status.name}, chaind ${chain.status.version}`);
  });
  update();
}

startTheme();
startSearch();
startState();
addEventListener("hashchange", route);
route();
chain.start();
live.start();
