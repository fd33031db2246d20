/** The bytes that the original codecs made and read, as far as a client makes or reads them. */

import assert from 'node:assert/strict';
import { createHash } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';

import * as protobuf from '../protobuf.js';
import { MEMBER, signedBytes } from '../signing.js';
import * as wire from '../wire.js';

const file = new URL('../../../crates/shaddock-protocol/tests/vectors/vectors.json', import.meta.url);
const vectors = JSON.parse(readFileSync(file, 'utf8'), revive);

/** Where we differ on purpose: `refused`, or what is read instead. */
const DIFFERENT = {
  md141: 'refused', // ids have five bytes at most
  md142: 'refused', // and 32 bits
  md143: { number: 2 ** 32 - 1 },
  md144: { number: 2 ** 31 },
  md166: 'refused', // types 4 to 7
  md167: 'refused',
  md168: 'refused',
  md169: 'refused',
  md170: 'refused',
  md171: 'refused',
  md175: 'refused',
  bd275: 'refused', // types that nobody knows
  bd276: 'refused',
  bd277: 'refused',
  bd278: 'refused',
  bd279: 'refused',
  bd282: 'refused',
  bd283: 'refused',
  bd284: 'refused',
  bd311: 'refused',
  bd295: 'refused', // a string that ends early
  bd297: 'refused', // numbers beyond 2^53
  bd298: 'refused',
  bd301: 'refused',
};

const { Kind, Type } = wire;
const bytes = (hex) => new Uint8Array(Buffer.from(hex ?? '', 'hex'));
const hex = (array) => Buffer.from(array).toString('hex');
const isFaithful = (entry) => !entry.reference_bug && !entry.reference_quirk;

test('packages are written as the original writes them', (t) => {
  const cases = vectors.package_encode.filter((entry) => isFaithful(entry) && entry.type <= Kind.kick);
  for (const { id, type, body, body_fill: fill, hex: expected, head, total_len: length, sha256 } of cases) {
    if (fill && 0xffffff < fill.count) {
      assert.throws(() => wire.encodePackage(type, new Uint8Array(fill.count)), RangeError, id);
    } else if (fill) {
      const made = wire.encodePackage(type, new Uint8Array(fill.count).fill(parseInt(fill.byte, 16)));
      assert.equal(made.length, length, id);
      assert.equal(hex(made.subarray(0, 4)), head, id);
      assert.equal(createHash('sha256').update(made).digest('hex'), sha256, id);
    } else {
      assert.equal(hex(wire.encodePackage(type, bytes(body))), expected, id);
    }
  }
  counted(t, cases, 40);
});

test('packages are read as the original reads them, and truncated or unknown ones are refused', (t) => {
  for (const { id, hex: from, packages } of vectors.package_decode) {
    const written = packages.map(({ type, body }) => hex([type]) + length24(body) + (body ?? '')).join('');
    if (written === from && packages.every(({ type }) => 1 <= type && type <= 5)) {
      const read = wire.decodePackages(bytes(from));
      assert.deepEqual(
        read.map(({ kind, body }) => ({ type: kind, body: body.length === 0 ? null : hex(body) })),
        packages.map(({ type, body }) => ({ type, body: body || null })),
        id,
      );
    } else {
      assert.throws(() => wire.decodePackages(bytes(from)), wire.Malformed, id);
    }
  }
  counted(t, vectors.package_decode, 50);
});

test('requests and notifies are written as the original writes them', (t) => {
  // me156 asks for a code and gives a string: our types can't say that.
  const cases = vectors.message_encode.filter(
    (entry) => isFaithful(entry) && entry.type <= Type.notify && entry.gzip === 0 && entry.id !== 'me156',
  );
  for (const { id, type, msg_id: number, route, body, hex: expected, error } of cases) {
    const make = () => wire.encodeMessage(type === Type.request ? number : undefined, route ?? '', bytes(body));
    if (error) assert.throws(make, RangeError, id);
    else assert.equal(hex(make()), expected, id);
  }
  counted(t, cases, 60);
});

test('messages are read as the original reads them, and short ones are refused', (t) => {
  for (const { id, hex: from, message, error } of vectors.message_decode) {
    const read = () => wire.decodeMessage(bytes(from));
    if (error || DIFFERENT[id] === 'refused') {
      assert.throws(read, wire.Malformed, id);
      continue;
    }
    const { type, id: number, route, body } = read();
    assert.deepEqual(
      { type, number: number ?? 0, route: route ?? null, body: hex(body) },
      {
        type: message.type,
        number: DIFFERENT[id]?.number ?? message.msg_id ?? 0,
        route: message.type === Type.response ? null : message.route,
        body: message.body ?? '',
      },
      id,
    );
  }
  counted(t, vectors.message_decode, 150);
});

test('protobuf bodies are written as the server of the original writes them', (t) => {
  let count = 0;
  for (const entry of vectors.protobuf_encode) {
    const protos = vectors.protobuf_parsed[entry.schema];
    if (!isFaithful(entry) || entry.js_coercion || !Object.hasOwn(protos, entry.route) || entry.hex === undefined) continue;
    const make = () => protobuf.encode(protos, entry.route, entry.msg);
    if (entry.hex === null) {
      // The original makes nothing of these: we make an empty body or say what is missing.
      assert.equal(outcome(make)?.length ?? 0, 0, entry.id);
    } else {
      assert.equal(hex(make()), entry.hex, entry.id);
    }
    count += 1;
  }
  assert.ok(150 < count);
  t.diagnostic(`${count} cases`);
});

test('protobuf bodies are read as the original reads them, and broken ones are refused', (t) => {
  let count = 0;
  for (const entry of vectors.protobuf_decode) {
    const protos = vectors.protobuf_parsed[entry.schema];
    if (!isFaithful(entry) || !Object.hasOwn(protos, entry.route)) continue;
    const read = () => protobuf.decode(protos, entry.route, bytes(entry.hex));
    if (entry.error || DIFFERENT[entry.id] === 'refused') assert.throws(read, wire.Malformed, entry.id);
    else assert.deepEqual(read(), meant(entry), entry.id);
    count += 1;
  }
  assert.ok(250 < count);
  t.diagnostic(`${count} cases`);
});

test('text comes as UTF-8 or with surrogates written one by one', () => {
  for (const { id, s_utf16: units, node_hex: utf8, browser_hex: cesu8 } of vectors.string_codec) {
    const text = String.fromCharCode(...units);
    if (!text.isWellFormed()) continue;
    assert.equal(hex(wire.encodeText(text)), utf8, id);
    assert.equal(wire.decodeText(bytes(utf8)), text, id);
    assert.equal(wire.decodeText(bytes(cesu8)), text, id);
  }
});

test('what is signed is what the original verifies, Chinese too', async (t) => {
  const { n_hex: n, e } = vectors.crypto_key;
  const jwk = { kty: 'RSA', n: Buffer.from(n, 'hex').toString('base64url'), e: Buffer.from(e.toString(16).padStart(6, '0'), 'hex').toString('base64url') };
  const algorithm = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
  const key = await crypto.subtle.importKey('jwk', jwk, algorithm, false, ['verify']);
  const { steps } = vectors.transcripts.find(({ id }) => id === 'tr-crypto');
  const cases = steps.slice(2).filter(({ send, note }) => send && note !== 'unsigned: dropped silently');
  for (const { send, recv, note } of cases) {
    const [{ body }] = wire.decodePackages(bytes(send));
    const { [MEMBER]: signature, ...rest } = JSON.parse(wire.decodeText(wire.decodeMessage(body).body));
    const isOurs = await crypto.subtle.verify(algorithm, key, bytes(signature), signedBytes(JSON.stringify(rest)));
    assert.equal(isOurs, recv.length === 1, note);
  }
  counted(t, cases, 6);
});

/** What the browser's encoder meant: the original's server can't read an emoji of its own client. */
function meant({ msg, note, browser }) {
  const isLone = /\\ud/.test(JSON.stringify(browser?.msg)); // half an emoji is no text
  return note?.includes('browser client encoder') && browser?.msg && !isLone ? browser.msg : msg;
}

/** Three bytes, as a package has its length. */
function length24(body) {
  return ((body ?? '').length / 2).toString(16).padStart(6, '0');
}

/** What `make` returns, or nothing if it says that the value does not fit. */
function outcome(make) {
  try {
    return make();
  } catch (error) {
    assert.ok(error instanceof TypeError, error);
    return undefined;
  }
}

function counted(t, cases, least) {
  assert.ok(least <= cases.length, `${cases.length} cases, where ${least} or more were expected`);
  t.diagnostic(`${cases.length} cases`);
}

/** Values that JSON can't hold are objects with a member `$`. */
function revive(_, value) {
  switch (value?.$) {
    case undefined:
      return value;
    case 'utf16':
      return String.fromCharCode(...value.units);
    case 'bytes':
      return bytes(value.hex);
    case 'undefined':
      return undefined;
    default:
      return Number(value.$);
  }
}
