/** What a client does, against a server that speaks with the original's codecs. */

import assert from 'node:assert/strict';
import { test } from 'node:test';

import { Client, ClosedError, ConnectError, RefusedError, TimeoutError, connect } from '../shaddock.js';
import { freeze } from './clock.mjs';
import { Message, Package, Protobuf, first, jsonOf, listen, packed, pushed, until, unhex } from './server.mjs';

const echo = (peer, { id, body }) => peer.respond(id, body);
const field = (option, type, tag) => ({ option, type, tag });

test('the handshake says who we are and what the user said, and is acknowledged', async (t) => {
  const server = await listen(t, { handshake: { code: 200, sys: {}, user: { greeting: '你好' } } });
  const client = new Client({ url: server.url, user: { token: 7 } });
  assert.deepEqual(await client.init(), { greeting: '你好' });
  const peer = await server.peer();
  const hello = jsonOf((await peer.got(Package.TYPE_HANDSHAKE)).body);
  assert.equal(hello.sys.type, 'shaddock-js');
  assert.deepEqual(hello.user, { token: 7 });
  await peer.got(Package.TYPE_HANDSHAKE_ACK);
  assert.ok(client.isOpen);
  client.disconnect();
  assert.ok(!client.isOpen);
});

test('answers find their requests in whatever order they come', async (t) => {
  const held = [];
  const server = await listen(t, { answer: (peer, message) => held.push([peer, message]) });
  const client = await connect({ url: server.url });
  const asked = Array.from({ length: 300 }, (_, n) => client.request('area.areaHandler.echo', { n }));
  client.notify('area.areaHandler.last');
  await until(() => held.length === 301);
  assert.equal(held[300][1].type, Message.TYPE_NOTIFY);
  for (const [peer, { id, body }] of held.slice(0, 300).reverse()) peer.respond(id, body);
  assert.deepEqual(await Promise.all(asked), Array.from({ length: 300 }, (_, n) => ({ n })));
  client.disconnect();
});

test('a code in an answer is data, and no answer is an error', async (t) => {
  const server = await listen(t, {
    answer: (peer, { id, route }) => route.endsWith('fail') && peer.respond(id, { code: 500 }),
  });
  const client = await connect({ url: server.url });
  assert.deepEqual(await client.request('area.areaHandler.fail'), { code: 500 });
  await assert.rejects(client.request('area.areaHandler.never', {}, { timeout: 5 }), TimeoutError);
  client.disconnect();
});

test('an answer that comes too late is dropped', async (t) => {
  const held = [];
  const server = await listen(t, { answer: (...call) => held.push(call) });
  const client = await connect({ url: server.url, requestTimeout: 5 });
  await assert.rejects(client.request('area.areaHandler.slow'), TimeoutError);
  await until(() => held.length === 1);
  const pushed = first(client, 'onAfter');
  echo(...held[0]);
  held[0][0].push('onAfter', {});
  await pushed;
  assert.ok(client.isOpen);
  client.disconnect();
});

test('listeners hear pushes until they are taken off', async (t) => {
  const server = await listen(t);
  const client = await connect({ url: server.url });
  const peer = await server.peer();
  const heard = [];
  const listener = (body) => heard.push(body);
  client.on('onChat', listener).on('onChat', ({ n }) => n === 1 && client.off('onChat', listener));
  for (const n of [0, 1, 2]) peer.push('onChat', { n });
  peer.push('onEnd', {});
  await first(client, 'onEnd');
  assert.deepEqual(heard, [{ n: 0 }, { n: 1 }]);
  client.disconnect();
});

test('one message may hold several packages', async (t) => {
  const server = await listen(t);
  const client = await connect({ url: server.url });
  const peer = await server.peer();
  const heard = [];
  client.on('onTick', ({ n }) => heard.push(n));
  const tick = (n) => pushed('onTick', { n });
  const parts = [tick(1), packed(Package.TYPE_HEARTBEAT), tick(2), packed(Package.TYPE_KICK, { reason: 'bye' }), tick(3)];
  peer.socket.send(Uint8Array.from(parts.flatMap((part) => [...part])));
  await first(client, 'disconnect');
  assert.deepEqual(heard, [1, 2]);
});

test('routes in the dictionary travel as codes', async (t) => {
  const dict = { 'area.areaHandler.echo': 7, onTick: 8 };
  const seen = [];
  const server = await listen(t, {
    handshake: { code: 200, sys: { useDict: true, dict, routeToCode: dict, codeToRoute: { 7: 'area.areaHandler.echo', 8: 'onTick' } } },
    answer: (peer, message) => {
      seen.push(message.route);
      peer.push(8, { n: 1 });
      echo(peer, message);
    },
  });
  const client = await connect({ url: server.url });
  const ticked = first(client, 'onTick');
  assert.deepEqual(await client.request('area.areaHandler.echo', { n: 5 }), { n: 5 });
  assert.deepEqual(await ticked, { n: 1 });
  await client.request('area.areaHandler.other');
  assert.deepEqual(seen, [7, 'area.areaHandler.other']);
  client.disconnect();
});

test('bodies with a schema travel as protobuf, the answer by the schema of its request', async (t) => {
  const at = { x: field('required', 'double', 1), __messages: {}, __tags: { 1: 'x' } };
  const schema = {
    name: field('required', 'string', 1),
    level: field('optional', 'uInt32', 2),
    scores: field('repeated', 'sInt32', 3),
    path: field('repeated', 'At', 4),
    __messages: { At: at },
    __tags: { 1: 'name', 2: 'level', 3: 'scores', 4: 'path' },
  };
  const protos = { 'area.areaHandler.echo': schema, onMove: schema };
  Protobuf.init({ encoderProtos: protos, decoderProtos: protos });
  const server = await listen(t, {
    handshake: { code: 200, sys: { useProto: true, protos: { server: protos, client: protos, version: 'v' } } },
    answer: (peer, { id, route, body }) => {
      const message = Protobuf.decode(route, body);
      peer.push('onMove', Protobuf.encode('onMove', message));
      peer.respond(id, Protobuf.encode(route, message));
    },
  });
  const client = await connect({ url: server.url });
  const moved = first(client, 'onMove');
  const body = { name: '施展', level: 300, scores: [-1, 0, 2147483647], path: [{ x: 1.5 }, { x: -0.25 }] };
  assert.deepEqual(await client.request('area.areaHandler.echo', body), body);
  assert.deepEqual(await moved, body);
  await assert.rejects(client.request('area.areaHandler.echo', { level: 1 }), /area\.areaHandler\.echo\.name is required/);
  await assert.rejects(client.request('area.areaHandler.echo', { name: 'py', level: -1 }), TypeError);
  client.disconnect();
});

test('an emoji is read however it comes', async (t) => {
  const server = await listen(t);
  const client = await connect({ url: server.url });
  const peer = await server.peer();
  for (const body of ['"😀"', String.raw`"\ud83d\ude00"`, unhex('22eda0bdedb88022')]) {
    const heard = first(client, 'onEmoji');
    peer.push('onEmoji', body);
    assert.equal(await heard, '😀');
    client.off('onEmoji');
  }
  client.disconnect();
});

test('a kick is told, and then the end', async (t) => {
  const server = await listen(t, { answer: (peer) => peer.send(Package.TYPE_KICK, { reason: '再见' }) });
  const client = await connect({ url: server.url });
  const heard = [];
  client.on('kick', (kick) => heard.push(kick)).on('disconnect', (ending) => heard.push(ending));
  const error = await client.request('area.areaHandler.echo').catch((rejected) => rejected);
  assert.ok(error instanceof ClosedError);
  assert.deepEqual(heard, [{ reason: '再见' }, { reason: 'kicked', message: '再见' }]);
  assert.deepEqual(error.ending, heard[1]);
});

test('heartbeats go out while the server beats, and silence is the end', async (t) => {
  const pass = freeze(t);
  const server = await listen(t, { handshake: { code: 200, sys: { heartbeat: 3 } } });
  const client = await connect({ url: server.url });
  const peer = await server.peer();
  const endings = [];
  client.on('disconnect', ({ reason }) => endings.push(reason));
  for (let beats = 0; beats < 3; beats++) {
    pass(3000);
    await peer.got(Package.TYPE_HEARTBEAT);
    peer.packages.length = 0;
    peer.send(Package.TYPE_HEARTBEAT);
    peer.push('onBeat', {}); // so that we know when the beat has come
    await first(client, 'onBeat');
  }
  pass(5999);
  assert.deepEqual(endings, []);
  pass(1);
  assert.deepEqual(endings, ['timeout']);
});

test('no heartbeat is sent where the server wants none', async (t) => {
  const server = await listen(t, { answer: echo });
  const client = await connect({ url: server.url });
  const peer = await server.peer();
  peer.send(Package.TYPE_HEARTBEAT);
  await client.request('area.areaHandler.echo');
  assert.ok(peer.packages.every(({ type }) => type !== Package.TYPE_HEARTBEAT));
  client.disconnect();
});

test('a lost connection rejects what waits, once and for good', async (t) => {
  const server = await listen(t, { answer: (peer) => peer.socket.terminate() });
  const client = await connect({ url: server.url });
  const endings = [];
  client.on('disconnect', (ending) => endings.push(ending.reason));
  await assert.rejects(client.request('area.areaHandler.echo'), ClosedError);
  await assert.rejects(client.request('area.areaHandler.echo'), ClosedError);
  assert.throws(() => client.notify('area.areaHandler.echo'), ClosedError);
  client.disconnect();
  assert.deepEqual(endings, ['lost']);
});

test('what we close is closed for the server too', async (t) => {
  const server = await listen(t);
  const client = await connect({ url: server.url });
  const peer = await server.peer();
  const ended = first(client, 'disconnect');
  client.disconnect();
  assert.equal((await ended).reason, 'closed');
  await peer.closed;
});

test('bytes that can not be read end the connection with a reason', async (t) => {
  const server = await listen(t);
  for (const bytes of ['09000000', '04000005aa', '0400000108', '0400000006', '040000020401', '01000000', '0400000307000f', 'text']) {
    const client = await connect({ url: server.url });
    const peer = await server.peer();
    const ended = first(client, 'disconnect');
    peer.socket.send(bytes === 'text' ? bytes : unhex(bytes));
    if (bytes === '040000020401') client.disconnect(); // a response that nobody asked for is no offence
    assert.equal((await ended).reason, bytes === '040000020401' ? 'closed' : 'malformed', bytes);
  }
});

test('a listener that throws disturbs nobody else', async (t) => {
  const server = await listen(t);
  const client = await connect({ url: server.url });
  const peer = await server.peer();
  const later = t.mock.method(globalThis, 'queueMicrotask', () => {});
  client.on('onTick', () => {
    throw new Error('in the listener');
  });
  const ticked = first(client, 'onTick');
  peer.push('onTick', { n: 1 });
  assert.deepEqual(await ticked, { n: 1 });
  assert.throws(later.mock.calls[0].arguments[0], /in the listener/); // reported, as an event's errors are
  assert.ok(client.isOpen);
  client.disconnect();
});

test('a refusal tells why', async (t) => {
  const server = await listen(t, { handshake: { code: 501, msg: 'please update' } });
  const error = await connect({ url: server.url }).catch((rejected) => rejected);
  assert.ok(error instanceof RefusedError);
  assert.equal(error.code, 501);
  assert.deepEqual(error.answer, { code: 501, msg: 'please update' });
  assert.match(error.message, /501: please update$/);
});

test('no connection is an error that says where to', async (t) => {
  await assert.rejects(connect({ host: '127.0.0.1', port: 1 }), (error) => {
    assert.ok(error instanceof ConnectError);
    assert.match(error.message, /ws:\/\/127\.0\.0\.1:1/);
    return true;
  });
  const mute = await listen(t, { handshake: null });
  await assert.rejects(connect({ url: mute.url, connectTimeout: 20 }), TimeoutError);
  const rude = await listen(t, { handshake: [] });
  await assert.rejects(connect({ url: rude.url }), RefusedError);
});

test('giving up while connecting rejects', async (t) => {
  const mute = await listen(t, { handshake: null });
  const client = new Client({ url: mute.url });
  const opening = client.init();
  await assert.rejects(client.request('area.areaHandler.echo'), /not connected yet/);
  client.disconnect();
  await assert.rejects(opening, ConnectError);
});

test('routes and bodies that no message can carry are refused here', async (t) => {
  const server = await listen(t, { answer: echo });
  const client = await connect({ url: server.url });
  await assert.rejects(client.request('r'.repeat(256)), RangeError);
  await assert.rejects(client.request('area.areaHandler.echo', 'x'.repeat(2 ** 24)), RangeError);
  assert.deepEqual(await client.request('area.areaHandler.echo', [1]), [1]);
  client.disconnect();
});
