/** PyPI's pypomelo against the chat and wirelab. */

import { execFile, execFileSync } from 'node:child_process';
import { after, describe, test } from 'node:test';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { promisify } from 'node:util';

import { gate, missing, startChat } from './support/chat.mjs';
import { lab, startWirelab } from './support/wirelab.mjs';

const here = (name) => fileURLToPath(new URL(`python/${name}`, import.meta.url));
const python = here('.venv/bin/python');

const skip = preparePython();
const chat = skip ? { missing: skip, stop() {} } : await startChat();
const wirelab = skip ? { missing: skip, stop() {} } : await startWirelab();
after(() => Promise.all([chat.stop(), wirelab.stop()]));

describe('pypomelo and the chat', { skip: chat.missing }, () => {
  test('logs in, talks and leaves', () => run('chat.py', gate, `python${process.pid}`));
});

describe('pypomelo and wirelab', { skip: wirelab.missing, concurrency: true }, () => {
  for (const id of ['plain', 'dict', 'proto']) {
    test(`asks, is pushed to, is kicked and times out at connector-${id}`, () => run('wirelab.py', lab[id], id, `python-${id}`));
  }
});

/** Runs a script against a server. */
function run(script, { host, port }, ...more) {
  return promisify(execFile)(python, [here(script), host, `${port}`, ...more], { timeout: 60_000 });
}

/** Makes the environment if there is none; says why it can't, or false. */
function preparePython() {
  try {
    if (!existsSync(python)) execFileSync('python3', ['-m', 'venv', here('.venv')]);
    execFileSync(python, ['-m', 'pip', 'install', '--quiet', '--disable-pip-version-check', '-r', here('requirements.txt')]);
    return false;
  } catch (error) {
    return missing(`no Python environment with pypomelo: ${error.message}`);
  }
}
