// A book made of the frames of its channel alone: a snapshot, then deltas of absolute quantities.
//
// Law: a delta goes on where its `prev_seq` is not above what is known; the checksum of the best
// levels must then be the frame's. Where it is not, the place is lost until the next snapshot.

const CHECKED_LEVELS = 25;
const TABLE = Uint32Array.from({ length: 256 }, (_, index) => {
  let value = index;
  for (let bit = 0; bit < 8; bit += 1) value = value & 1 ? (value >>> 1) ^ 0xedb88320 : value >>> 1;
  return value;
});

/** CRC-32 (ISO 3309) of ASCII text. */
export function crc32(words) {
  let crc = 0xffffffff;
  for (let at = 0; at < words.length; at += 1) {
    crc = (crc >>> 8) ^ TABLE[(crc ^ words.charCodeAt(at)) & 0xff];
  }
  return (crc ^ 0xffffffff) >>> 0;
}

export class BookFollower {
  #bids = new Map(); // price → [price, quantity, orders]
  #asks = new Map();
  #sorted = null;
  seq = null;

  /** Apply a frame; false where the place is lost. */
  take(frame) {
    if (frame.prev_seq === null) {
      this.#bids.clear();
      this.#asks.clear();
    } else if (this.seq === null || frame.prev_seq > this.seq) {
      this.seq = null;
      return false;
    } else if (frame.seq <= this.seq) {
      return true;
    }
    for (const [side, levels] of [[this.#bids, frame.bids], [this.#asks, frame.asks]]) {
      for (const level of levels) {
        if (level[1] === "0") side.delete(level[0]);
        else side.set(level[0], level);
      }
    }
    this.#sorted = null;
    this.seq = this.checksum() === frame.checksum ? frame.seq : null;
    return this.seq !== null;
  }

  /** Levels, best first. Numbers are good enough to order prices by. */
  get bids() {
    return this.#sides()[0];
  }

  get asks() {
    return this.#sides()[1];
  }

  checksum() {
    const best = [...this.bids.slice(0, CHECKED_LEVELS), ...this.asks.slice(0, CHECKED_LEVELS)];
    return crc32(best.map((level) => `${level[0]}:${level[1]}`).join(":"));
  }

  #sides() {
    this.#sorted ??= [
      [...this.#bids.values()].sort((one, two) => Number(two[0]) - Number(one[0])),
      [...this.#asks.values()].sort((one, two) => Number(one[0]) - Number(two[0])),
    ];
    return this.#sorted;
  }
}
