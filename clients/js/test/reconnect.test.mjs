/** Connections after the first: when they are tried, who may speak, and what has waited. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Client, ClientError, ClosedError, QueueFullError, RefusedError, TimeoutError, connect } from '../shaddock.js';
import { freeze } from './clock.mjs';
import { Message, Package, first, jsonOf, listen, packed, rest, until } from './server.mjs';

const WELCOME = { code: 200, sys: {}, user: 'welcome' };

/** Time stands still, and chance is in the middle: waits are three quarters of the most. */
function steady(t) {
  t.mock.method(Math, 'random', () => 0.5);
  return freeze(t);
}

/** Answers what was asked and remembers it, as texts of `route n`. */
function remembering() {
  const said = [];
  const answer = (peer, { type, id, route, body }) => {
    const message = jsonOf(body);
    said.push(`${route} ${message.n ?? ''}`.trim());
    if (type === Message.TYPE_REQUEST && !message.mute) peer.respond(id, message);
  };
  return { said, answer };
}

/** All that the client tells of itself. */
function chronicle(client) {
  const events = [];
  for (const event of ['kick', 'disconnect', 'reconnecting', 'reconnect', 'close']) {
    client.on(event, (told) => events.push([event, told.reason ?? told.attempt]));
  }
  return events;
}

test('a lost connection is made again, and logged in before anybody speaks', async (t) => {
  const pass = steady(t);
  const { said, answer } = remembering();
  const server = await listen(t, { handshake: WELCOME, answer });
  const users = [];
  const client = await connect({
    url: server.url,
    reconnect: true,
    queue: 10,
    login: async ({ user, request, notify }) => {
      users.push(user);
      await request('login', { n: users.length });
      notify('ready');
    },
  });
  const events = chronicle(client);
  await until(() => said.length === 2);
  (await server.peer()).socket.terminate();
  const { attempt, delay, ending } = await first(client, 'reconnecting');
  assert.deepEqual([attempt, delay, ending.reason], [1, 375, 'lost']);
  const waited = client.request('waited');
  const back = first(client, 'reconnect');
  pass(374);
  await rest();
  assert.equal(server.count(), 1);
  assert.ok(!client.isOpen);
  pass(1);
  assert.deepEqual(await back, { attempt: 1, user: 'welcome' });
  assert.ok(client.isOpen);
  await client.request('after');
  await waited;
  client.disconnect();
  assert.deepEqual(users, ['welcome', 'welcome']);
  assert.deepEqual(said, ['login 1', 'ready', 'login 2', 'ready', 'waited', 'after']);
  assert.deepEqual(events.slice(0, 3), [['disconnect', 'lost'], ['reconnecting', 1], ['reconnect', 1]]);
  assert.deepEqual(events.slice(3), [['disconnect', 'closed'], ['close', 'closed']]);
});

test('waits double up to the longest, and the last try is the end', async (t) => {
  const pass = steady(t);
  const server = await listen(t);
  let isGone = false;
  const url = async () => {
    if (isGone) throw new Error('the gate is gone');
    return server.url;
  };
  const client = await connect({ url, reconnect: { first: 1000, longest: 5000, tries: 5 } });
  isGone = true;
  const delays = [];
  client.on('reconnecting', ({ delay }) => {
    delays.push(delay);
    queueMicrotask(() => pass(delay));
  });
  const closed = first(client, 'close');
  (await server.peer()).socket.terminate();
  const ending = await closed;
  assert.deepEqual(delays, [750, 1500, 3000, 3750, 3750]);
  assert.equal(ending.reason, 'unreachable');
  assert.match(ending.message, /5 tries.*the gate is gone/);
  await assert.rejects(client.request('too.late'), ClosedError);
});

test('waits are spread by chance, from a half of the most to all of it', async (t) => {
  freeze(t);
  const chances = [0, 0.999];
  t.mock.method(Math, 'random', () => chances.shift());
  const server = await listen(t);
  for (const expected of [500, 1000]) {
    const client = await connect({ url: server.url, reconnect: { first: 1000 } });
    (await server.peer()).socket.terminate();
    assert.equal((await first(client, 'reconnecting')).delay, expected);
    client.disconnect();
  }
});

test('the count of tries starts anew with each connection', async (t) => {
  const pass = steady(t);
  const server = await listen(t);
  const client = await connect({ url: server.url, reconnect: { tries: 1 } });
  for (let round = 0; round < 3; round++) {
    (await server.peer()).socket.terminate();
    assert.equal((await first(client, 'reconnecting')).attempt, 1);
    const back = first(client, 'reconnect');
    pass(375);
    await back;
  }
  client.disconnect();
});

test('silence is followed by another connection', async (t) => {
  const pass = steady(t);
  const server = await listen(t, { handshake: { code: 200, sys: { heartbeat: 3 } } });
  const client = await connect({ url: server.url, reconnect: true });
  const events = chronicle(client);
  pass(6000);
  const back = first(client, 'reconnect');
  pass(375);
  await back;
  assert.deepEqual(events, [['disconnect', 'timeout'], ['reconnecting', 1], ['reconnect', 1]]);
  client.disconnect();
});

const hopeless = {
  kicked: (peer) => peer.send(Package.TYPE_KICK, { reason: 'enough' }),
  malformed: (peer) => peer.socket.send('text'),
  closed: (_, client) => client.disconnect(),
};
for (const [reason, end] of Object.entries(hopeless)) {
  test(`a connection that was ${reason} is not made again`, async (t) => {
    const pass = steady(t);
    const server = await listen(t);
    const client = await connect({ url: server.url, reconnect: true, queue: 1 });
    const events = chronicle(client);
    const over = first(client, 'close');
    end(await server.peer(), client);
    await over;
    pass(60_000);
    await rest();
    assert.deepEqual(events.slice(-2), [['disconnect', reason], ['close', reason]]);
    assert.equal(server.count(), 1);
    await assert.rejects(client.request('too.late'), ClosedError);
  });
}

test('a refusal ends the tries', async (t) => {
  const pass = steady(t);
  const answers = [WELCOME, { code: 501 }];
  const server = await listen(t, { handshake: () => answers.shift() });
  const client = await connect({ url: server.url, reconnect: true });
  const over = first(client, 'close');
  (await server.peer()).socket.terminate();
  await first(client, 'reconnecting');
  pass(375);
  const { reason, code } = await over;
  assert.deepEqual([reason, code], ['refused', 501]);
});

test('being kicked while logging in ends the tries', async (t) => {
  const pass = steady(t);
  let logins = 0;
  const answer = (peer, { id }) => ((logins += 1) === 1 ? peer.respond(id, {}) : peer.send(Package.TYPE_KICK, { reason: 'banned' }));
  const server = await listen(t, { answer });
  const client = await connect({ url: server.url, reconnect: true, login: ({ request }) => request('login') });
  const events = chronicle(client);
  const over = first(client, 'close');
  (await server.peer()).socket.terminate();
  await first(client, 'reconnecting');
  pass(375);
  assert.equal((await over).message, 'banned');
  assert.deepEqual(events, [['disconnect', 'lost'], ['reconnecting', 1], ['kick', 'banned'], ['close', 'kicked']]);
});

test('a login that fails is tried again, and leaves no connection behind', async (t) => {
  const pass = steady(t);
  const server = await listen(t);
  let logins = 0;
  const login = async () => {
    if ((logins += 1) === 2) throw new Error('the name is still taken');
  };
  const client = await connect({ url: server.url, reconnect: true, login });
  (await server.peer()).socket.terminate();
  await first(client, 'reconnecting');
  const again = first(client, 'reconnecting');
  pass(375);
  const { attempt, ending } = await again;
  assert.deepEqual([attempt, ending.message], [2, 'the name is still taken']);
  await (await server.peer()).closed;
  const back = first(client, 'reconnect');
  pass(750);
  assert.equal((await back).attempt, 2);
  client.disconnect();
});

test('the first connection is tried once, whatever it fails of', async (t) => {
  const pass = steady(t);
  const server = await listen(t);
  const login = () => Promise.reject(new RangeError('no such room'));
  const client = new Client({ url: server.url, reconnect: true, login });
  const events = chronicle(client);
  await assert.rejects(client.init(), RangeError);
  await assert.rejects(client.init(), ClientError);
  assert.deepEqual(events, [['close', 'lost']]);
  const refusing = await listen(t, { handshake: { code: 500 } });
  await assert.rejects(connect({ url: refusing.url, reconnect: true }), RefusedError);
  pass(60_000);
  await rest();
  assert.equal(server.count() + refusing.count(), 2);
});

test('a connection that ends during the login is an error of its own', async (t) => {
  const server = await listen(t, { answer: (peer) => peer.socket.terminate() });
  const login = ({ request }) => request('login').catch(() => {});
  await assert.rejects(connect({ url: server.url, login }), ClosedError);
});

test('a kick right behind the answer to the login is not overlooked', async (t) => {
  const server = await listen(t, {
    answer: (peer, { id }) => {
      const answer = packed(Package.TYPE_DATA, Message.encode(id, Message.TYPE_RESPONSE, 0, null, new Uint8Array()));
      peer.socket.send(Uint8Array.from([...answer, ...packed(Package.TYPE_KICK, { reason: 'full' })]));
    },
  });
  const failed = connect({ url: server.url, login: ({ request }) => request('login') });
  await assert.rejects(failed, (error) => error.ending.message === 'full');
});

test('a login that never ends is given up in time', async (t) => {
  const pass = steady(t);
  const server = await listen(t);
  const client = new Client({ url: server.url, connectTimeout: 700, login: () => new Promise(() => {}) });
  const failed = assert.rejects(client.init(), TimeoutError);
  const peer = await server.peer();
  await peer.got(Package.TYPE_HANDSHAKE_ACK);
  await assert.rejects(client.request('too.early'), /not connected yet/);
  pass(700);
  await failed;
  await peer.closed;
});

test('what was sent is never sent again', async (t) => {
  const pass = steady(t);
  const { said, answer } = remembering();
  const server = await listen(t, { answer });
  const client = await connect({ url: server.url, reconnect: true, queue: 10 });
  const asked = client.request('once', { mute: true });
  await until(() => said.length === 1);
  (await server.peer()).socket.terminate();
  await assert.rejects(asked, ClosedError);
  const back = first(client, 'reconnect');
  pass(375);
  await back;
  await client.request('after');
  assert.deepEqual(said, ['once', 'after']);
  client.disconnect();
});

test('without a queue nothing waits', async (t) => {
  steady(t);
  const server = await listen(t);
  const client = await connect({ url: server.url, reconnect: true });
  (await server.peer()).socket.terminate();
  await first(client, 'reconnecting');
  await assert.rejects(client.request('now'), ClosedError);
  assert.throws(() => client.notify('now'), ClosedError);
  client.disconnect();
});

test('a queue keeps the order, is bounded, and drops what nobody waits for any more', async (t) => {
  const pass = steady(t);
  const { said, answer } = remembering();
  const server = await listen(t, { answer });
  const client = await connect({ url: server.url, reconnect: true, queue: 3 });
  (await server.peer()).socket.terminate();
  await first(client, 'reconnecting');
  client.notify('told', { n: 1 });
  const late = assert.rejects(client.request('late', {}, { timeout: 100 }), TimeoutError);
  const asked = client.request('asked', { n: 2 });
  await assert.rejects(client.request('more'), QueueFullError);
  assert.throws(() => client.notify('more'), QueueFullError);
  pass(100);
  await late;
  client.notify('told', { n: 3 });
  pass(275);
  assert.deepEqual(await asked, { n: 2 });
  await client.request('after');
  assert.deepEqual(said, ['told 1', 'asked 2', 'told 3', 'after']);
  client.disconnect();
});

for (const isTrying of [false, true]) {
  test(`disconnecting ${isTrying ? 'during' : 'before'} a try is the end of it, and of what waits`, async (t) => {
    const pass = steady(t);
    const answers = [WELCOME];
    const server = await listen(t, { handshake: () => answers.shift() });
    const client = await connect({ url: server.url, reconnect: true, queue: 1 });
    (await server.peer()).socket.terminate();
    await first(client, 'reconnecting');
    const waits = assert.rejects(client.request('waits'), ClosedError);
    if (isTrying) {
      pass(375);
      await (await server.peer()).got(Package.TYPE_HANDSHAKE);
    }
    const events = chronicle(client);
    client.disconnect();
    await waits;
    pass(60_000);
    await rest();
    assert.deepEqual(events, [['close', 'closed']]);
    assert.equal(server.count(), isTrying ? 2 : 1);
  });
}

test('tables that are known are not sent again', async (t) => {
  const pass = steady(t);
  const dict = { 'area.areaHandler.echo': 7 };
  const sys = { useDict: true, dict, routeToCode: dict, codeToRoute: { 7: 'area.areaHandler.echo' }, dictVersion: 'd1' };
  const hellos = [];
  const seen = [];
  const server = await listen(t, {
    handshake: (hello) => {
      hellos.push(hello.sys.dictVersion);
      return { code: 200, sys: hello.sys.dictVersion === 'd1' ? { useDict: true } : sys };
    },
    answer: (peer, { id, route }) => {
      seen.push(route);
      peer.respond(id, {});
    },
  });
  const client = await connect({ url: server.url, reconnect: true });
  for (let round = 0; round < 2; round++) {
    (await server.peer()).socket.terminate();
    await first(client, 'reconnecting');
    const back = first(client, 'reconnect');
    pass(375);
    await back;
    await client.request('area.areaHandler.echo');
  }
  client.disconnect();
  assert.deepEqual(hellos, [undefined, 'd1', 'd1']);
  assert.deepEqual(seen, [7, 7]);
});
