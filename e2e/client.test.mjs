/** The project's own client, and the original's, in one room of the chat. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readFileSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after, describe, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';

import { ConnectError, connect } from '../clients/js/shaddock.js';
import { connectors, gate, startChat } from './support/chat.mjs';
import { dropAll, forms, login as loginOriginal, within } from './support/original.mjs';

const ENTER = 'connector.entryHandler.enter';
const SEND = 'chat.chatHandler.send';

let chat = await startChat();
const clients = [];
after(() => {
  for (const client of clients) client.disconnect();
  dropAll();
  return chat.stop();
});

async function to(address) {
  const client = await connect(address);
  clients.push(client);
  return client;
}

async function login(username, rid) {
  const entrance = await to(gate);
  const { code, host, port } = await entrance.request('gate.gateHandler.queryEntry', { uid: username });
  assert.equal(code, 200);
  entrance.disconnect();
  const client = await to({ host, port });
  const pushes = [];
  let wake = () => {};
  for (const route of ['onAdd', 'onLeave', 'onChat']) {
    client.on(route, (body) => {
      pushes.push([route, body]);
      wake();
    });
  }
  /** The next pushes, this many. */
  const heard = async (count) => {
    while (pushes.length < count) await within(new Promise((resolve) => (wake = resolve)), 'a push');
    return pushes.splice(0, count);
  };
  const { users } = await client.request(ENTER, { username, rid });
  return { client, users, heard };
}

describe('shaddock-client', { skip: chat.missing }, () => {
  test('talks with the clients that exist', async () => {
    const rid = `mixed${process.pid}`;
    const { client, users, heard } = await login('own', rid);
    assert.deepEqual(users, ['own']);
    for (const [n, form] of forms.entries()) {
      const name = `old${n}`;
      const old = await loginOriginal(form, name, rid);
      await client.request(SEND, { content: '你好 😀', target: '*' });
      assert.deepEqual(await old.pushed('onChat'), { msg: '你好 😀', from: 'own', target: '*' });
      await old.request(SEND, { content: '🍈 收到', target: 'own' });
      old.close();
      assert.deepEqual(await heard(4), [
        ['onAdd', { route: 'onAdd', user: name }],
        ['onChat', { msg: '你好 😀', from: 'own', target: '*' }],
        ['onChat', { msg: '🍈 收到', from: name, target: 'own' }],
        ['onLeave', { route: 'onLeave', user: name }],
      ]);
    }
    client.disconnect();
  });

  test('stays connected over several heartbeats', async () => {
    const { client } = await login('stays', `beats${process.pid}`);
    await sleep(14_000);
    assert.ok(client.isOpen);
    assert.deepEqual(await client.request(SEND, { content: 'here', target: '*' }), {});
    client.disconnect();
  });

  test('reads refusals as data', async () => {
    const client = await to(connectors[0]);
    assert.deepEqual(await client.request('connector.entryHandler.nosuch'), { code: 500 });
    assert.deepEqual(await client.request(SEND, { content: 'x', target: '*' }), { code: 500 });
    client.disconnect();
  });
});

describe("the example in the client's README", { skip: chat.missing || (!chat.isOurs && 'the chat is not ours to kill') }, () => {
  test('talks, and goes on when the server is back', async (t) => {
    const name = `readme${process.pid}`;
    const started = spawn(process.execPath, [exampleFile(), name, `room${process.pid}`], { stdio: ['pipe', 'pipe', 'inherit'] });
    t.after(() => started.kill());
    const exited = once(started, 'exit');
    const lines = createInterface({ input: started.stdout })[Symbol.asyncIterator]();
    /** Reads on until this is said. */
    const said = async (text) => {
      let line;
      do line = (await within(lines.next(), `the example to say ${text}`)).value ?? assert.fail(`it ended without saying ${text}`);
      while (!line.includes(text));
    };
    const say = (text) => started.stdin.write(`${text}\n`);
    await said(`here: ${name}`);
    say('你好 😀');
    await said(`${name}: 你好 😀`);
    await chat.kill();
    await said('disconnected: ');
    await said('try 1 in ');
    say('meanwhile');
    chat = await startChat();
    await said('back again');
    await said(`${name}: meanwhile`);
    started.stdin.end();
    await said('over: closed');
    assert.deepEqual(await within(exited, 'the example to end'), [0, null]);
  });
});

/** The example as a file that finds the package here. */
function exampleFile() {
  const client = (name) => new URL(`../clients/js/${name}`, import.meta.url);
  const [, example] = /^```js\n(.*?)^```/ms.exec(readFileSync(client('README.md'), 'utf8'));
  const file = path.join(mkdtempSync(path.join(tmpdir(), 'shaddock-example-')), 'chat.mjs');
  writeFileSync(file, example.replace("'shaddock-client'", `'${client('shaddock.js')}'`));
  return file;
}

describe('shaddock-client after the server', { skip: chat.missing || (!chat.isOurs && 'the chat is not ours to stop') }, () => {
  test('is told that the connection is lost', async () => {
    const { client } = await login('last', `last${process.pid}`);
    const ended = new Promise((resolve) => client.on('disconnect', resolve));
    await chat.stop();
    const { reason, code } = await within(ended, 'the end');
    assert.equal(reason, 'lost');
    assert.ok(code === 1000 || code === 1001, `closed with ${code}`);
    await assert.rejects(to(gate), ConnectError);
  });
});
