/** PyPI's pypomelo against the chat. */

import { execFileSync } from 'node:child_process';
import { after, describe, test } from 'node:test';
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';

import { gate, missing, startChat } from './support/chat.mjs';

const here = (name) => fileURLToPath(new URL(`python/${name}`, import.meta.url));
const python = here('.venv/bin/python');

const skip = preparePython();
const chat = skip ? { missing: skip, stop() {} } : await startChat();
after(() => chat.stop());

describe('pypomelo', { skip: chat.missing }, () => {
  test('logs in, talks and leaves', () => {
    execFileSync(python, [here('chat.py'), gate.host, `${gate.port}`, `python${process.pid}`], { stdio: 'inherit', timeout: 60_000 });
  });
});

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
