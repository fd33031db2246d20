/** The project's own JavaScript client, in node and in Chromium, against every configuration that it can speak to. */

import assert from 'node:assert/strict';
import { after, describe, test } from 'node:test';

import { ConnectError, RefusedError, TimeoutError, connect } from '../clients/js/shaddock.js';
import { hosts, meets } from './support/own.mjs';
import { lab, startWirelab } from './support/wirelab.mjs';

const wirelab = await startWirelab();
const all = wirelab.missing ? [] : await hosts();
after(async () => {
  await Promise.all(all.map((host) => host.close()));
  await wirelab.stop();
});

const to = ({ host, port }, options) => ({ host, port, ...options });

describe('shaddock-client and wirelab', { skip: wirelab.missing }, () => {
  for (const host of all) {
    test(`each front-end, from ${host.name}`, async (t) => {
      await t.test('plain', () => meets(host, to(lab.plain, { user: { n: '一' } }), { hello: 'accept', echo: { n: '一' } }));
      for (const id of ['dict', 'proto', 'dp']) await t.test(id, () => meets(host, to(lab[id])));
      await t.test('crypto', () => meets(host, to(lab.crypto, { sign: true })));
      // Chromium is told to trust any certificate.
      const tls = host.name === 'node' ? { ca: lab.tls.ca } : undefined;
      await t.test('tls', () => meets(host, to(lab.tls, { secure: true, tls })));
    });
  }

  test('a refused handshake has the code of the server', async () => {
    const refused = connect(to(lab.plain, { user: { reject: true }, reconnect: true }));
    await assert.rejects(refused, (error) => error instanceof RefusedError && error.code === 500);
  });

  test('a certificate is trusted when one says so', async () => {
    await assert.rejects(connect(to(lab.tls, { secure: true })), ConnectError);
    const client = await connect(to(lab.tls, { secure: true, tls: { rejectUnauthorized: false } }));
    assert.deepEqual(await client.request('connector.testHandler.empty'), {});
    client.disconnect();
  });

  test('what is not signed is not answered', async () => {
    const client = await connect(to(lab.crypto));
    const signing = await connect(to(lab.crypto, { sign: true }));
    const unsigned = client.request('connector.testHandler.empty', {}, { timeout: 1000 });
    const [, answer] = await Promise.all([
      assert.rejects(unsigned, TimeoutError),
      signing.request('connector.testHandler.empty'),
    ]);
    assert.deepEqual(answer, {});
    assert.ok(client.isOpen);
    for (const one of [client, signing]) one.disconnect();
  });
});
