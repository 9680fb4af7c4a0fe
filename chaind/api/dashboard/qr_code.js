// <qr-code text="…" label="…">: ISO/IEC 18004, byte mode, level M, versions 1 to 25.

import { Part, svg } from "./dom.js";

const QUIET = 4; // modules around the symbol, as the standard asks
// [error correction bytes in a block, blocks] of level M, for versions 1 to 25 (table 9).
const CORRECTION = [
  [10, 1], [16, 1], [26, 1], [18, 2], [24, 2], [16, 4], [18, 4], [22, 4], [22, 5], [26, 5],
  [30, 5], [22, 8], [22, 9], [24, 9], [24, 10], [28, 10], [28, 11], [26, 13], [26, 14], [26, 16],
  [26, 17], [28, 17], [28, 18], [28, 20], [28, 21],
];
const LEVEL_M = 0;

// Arithmetic in GF(256) with x⁸ + x⁴ + x³ + x² + 1.
const EXP = new Uint8Array(512);
const LOG = new Uint8Array(256);
for (let power = 0, value = 1; power < 255; power += 1) {
  EXP[power] = EXP[power + 255] = value;
  LOG[value] = power;
  value = (value << 1) ^ (value & 0x80 ? 0x11d : 0);
}

function multiply(one, other) {
  return one && other ? EXP[LOG[one] + LOG[other]] : 0;
}

/** Reed-Solomon remainder of `data` for `degree` correction bytes. */
function remainder(data, degree) {
  let generator = [1];
  for (let root = 0; root < degree; root += 1) {
    const next = new Array(generator.length + 1).fill(0);
    generator.forEach((coefficient, index) => {
      next[index] ^= coefficient;
      next[index + 1] ^= multiply(coefficient, EXP[root]);
    });
    generator = next;
  }
  const rest = new Uint8Array(degree);
  for (const byte of data) {
    const factor = byte ^ rest[0];
    rest.copyWithin(0, 1);
    rest[degree - 1] = 0;
    for (let index = 0; index < degree; index += 1) rest[index] ^= multiply(generator[index + 1], factor);
  }
  return rest;
}

/** Centres of the alignment patterns. */
function alignments(version) {
  if (version === 1) return [];
  const size = 17 + 4 * version;
  const many = Math.floor(version / 7) + 2;
  const step = 2 * Math.ceil((version * 4 + 4) / (many * 2 - 2));
  const found = [6];
  for (let index = many - 1; index > 0; index -= 1) found.splice(1, 0, size - 7 - step * (many - 1 - index));
  return found;
}

/** Codewords that a version holds, correction included. */
function capacity(version) {
  const size = 17 + 4 * version;
  const along = alignments(version).length;
  let modules = size * size - 3 * 64 - 2 * 15 - 1 - 2 * (size - 16);
  if (along > 0) modules -= (along - 1) ** 2 * 25 + (along - 2) * 2 * 20;
  if (version >= 7) modules -= 36;
  return Math.floor(modules / 8);
}

/** Data and correction bytes, interleaved as they are drawn, with the version they fit. */
function codewords(bytes) {
  for (let version = 1; version <= CORRECTION.length; version += 1) {
    const [degree, blocks] = CORRECTION[version - 1];
    const room = capacity(version) - degree * blocks;
    const lengthBits = version < 10 ? 8 : 16;
    if (4 + lengthBits + 8 * bytes.length > 8 * room) continue;
    const data = pack(bytes, lengthBits, room);
    return { version, words: interleave(data, degree, blocks) };
  }
  throw new RangeError("the text is too long for a QR code");
}

/** Mode, length, bytes, and filling up to `room`. */
function pack(bytes, lengthBits, room) {
  let bits = "0100" + bytes.length.toString(2).padStart(lengthBits, "0");
  for (const byte of bytes) bits += byte.toString(2).padStart(8, "0");
  bits += "0".repeat(Math.min(4, 8 * room - bits.length));
  bits = bits.padEnd(Math.ceil(bits.length / 8) * 8, "0");
  const data = bits.match(/.{8}/g).map((each) => parseInt(each, 2));
  for (let filler = 0xec; data.length < room; filler ^= 0xec ^ 0x11) data.push(filler);
  return data;
}

function interleave(data, degree, blocks) {
  const shorter = Math.floor(data.length / blocks);
  const longer = data.length % blocks; // the last ones hold a byte more
  const parts = [];
  for (let index = 0, at = 0; index < blocks; index += 1) {
    const length = shorter + (index >= blocks - longer ? 1 : 0);
    parts.push(data.slice(at, at + length));
    at += length;
  }
  const words = [];
  for (let index = 0; index <= shorter; index += 1) {
    for (const part of parts) if (index < part.length) words.push(part[index]);
  }
  const checks = parts.map((part) => remainder(part, degree));
  for (let index = 0; index < degree; index += 1) for (const check of checks) words.push(check[index]);
  return words;
}

const MASKS = [
  (x, y) => (x + y) % 2,
  (x, y) => y % 2,
  (x) => x % 3,
  (x, y) => (x + y) % 3,
  (x, y) => (Math.floor(x / 3) + Math.floor(y / 2)) % 2,
  (x, y) => ((x * y) % 2) + ((x * y) % 3),
  (x, y) => (((x * y) % 2) + ((x * y) % 3)) % 2,
  (x, y) => (((x + y) % 2) + ((x * y) % 3)) % 2,
];

class Matrix {
  constructor(version) {
    this.version = version;
    this.size = 17 + 4 * version;
    this.dark = Array.from({ length: this.size }, () => new Uint8Array(this.size));
    this.fixed = Array.from({ length: this.size }, () => new Uint8Array(this.size));
  }

  set(x, y, dark) {
    this.dark[y][x] = dark ? 1 : 0;
    this.fixed[y][x] = 1;
  }

  drawPatterns() {
    for (let at = 0; at < this.size; at += 1) {
      this.set(6, at, at % 2 === 0);
      this.set(at, 6, at % 2 === 0);
    }
    const last = this.size - 4;
    for (const [x, y] of [[3, 3], [last, 3], [3, last]]) this.#finder(x, y);
    const centres = alignments(this.version);
    for (const x of centres) for (const y of centres) if (!this.#nearFinder(x, y)) this.#square(x, y);
    this.drawFormat(0);
    if (this.version >= 7) this.#drawVersion();
  }

  #nearFinder(x, y) {
    const far = this.size - 7;
    return (x === 6 && y === 6) || (x === 6 && y === far) || (x === far && y === 6);
  }

  #finder(cx, cy) {
    for (let dy = -4; dy <= 4; dy += 1) {
      for (let dx = -4; dx <= 4; dx += 1) {
        const [x, y] = [cx + dx, cy + dy];
        const ring = Math.max(Math.abs(dx), Math.abs(dy));
        if (x >= 0 && y >= 0 && x < this.size && y < this.size) this.set(x, y, ring !== 2 && ring !== 4);
      }
    }
  }

  #square(cx, cy) {
    for (let dy = -2; dy <= 2; dy += 1) {
      for (let dx = -2; dx <= 2; dx += 1) this.set(cx + dx, cy + dy, Math.max(Math.abs(dx), Math.abs(dy)) !== 1);
    }
  }

  /** Level and mask with their BCH(15, 5) code, twice. */
  drawFormat(mask) {
    const data = (LEVEL_M << 3) | mask;
    let rest = data;
    for (let step = 0; step < 10; step += 1) rest = (rest << 1) ^ ((rest >> 9) * 0x537);
    const bits = ((data << 10) | rest) ^ 0x5412;
    const bit = (index) => (bits >> index) & 1;
    for (let index = 0; index <= 5; index += 1) this.set(8, index, bit(index));
    this.set(8, 7, bit(6));
    this.set(8, 8, bit(7));
    this.set(7, 8, bit(8));
    for (let index = 9; index < 15; index += 1) this.set(14 - index, 8, bit(index));
    for (let index = 0; index < 8; index += 1) this.set(this.size - 1 - index, 8, bit(index));
    for (let index = 8; index < 15; index += 1) this.set(8, this.size - 15 + index, bit(index));
    this.set(8, this.size - 8, 1);
  }

  /** The version with its BCH(18, 6) code, twice. */
  #drawVersion() {
    let rest = this.version;
    for (let step = 0; step < 12; step += 1) rest = (rest << 1) ^ ((rest >> 11) * 0x1f25);
    const bits = (this.version << 12) | rest;
    for (let index = 0; index < 18; index += 1) {
      const [a, b] = [this.size - 11 + (index % 3), Math.floor(index / 3)];
      this.set(a, b, (bits >> index) & 1);
      this.set(b, a, (bits >> index) & 1);
    }
  }

  /** In pairs of columns from the right, up and down by turns. */
  drawData(words) {
    let at = 0;
    for (let right = this.size - 1; right >= 1; right -= 2) {
      if (right === 6) right = 5;
      for (let step = 0; step < this.size; step += 1) {
        const upward = ((right + 1) & 2) === 0;
        const y = upward ? this.size - 1 - step : step;
        for (const x of [right, right - 1]) {
          if (this.fixed[y][x]) continue;
          this.dark[y][x] = at < words.length * 8 ? (words[at >> 3] >> (7 - (at & 7))) & 1 : 0;
          at += 1;
        }
      }
    }
  }

  applyMask(mask) {
    for (let y = 0; y < this.size; y += 1) {
      for (let x = 0; x < this.size; x += 1) {
        if (!this.fixed[y][x] && MASKS[mask](x, y) === 0) this.dark[y][x] ^= 1;
      }
    }
  }

  /** How hard this is to read (section 7.8.3): runs, blocks, shapes like finders, imbalance. */
  penalty() {
    let points = 0;
    let total = 0;
    const lines = [];
    for (let a = 0; a < this.size; a += 1) {
      lines.push(this.dark[a].join(""), this.dark.map((row) => row[a]).join(""));
      for (let b = 0; b < this.size; b += 1) {
        total += this.dark[a][b];
        if (a === 0 || b === 0) continue;
        const four = this.dark[a][b] + this.dark[a - 1][b] + this.dark[a][b - 1] + this.dark[a - 1][b - 1];
        if (four % 4 === 0) points += 3;
      }
    }
    for (const line of lines) {
      for (const run of line.match(/0{5,}|1{5,}/g) ?? []) points += run.length - 2;
      points += 40 * (line.match(/(?=10111010000|00001011101)/g) ?? []).length;
    }
    return points + 10 * Math.floor(Math.abs((total * 20) / this.size ** 2 - 10));
  }
}

/** Rows of 0 and 1 for a text. Raises RangeError where it is too long. */
export function encode(text) {
  const { version, words } = codewords(new TextEncoder().encode(text));
  const symbol = new Matrix(version);
  symbol.drawPatterns();
  symbol.drawData(words);
  let best = 0;
  let least = Infinity;
  for (let mask = 0; mask < MASKS.length; mask += 1) {
    symbol.applyMask(mask);
    symbol.drawFormat(mask);
    const points = symbol.penalty();
    if (points < least) [best, least] = [mask, points];
    symbol.applyMask(mask); // twice is not at all
  }
  symbol.applyMask(best);
  symbol.drawFormat(best);
  return symbol.dark;
}

class QrCode extends Part {
  start() {
    if (this.firstChild) return;
    let rows;
    try {
      rows = encode(this.getAttribute("text"));
    } catch (error) {
      if (!(error instanceof RangeError)) throw error;
      this.append("Too long for a QR code: copy the text instead.");
      return;
    }
    const size = rows.length + 2 * QUIET;
    let path = "";
    rows.forEach((row, y) => row.forEach((dark, x) => {
      if (dark) path += `M${x + QUIET} ${y + QUIET}h1v1h-1z`;
    }));
    this.append(svg("svg", { viewBox: `0 0 ${size} ${size}`, role: "img", "shape-rendering": "crispEdges",
      "aria-label": this.getAttribute("label") }, svg("rect", { width: size, height: size, class: "paper" }),
    svg("path", { d: path, class: "modules" })));
  }
}

customElements.define("qr-code", QrCode);
