/** The original codecs against the chat, over WebSocket and over TCP. */

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { connectors, gate, startChat } from './support/chat.mjs';
import { Original, Package, dropAll, entryOf, forms, login, open, within } from './support/original.mjs';

const SEND = 'chat.chatHandler.send';
const HEARTBEAT = 3;

const chat = await startChat();
after(() => {
  dropAll();
  return chat.stop();
});

let rooms = 0;
/** A room that nobody else is in. */
const newRoom = () => `room${process.pid}_${(rooms += 1)}`;

for (const form of forms) {
  describe(`the ${form.build} codec over ${form.transport}`, { skip: chat.missing }, () => {
    test('the gate has protobuf and nothing else, and names a connector by the checksum of the uid', async () => {
      const client = await open(form, gate);
      const { dict, useDict, heartbeat, useProto, protos } = client.handshake.sys;
      assert.deepEqual({ dict, useDict, heartbeat, useProto }, { dict: undefined, useDict: undefined, heartbeat: undefined, useProto: true });
      assert.ok(protos.server.onChat);
      for (const uid of ['py', 'al', 'bo', '施展', 'a']) {
        const { host, port } = connectors[Math.abs(signedCrc32(uid)) % connectors.length];
        assert.deepEqual(await client.request('gate.gateHandler.queryEntry', { uid }), { code: 200, host, port });
      }
      assert.deepEqual(await client.request('gate.gateHandler.queryEntry', {}), { code: 500 });
      client.close();
    });

    test('a connector has a heartbeat, the dictionary and the schema of onChat', async () => {
      const client = await open(form, connectors[0]);
      const { heartbeat, useDict, dict, routeToCode, codeToRoute, protos } = client.handshake.sys;
      assert.equal(heartbeat, HEARTBEAT);
      assert.equal(useDict, true);
      assert.deepEqual(dict, { 'chat.chatHandler.send': 1, 'connector.entryHandler.enter': 2, 'gate.gateHandler.queryEntry': 3 });
      assert.deepEqual(routeToCode, dict);
      assert.deepEqual(codeToRoute, { 1: 'chat.chatHandler.send', 2: 'connector.entryHandler.enter', 3: 'gate.gateHandler.queryEntry' });
      assert.deepEqual(protos.server.onChat, {
        msg: { option: 'required', type: 'string', tag: 1 },
        from: { option: 'required', type: 'string', tag: 2 },
        target: { option: 'required', type: 'string', tag: 3 },
        __messages: {},
        __tags: { 1: 'msg', 2: 'from', 3: 'target' },
      });
      client.close();
    });

    test('a client that has the tables is not sent them', async () => {
      const first = await open(form, connectors[0]);
      const { dictVersion, protos } = first.handshake.sys;
      const second = new Original(form);
      await second.connect(connectors[0]);
      const { sys } = await second.shakeHands({ dictVersion, protoVersion: protos.version });
      assert.deepEqual(sys, { heartbeat: HEARTBEAT, useDict: true, useProto: true });
      first.close();
      second.close();
    });

    test('those in a room hear who comes, who speaks and who goes', async () => {
      const rid = newRoom();
      const py = await login(form, 'py', rid);
      assert.deepEqual(py.entered, { users: ['py'] });
      const al = await login(form, 'al', rid);
      assert.deepEqual(al.entered.users.toSorted(), ['al', 'py']);
      assert.deepEqual(await py.pushed('onAdd'), { route: 'onAdd', user: 'al' });

      const said = { msg: 'hello', from: 'py', target: '*' };
      assert.deepEqual(await py.request(SEND, { rid, content: 'hello', from: 'py', target: '*' }), {});
      assert.deepEqual(await py.pushed('onChat'), said);
      assert.deepEqual(await al.pushed('onChat'), said);

      await al.close();
      assert.deepEqual(await py.pushed('onLeave'), { route: 'onLeave', user: 'al' });
      assert.equal(al.pending('onAdd'), 0, 'a newcomer does not hear themselves come');
      py.close();
    });

    test('what is said to one reaches that one alone', async () => {
      const rid = newRoom();
      const [py, al, bo] = [await login(form, 'py', rid), await login(form, 'al', rid), await login(form, 'bo', rid)];
      assert.deepEqual(await py.request(SEND, { rid, content: 'psst', from: 'py', target: 'al' }), {});
      assert.deepEqual(await al.pushed('onChat'), { msg: 'psst', from: 'py', target: 'al' });
      // What follows comes after it, had it gone to the others too.
      await py.request(SEND, { rid, content: 'all', from: 'py', target: '*' });
      assert.equal((await bo.pushed('onChat')).msg, 'all');
      assert.equal((await py.pushed('onChat')).msg, 'all');
      assert.deepEqual(await py.request(SEND, { rid, content: 'psst', from: 'py', target: 'nobody' }), { code: 500 });
      for (const client of [py, al, bo]) client.close();
    });

    test('a name is taken once in the whole cluster', async () => {
      const rid = newRoom();
      const py = await login(form, 'py', rid);
      for (const connector of connectors) {
        const second = await open(form, connector);
        assert.deepEqual(await second.request('connector.entryHandler.enter', { username: 'py', rid }), { code: 500, error: true });
        await second.close();
      }
      assert.deepEqual(await py.request(SEND, { content: 'still here', target: '*' }), {});
      assert.equal((await py.pushed('onChat')).msg, 'still here');
      assert.equal(py.pending('onAdd') + py.pending('onLeave'), 0);
      await py.close();
      const again = await loginSoon(form, 'py', rid);
      assert.deepEqual(again.entered, { users: ['py'] });
      again.close();
    });

    test('who speaks and where is the session’s, whatever the message claims', async () => {
      const rid = newRoom();
      const [py, al] = [await login(form, 'py', rid), await login(form, 'al', rid)];
      await py.request(SEND, { rid: 'elsewhere', content: 'me', from: 'al', target: '*' });
      assert.deepEqual(await al.pushed('onChat'), { msg: 'me', from: 'py', target: '*' });
      const stranger = await open(form, connectors[0]);
      assert.deepEqual(await stranger.request(SEND, { rid, content: 'hi', from: 'py', target: '*' }), { code: 500 });
      for (const client of [py, al, stranger]) client.close();
    });

    test('names that no page would send are refused', async () => {
      const rid = newRoom();
      const client = await open(form, connectors[0]);
      for (const username of ['', 'a*b', '<b>', 'a b', 'x'.repeat(21), 'é', '😀', 7, null, ['py'], undefined]) {
        const answer = await client.request('connector.entryHandler.enter', { username, rid });
        assert.equal(answer.code, 500, `${username}`);
        assert.equal((await client.request('connector.entryHandler.enter', { username: 'py', rid: username })).code, 500, `${username}`);
      }
      assert.deepEqual(await client.request('connector.entryHandler.enter', { username: 'x'.repeat(20), rid }), { users: ['x'.repeat(20)] });
      client.close();
    });

    test('ids past 127 and 16,383 come back', async () => {
      const client = await login(form, 'py', newRoom());
      for (const id of [127, 128, 16_383, 16_384, 2_097_152, 2 ** 28, 2 ** 31 - 1]) {
        assert.deepEqual(await client.request(SEND, { content: `${id}`, target: '*' }, id), {});
        assert.equal((await client.pushed('onChat')).msg, `${id}`);
      }
      client.close();
    });

    test('hundreds of requests outstanding are handled in order', async () => {
      const client = await login(form, 'py', newRoom());
      const numbers = Array.from({ length: 500 }, (_, n) => n);
      const answers = await Promise.all(numbers.map((n) => client.request(SEND, { content: `${n}`, target: '*' })));
      assert.deepEqual(answers, numbers.map(() => ({})));
      for (const n of numbers) assert.equal((await client.pushed('onChat')).msg, `${n}`);
      client.close();
    });

    test('big bodies pass up to the limit', async () => {
      const client = await login(form, 'py', newRoom());
      const content = '大'.repeat(20_000);
      assert.deepEqual(await client.request(SEND, { content, target: '*' }), {});
      assert.equal((await client.pushed('onChat')).msg, content);
      client.close();
    });

    test('several packages in one write are several packages', async () => {
      const rid = newRoom();
      const client = await login(form, 'py', rid);
      const bytes = [101, 102, 103].map((id) => client.requestBytes(SEND, { content: `${id}`, target: '*' }, id));
      const answers = [101, 102, 103].map((id) => client.answer(id, SEND));
      client.write(Buffer.concat([...bytes.slice(0, 2), Package.encode(Package.TYPE_HEARTBEAT), bytes[2]]));
      assert.deepEqual(await Promise.all(answers), [{}, {}, {}]);
      for (const id of [101, 102, 103]) assert.equal((await client.pushed('onChat')).msg, `${id}`);
      client.close();
    });

    test('a client that pipelines all it has to say is answered', async () => {
      const client = new Original(form);
      await client.connect(connectors[0]);
      const hello = Buffer.from(JSON.stringify({ sys: { type: 'eager', version: '1' } }));
      const all = [
        Package.encode(Package.TYPE_HANDSHAKE, hello),
        Package.encode(Package.TYPE_HANDSHAKE_ACK),
        client.requestBytes('connector.entryHandler.enter', { username: 'py', rid: newRoom() }, 1),
      ];
      const answer = client.answer(1, 'connector.entryHandler.enter');
      client.handshake = { sys: {} };
      client.write(Buffer.concat(all));
      assert.deepEqual(await answer, { users: ['py'] });
      client.close();
    });
  });
}

describe('over TCP', { skip: chat.missing }, () => {
  const form = { build: 'node', transport: 'tcp' };

  test('a package may come byte by byte', async () => {
    const client = await login(form, 'py', newRoom());
    const answer = client.answer(300, SEND);
    for (const byte of client.requestBytes(SEND, { content: '慢慢说', target: '*' }, 300)) {
      client.write(Uint8Array.of(byte));
      await new Promise(setImmediate);
    }
    assert.deepEqual(await answer, {});
    assert.equal((await client.pushed('onChat')).msg, '慢慢说');
    client.close();
  });

  test('and the handshake too', async () => {
    const client = new Original(form);
    await client.connect(connectors[0]);
    const { write } = client;
    client.write = (bytes) => bytes.forEach((byte) => write.call(client, Uint8Array.of(byte)));
    assert.equal((await client.shakeHands()).code, 200);
    assert.deepEqual(await client.request('connector.entryHandler.enter', { username: 'py', rid: newRoom() }), { users: ['py'] });
    client.close();
  });

  test('ids have 32 bits', async () => {
    const client = await login(form, 'py', newRoom());
    const body = Buffer.from(JSON.stringify({ content: 'x', target: '*' }));
    const message = Buffer.concat([Buffer.from([0x01, 0xff, 0xff, 0xff, 0xff, 0x0f, 0x00, 0x01]), body]);
    const answer = client.answer(-1, SEND); // so the original reads 2^32 - 1
    client.write(Package.encode(Package.TYPE_DATA, message));
    assert.deepEqual(await answer, {});
    client.close();
  });
});

describe('text', { skip: chat.missing }, () => {
  test('Chinese and emoji reach every kind of client from every kind', async () => {
    const rid = newRoom();
    const clients = [];
    for (const [n, form] of forms.entries()) clients.push(await login(form, `客人${n}`, rid));
    for (const speaker of clients) {
      const content = `你好，世界 😀👩‍👩‍👧 é "引号" \\ <b>`;
      assert.deepEqual(await speaker.request(SEND, { content, target: '*' }), {});
      for (const listener of clients) assert.equal((await listener.pushed('onChat')).msg, content);
    }
    const last = await login(forms[0], '艾', rid);
    for (const client of clients) {
      let added;
      do added = await client.pushed('onAdd');
      while (added.user !== '艾');
    }
    for (const client of [...clients, last]) client.close();
  });
});

describe('heartbeats', { skip: chat.missing, concurrency: true }, () => {
  for (const form of forms.slice(1)) {
    test(`a client that beats is kept over ${form.transport}, and each beat is answered`, async () => {
      const client = await login(form, 'beats', newRoom());
      while (client.heartbeats < 4) {
        const before = client.heartbeats;
        await Promise.race([sleep(2 * HEARTBEAT * 1000), client.closed]);
        assert.ok(before < client.heartbeats, 'a beat within two intervals');
      }
      assert.deepEqual(await client.request(SEND, { content: 'here', target: '*' }), {});
      client.close();
    });

    test(`a client that stops beating is cut off over ${form.transport}`, async () => {
      const rid = newRoom();
      const friend = await login(forms[0], 'friend', rid);
      const client = new Original(form);
      client.isBeating = false;
      await client.connect(connectors[0]);
      await client.shakeHands();
      const since = Date.now();
      await client.request('connector.entryHandler.enter', { username: 'mute', rid });
      const { code, kick } = await within(client.closed, 'the cut', 20_000);
      const took = Date.now() - since;
      assert.ok(5_000 < took && took < 12_000, `cut after ${took} ms, where 6,000 were due`);
      assert.equal(kick, undefined);
      if (form.transport === 'ws') assert.equal(code, 1000);
      assert.deepEqual(await friend.pushed('onLeave'), { route: 'onLeave', user: 'mute' });
      friend.close();
    });
  }

  test('the gate cuts nobody off', async () => {
    const client = await open(forms[1], gate);
    await sleep(3 * HEARTBEAT * 1000);
    assert.equal(client.heartbeats, 0);
    assert.equal((await client.request('gate.gateHandler.queryEntry', { uid: 'py' })).code, 200);
    client.close();
  });
});

describe('stopping', { skip: chat.missing || (!chat.isOurs && 'the chat is not ours to stop') }, () => {
  test('a chat that is asked to stop ends every connection in order', async () => {
    const clients = [];
    for (const [n, form] of forms.entries()) clients.push(await login(form, `last${n}`, newRoom()));
    const answers = clients.map((client) => client.request(SEND, { content: 'bye', target: '*' }));
    assert.deepEqual(await Promise.all(answers), clients.map(() => ({})));
    await chat.stop();
    for (const [n, client] of clients.entries()) {
      const { code, kick } = await within(client.closed, 'the end');
      assert.equal(kick, undefined);
      if (forms[n].transport === 'ws') assert.ok(code === 1000 || code === 1001, `closed with ${code}`);
    }
  });
});

/** A close takes a moment to be noticed; a name is free after it. */
async function loginSoon(form, username, rid) {
  for (let tries = 0; tries < 50; tries++) {
    const client = await open(form, await entryOf(form, username));
    client.entered = await client.request('connector.entryHandler.enter', { username, rid });
    if (client.entered.users) return client;
    await client.close();
    await sleep(20);
  }
  assert.fail(`${username} can't come back`);
}

/** As the original routes: over the low bytes of the UTF-16 units, as a signed number. */
function signedCrc32(text) {
  let crc = -1;
  for (let n = 0; n < text.length; n++) {
    crc ^= text.charCodeAt(n) & 0xff;
    for (let bit = 0; bit < 8; bit++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc;
}
