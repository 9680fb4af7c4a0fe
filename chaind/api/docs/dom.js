// Making elements. Text is always text: nothing that a node or a person wrote becomes markup.

export function el(tag, attributes = {}, ...children) {
  const node = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) node.addEventListener(name.slice(2), value);
    else if (name in node && typeof value !== "string") node[name] = value;
    else node.setAttribute(name, value);
  }
  node.append(...children.flat().filter((child) => child !== null && child !== undefined));
  return node;
}

// Paragraphs, with `code` in backquotes.
export function prose(text) {
  return text.split(/\n{2,}/).map((paragraph) =>
    el(
      "p",
      {},
      paragraph
        .split("`")
        .map((part, index) => (index % 2 ? el("code", {}, part) : part.replaceAll("\n", " "))),
    ),
  );
}

export function copyButton(read, label = "Copy") {
  const button = el("button", { type: "button", class: "quiet copy" }, label);
  button.addEventListener("click", async () => {
    let said = "Copied";
    try {
      await navigator.clipboard.writeText(read());
    } catch {
      said = "Select it, and press Ctrl C"; // browsers give the clipboard to secure pages alone
    }
    button.textContent = said;
    setTimeout(() => (button.textContent = label), 2000);
  });
  return button;
}

const TOKENS = /("(?:\\.|[^"\\])*")(\s*:)?|\b(true|false|null)\b|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?/g;

// Indented JSON, coloured.
export function json(value) {
  const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
  const out = el("code", { class: "json" });
  let at = 0;
  for (const match of text.matchAll(TOKENS)) {
    out.append(text.slice(at, match.index));
    const kind = match[2] ? "key" : match[1] ? "string" : match[3] ? "word" : "number";
    out.append(el("span", { class: kind }, match[1] ?? match[0]), match[2] ?? "");
    at = match.index + match[0].length;
  }
  out.append(text.slice(at));
  return out;
}
