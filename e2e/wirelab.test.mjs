/** Clients that exist against every configuration of a front-end. */

import assert from 'node:assert/strict';
import { once } from 'node:events';
import { createRequire } from 'node:module';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { Line, pack } from './differential/both.mjs';
import { Original, Package, dropAll, within } from './support/original.mjs';
import { TYPED } from './support/page/observe.mjs';
import { lab, startWirelab } from './support/wirelab.mjs';

const require = createRequire(import.meta.url);
const mqtt = require('mqtt');
const { Key } = require('node-bignumber');

const wirelab = await startWirelab();
after(() => {
  dropAll();
  return wirelab.stop();
});

let users = 0;
/** A uid that nobody else has. */
const newUid = () => `uid${process.pid}_${(users += 1)}`;

async function open(form, to, sys, options) {
  const client = new Original(form);
  await client.connect(to);
  await client.shakeHands(sys, options);
  return client;
}

const of = (build, transport) => ({ build, transport });
const hybrids = [of('browser', 'ws'), of('node', 'ws'), of('node', 'tcp')];
const secure = [of('browser', 'wss'), of('node', 'wss'), of('node', 'tls')];
const datagrams = [of('browser', 'udp'), of('node', 'udp')];

/** Each configuration: who comes there, and what its handshake says. */
const configurations = [
  { id: 'plain', forms: hybrids, heartbeat: 2 },
  { id: 'dict', forms: hybrids, heartbeat: 3, dict: true },
  { id: 'proto', forms: hybrids, heartbeat: 3, protos: true },
  { id: 'dp', forms: hybrids, heartbeat: 3, dict: true, protos: true },
  { id: 'tls', forms: secure, heartbeat: 3, dict: true, protos: true },
  { id: 'udp', forms: datagrams, heartbeat: 2 },
];

for (const { id, forms, heartbeat, dict, protos } of configurations) {
  for (const form of forms) {
    describe(`connector-${id}, the ${form.build} codec over ${form.transport}`, { skip: wirelab.missing }, () => {
      test('the handshake says what is configured, and no more', async () => {
        const client = await open(form, lab[id]);
        const { sys, code } = client.handshake;
        assert.equal(code, 200);
        assert.equal(sys.heartbeat, heartbeat);
        assert.equal(sys.dict !== undefined, dict === true);
        assert.equal(sys.protos !== undefined, protos === true);
        if (dict) {
          const routes = Object.keys(sys.dict).sort((a, b) => sys.dict[a] - sys.dict[b]);
          assert.deepEqual(routes.slice(-3), ['onPush', 'onNote', 'onProto']);
          assert.deepEqual(routes.slice(0, -3), routes.slice(0, -3).sort());
          assert.equal(sys.dict[routes[0]], 1);
        }
        client.close();
      });

      test('requests, notifies, pushes and a kick', async () => {
        const client = await open(form, lab[id]);
        const uid = newUid();
        const ask = (method, body) => client.request(`connector.testHandler.${method}`, body);
        assert.deepEqual(await ask('echo', { body: { a: [1, '二', '😀'] } }), { code: 200, body: { a: [1, '二', '😀'] } });
        assert.deepEqual(await ask('bind', { uid }), { code: 200, uid });
        assert.deepEqual(await ask('bind', { uid: 'another' }), { code: 500, uid });
        assert.deepEqual(await ask('push', { route: 'onPush', body: { n: 1 } }), { code: 200 });
        assert.deepEqual(await client.pushed('onPush'), { n: 1 });
        client.notify('connector.testHandler.note', { n: 7 });
        assert.deepEqual(await client.pushed('onNote'), { n: 7 });
        assert.deepEqual(await ask('notes'), { code: 200, notes: [7] });
        assert.deepEqual(await ask('fail'), { code: 500 });
        assert.deepEqual(await ask('failWith'), { code: 501, msg: 'custom' });
        assert.deepEqual(await ask('failBody'), { msg: 'no code', code: 500 });
        assert.deepEqual(await ask('empty'), {});
        assert.deepEqual(await ask('json', { z: 1, a: [] }), { code: 200, json: '{"z":1,"a":[]}' });
        const [slow, quick] = [ask('delay', { ms: 500, n: 1 }), ask('delay', { ms: 0, n: 2 })];
        assert.deepEqual(await Promise.race([slow, quick]), { code: 200, n: 2 });
        assert.deepEqual(await slow, { code: 200, n: 1 });
        const who = { code: 200, uid, sid: `connector-${id}`, server: 'area-server-1' };
        assert.deepEqual(await client.request('area.areaHandler.who'), who);
        assert.deepEqual(await client.request('area.areaHandler.kick', { reason: 'enough' }), { code: 200 });
        assert.deepEqual((await within(client.closed, 'the kick')).kick, { reason: 'enough' });
      });

      test('bodies with a schema come through whole, in protobuf where there is one', async () => {
        const client = await open(form, lab[id]);
        const body = (route) => (client.handshake.sys.protos ? client.typed(route, TYPED) : TYPED);
        const echoed = await client.request('connector.protoHandler.echo', body('connector.protoHandler.echo'));
        assert.deepEqual(plain(echoed), TYPED);
        const { json } = await client.request('connector.protoHandler.json', body('connector.protoHandler.json'));
        assert.deepEqual(JSON.parse(json), TYPED);
        await client.request('connector.testHandler.bind', { uid: newUid() });
        await client.request('connector.testHandler.push', { route: 'onProto', body: TYPED });
        assert.deepEqual(plain(await client.pushed('onProto')), TYPED);
        client.close();
      });
    });
  }
}

/** Without what a decoder's objects inherit. */
const plain = (value) => JSON.parse(JSON.stringify(value));

describe('connector-plain', { skip: wirelab.missing }, () => {
  test('answers a handshake, and refuses what it does not like', async () => {
    const form = of('node', 'ws');
    const user = { name: '二', n: 1 };
    const client = await open(form, lab.plain, {}, { user });
    assert.deepEqual(client.handshake.user, { hello: 'accept', echo: user });
    client.close();
    const old = await open(form, lab.plain, { type: 'old-client' });
    assert.deepEqual(old.handshake, { code: 501 });
    const rejected = await open(form, lab.plain, {}, { user: { reject: true } });
    assert.deepEqual(rejected.handshake, { code: 500 });
    await Promise.all([old, rejected].map(({ closed }) => within(closed, 'those refused to be closed')));
  });
});

describe('a client whose heart has stopped', { skip: wirelab.missing, concurrency: true }, () => {
  const streams = [...hybrids.map((form) => ({ id: 'plain', form })), ...secure.map((form) => ({ id: 'tls', form }))];
  for (const { id, form } of streams) {
    test(`is closed: ${form.build}, ${form.transport}`, async () => {
      const client = new Original(form);
      client.isBeating = false;
      await client.connect(lab[id]);
      await client.shakeHands();
      assert.equal((await within(client.closed, 'the time-out of the heartbeat')).kick, undefined);
    });
  }

  test('is forgotten: udp', async () => {
    const line = await Line.open('udp', lab.udp);
    await line.shakeHands();
    await sleep(lab.udp.timeout * 1000 + 2000);
    // The session of before would answer the heartbeat, and not a second handshake.
    line.send(pack(Package.TYPE_HEARTBEAT));
    await line.greet();
    assert.deepEqual(line.take().packages.map(([type]) => type), [Package.TYPE_HANDSHAKE]);
    line.drop();
  });
});

describe('connector-crypto, signed by node-bignumber', { skip: wirelab.missing }, () => {
  const key = new Key();
  key.generate(1024, '10001');
  const rsa = { rsa_n: key.n.toString(16), rsa_e: key.e };
  const signed = (body) => ({ ...body, __crypto__: key.signString(JSON.stringify(body), 'sha256') });

  for (const form of hybrids) {
    test(`what is signed is answered, and nothing else is: ${form.build}, ${form.transport}`, async () => {
      const client = await open(form, lab.crypto, { rsa });
      assert.equal(client.handshake.sys.heartbeat, undefined);
      const body = { body: { a: 'text', n: 1.5 } };
      assert.deepEqual(await client.request('connector.testHandler.echo', signed(body)), { code: 200, ...body });
      const forged = { ...signed(body), body: 'another' };
      for (const bad of [body, forged, { ...body, __crypto__: 'abcd' }]) client.notify('connector.testHandler.note', bad);
      client.write(client.requestBytes('connector.testHandler.echo', body, 99));
      // What came before this one would have been answered before it.
      assert.deepEqual(await client.request('connector.testHandler.notes', signed({})), { code: 200, notes: [] });
      assert.equal(client.heard.length, 2);
      const uid = newUid();
      const ask = (method, body) => client.request(`connector.testHandler.${method}`, signed(body));
      assert.deepEqual(await ask('bind', { uid }), { code: 200, uid });
      assert.deepEqual(await ask('push', { route: 'onPush', body: { n: 1 } }), { code: 200 });
      assert.deepEqual(await client.pushed('onPush'), { n: 1 });
      assert.deepEqual(await ask('kick', { reason: 'enough' }), { code: 200 });
      assert.deepEqual((await within(client.closed, 'the kick')).kick, { reason: 'enough' });
    });
  }

  test('a client without a key may come in and say nothing', async () => {
    const client = await open(of('node', 'ws'), lab.crypto);
    assert.equal(client.handshake.code, 200);
    client.close();
  });
});

describe('connector-mqtt, npm mqtt 4', { skip: wirelab.missing }, () => {
  /** A client of either version, and what is published to it. */
  async function dial(version, options) {
    const protocolId = version === 3 ? 'MQIsdp' : 'MQTT';
    const client = mqtt.connect({ ...lab.mqtt, protocolId, protocolVersion: version, reconnectPeriod: 0, ...options });
    const come = [];
    let wake = () => {};
    client.on('error', () => {});
    client.on('message', (topic, payload) => {
      come.push([topic, payload.toString()]);
      wake();
    });
    await within(once(client, 'connect'), 'CONNACK');
    const published = async () => {
      while (!come.length) await within(new Promise((resolve) => (wake = resolve)), 'a publish');
      return come.shift();
    };
    const done = (call) => within(new Promise((resolve, reject) => call((error, value) => (error ? reject(error) : resolve(value)))), 'an acknowledgement');
    return { client, published, done };
  }

  for (const version of [3, 4]) {
    test(`version ${version === 3 ? '3.1' : '3.1.1'}: subscribe, publish, pushes, a kick`, async () => {
      const { client, published, done } = await dial(version);
      const granted = await done((call) => client.subscribe({ a: { qos: 0 }, 'b/#': { qos: 1 } }, call));
      assert.deepEqual(granted.map(({ qos }) => qos), [0, 0]);
      const uid = newUid();
      await done((call) => client.publish('bind', uid, { qos: 1 }, call));
      assert.deepEqual(await published(), ['bound', uid]);
      client.publish('push', 'to myself 二');
      assert.deepEqual(await published(), ['pushed', 'to myself 二']);
      await done((call) => client.publish('anything', 'once', { qos: 1 }, call));
      assert.deepEqual(await published(), ['reply', 'once']);
      await done((call) => client.publish('anything', 'exactly once', { qos: 2 }, call));
      assert.deepEqual(await published(), ['reply', 'exactly once']);
      await done((call) => client.unsubscribe('a', call));
      client.publish('kick', '');
      await within(once(client, 'close'), 'the kick');
      client.end(true);
    });
  }

  test('a client that falls silent is closed', async () => {
    const { client } = await dial(4, { keepalive: 0 });
    await within(once(client, 'close'), 'the time-out');
    client.end(true);
  });
});
