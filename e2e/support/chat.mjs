/**
 * The chat server under test: the program that `CHAT_BIN` names, or one that runs already.
 *
 * The demo's ports are fixed by its configuration, so one suite at a time has it.
 */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import net from 'node:net';
import { tmpdir } from 'node:os';
import { setTimeout as sleep } from 'node:timers/promises';

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

/** Starts the chat. A suite is skipped for the reason `missing`, if it has one. */
export async function startChat() {
  if (process.env.CHAT_BIN) return Chat.start(process.env.CHAT_BIN);
  if (await isOpen(gate)) return new Chat();
  return { missing: missing(`CHAT_BIN is not set and nothing listens on ${gate.host}:${gate.port}`), stop() {} };
}

class Chat {
  missing = false;
  /** The process, if it is ours. */
  process;
  #exited;

  static async start(program) {
    for (const one of addresses()) assert.ok(!(await isOpen(one)), `something listens on ${one.host}:${one.port} already`);
    const chat = new Chat();
    // From a directory without a config, so that the one built in is used.
    const env = { RUST_LOG: 'error', ...process.env };
    chat.process = spawn(program, { cwd: tmpdir(), env, stdio: ['ignore', 'inherit', 'inherit'] });
    chat.#exited = once(chat.process, 'exit');
    const deadline = Date.now() + READY_WITHIN;
    for (const one of addresses()) {
      while (!(await isOpen(one))) {
        assert.equal(chat.process.exitCode, null, 'the chat ended before it was ready');
        assert.ok(Date.now() < deadline, `nothing listens on ${one.host}:${one.port} after ${READY_WITHIN} ms`);
        await sleep(20);
      }
    }
    process.once('exit', () => chat.process.kill('SIGKILL'));
    return chat;
  }

  /** Bytes of memory that it holds, if we can tell. */
  memory() {
    if (!this.process) return undefined;
    const status = readFileSync(`/proc/${this.process.pid}/status`, 'utf8');
    return Number(/VmRSS:\s+(\d+) kB/.exec(status)[1]) * 1024;
  }

  isRunning() {
    return !this.process || this.process.exitCode === null;
  }

  /** Asks it to stop, and expects it to: in order and in time. */
  async stop() {
    if (!this.process) return;
    this.process.kill('SIGTERM');
    const late = sleep(STOPPED_WITHIN, ['late'], { ref: false });
    const [code] = await Promise.race([this.#exited, late]);
    assert.equal(code, 0, `after SIGTERM the chat exits with 0 within ${STOPPED_WITHIN} ms`);
  }

  /** As a crash would have it. */
  async kill() {
    this.process.kill('SIGKILL');
    await this.#exited;
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
