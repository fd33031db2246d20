/** The Rust client, as its example `tour`, against wirelab and against the original pomelo. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { generateKeyPairSync } from 'node:crypto';
import { once } from 'node:events';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { createInterface } from 'node:readline';
import { after, describe, test } from 'node:test';
import { fileURLToPath } from 'node:url';

import { missing } from './support/chat.mjs';
import { startPomelo } from './support/pomelo.mjs';
import { lab, startWirelab } from './support/wirelab.mjs';

const program = process.env.TOUR_BIN;
const skip = program ? false : missing('TOUR_BIN is not set');

const here = (name) => fileURLToPath(new URL(name, import.meta.url));
const folder = mkdtempSync(path.join(tmpdir(), 'tour-'));
after(() => rmSync(folder, { recursive: true }));

/** A key to sign with, in a file. */
const key = path.join(folder, 'key.pem');
writeFileSync(key, generateKeyPairSync('rsa', { modulusLength: 2048 }).privateKey.export({ type: 'pkcs8', format: 'pem' }));

/** Those on their tour, who go with us. */
const touring = new Set();
process.once('exit', () => touring.forEach((client) => client.kill('SIGKILL')));

/** What the client says on its tour; `restart` is called when it is time for the server to go and come back. */
async function tour(address, args = [], restart) {
  const all = [address, ...args, ...(restart ? ['--restart'] : [])];
  const client = spawn(program, all, { stdio: ['ignore', 'pipe', 'inherit'] });
  touring.add(client);
  const exited = once(client, 'exit');
  const lines = createInterface(client.stdout)[Symbol.asyncIterator]();
  const says = async (word) => assert.equal((await lines.next()).value, word);
  await says('talked');
  if (restart) {
    await restart();
    for (const word of ['lost', 'returned', 'talked']) await says(word);
  }
  await says('kicked');
  assert.deepEqual(await exited, [0, null]);
  touring.delete(client);
}

describe('the Rust client against wirelab', { skip, timeout: 120_000 }, () => {
  const trust = ['--trust', here('../examples/wirelab/config/tls/for-tests-only.cert.pem')];
  const tours = [
    ...['plain', 'dict', 'proto', 'dp'].flatMap((id) => [['ws', id], ['tcp', id]]),
    ['wss', 'tls', trust],
    ['tls', 'tls', trust],
    ['ws', 'crypto', ['--key', key]],
    ['tcp', 'crypto', ['--key', key]],
  ];

  test('takes the tour on every hybrid front-end, all at once, while it restarts', async (t) => {
    let wirelab = await startWirelab();
    t.after(() => wirelab.stop());
    if (wirelab.missing) return t.skip(wirelab.missing);
    let talked = 0;
    let restarted;
    const all = new Promise((resolve) => (restarted = resolve));
    const restart = async () => {
      talked += 1;
      if (talked < tours.length) return all;
      await wirelab.stop();
      wirelab = await startWirelab();
      restarted();
    };
    await Promise.all(tours.map(([scheme, id, args]) => tour(`${scheme}://${lab[id].host}:${lab[id].port}`, args, restart)));
  });
});

describe('the Rust client against the original pomelo', { skip, timeout: 120_000 }, () => {
  for (const tables of [{}, { dict: true }, { protobuf: true }, { dict: true, protobuf: true, heartbeat: 2 }]) {
    for (const scheme of ['ws', 'tcp']) {
      test(`takes the tour, and again after a restart: ${scheme} ${Object.keys(tables)}`, async (t) => {
        let pomelo = await startPomelo(tables);
        t.after(() => pomelo.stop());
        const { host, port } = pomelo;
        await tour(`${scheme}://${host}:${port}`, [], async () => {
          await pomelo.stop();
          pomelo = await startPomelo({ ...tables, port });
        });
      });
    }
  }

  for (const scheme of ['ws', 'tcp']) {
    test(`signs what it says: ${scheme}`, async (t) => {
      const pomelo = await startPomelo({ crypto: true });
      t.after(() => pomelo.stop());
      await tour(`${scheme}://${pomelo.host}:${pomelo.port}`, ['--key', key]);
    });
  }
});
