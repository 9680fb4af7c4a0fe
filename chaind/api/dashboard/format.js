// How values look: amounts exactly as the node gave them, times as ages, ids short but whole to copy.

/** "1234567.5" → "1,234,567.5". Never through a float. */
export function amount(decimal) {
  const [whole, fraction] = String(decimal).split(".");
  const grouped = whole.replace(/\B(?=(\d{3})+$)/g, ",");
  return fraction === undefined ? grouped : `${grouped}.${fraction}`;
}

/** Decimal text in base units. */
export function units(decimal) {
  const negative = decimal.startsWith("-");
  const [whole, fraction = ""] = decimal.replace("-", "").split(".");
  const value = BigInt(whole) * 100_000_000n + BigInt(fraction.padEnd(8, "0"));
  return negative ? -value : value;
}

/** A sum of decimal texts as decimal text. */
export function sum(decimals) {
  const total = decimals.reduce((found, each) => found + units(each), 0n);
  const size = total < 0n ? -total : total;
  const fraction = String(size % 100_000_000n).padStart(8, "0").replace(/0+$/, "");
  return `${total < 0n ? "-" : ""}${size / 100_000_000n}${fraction ? `.${fraction}` : ""}`;
}

export function count(value) {
  return amount(String(value));
}

/** The first and last of a long id. */
export function short(id, ends = 6) {
  return id.length > 2 * ends + 3 ? `${id.slice(0, ends)}…${id.slice(-ends)}` : id;
}

export function millis(value) {
  if (value === null || value === undefined) return "–";
  if (value < 9.95) return `${value.toFixed(1)} ms`;
  if (value < 1000) return `${Math.round(value)} ms`;
  return span(value);
}

/** A duration in words: "4.2 s", "3 min", "2 h". */
export function span(ms) {
  const seconds = Math.max(0, ms) / 1000;
  if (seconds < 10) return `${seconds.toFixed(1)} s`;
  if (seconds < 100) return `${Math.round(seconds)} s`;
  if (seconds < 6000) return `${Math.round(seconds / 60)} min`;
  if (seconds < 172_800) return `${Math.round(seconds / 3600)} h`;
  return `${Math.round(seconds / 86_400)} days`;
}

export function age(timeMs, nowMs) {
  const ms = nowMs - timeMs;
  if (ms < 1500) return "just now";
  return `${span(Math.round(ms / 1000) * 1000).replace(".0", "")} ago`;
}

/** Hashes per second, with a unit. */
export function hashes(perSecond) {
  const units = ["H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s", "EH/s"];
  let value = perSecond;
  let unit = 0;
  while (value >= 999.5 && unit < units.length - 1) {
    value /= 1000;
    unit += 1;
  }
  return `${value < 10 ? value.toFixed(2) : value < 99.95 ? value.toFixed(1) : Math.round(value)} ${units[unit]}`;
}

/** How many times as hard as Bitcoin's easiest: from a millionth on test chains to many billions. */
export function difficulty(value) {
  if (value === 0) return "0";
  if (value < 0.01) return value.toExponential(2).replace("e-", " × 10⁻").replace(/\d+$/, superscript);
  return value < 1000 ? String(Number(value.toPrecision(4))) : count(Math.round(value));
}

function superscript(digits) {
  return digits.replace(/\d/g, (digit) => "⁰¹²³⁴⁵⁶⁷⁸⁹"[Number(digit)]);
}

export function moment(timeMs) {
  return new Date(timeMs).toISOString().replace("T", " ").replace("Z", " UTC");
}

export function bytes(value) {
  if (value < 1000) return `${value} B`;
  if (value < 1_000_000) return `${(value / 1000).toFixed(1)} kB`;
  return `${(value / 1_000_000).toFixed(2)} MB`;
}

export function plural(number, one, many = `${one}s`) {
  return `${count(number)} ${number === 1 ? one : many}`;
}

/** Text of hexadecimal bytes where it is UTF-8, else null. */
export function decoded(hex) {
  const data = Uint8Array.from(hex.match(/../g) ?? [], (pair) => parseInt(pair, 16));
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(data);
  } catch {
    return null;
  }
}
