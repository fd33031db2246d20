/** The original pomelo, with wirelab's routes and tables. */

import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';

import { within } from './original.mjs';

const server = fileURLToPath(new URL('pomelo/server.mjs', import.meta.url));

/**
 * Starts a front-end, on a free port unless told.
 *
 * @typedef {{ dict?: boolean, protobuf?: boolean, crypto?: boolean, picky?: boolean }} Flags
 * @param {Flags & { port?: number, heartbeat?: number }} [configuration]
 */
export async function startPomelo({ port: wanted = 0, heartbeat, ...flags } = {}) {
  const options = Object.keys(flags).filter((name) => flags[name]).map((name) => `--${name}`);
  options.push('--tcp-fix', '--port', `${wanted}`);
  if (heartbeat) options.push('--heartbeat', `${heartbeat}`);
  const started = spawn(process.execPath, [server, ...options], { stdio: ['ignore', 'pipe', 'inherit'] });
  const kill = () => started.kill('SIGKILL');
  process.once('exit', kill);
  const exited = once(started, 'exit');
  const [line] = await within(Promise.race([once(createInterface(started.stdout), 'line'), exited]), 'pomelo to listen');
  const port = Number(/^ready (\d+)$/.exec(line)?.[1]);
  assert.ok(port, `pomelo says which port it listens on, and not ${line}`);
  return {
    host: '127.0.0.1',
    port,
    process: started,
    async stop() {
      started.kill('SIGTERM');
      const [code] = await within(exited, 'pomelo to end').finally(kill);
      process.off('exit', kill);
      assert.equal(code, 0, 'pomelo has not failed meanwhile');
    },
  };
}
