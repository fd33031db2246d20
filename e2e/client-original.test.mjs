/** The project's own JavaScript client, in node and in Chromium, against the original pomelo. */

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { RefusedError, connect } from '../clients/js/shaddock.js';
import { within } from './support/original.mjs';
import { hosts, meets } from './support/own.mjs';
import { startPomelo } from './support/pomelo.mjs';

const all = await hosts();
const clients = [];
after(() => {
  for (const client of clients) client.disconnect();
  return Promise.all(all.map((host) => host.close()));
});

async function started(t, configuration) {
  const pomelo = await startPomelo(configuration);
  t.after(() => pomelo.stop());
  return pomelo;
}

const to = ({ host, port }, options) => ({ host, port, ...options });

async function open(options) {
  const client = await connect(options);
  clients.push(client);
  return client;
}

const next = (client, event) => within(new Promise((resolve) => client.on(event, resolve)), event);

const configurations = [
  { name: 'without options' },
  { name: 'with a dictionary', dict: true },
  { name: 'with protobuf', protobuf: true },
  { name: 'with heartbeats, a dictionary and protobuf', heartbeat: 3, dict: true, protobuf: true },
  { name: 'with signatures', crypto: true },
];

describe('shaddock-client and the original pomelo', () => {
  for (const { name, ...configuration } of configurations) {
    test(`requests, notifies, pushes and a kick: ${name}`, async (t) => {
      const pomelo = await started(t, configuration);
      for (const host of all) await t.test(host.name, () => meets(host, to(pomelo, { sign: configuration.crypto })));
    });
  }

  test('the handshake of a user, and a refusal', async (t) => {
    const pomelo = await started(t, { picky: true });
    for (const host of all) await meets(host, to(pomelo, { user: { n: '一' } }), { hello: 'accept', echo: { n: '一' } });
    const refused = connect(to(pomelo, { user: { reject: true }, reconnect: true }));
    await assert.rejects(refused, (error) => error instanceof RefusedError && error.code === 500);
  });

  test('Chinese and emoji are signed so that it believes them', async (t) => {
    const pomelo = await started(t, { crypto: true });
    const client = await open(to(pomelo, { sign: true }));
    for (const body of ['é', '😀', '中', '中 😀 é', { 2: '二', 1: '一' }, 1e21, -0]) {
      const answer = await client.request('connector.testHandler.echo', { body });
      assert.deepEqual(answer, JSON.parse(JSON.stringify({ code: 200, body })));
    }
    client.disconnect();
  });

  test('heartbeats keep a connection, and their absence ends it', async (t) => {
    const pomelo = await started(t, { heartbeat: 1 });
    const client = await open(to(pomelo, { reconnect: { first: 50, longest: 100 } }));
    await sleep(2_500); // without heartbeats it would be closed after two seconds
    assert.ok(client.isOpen);
    const ended = next(client, 'disconnect');
    const back = next(client, 'reconnect');
    pomelo.process.kill('SIGSTOP');
    try {
      assert.equal((await ended).reason, 'timeout');
    } finally {
      pomelo.process.kill('SIGCONT');
    }
    await back;
    assert.deepEqual(await client.request('connector.testHandler.empty'), {});
    client.disconnect();
  });

  test('a client is back, and logged in, after the server was restarted', async (t) => {
    const configuration = { heartbeat: 3, dict: true, protobuf: true };
    const before = await startPomelo(configuration);
    const uid = 'back';
    const client = await open(
      to(before, {
        reconnect: { first: 50, longest: 200 },
        queue: 1,
        login: ({ request }) => request('connector.testHandler.bind', { uid }),
      }),
    );
    const ended = next(client, 'disconnect');
    await before.stop();
    assert.equal((await ended).reason, 'lost');
    const body = { u: 1, i: -1, s: -1, f: 0.5, d: 0.5, str: '三', item: { id: 1, name: 'one', marks: [] } };
    const waited = client.request('connector.protoHandler.echo', body);
    const back = next(client, 'reconnect');
    await started(t, { ...configuration, port: before.port });
    await back;
    assert.equal((await waited).str, '三');
    const pushed = next(client, 'onPush');
    assert.deepEqual(await client.request('connector.testHandler.push', { route: 'onPush', body: { n: 1 } }), { code: 200 });
    assert.deepEqual(await pushed, { n: 1 });
    assert.deepEqual(await client.request('connector.testHandler.bind', { uid }), { uid, code: 500 });
    client.disconnect();
  });
});
