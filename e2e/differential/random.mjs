/** Choices that a seed makes again. */

const ALPHABETS = ['abc xyz_-/', 'AÄÖéß€', '你好二三', '\n\t"\\\u0001\u2028', 'Ж٣ไ'];

export class Random {
  #state;

  constructor(seed) {
    this.#state = seed >>> 0;
  }

  /** From 0 to less than 1. */
  next() {
    this.#state = (this.#state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(this.#state ^ (this.#state >>> 15), this.#state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  }

  /** From `least` to `most`, both included. */
  int(least, most) {
    return least + Math.floor(this.next() * (most - least + 1));
  }

  pick(list) {
    return list[this.int(0, list.length - 1)];
  }

  chance(part = 0.5) {
    return this.next() < part;
  }

  list(most, make) {
    return Array.from({ length: this.int(0, most) }, make);
  }

  text(most = 12) {
    const letters = [...this.pick(ALPHABETS)];
    return this.list(most, () => this.pick(letters)).join('');
  }

  /** A number that every language writes in the same way. */
  number() {
    return this.chance() ? this.int(-(2 ** 31), 2 ** 32) : this.int(-(10 ** 9), 10 ** 9) / 1024;
  }

  /** Any JSON. */
  json(depth = 3) {
    const leaf = depth === 0 || this.chance(0.4);
    if (leaf) return this.pick([null, true, false, '', 0, this.number(), this.number(), this.text(), this.text()]);
    if (this.chance()) return this.list(4, () => this.json(depth - 1));
    return this.object(depth - 1);
  }

  /** Names begin with a letter: JavaScript moves those that are numbers to the front. */
  object(depth = 3) {
    return Object.fromEntries(this.list(4, () => [`n${this.text(4)}`, this.json(depth)]));
  }

  shuffled(list) {
    return list.map((item) => [this.next(), item]).sort(([one], [other]) => one - other).map(([, item]) => item);
  }

  /** What the schema of `connector.protoHandler.echo` and of `onProto` takes. */
  typed() {
    const signed = () => this.pick([0, -1, this.int(-100, 100), this.int(-(2 ** 31), 2 ** 31 - 1)]);
    const unsigned = () => this.pick([0, 127, 128, this.int(0, 2 ** 32 - 1)]);
    const item = () => ({ id: unsigned(), name: this.text(), marks: this.list(3, signed) });
    const pos = () => ({ x: signed(), y: signed(), ...(this.chance() && { tag: this.text() }) });
    const needed = {
      u: unsigned(),
      i: signed(),
      s: signed(),
      f: this.int(-1000, 1000) / 8,
      d: this.number(),
      str: this.text(),
    };
    const free = {
      item: item(),
      items: this.list(2, item),
      nums: this.list(4, unsigned),
      strs: this.list(3, () => this.text()),
      ds: this.list(3, () => this.number()),
      opt: this.text(),
      pos: pos(),
      path: this.list(2, pos),
    };
    const members = [...Object.entries(needed), ...Object.entries(free).filter(() => this.chance())];
    return Object.fromEntries(this.shuffled(members));
  }
}
