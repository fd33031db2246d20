/** Messages that are signed, for servers with `useCrypto`. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Client, ClientError, ClosedError, connect } from '../shaddock.js';
import { freeze } from './clock.mjs';
import { Message, Package, first, jsonOf, listen, until, unhex } from './server.mjs';

const ALGORITHM = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };

const newKeys = (algorithm = ALGORITHM, usages = ['sign', 'verify']) =>
  crypto.subtle.generateKey({ modulusLength: 1024, publicExponent: new Uint8Array([1, 0, 1]), ...algorithm }, false, usages);

/** A server that keeps what it is told, and echoes what is asked. */
async function listening(t, handshake) {
  const told = [];
  const server = await listen(t, {
    handshake,
    answer: (peer, { type, id, body }) => {
      told.push(jsonOf(body));
      if (type === Message.TYPE_REQUEST) peer.respond(id, body);
    },
  });
  return { server, told };
}

/** The key of a handshake, to verify with. */
async function keyOf(peer) {
  const { rsa } = jsonOf((await peer.got(Package.TYPE_HANDSHAKE)).body).sys;
  const base64url = (hex) => btoa(String.fromCharCode(...unhex(hex))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
  const jwk = { kty: 'RSA', n: base64url(rsa.rsa_n), e: base64url(rsa.rsa_e.toString(16).padStart(6, '0')) };
  return { rsa, key: await crypto.subtle.importKey('jwk', jwk, ALGORITHM, false, ['verify']) };
}

function verify(key, { __crypto__: signature, ...rest }) {
  return crypto.subtle.verify(ALGORITHM, key, unhex(signature), new TextEncoder().encode(JSON.stringify(rest)));
}

test('each message has a member that signs the others, by a key of our own', async (t) => {
  const { server, told } = await listening(t);
  const client = await connect({ url: server.url, sign: true });
  const { rsa, key } = await keyOf(await server.peer());
  assert.equal(rsa.rsa_e, 65537);
  assert.match(rsa.rsa_n, /^[0-9a-f]{512}$/);
  client.notify('area.areaHandler.tell', { z: 1.5, a: ['é', '😀', null], 7: { toJSON: () => 'seven' } });
  const { __crypto__, ...answer } = await client.request('area.areaHandler.echo');
  assert.match(__crypto__, /^[0-9a-f]{512}$/);
  assert.deepEqual(answer, {});
  assert.deepEqual(Object.keys(told[0]), ['7', 'z', 'a', '__crypto__']);
  assert.deepEqual(told[0][7], 'seven');
  for (const message of told) assert.ok(await verify(key, message));
  assert.ok(!(await verify(key, { ...told[0], z: 2 })));
  client.disconnect();
});

test('messages keep their order, whichever signature is ready first', async (t) => {
  const { server, told } = await listening(t);
  const client = await connect({ url: server.url, sign: await newKeys() });
  const { sign } = crypto.subtle;
  const held = [];
  t.mock.method(crypto.subtle, 'sign', async (...signed) => {
    await new Promise((resolve) => held.push(resolve));
    return sign.apply(crypto.subtle, signed);
  });
  for (const n of [1, 2]) client.notify('area.areaHandler.tell', { n });
  const answer = client.request('area.areaHandler.echo', { n: 3 });
  await until(() => held.length === 3);
  for (const release of held.reverse()) release();
  await answer;
  assert.deepEqual(told.map(({ n }) => n), [1, 2, 3]);
  client.disconnect();
});

test('what was said before disconnecting is still sent', async (t) => {
  const { server, told } = await listening(t);
  const client = await connect({ url: server.url, sign: await newKeys() });
  client.notify('area.areaHandler.tell', { n: 1 });
  client.disconnect();
  await (await server.peer()).closed;
  assert.equal(told[0].n, 1);
});

test('a signature that fails ends the connection', async (t) => {
  const { server } = await listening(t);
  const client = await connect({ url: server.url, sign: await newKeys() });
  t.mock.method(crypto.subtle, 'sign', () => Promise.reject(new Error('the key is gone')));
  const ended = first(client, 'close');
  await assert.rejects(client.request('area.areaHandler.echo'), ClosedError);
  assert.match((await ended).message, /the key is gone/);
  await (await server.peer()).closed;
});

test('a client keeps its key', async (t) => {
  const pass = freeze(t);
  const { server } = await listening(t);
  const client = await connect({ url: server.url, sign: true, reconnect: true });
  const before = await server.peer();
  before.socket.terminate();
  const { delay } = await first(client, 'reconnecting');
  const back = first(client, 'reconnect');
  pass(delay);
  await back;
  assert.deepEqual((await keyOf(await server.peer())).rsa, (await keyOf(before)).rsa);
  client.disconnect();
});

test('what can not be signed is refused here', async (t) => {
  const schema = { n: { option: 'required', type: 'uInt32', tag: 1 }, __messages: {}, __tags: { 1: 'n' } };
  const protos = { client: { 'area.areaHandler.typed': schema }, server: {} };
  const { server, told } = await listening(t, { code: 200, sys: { useProto: true, protos } });
  const client = await connect({ url: server.url, sign: await newKeys() });
  for (const body of [[1], 'text', 7, null]) await assert.rejects(client.request('area.areaHandler.echo', body), TypeError);
  assert.throws(() => client.notify('area.areaHandler.typed', { n: 1 }), /area\.areaHandler\.typed has no field __crypto__/);
  assert.throws(() => client.notify('area.areaHandler.echo', { x: 'x'.repeat(2 ** 24 - 200) }), RangeError);
  await client.request('area.areaHandler.echo', { n: 1 });
  assert.equal(told.length, 1);
  client.disconnect();
});

test('keys for something else are refused before anything is sent', async (t) => {
  const { server } = await listening(t);
  const wrong = [await newKeys({ ...ALGORITHM, hash: 'SHA-1' }), await newKeys({ ...ALGORITHM, name: 'RSA-PSS' })];
  for (const sign of wrong) await assert.rejects(new Client({ url: server.url, sign }).init(), ClientError);
  assert.equal(server.count(), 0);
});
