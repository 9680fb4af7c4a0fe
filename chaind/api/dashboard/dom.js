// Making elements without markup in strings: text stays text, whoever wrote it into the chain.

const SVG = "http://www.w3.org/2000/svg";

function fill(node, props, children) {
  for (const [name, value] of Object.entries(props ?? {})) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name === "data") Object.assign(node.dataset, value);
    else if (name === "prop") Object.assign(node, value);
    else node.setAttribute(name, value === true ? "" : value);
  }
  node.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return node;
}

/** An HTML element. `on…` are listeners, `data` its dataset, `prop` properties, the rest attributes. */
export function h(tag, props, ...children) {
  return fill(document.createElement(tag), props, children);
}

/** The same for SVG. */
export function svg(tag, props, ...children) {
  return fill(document.createElementNS(SVG, tag), props, children);
}

/** Set a node's text, touching it only where that changes something. */
export function text(node, value) {
  if (node.textContent !== value) node.textContent = value;
}

/** Replace what a node holds. */
export function show(node, ...children) {
  node.replaceChildren(...children.flat(Infinity).filter((child) => child !== null));
}

/** A function that runs `work` at most every `waitMs`, in a frame, however often it is called. */
export function paced(work, waitMs) {
  let due = false;
  let last = -Infinity;
  return () => {
    if (due) return;
    due = true;
    const wait = Math.max(0, last + waitMs - performance.now());
    setTimeout(() => {
      requestAnimationFrame(() => {
        due = false;
        last = performance.now();
        work();
      });
    }, wait);
  };
}

/** A custom element that lives with the page: `start` may return what ends it. */
export class Part extends HTMLElement {
  #ends = [];

  connectedCallback() {
    this.start();
  }

  disconnectedCallback() {
    for (const end of this.#ends.splice(0)) end();
  }

  /** Call `end` once this leaves the page. */
  until(end) {
    this.#ends.push(end);
  }

  /** Listen for as long as this is on the page. */
  on(target, name, handle) {
    target.addEventListener(name, handle);
    this.until(() => target.removeEventListener(name, handle));
  }
}
