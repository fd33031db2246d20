/** The project's own JavaScript client, in node and in Chromium, doing what `observe` says. */

import assert from 'node:assert/strict';

import * as shaddock from '../../clients/js/shaddock.js';
import { browserIsMissing, launch } from './browser.mjs';
import { expected, observe } from './page/observe.mjs';
import { servePages } from './pages.mjs';

let uids = 0;

/** Both, where there is a browser. `close` them after the last test. */
export async function hosts() {
  const node = { name: 'node', observe: (options, uid) => observe(shaddock, options, uid), close() {} };
  const skip = browserIsMissing();
  if (skip) return [node];
  const pages = await servePages();
  const browser = await launch();
  const context = await browser.newContext({ ignoreHTTPSErrors: true });
  const page = await context.newPage();
  await page.goto(pages.address);
  const chromium = {
    name: 'Chromium',
    observe: (options, uid) =>
      page.evaluate(
        async ([options, uid]) => {
          const { observe } = await import('/page/observe.mjs');
          return observe(await import('/client/shaddock.js'), options, uid);
        },
        [options, uid],
      ),
    async close() {
      await browser.close();
      pages.close();
    },
  };
  return [node, chromium];
}

/** Expects a host to see what there is to be seen; `user` is what the handshake says. */
export async function meets(host, options, user) {
  const uid = `own${process.pid}_${(uids += 1)}`;
  const seen = await host.observe(options, uid);
  assert.deepEqual(seen, { user, ...expected({ uid, ...options }) });
}
