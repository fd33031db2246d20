/** The client's own tests in Chromium: the files that node runs, with a server at the other end of a relay. */

import assert from 'node:assert/strict';
import { after, test } from 'node:test';

import { browserIsMissing, launch } from './support/browser.mjs';
import { servePages } from './support/pages.mjs';

const skip = browserIsMissing();
const pages = skip ? { close() {} } : await servePages();
const browser = skip ? { close() {} } : await launch();
after(async () => {
  await browser.close();
  pages.close();
});

for (const file of ['client', 'reconnect', 'signing']) {
  test(`${file}.test.mjs in Chromium`, { skip }, async (t) => {
    const page = await browser.newPage();
    await page.goto(pages.address);
    const results = await page.evaluate(async (path) => {
      await import(path);
      const { runAll } = await import('/page/runner.mjs');
      return runAll();
    }, `/client/test/${file}.test.mjs`);
    for (const { name, error } of results) await t.test(name, () => assert.equal(error, undefined));
    assert.notEqual(results.length, 0);
    await page.close();
  });
}
