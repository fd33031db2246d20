/**
 * Clients without manners: each is answered or closed with a reason, and nobody else notices.
 *
 * After each test two bystanders, in the room before it began, talk to each other.
 */

import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { after, afterEach, before, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { connectors, gate, startChat } from './support/chat.mjs';
import { Original, Package, dropAll, forms, login, open, within } from './support/original.mjs';
import { closeCode, dial, dropAllRaw, frame, upgrade } from './support/raw.mjs';

const [connector] = connectors;
const [, WS, TCP] = forms;
const SEND = 'chat.chatHandler.send';
const ENTER = 'connector.entryHandler.enter';
const REFUSED = { code: 500 };
const MIB = 1024 * 1024;

/** The handshake and ack together have ten seconds. */
const HANDSHAKE_WITHIN = 16_000;
const HELLO = data(Package.TYPE_HANDSHAKE, '{"sys":{"type":"rude","version":"1"}}');

const chat = await startChat();
const rid = `rude${process.pid}`;
let bystanders = [];

before(async () => {
  if (chat.missing) return;
  for (const username of ['calm', 'quiet']) bystanders.push(await login(WS, username, rid, connector));
});
afterEach(async () => {
  if (!chat.missing) await bystandersTalk();
});
after(() => {
  dropAll();
  dropAllRaw();
  return chat.stop();
});

describe('messages that make no sense', { skip: chat.missing }, () => {
  test('bodies that are no object are answered', async () => {
    const client = await open(TCP, connector);
    const bodies = ['not json', '', '[1,2,3]', '[]', '7', '"text"', 'null', 'true', '{"rid":', '[' .repeat(10_000), '{"a":'.repeat(5_000)];
    for (const body of [...bodies, Buffer.from('fffe80c0', 'hex'), Buffer.from('{"username":"\xff","rid":"x"}', 'latin1')]) {
      assert.equal((await client.request(ENTER, body)).code, 500, `${body}`.slice(0, 30));
      assert.equal((await client.request(SEND, body)).code, 500, `${body}`.slice(0, 30));
    }
    assert.ok((await client.request(ENTER, { username: 'reformed', rid })).users);
    assert.equal((await client.request(SEND, '[{"content":"x","target":"*"}]')).code, 500);
    client.close();
  });

  test('the gate answers them too', async () => {
    const client = await open(WS, gate);
    for (const body of ['not json', '', '[1]', 'null', '{"uid":null}', '{"uid":""}', '{"uid":[]}', '{"uid":{}}']) {
      assert.deepEqual(await client.request('gate.gateHandler.queryEntry', body), REFUSED, body);
    }
    client.close();
  });

  test('routes that lead nowhere are answered', async () => {
    const client = await open(WS, connector);
    const routes = [
      'connector.entryHandler.nosuch',
      'connector.nosuch.enter',
      'nosuch.entryHandler.enter',
      'gate.gateHandler.queryEntry',
      'connector.enter',
      'connector.entryHandler.enter.more',
      'connector.entryHandler.__proto__',
      '__proto__.__proto__.__proto__',
      'chat.chatRemote.add',
      'sys.channelRemote.pushMessage',
      'connector..',
      '..',
      'nodots',
      '',
      'r'.repeat(255),
      '聊天.处理.发送',
    ];
    for (const route of routes) assert.deepEqual(await client.request(route), REFUSED, route);
    for (const code of [0, 999, 65_535]) assert.deepEqual(await client.request(code), REFUSED, `code ${code}`);
    client.close();
  });

  test('a method named constructor is refused or kicked, with a reason', async () => {
    const client = await open(WS, connector);
    const asked = client.request('connector.entryHandler.constructor').catch(() => undefined);
    const outcome = await Promise.race([asked, client.closed]);
    if (outcome?.kick) assert.deepEqual(outcome.kick, { reason: 'attack' });
    else assert.deepEqual(await asked, REFUSED);
    client.close();
  });

  test('a chat request before login is answered', async () => {
    const client = await open(TCP, connector);
    assert.deepEqual(await client.request(SEND, { content: 'x', target: '*' }), REFUSED);
    client.close();
  });

  test('a second handshake, a response, a notify to who answers requests: the session lives or is closed', async () => {
    const rude = [HELLO, '02000000', message('0401', '{}'), message('0601' + '61', '{}'), message('020b6e6f2e737563682e6f6e65', '{}')];
    for (const bytes of rude) {
      const client = await open(TCP, connector);
      client.write(Buffer.from(bytes, 'hex'));
      await livesOrIsClosed(client);
    }
  });

  test('messages that can not be read end that client alone, or are dropped', async () => {
    const broken = ['', '00', '0000', '0080', '00808080', '0080808080808001', '01', '0101', '010100', '000105616263', '0001ff', '02', '03', '08', '0e00', 'ff'];
    for (const form of [WS, TCP]) {
      for (const hex of broken) {
        const client = await open(form, connector);
        client.write(Buffer.from(message(hex, ''), 'hex'));
        await livesOrIsClosed(client);
      }
    }
  });

  test('five hundred requests at once that lead nowhere are all answered', async () => {
    const client = await open(TCP, connector);
    const requests = Array.from({ length: 500 }, (_, n) => client.request('connector.nosuch.one', {}, n + 1));
    assert.deepEqual(new Set((await Promise.all(requests)).map(({ code }) => code)), new Set([500]));
    client.close();
  });
});

describe('packages that make no sense', { skip: chat.missing }, () => {
  test('a package that only servers send, or nobody, closes', async () => {
    for (const bytes of ['09000000', '00000000', '05000000', '050000027b7d', '63000000', 'ff000000']) {
      const over = { ws: await open(WS, connector), tcp: await open(TCP, connector) };
      over.ws.write(Buffer.from(bytes, 'hex'));
      over.tcp.write(Buffer.from(bytes, 'hex'));
      const { code } = await within(over.ws.closed, `a close after ${bytes}`);
      assert.ok(1000 <= code && code < 1012 && code !== 1006, `${bytes}: closed with ${code}`);
      await within(over.tcp.closed, `a close after ${bytes}`);
    }
  });

  test('random bytes, zeros and a TLS hello are closed', async () => {
    const noise = [Buffer.alloc(64), randomBytes(256), Buffer.from('16030100c8010000c40303', 'hex'), Buffer.from('63000000', 'hex'), Buffer.alloc(4096, 0xff)];
    noise[1][0] |= 0x80; // not by chance the start of a package
    for (const bytes of noise) await (await dial(connector)).write(bytes).ended();
  });

  test('a head that claims 16 MiB is refused at once, and costs no memory', async () => {
    const before = chat.memory?.();
    const claims = await Promise.all(Array.from({ length: 500 }, async () => (await dial(connector)).write('01ffffff')));
    await Promise.all(claims.map((raw) => raw.ended()));
    grewLessThan(before, 64 * MIB);
    const member = await open(TCP, connector);
    member.write(Buffer.from('04ffffff', 'hex'));
    await within(member.closed, 'the close');
  });

  test('frames that claim 16 MiB are refused', async () => {
    const client = await open(WS, connector);
    client.write(Buffer.from('04ffffff', 'hex'));
    const { code } = await within(client.closed, 'the close');
    assert.notEqual(code, 1006, 'a reason is given');
  });

  test('15 MB of request are refused, and cost no memory', async () => {
    const before = chat.memory?.();
    for (const form of [WS, TCP]) {
      const client = await open(form, connector);
      const answer = client.request(ENTER, Buffer.alloc(15_000_000, 0x20)).catch(() => 'closed');
      assert.equal(await answer, 'closed', form.transport);
      await within(client.closed, 'the close');
    }
    grewLessThan(before, 64 * MIB);
  });

  test('a handshake longer than anyone needs is refused', async () => {
    const raw = await dial(connector);
    raw.write(data(Package.TYPE_HANDSHAKE, JSON.stringify({ sys: { type: 'x'.repeat(60_000) } })));
    await raw.ended();
  });

  test('handshakes that say nothing are refused with 500 and closed', async () => {
    for (const body of ['not json', '{}', '', 'null', '[]', '7', '{"sys":null}']) {
      const raw = await dial(connector);
      const received = await raw.write(data(Package.TYPE_HANDSHAKE, body)).ended();
      assert.equal(received.subarray(4).toString(), '{"code":500}', body);
    }
  });

  test('a request before the handshake does not break what follows', async () => {
    for (const form of [WS, TCP]) {
      const client = new Original(form);
      await client.connect(connector);
      client.write(Buffer.from(message('00011c636f6e6e6563746f722e656e74727948616e646c65722e656e746572', '{}'), 'hex'));
      const shaken = client.shakeHands().catch(() => undefined);
      const outcome = await Promise.race([shaken, client.closed]);
      if (outcome?.code === 200) assert.equal((await client.request(ENTER, {}, 2)).code, 500);
      client.close();
    }
  });
});

describe('HTTP and frames', { skip: chat.missing }, () => {
  test('plain HTTP is answered and closed', async () => {
    for (const line of ['GET / HTTP/1.1', 'GET /index.html HTTP/1.0', 'POST /x HTTP/1.1', 'HEAD / HTTP/1.1', 'PUT / HTTP/1.1', 'DELETE / HTTP/1.1']) {
      const raw = await dial(connector);
      raw.write(Buffer.from(`${line}\r\nHost: x\r\nContent-Length: 0\r\n\r\n`));
      assert.match((await raw.ended()).toString(), /^HTTP\/1\.1 \d\d\d /, line);
    }
  });

  test('an upgrade to something else, or to another version, is answered and closed', async () => {
    for (const head of ['Upgrade: h2c\r\nConnection: Upgrade', 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 8\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==', 'Upgrade: websocket\r\nConnection: Upgrade\r\nSec-WebSocket-Version: 13']) {
      const raw = await dial(connector);
      raw.write(Buffer.from(`GET / HTTP/1.1\r\nHost: x\r\n${head}\r\n\r\n`));
      assert.match((await raw.ended()).toString(), /^HTTP\/1\.1 4\d\d /, head);
    }
  });

  test('a head without end is closed', async () => {
    const raw = await dial(connector);
    raw.write(Buffer.from(`GET / HTTP/1.1\r\n${'X-Padding: yes\r\n'.repeat(8_000)}`));
    await raw.ended();
  });

  test('frames that break the rules get a close frame, and the connection is closed', async () => {
    const body = HELLO;
    const broken = {
      unmasked: frame(body, { masked: false }),
      'a reserved opcode': frame(body, { opcode: 3 }),
      'a reserved control opcode': frame(Buffer.alloc(0), { opcode: 11 }),
      'reserved bits': frame(body, { bits: 0xc0 }),
      'a length of 2^62': frame(Buffer.alloc(0), { length: 2 ** 62 }),
      'a length of 200 MB': frame(Buffer.alloc(0), { length: 200_000_000 }),
      'a long ping': frame(Buffer.alloc(126), { opcode: 9 }),
      'a ping in pieces': frame(Buffer.alloc(1), { opcode: 9, bits: 0 }),
      'a continuation of nothing': frame(body, { opcode: 0 }),
    };
    for (const [name, bytes] of Object.entries(broken)) {
      const raw = await upgrade(connector);
      const code = closeCode(await raw.write(bytes).ended());
      assert.ok(code !== undefined && 1000 <= code && code !== 1005, `${name}: closed with ${code}`);
    }
  });

  test('text that is no UTF-8, and empty messages, are closed or passed over', async () => {
    for (const bytes of [frame(Buffer.from('fffe', 'hex'), { opcode: 1 }), frame(Buffer.alloc(0)), frame(Buffer.alloc(0), { opcode: 1 })]) {
      const raw = await upgrade(connector);
      raw.write(bytes).write(frame(HELLO));
      const received = await Promise.race([raw.receivedAtLeast(20), raw.ended()]);
      assert.ok(closeCode(received) !== undefined || received.includes('"code":200'));
      raw.close();
    }
  });

  test('a handshake as text and a handshake in pieces are understood', async () => {
    for (const frames of [[frame(HELLO, { opcode: 1 })], [frame(HELLO.subarray(0, 9), { bits: 0 }), frame(Buffer.from('ping'), { opcode: 9 }), frame(HELLO.subarray(9), { opcode: 0 })]]) {
      const raw = await upgrade(connector);
      for (const bytes of frames) raw.write(bytes);
      while (!raw.received.includes('"code":200')) await raw.receivedAtLeast(raw.received.length + 1);
      raw.close();
    }
  });

  test('a package cut short by its frame is refused', async () => {
    const client = await open(WS, connector);
    client.write(Buffer.from('0400000541', 'hex'));
    assert.notEqual((await within(client.closed, 'the close')).code, 1006);
  });

  test('a close is answered at once', async () => {
    const raw = await upgrade(connector);
    raw.write(frame(Buffer.from('03e8', 'hex'), { opcode: 8 }));
    assert.equal(closeCode(await raw.ended(3_000)), 1000);
  });
});

describe('those who dawdle', { skip: chat.missing, concurrency: true }, () => {
  const slow = {
    'one who says nothing': '',
    'one who sends one byte': '01',
    'one who sends half a package head': '0100',
    'one who sends half a handshake': HELLO.subarray(0, 20).toString('hex'),
    'one who sends G': '47',
    'one who sends GET': Buffer.from('GET').toString('hex'),
    'one who sends half an HTTP head': Buffer.from('GET / HTTP/1.1\r\nHost: x\r\n').toString('hex'),
    'one who never acknowledges': HELLO.toString('hex'),
  };
  for (const [name, bytes] of Object.entries(slow)) {
    test(`${name} is closed at the deadline`, async () => {
      await (await dial(connector)).write(bytes).ended(HANDSHAKE_WITHIN);
    });
  }

  test('a WebSocket without handshake is closed at the deadline', async () => {
    const raw = await upgrade(connector);
    assert.ok(closeCode(await raw.ended(HANDSHAKE_WITHIN)) !== undefined);
  });

  test('a WebSocket that never acknowledges is closed at the deadline', async () => {
    const raw = await upgrade(connector);
    const received = await raw.write(frame(HELLO)).ended(HANDSHAKE_WITHIN);
    assert.ok(received.includes('"code":200') && closeCode(received) !== undefined);
  });

  test('a thousand silent connections are closed, and cost little', async () => {
    const before = chat.memory?.();
    const silent = [];
    // Not all at once: a kernel whose queue is full forgets connections that the client takes for open.
    while (silent.length < 1_000) silent.push(...(await Promise.all(Array.from({ length: 50 }, () => dial(connectors.at(-1))))));
    grewLessThan(before, 64 * MIB);
    await Promise.all(silent.map((raw) => raw.ended(HANDSHAKE_WITHIN + 10_000)));
  });
});

describe('a member who does not read', { skip: chat.missing }, () => {
  test('is cut off while its room is flooded, and the others lose nothing', async (t) => {
    const room = `flood${process.pid}`;
    const speaker = await login(WS, 'speaker', room, connector);
    const listener = await login(TCP, 'listener', room, connector);
    const deaf = await login(WS, 'deaf', room, connector);
    await listener.pushed('onAdd');
    const before = chat.memory?.();
    // It beats on, so that it is the flood that ends it.
    const beats = setInterval(() => deaf.send(Package.TYPE_HEARTBEAT), 2_000);
    t.after(() => clearInterval(beats));
    deaf.pause();
    let said = 0;
    const deadline = Date.now() + 40_000;
    while (speaker.pending('onLeave') === 0) {
      assert.ok(Date.now() < deadline, `the deaf one is still there after ${said} messages`);
      const batch = Array.from({ length: 8 }, () => speaker.request(SEND, { content: `${(said += 1)} ${'x'.repeat(4_000)}`, target: '*' }));
      await Promise.all(batch);
      for (let n = said - 7; n <= said; n++) {
        assert.equal(Number.parseInt((await listener.pushed('onChat')).msg), n);
        assert.equal(Number.parseInt((await speaker.pushed('onChat')).msg), n);
      }
    }
    assert.deepEqual(await speaker.pushed('onLeave'), { route: 'onLeave', user: 'deaf' }, 'the others are told');
    grewLessThan(before, 64 * MIB);
    assert.deepEqual(await listener.pushed('onLeave'), { route: 'onLeave', user: 'deaf' });
    for (const client of [speaker, listener]) client.close();
  });

  test('costs no memory when it asks on and on either', async () => {
    const client = await open(TCP, connector);
    const before = chat.memory?.();
    client.pause();
    for (let id = 1; id <= 50_000; id++) {
      client.write(client.requestBytes('connector.nosuch.one', { padding: 'x'.repeat(500) }, id));
      if (id % 1_000 === 0) await Promise.race([client.flushed(), client.closed, sleep(100)]);
    }
    await sleep(500);
    grewLessThan(before, 64 * MIB);
    client.close();
  });
});

/** A package as bytes. */
function data(type, body) {
  return Buffer.from(Package.encode(type, Buffer.from(body)));
}

/** A data package as hex: the head of its message is hex, the body is text. */
function message(head, body) {
  return data(Package.TYPE_DATA, Buffer.concat([Buffer.from(head, 'hex'), Buffer.from(body)])).toString('hex');
}

/** After something odd a client is answered, or it is closed: it is never left hanging. */
async function livesOrIsClosed(client) {
  const answer = client.request('connector.nosuch.one', {}, 77).catch(() => undefined);
  const outcome = await within(Promise.race([answer, client.closed.then(() => 'closed')]), 'an answer or a close');
  assert.ok(outcome === undefined || outcome === 'closed' || outcome.code === 500);
  client.close();
}

async function bystandersTalk() {
  assert.ok(chat.isRunning(), 'the chat is up');
  const [calm, quiet] = bystanders;
  const content = `after ${Math.random()}`;
  assert.deepEqual(await calm.request(SEND, { content, target: 'quiet' }), {});
  assert.deepEqual(await quiet.pushed('onChat'), { msg: content, from: 'calm', target: 'quiet' });
}

function grewLessThan(before, limit) {
  const now = chat.memory?.();
  if (before === undefined) return; // the process is not ours to look into
  assert.ok(now - before < limit, `resident memory grew by ${Math.round((now - before) / MIB)} MiB`);
}
