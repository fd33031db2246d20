/**
 * Packages and messages of the pomelo wire: bytes to values and back.
 *
 * A package is a type, a three-byte length and a body. A package of type `data` holds one message:
 * a flag byte, an id or a route or both, and a body that this file does not look into.
 */

/** The types of packages. */
export const Kind = Object.freeze({ handshake: 1, ack: 2, heartbeat: 3, data: 4, kick: 5 });

/** The types of messages. */
export const Type = Object.freeze({ request: 0, notify: 1, response: 2, push: 3 });

/** The bytes are not what the wire allows. A connection can't go on after it. */
export class Malformed extends Error {
  name = 'Malformed';
}

const HEAD = 4;
const LONGEST_BODY = 0xff_ff_ff;
const COMPRESSED = 1;

/**
 * @param {number} kind
 * @param {Uint8Array} [body]
 * @returns {Uint8Array}
 */
export function encodePackage(kind, body = new Uint8Array()) {
  if (LONGEST_BODY < body.length) {
    throw new RangeError(`a package of ${body.length} bytes, where ${LONGEST_BODY} are allowed`);
  }
  const bytes = new Uint8Array(HEAD + body.length);
  new DataView(bytes.buffer).setUint32(0, body.length);
  bytes[0] = kind;
  bytes.set(body, HEAD);
  return bytes;
}

/**
 * All packages of one WebSocket message; a server may put several in it.
 *
 * @param {Uint8Array} bytes
 * @returns {{ kind: number, body: Uint8Array }[]}
 */
export function decodePackages(bytes) {
  const packages = [];
  for (let at = 0; at < bytes.length; ) {
    if (bytes.length < at + HEAD) throw new Malformed('a package ends inside its head');
    const [kind, a, b, c] = bytes.subarray(at, at + HEAD);
    const end = at + HEAD + ((a << 16) | (b << 8) | c);
    if (kind < Kind.handshake || Kind.kick < kind) throw new Malformed(`no package has type ${kind}`);
    if (bytes.length < end) throw new Malformed('a package is longer than what came');
    packages.push({ kind, body: bytes.subarray(at + HEAD, end) });
    at = end;
  }
  return packages;
}

/**
 * A request, or a notify when it has no id.
 *
 * @param {number | undefined} id
 * @param {string | number} route a string, or its code in the dictionary
 * @param {Uint8Array} body
 * @returns {Uint8Array}
 */
export function encodeMessage(id, route, body) {
  const type = id === undefined ? Type.notify : Type.request;
  const compressed = typeof route === 'number' ? COMPRESSED : 0;
  const head = [(type << 1) | compressed, ...(id === undefined ? [] : varint(id)), ...encodeRoute(route)];
  const bytes = new Uint8Array(head.length + body.length);
  bytes.set(head);
  bytes.set(body, head.length);
  return bytes;
}

/** @param {string | number} route */
function encodeRoute(route) {
  if (typeof route === 'number') {
    if (0xffff < route) throw new RangeError(`the route code ${route}, where 65535 is the last`);
    return [route >> 8, route & 0xff];
  }
  const text = encodeText(route);
  if (255 < text.length) throw new RangeError(`a route of ${text.length} bytes, where 255 are allowed`);
  return [text.length, ...text];
}

/**
 * @param {Uint8Array} bytes
 * @returns {{ type: number, id?: number, route?: string | number, body: Uint8Array }}
 */
export function decodeMessage(bytes) {
  const reader = new Reader(bytes);
  const flag = reader.byte();
  const type = (flag >> 1) & 7;
  if (Type.push < type) throw new Malformed(`no message has type ${type}`);
  const hasId = type === Type.request || type === Type.response;
  const id = hasId ? reader.varint(5) : undefined;
  if (id !== undefined && 0xffff_ffff < id) throw new Malformed('a message id of more than 32 bits');
  let route;
  if (type !== Type.response) {
    route = flag & COMPRESSED ? (reader.byte() << 8) | reader.byte() : decodeText(reader.take(reader.byte()));
  }
  return { type, id, route, body: reader.rest() };
}

/** Reads from the front of some bytes and never past their end. */
export class Reader {
  #bytes;
  #at = 0;

  /** @param {Uint8Array} bytes */
  constructor(bytes) {
    this.#bytes = bytes;
  }

  /** How many bytes are left. */
  get left() {
    return this.#bytes.length - this.#at;
  }

  byte() {
    return this.take(1)[0];
  }

  /** @param {number} count */
  take(count) {
    if (this.left < count) throw new Malformed(`${count} bytes are announced, ${this.left} are there`);
    return this.#bytes.subarray(this.#at, (this.#at += count));
  }

  rest() {
    return this.take(this.left);
  }

  /**
   * A number in groups of seven bits, the lowest first.
   *
   * @param {number} longest how many bytes it may have
   */
  varint(longest) {
    // Multiplied, not shifted: the numbers go up to 2^53.
    for (let value = 0, unit = 1, count = 0; count < longest; count++, unit *= 128) {
      const byte = this.byte();
      value += (byte & 0x7f) * unit;
      if (byte < 0x80) return value;
    }
    throw new Malformed(`a number of more than ${longest} bytes`);
  }
}

/**
 * @param {number} value
 * @returns {number[]}
 */
export function varint(value) {
  const bytes = [];
  for (; 0x80 <= value; value = Math.floor(value / 128)) bytes.push((value % 128) | 0x80);
  bytes.push(value);
  return bytes;
}

/**
 * @param {string} text
 * @returns {Uint8Array}
 */
export function encodeText(text) {
  return new TextEncoder().encode(text);
}

/**
 * UTF-8, where a character above U+FFFF may also come as two surrogates of three bytes each: that
 * is how pomelo's browser client writes an emoji, and how servers pass it on to one another.
 *
 * @param {Uint8Array} bytes
 * @returns {string}
 */
export function decodeText(bytes) {
  const decoder = new TextDecoder('utf-8', { ignoreBOM: true });
  let text = '';
  let from = 0;
  for (let at = bytes.indexOf(0xed); at !== -1; at = bytes.indexOf(0xed, at + 1)) {
    if (at < from || !isSurrogate(bytes, at, 0xa0) || !isSurrogate(bytes, at + 3, 0xb0)) continue;
    text += decoder.decode(bytes.subarray(from, at));
    text += String.fromCharCode(surrogate(bytes, at), surrogate(bytes, at + 3));
    from = at + 6;
  }
  return text + decoder.decode(bytes.subarray(from));
}

/** @type {(bytes: Uint8Array, at: number, half: number) => boolean} */
const isSurrogate = (bytes, at, half) =>
  bytes[at] === 0xed && (bytes[at + 1] & 0xf0) === half && (bytes[at + 2] & 0xc0) === 0x80;

/** @type {(bytes: Uint8Array, at: number) => number} */
const surrogate = (bytes, at) => 0xd000 | ((bytes[at + 1] & 0x3f) << 6) | (bytes[at + 2] & 0x3f);
