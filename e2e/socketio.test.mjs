/** npm's socket.io-client 1.7 against connector-sio, as pomelo's clients use it: by WebSocket, by polling, and upgrading. */

import assert from 'node:assert/strict';
import { createRequire } from 'node:module';
import { after, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';

import { within } from './support/original.mjs';
import { lab, startWirelab } from './support/wirelab.mjs';

const io = createRequire(import.meta.url)('socket.io-client');

const sockets = new Set();
let wirelab = await startWirelab();
after(() => {
  for (const socket of sockets) socket.close();
  return wirelab.stop();
});

let users = 0;
/** A uid that nobody else has. */
const newUid = () => `sio${process.pid}_${(users += 1)}`;

/** What pomelo's client for Socket.IO does: ids from 2, a header of characters, JSON. */
class Client {
  #id = 1;
  #answers = new Map();
  #pushes = [];
  #wakers = [];

  constructor(transports, url = `http://127.0.0.1:${lab.sio.port}`, tls = {}) {
    this.socket = io(url, { transports, forceNew: true, reconnection: false, ...tls });
    sockets.add(this.socket);
    this.connected = new Promise((resolve, reject) => {
      this.socket.on('connect', resolve);
      this.socket.on('connect_error', reject);
    });
    this.closed = new Promise((resolve) => this.socket.on('disconnect', resolve));
    this.socket.on('message', (text) => this.#take(JSON.parse(text)));
  }

  static async connect(...how) {
    const client = new Client(...how);
    await within(client.connected, 'the connection');
    return client;
  }

  get transport() {
    return this.socket.io.engine.transport.name;
  }

  send(id, route, body) {
    const header = [24, 16, 8, 0].map((bits) => (id >> bits) & 255).concat(route.length);
    this.socket.send(String.fromCharCode(...header) + route + JSON.stringify({ ...body, timestamp: Date.now() }));
  }

  request(route, body = {}, id = (this.#id += 1)) {
    const answer = new Promise((resolve) => this.#answers.set(id, resolve));
    this.send(id, route, body);
    return within(answer, `the answer to ${route}`);
  }

  ask(method, body, id) {
    return this.request(`connector.testHandler.${method}`, body, id);
  }

  async pushed() {
    while (!this.#pushes.length) await within(new Promise((resolve) => this.#wakers.push(resolve)), 'a push');
    return this.#pushes.shift();
  }

  #take(said) {
    if (said.id) {
      this.#answers.get(said.id)(said.body);
      return;
    }
    this.#pushes.push(said);
    this.#wakers.splice(0).forEach((wake) => wake());
  }

  close() {
    this.socket.close();
  }
}

const ways = [
  { name: 'over WebSocket', transports: ['websocket'] },
  { name: 'by polling', transports: ['polling'] },
  { name: 'from polling to WebSocket', transports: ['polling', 'websocket'] },
];

for (const { name, transports } of ways) {
  describe(`connector-sio, socket.io-client 1.7.2 ${name}`, { skip: wirelab.missing }, () => {
    const open = () => Client.connect(transports);

    test('requests, notifies, pushes and a kick', async () => {
      const client = await open();
      const uid = newUid();
      const body = { a: [1, '二', '😀', 'é', '\u0000"\\'] };
      assert.deepEqual(await client.ask('echo', { body }), { code: 200, body });
      assert.deepEqual(await client.ask('bind', { uid }), { code: 200, uid });
      assert.deepEqual(await client.ask('bind', { uid: 'another' }), { code: 500, uid });
      assert.deepEqual(await client.ask('push', { route: 'onPush', body: { n: '二😀' } }), { code: 200 });
      assert.deepEqual(await client.pushed(), { route: 'onPush', body: { n: '二😀' } });
      client.send(0, 'connector.testHandler.note', { n: 7 });
      assert.deepEqual(await client.pushed(), { route: 'onNote', body: { n: 7 } });
      assert.deepEqual(await client.ask('notes'), { code: 200, notes: [7] });
      assert.deepEqual(await client.ask('fail'), { code: 500 });
      assert.deepEqual(await client.ask('failWith'), { code: 501, msg: 'custom' });
      assert.deepEqual(await client.ask('failBody'), { msg: 'no code', code: 500 });
      assert.deepEqual(await client.ask('empty'), {});
      const [slow, quick] = [client.ask('delay', { ms: 500, n: 1 }), client.ask('delay', { ms: 0, n: 2 })];
      assert.deepEqual(await Promise.race([slow, quick]), { code: 200, n: 2 });
      assert.deepEqual(await slow, { code: 200, n: 1 });
      const who = { code: 200, uid, sid: 'connector-sio', server: 'area-server-1' };
      assert.deepEqual(await client.request('area.areaHandler.who'), who);
      assert.deepEqual(await client.request('area.areaHandler.kick', { reason: 'enough' }), { code: 200 });
      assert.deepEqual(await client.pushed(), { route: 'onKick', reason: 'enough' });
      assert.equal(await within(client.closed, 'the kick'), 'io server disconnect');
    });

    test('200 requests and notes at once keep their order, also while it upgrades', async () => {
      const client = await open();
      const order = [];
      const answers = Array.from({ length: 200 }, async (_, n) => {
        client.send(0, 'connector.testHandler.note', { n });
        const { body } = await client.ask('echo', { body: `二😀${n}` });
        order.push(body);
      });
      await Promise.all(answers);
      assert.deepEqual(order, Array.from({ length: 200 }, (_, n) => `二😀${n}`));
      assert.deepEqual((await client.ask('notes')).notes, Array.from({ length: 200 }, (_, n) => n));
      client.close();
    });

    test('ids of every size come back, and a long text comes through', async () => {
      const client = await open();
      // Among them some whose bytes look like characters that were encoded twice.
      for (const id of [130, 255, 256, 0xc3a9, 0x10000, 0x7fffffff]) {
        assert.deepEqual(await client.ask('echo', { body: id }, id), { code: 200, body: id });
      }
      const body = '二"😀'.repeat(3000);
      assert.deepEqual(await client.ask('echo', { body }), { code: 200, body });
      client.close();
    });

    test('it is there after many heartbeats of silence', async () => {
      const client = await open();
      // Its heartbeat is 1 s, and it would be gone after 3 s, or 6 at the latest.
      await sleep(8000);
      assert.deepEqual(await client.ask('echo', { body: 1 }), { code: 200, body: 1 });
      assert.equal(client.transport, transports.at(-1));
      client.close();
    });

    test('a client that vanishes is gone', async () => {
      const client = await open();
      // It lives on, but its heart does not beat any more, and it does not listen for ours.
      const { engine } = client.socket.io;
      engine.ping = engine.setPing = () => {};
      engine.removeListener('heartbeat', engine.onHeartbeat);
      clearTimeout(engine.pingIntervalTimer);
      clearTimeout(engine.pingTimeoutTimer);
      assert.equal(await within(client.closed, 'the end of one that is silent'), 'io server disconnect');
    });
  });
}

const file = (kind) => fileURLToPath(new URL(`../examples/wirelab/config/tls/for-tests-only.${kind}.pem`, import.meta.url));

describe('connector-sio inside TLS, socket.io-client 1.7.2', { skip: wirelab.missing }, () => {
  before(async () => {
    await wirelab.stop();
    const sio = 'server.connector-sio';
    wirelab = await startWirelab({ [`${sio}.certificate`]: file('cert'), [`${sio}.key`]: file('key') });
  });
  const url = `https://${lab.tls.host}:${lab.sio.port}`;

  for (const { name, transports } of ways) {
    test(name, async () => {
      const client = await Client.connect(transports, url, { ca: lab.tls.ca });
      const body = '二"😀'.repeat(3000);
      const answers = Array.from({ length: 10 }, (_, n) => client.ask('echo', { body: `${n} ${body}` }));
      for (const [n, answer] of (await Promise.all(answers)).entries()) {
        assert.deepEqual(answer, { code: 200, body: `${n} ${body}` });
      }
      assert.deepEqual(await client.ask('kick', { reason: 'bye' }), { code: 200 });
      assert.deepEqual(await client.pushed(), { route: 'onKick', reason: 'bye' });
      assert.equal(await within(client.closed, 'the kick'), 'io server disconnect');
      assert.equal(client.transport, transports.at(-1));
    });

    test(`${name}, who trusts another certificate does not connect`, async () => {
      await assert.rejects(Client.connect(transports, url));
    });
  }
});
