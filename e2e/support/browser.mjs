/** Headless Chromium: Debian's, or the one that `CHROMIUM` names. */

import { existsSync, mkdtempSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { chromium } from 'playwright-core';

import { missing, page as address } from './chat.mjs';

const program = process.env.CHROMIUM ?? '/usr/bin/chromium';

/** Where pictures go; never into the tree. */
export const pictures = process.env.PICTURES ?? mkdtempSync(path.join(tmpdir(), 'shaddock-pages-'));

/** Why there is no browser, or false. */
export function browserIsMissing() {
  return !existsSync(program) && missing(`no browser at ${program}: install chromium, or set CHROMIUM`);
}

export function launch() {
  return chromium.launch({
    executablePath: program,
    args: [
      '--no-sandbox',
      '--disable-gpu',
      '--disable-quic',
      '--no-first-run',
      '--disable-background-networking',
      '--disable-component-update',
      '--disable-sync',
    ],
  });
}

/**
 * A person at the chat's page, in a browser profile of their own. `person.errors` holds what the page complains of.
 *
 * @param {import('playwright-core').Browser} browser
 * @param {{ width?: number, height?: number, colorScheme?: 'light' | 'dark' }} [look]
 */
export async function person(browser, { width = 1280, height = 800, colorScheme = 'light' } = {}) {
  const context = await browser.newContext({ viewport: { width, height }, colorScheme });
  const page = await context.newPage();
  page.setDefaultTimeout(15_000);
  page.errors = [];
  page.on('pageerror', (error) => page.errors.push(error.stack));
  page.on('console', (message) => message.type() === 'error' && page.errors.push(message.text()));
  await page.goto(address);
  return page;
}

export async function join(page, name, room) {
  await page.getByLabel('Your name').fill(name);
  await page.getByLabel('Channel').fill(room);
  await page.getByRole('button', { name: 'Join' }).click();
  await page.getByRole('log').waitFor();
}

export async function say(page, text, to) {
  if (to) await page.getByLabel('To').selectOption(to);
  await page.getByLabel('Message', { exact: true }).fill(text);
  await page.getByLabel('Message', { exact: true }).press('Enter');
}

/** Waits for a message in the history, and gives it. */
export async function heard(page, text) {
  const item = page.getByRole('log').getByRole('listitem').filter({ hasText: text }).first();
  await item.waitFor();
  return item;
}
