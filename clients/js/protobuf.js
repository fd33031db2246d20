/**
 * Pomelo's protobuf: bodies by the schemas that the handshake brings.
 *
 * It has protobuf's shape and is not Google's: `int32` is zig-zag, repeated numbers carry a count of
 * elements, and the wire type in a tag means nothing, so an unknown field can't be skipped.
 *
 * @typedef {{ option: string, type: string, tag: number }} Field
 * @typedef {{ [name: string]: any, __messages: Record<string, Schema>, __tags: Record<string, string> }} Schema
 * @typedef {Record<string, Schema>} Protos schemas by route; types they share are named `message X`
 */

import { Malformed, Reader, decodeText, encodeText, varint } from './wire.js';

/** The widest varint: 2^53 has eight groups of seven bits. */
const WIDEST = 8;

/**
 * What is known of each scalar: its wire type, the fewest bytes it takes, how to write and read it.
 *
 * @type {Record<string, { wire: number, least: number, write: (value: any) => Iterable<number>, read: (reader: Reader) => any }>}
 */
const SCALARS = {
  uInt32: { wire: 0, least: 1, write: (n) => varint(integer(n, 0, 2 ** 53 - 1)), read: (reader) => reader.varint(WIDEST) },
  sInt32: { wire: 0, least: 1, write: writeZigZag, read: readZigZag },
  int32: { wire: 0, least: 1, write: writeZigZag, read: readZigZag },
  float: {
    wire: 5,
    least: 4,
    write: (n) => littleEndian(4, (view) => view.setFloat32(0, number(n), true)),
    read: (reader) => viewOf(reader.take(4)).getFloat32(0, true),
  },
  double: {
    wire: 1,
    least: 8,
    write: (n) => littleEndian(8, (view) => view.setFloat64(0, number(n), true)),
    read: (reader) => viewOf(reader.take(8)).getFloat64(0, true),
  },
  string: {
    wire: 2,
    least: 1,
    write: (text) => prefixed(encodeText(string(text))),
    read: (reader) => decodeText(reader.take(reader.varint(WIDEST))),
  },
};

/**
 * Throws a TypeError that names the field if `message` does not fit the schema.
 *
 * @param {Protos} protos
 * @param {string} route one that `protos` has
 * @param {object} message
 * @returns {Uint8Array}
 */
export function encode(protos, route, message) {
  return Uint8Array.from(writeFields(protos, protos[route], message, route));
}

/**
 * @param {Protos} protos
 * @param {string} route one that `protos` has
 * @param {Uint8Array} bytes
 * @returns {object}
 */
export function decode(protos, route, bytes) {
  return readFields(protos, protos[route], new Reader(bytes), route);
}

/**
 * @param {Protos} protos
 * @param {Schema} schema
 * @param {any} message
 * @param {string} path where we are, for the error
 * @returns {number[]}
 */
function writeFields(protos, schema, message, path) {
  if (typeof message !== 'object' || message === null) throw new TypeError(`${path} is not an object`);
  for (const name of Object.values(schema.__tags)) {
    if (schema[name].option === 'required' && !isPresent(message, name)) {
      throw new TypeError(`${path}.${name} is required`);
    }
  }
  /** @type {number[]} */
  const out = [];
  // In the order of the message, not of the tags, as the original writes them.
  for (const name of Object.keys(message)) {
    if (!isField(schema, name) || !isPresent(message, name)) continue;
    writeField(protos, schema, schema[name], message[name], `${path}.${name}`, out);
  }
  return out;
}

/**
 * @param {Protos} protos
 * @param {Schema} schema
 * @param {Field} field
 * @param {any} value
 * @param {string} path
 * @param {number[]} out
 */
function writeField(protos, schema, field, value, path, out) {
  const scalar = SCALARS[field.type];
  const tag = varint(field.tag * 8 + (scalar ? scalar.wire : 2));
  const write = (/** @type {any} */ element) =>
    scalar ? named(path, () => scalar.write(element)) : prefixed(writeFields(protos, inner(protos, schema, field), element, path));
  if (field.option !== 'repeated') {
    append(out, tag, write(value));
    return;
  }
  if (!Array.isArray(value)) throw new TypeError(`${path} is not an array`);
  if (isCounted(field)) {
    if (value.length === 0) return;
    append(out, tag, varint(value.length));
    for (const element of value) append(out, write(element));
    return;
  }
  for (const element of value) append(out, tag, write(element));
}

/**
 * @param {Protos} protos
 * @param {Schema} schema
 * @param {Reader} reader
 * @param {string} path
 */
function readFields(protos, schema, reader, path) {
  /** @type {Record<string, any>} */
  const message = {};
  while (0 < reader.left) {
    const tag = Math.floor(reader.varint(WIDEST) / 8);
    const name = Object.hasOwn(schema.__tags, tag) ? schema.__tags[tag] : undefined;
    if (name === undefined) throw new Malformed(`${path} has no field with tag ${tag}`);
    const field = schema[name];
    const read = () => readElement(protos, schema, field, reader, `${path}.${name}`);
    if (field.option !== 'repeated') {
      message[name] = read();
      continue;
    }
    const list = (message[name] ??= []);
    for (let count = isCounted(field) ? counted(field, reader) : 1; 0 < count; count--) list.push(read());
  }
  return message;
}

/**
 * @param {Protos} protos
 * @param {Schema} schema
 * @param {Field} field
 * @param {Reader} reader
 * @param {string} path
 */
function readElement(protos, schema, field, reader, path) {
  const scalar = SCALARS[field.type];
  if (scalar) return scalar.read(reader);
  const body = new Reader(reader.take(reader.varint(WIDEST)));
  return readFields(protos, inner(protos, schema, field), body, path);
}

/**
 * How many numbers follow, once they can be there.
 *
 * @param {Field} field
 * @param {Reader} reader
 */
function counted(field, reader) {
  const count = reader.varint(WIDEST);
  if (reader.left < count * SCALARS[field.type].least) {
    throw new Malformed(`${count} numbers are announced, ${reader.left} bytes are there`);
  }
  return count;
}

/**
 * Whether a repeated field has one tag and a count, and not a tag for each element.
 *
 * @param {Field} field
 */
function isCounted(field) {
  return field.type in SCALARS && field.type !== 'string';
}

/**
 * @param {Protos} protos
 * @param {Schema} schema
 * @param {Field} field
 */
function inner(protos, schema, field) {
  const found = schema.__messages[field.type] ?? protos[`message ${field.type}`];
  if (!found) throw new Malformed(`no message is called ${field.type}`);
  return found;
}

/**
 * @param {Schema} schema
 * @param {string} name
 */
function isField(schema, name) {
  return Object.hasOwn(schema, name) && name !== '__messages' && name !== '__tags';
}

/**
 * @param {any} message
 * @param {string} name
 */
function isPresent(message, name) {
  return Object.hasOwn(message, name) && message[name] !== undefined && message[name] !== null;
}

/** @param {number} n */
function writeZigZag(n) {
  integer(n, -(2 ** 52), 2 ** 52);
  return varint(n < 0 ? -2 * n - 1 : 2 * n);
}

/** @param {Reader} reader */
function readZigZag(reader) {
  const n = reader.varint(WIDEST);
  return n % 2 === 0 ? n / 2 : -(n + 1) / 2;
}

/**
 * @param {any} value
 * @param {number} least
 * @param {number} most
 */
function integer(value, least, most) {
  if (!Number.isInteger(value) || value < least || most < value) throw new TypeError(`${value} is not an integer of its type`);
  return value;
}

/** @param {any} value */
function number(value) {
  if (typeof value !== 'number') throw new TypeError(`${value} is not a number`);
  return value;
}

/** @param {any} value */
function string(value) {
  if (typeof value !== 'string') throw new TypeError(`${value} is not a string`);
  return value;
}

/**
 * @param {string} path
 * @param {() => Iterable<number>} write
 */
function named(path, write) {
  try {
    return write();
  } catch (error) {
    throw new TypeError(`${path}: ${/** @type {Error} */ (error).message}`);
  }
}

/** @param {Uint8Array | number[]} bytes */
function prefixed(bytes) {
  return [...varint(bytes.length), ...bytes];
}

/**
 * @param {number} size
 * @param {(view: DataView) => void} write
 */
function littleEndian(size, write) {
  const bytes = new Uint8Array(size);
  write(new DataView(bytes.buffer));
  return bytes;
}

/** @param {Uint8Array} bytes */
function viewOf(bytes) {
  return new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
}

/**
 * @param {number[]} out
 * @param {Iterable<number>[]} parts
 */
function append(out, ...parts) {
  // Not out.push(...part): a long part would overflow the stack.
  for (const part of parts) for (const byte of part) out.push(byte);
}
