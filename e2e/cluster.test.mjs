/** The chat as a process for each of its servers: people on different front-ends are in one room. */

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';
import { WebSocket } from 'ws';

import { connect } from '../clients/js/shaddock.js';
import { connectors, gate, startChat } from './support/chat.mjs';
import { within } from './support/original.mjs';

const chat = await startChat({ cluster: true });
const clients = [];
after(() => {
  for (const client of clients) client.disconnect();
  return chat.stop();
});

async function to(address) {
  const client = await within(connect({ ...address, WebSocket }), 'a connection');
  clients.push(client);
  return client;
}

/** Enters at this connector, whatever the gate would say. */
async function enter(connector, username, rid) {
  const client = await to(connector);
  const pushed = (route) => within(new Promise((resolve) => client.on(route, resolve)), `${route} for ${username}`);
  const answer = await client.request('connector.entryHandler.enter', { username, rid });
  return { client, pushed, answer };
}

describe('a process for each server', { skip: chat.missing }, () => {
  test('the gate names a connector that lives in another process', async () => {
    const entrance = await to(gate);
    const { code, host, port } = await entrance.request('gate.gateHandler.queryEntry', { uid: 'py' });
    assert.equal(code, 200);
    assert.ok(connectors.some((connector) => connector.host === host && connector.port === port), `${host}:${port}`);
  });

  // Eight rooms are on all of the chat servers, as good as certainly.
  for (let n = 0; n < 8; n += 1) {
    test(`two users on different connectors chat, in room ${n}`, async () => {
      const rid = `room${n}`;
      const py = await enter(connectors[0], 'py', rid);
      assert.deepEqual(py.answer.users, ['py']);
      const added = py.pushed('onAdd');
      const al = await enter(connectors[1], 'al', rid);
      assert.deepEqual(al.answer.users.toSorted(), ['al', 'py']);
      assert.deepEqual(await added, { route: 'onAdd', user: 'al' });

      const heard = al.pushed('onChat');
      await py.client.request('chat.chatHandler.send', { content: 'hello', target: '*' });
      assert.deepEqual(await heard, { msg: 'hello', from: 'py', target: '*' });

      const left = py.pushed('onLeave');
      al.client.disconnect();
      assert.deepEqual(await left, { route: 'onLeave', user: 'al' });
    });
  }

  test('a name is taken on every connector', async () => {
    await enter(connectors[0], 'only', 'names');
    const second = await enter(connectors[2], 'only', 'names');
    assert.deepEqual(second.answer, { code: 500, error: true });
  });
});
