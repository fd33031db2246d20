/** Every configuration of a front-end: the program that `WIRELAB_BIN` names, on the ports of its configuration. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

import { isOpen, missing } from './chat.mjs';

const READY_WITHIN = 20_000;
const STOPPED_WITHIN = 15_000;

const at = (port) => ({ host: '127.0.0.1', port });
export const lab = {
  plain: at(3110),
  dict: at(3111),
  proto: at(3112),
  dp: at(3113),
  crypto: at(3114),
  tls: {
    host: 'localhost',
    port: 3115,
    ca: readFileSync(new URL('../../examples/wirelab/config/tls/for-tests-only.cert.pem', import.meta.url)),
  },
  udp: { ...at(3116), timeout: 5 },
  mqtt: at(3117),
  sio: at(3118),
};

/** Starts wirelab, with keys set otherwise. Its suite is skipped for the reason `missing`, if it has one. */
export async function startWirelab(settings = {}) {
  const program = process.env.WIRELAB_BIN;
  if (!program) return { missing: missing('WIRELAB_BIN is not set'), stop() {} };
  const streams = Object.entries(lab).filter(([name]) => name !== 'udp');
  for (const [name, to] of streams) assert.ok(!(await isOpen(to)), `something listens on ${name}'s port ${to.port} already`);
  // From a directory without a config, so that the one built in is used.
  const env = { RUST_LOG: 'error', ...process.env };
  const args = Object.entries(settings).flatMap(([key, value]) => ['--set', `${key}=${value}`]);
  const started = spawn(program, args, { cwd: tmpdir(), env, stdio: ['ignore', 'inherit', 'inherit'] });
  process.once('exit', () => started.kill('SIGKILL'));
  const exited = once(started, 'exit');
  const deadline = Date.now() + READY_WITHIN;
  for (const [name, to] of streams) {
    while (!(await isOpen(to))) {
      assert.equal(started.exitCode, null, 'wirelab ended before it was ready');
      assert.ok(Date.now() < deadline, `${name} does not listen after ${READY_WITHIN} ms`);
      await sleep(20);
    }
  }
  return {
    missing: false,
    async stop() {
      started.kill('SIGTERM');
      const late = sleep(STOPPED_WITHIN, ['late'], { ref: false });
      const [code] = await Promise.race([exited, late]);
      assert.equal(code, 0, `after SIGTERM wirelab exits with 0 within ${STOPPED_WITHIN} ms`);
    },
  };
}
