/**
 * The chat server under test: the program that `CHAT_BIN` names, or one that runs already. With `CHAT_CLUSTER` set it
 * is a process for each of its servers, over a broker of its own.
 *
 * The demo's ports are fixed by its configuration, so one suite at a time has it.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { createInterface } from 'node:readline';
import { setTimeout as sleep } from 'node:timers/promises';

import { Broker, program as natsServer } from './broker.mjs';

const READY_WITHIN = 20_000;
const STOPPED_WITHIN = 15_000;

/** `host:port`, from the environment or as in the demo. */
const address = (text) => ({ host: text.slice(0, text.lastIndexOf(':')), port: Number(text.slice(text.lastIndexOf(':') + 1)) });
export const gate = address(process.env.GATE ?? '127.0.0.1:3014');
export const connectors = (process.env.CONNECTORS ?? '127.0.0.1:3050,127.0.0.1:3051,127.0.0.1:3052').split(',').map(address);
export const page = process.env.PAGE ?? 'http://127.0.0.1:3001/';

/** Whether something that is missing here is a failure rather than a skip. */
const isStrict = Boolean(process.env.CI);

/** A reason to skip, or an error where nothing may be skipped. */
export function missing(what) {
  if (isStrict) throw new Error(what);
  console.error(`\n  SKIPPED: ${what}\n`);
  return what;
}

/** What `CHAT_CLUSTER` makes of the chat, a process each. Those with clients come first: they are the first to stop. */
const SERVERS = [
  'gate-server-1',
  'connector-server-1',
  'connector-server-2',
  'connector-server-3',
  'chat-server-1',
  'chat-server-2',
  'chat-server-3',
];

/** Starts the chat. A suite is skipped for the reason `missing`, if it has one. */
export async function startChat({ cluster = Boolean(process.env.CHAT_CLUSTER) } = {}) {
  if (cluster && !process.env.CHAT_BIN) return skipped('CHAT_BIN is not set, which a cluster needs');
  if (cluster && !natsServer) return skipped('there is no nats-server, which a cluster needs (apt-get install nats-server)');
  if (process.env.CHAT_BIN) return Chat.start(process.env.CHAT_BIN, cluster);
  if (await isOpen(gate)) return new Chat();
  return skipped(`CHAT_BIN is not set and nothing listens on ${gate.host}:${gate.port}`);
}

function skipped(what) {
  return { missing: missing(what), stop() {} };
}

class Chat {
  missing = false;
  /** Our processes, each with a promise of its end. */
  #processes = [];
  #broker;

  static async start(program, cluster) {
    for (const one of addresses()) assert.ok(!(await isOpen(one)), `something listens on ${one.host}:${one.port} already`);
    const chat = new Chat();
    if (cluster) {
      chat.#broker = await Broker.start();
      await Promise.all(SERVERS.map((id) => chat.#spawnReady(program, ['start', id, '--cluster', chat.#broker.url])));
    } else {
      chat.#spawn(program, []);
    }
    const deadline = Date.now() + READY_WITHIN;
    for (const one of addresses()) {
      while (!(await isOpen(one))) {
        assert.ok(chat.isRunning(), 'the chat ended before it was ready');
        assert.ok(Date.now() < deadline, `nothing listens on ${one.host}:${one.port} after ${READY_WITHIN} ms`);
        await sleep(20);
      }
    }
    return chat;
  }

  #spawn(program, line) {
    // From a directory without a config, so that the one built in is used.
    const env = { RUST_LOG: 'error', ...process.env };
    const own = spawn(program, line, { cwd: tmpdir(), env, stdio: ['ignore', 'pipe', 'inherit'] });
    own.stdout.pipe(process.stdout);
    process.once('exit', () => own.kill('SIGKILL'));
    this.#processes.push({ own, exited: once(own, 'exit') });
    return own;
  }

  /** Resolves when it says that it is ready, which no port tells of a back-end. */
  async #spawnReady(program, line) {
    const own = this.#spawn(program, line);
    for await (const said of createInterface({ input: own.stdout })) {
      if (said.startsWith('ready in')) return;
    }
    assert.fail(`the chat ended before it was ready: ${line.join(' ')}`);
  }

  /** Whether it is ours to stop. */
  get isOurs() {
    return this.#processes.length !== 0;
  }

  /** Bytes of memory that it holds, if we can tell. */
  memory() {
    if (!this.isOurs) return undefined;
    const held = ({ own }) => Number(/VmRSS:\s+(\d+) kB/.exec(readFileSync(`/proc/${own.pid}/status`, 'utf8'))[1]) * 1024;
    return this.#processes.map(held).reduce((all, one) => all + one);
  }

  isRunning() {
    return this.#processes.every(({ own }) => own.exitCode === null && own.signalCode === null);
  }

  /** Asks it to stop, and expects it to: in order and in time. */
  async stop() {
    for (const { own, exited } of this.#processes) {
      own.kill('SIGTERM');
      const late = sleep(STOPPED_WITHIN, ['late'], { ref: false });
      const [code] = await Promise.race([exited, late]);
      assert.equal(code, 0, `after SIGTERM the chat exits with 0 within ${STOPPED_WITHIN} ms`);
    }
    await this.#broker?.stop();
  }

  /** As a crash would have it. */
  async kill() {
    for (const { own } of this.#processes) own.kill('SIGKILL');
    await Promise.all(this.#processes.map(({ exited }) => exited));
    await this.#broker?.stop();
  }
}

function addresses() {
  const { hostname: host, port } = new URL(page);
  return [gate, ...connectors, { host, port: Number(port) }];
}

export function isOpen({ host, port }) {
  return new Promise((resolve) => {
    const socket = net.connect({ host, port });
    const done = (open) => {
      socket.destroy();
      resolve(open);
    };
    socket.once('connect', () => done(true)).once('error', () => done(false));
  });
}
