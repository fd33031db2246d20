/** A `nats-server` for a chat of several processes: the one that `NATS_SERVER` names, else the one that is installed. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { existsSync } from 'node:fs';
import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';

const READY_WITHIN = 20_000;

// Debian's place is not in everybody's path.
const folders = [...(process.env.PATH ?? '').split(path.delimiter), '/usr/sbin'];

/** The program, if there is one. */
export const program =
  process.env.NATS_SERVER || folders.map((folder) => path.join(folder, 'nats-server')).find((file) => existsSync(file));

export class Broker {
  /** Where servers reach it. */
  url;
  #process;
  #exited;
  #folder;

  /** On any free port, with JetStream. */
  static async start() {
    const broker = new Broker();
    broker.#folder = await mkdtemp(path.join(tmpdir(), 'shaddock-e2e-'));
    const folder = broker.#folder;
    const options = ['-a', '127.0.0.1', '-p', '-1', '-js', '-sd', path.join(folder, 'store'), '--ports_file_dir', folder];
    broker.#process = spawn(program, options, { stdio: 'ignore' });
    broker.#exited = once(broker.#process, 'exit');
    process.once('exit', () => broker.#process.kill('SIGKILL'));
    broker.url = await broker.#ready();
    return broker;
  }

  /** It writes down where it listens when it is ready. */
  async #ready() {
    const file = path.join(this.#folder, `nats-server_${this.#process.pid}.ports`);
    const deadline = Date.now() + READY_WITHIN;
    for (;;) {
      const text = await readFile(file, 'utf8').catch(() => '');
      if (text.trimEnd().endsWith('}')) return JSON.parse(text).nats[0];
      assert.equal(this.#process.exitCode, null, 'nats-server ended');
      assert.ok(Date.now() < deadline, `nats-server is not ready after ${READY_WITHIN} ms`);
      await sleep(20);
    }
  }

  async stop() {
    this.#process.kill('SIGKILL');
    await this.#exited;
    await rm(this.#folder, { recursive: true, force: true });
  }
}
