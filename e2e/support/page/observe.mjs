/** What the client meets on a front-end with wirelab's routes. Runs in node and in pages. */

export const TYPED = {
  u: 4294967295,
  i: -2,
  s: -300,
  f: 1.5,
  d: 0.1,
  str: 'hello 二',
  item: { id: 1, name: 'one', marks: [-1, 0, 70000] },
  items: [{ id: 2, name: 'two', marks: [5] }, { id: 3, name: '三', marks: [-7, 8] }],
  nums: [0, 128, 16384],
  strs: ['a', 'ö'],
  ds: [0.5, -1e300],
  opt: 'o',
  pos: { x: -1, y: 1, tag: 't' },
  path: [{ x: 1, y: 2, tag: 'u' }, { x: -3, y: 4, tag: 'v' }],
};

/**
 * Logs in, asks, tells, is pushed to and is kicked.
 *
 * @param {typeof import('../../../clients/js/shaddock.js')} shaddock
 * @param {import('../../../clients/js/shaddock.js').Options} options
 * @param {string} uid one that nobody else has
 */
export async function observe({ Client }, options, uid) {
  const client = new Client(options);
  const next = (event) => new Promise((resolve) => client.on(event, resolve));
  const ask = (method, body) => client.request(`connector.testHandler.${method}`, body);
  const ended = next('close');
  const user = await client.init();
  const bound = await ask('bind', { uid });
  const pushed = next('onPush');
  const noted = next('onNote');
  client.notify('connector.testHandler.note', { n: 7 });
  const echoed = await ask('echo', { body: { a: [1, 'é', '😀'], b: '二' } });
  // Sent in one turn, so that nothing but the servers decides.
  const [slow, quick] = [ask('delay', { ms: 500, n: 1 }), ask('delay', { ms: 0, n: 2 })];
  const seen = {
    user,
    bound,
    echoed,
    overtaking: await Promise.race([slow, quick]),
    overtaken: await slow,
    push: await ask('push', { route: 'onPush', body: { n: 1 } }),
    pushed: await pushed,
    noted: await noted,
    notes: await ask('notes'),
    unknown: await client.request('connector.testHandler.nosuch'),
    failed: [await ask('fail'), await ask('failWith'), await ask('failBody')],
    empty: await ask('empty'),
  };
  // A schema with no field for a signature can't be signed.
  if (!options.sign) {
    const typed = next('onProto');
    seen.typed = await client.request('connector.protoHandler.echo', TYPED);
    await ask('push', { route: 'onProto', body: TYPED });
    seen.typedPush = await typed;
  }
  const kicked = next('kick');
  await ask('kick', { reason: '再见' });
  return { ...seen, kicked: await kicked, ended: await ended };
}

/** What there is to see, but for the user of the handshake. */
export function expected({ uid, sign }) {
  return {
    bound: { code: 200, uid },
    echoed: { code: 200, body: { a: [1, 'é', '😀'], b: '二' } },
    overtaking: { code: 200, n: 2 },
    overtaken: { code: 200, n: 1 },
    push: { code: 200 },
    pushed: { n: 1 },
    noted: { n: 7 },
    notes: { code: 200, notes: [7] },
    unknown: { code: 500 },
    failed: [{ code: 500 }, { code: 501, msg: 'custom' }, { msg: 'no code', code: 500 }],
    empty: {},
    ...(!sign && { typed: TYPED, typedPush: TYPED }),
    kicked: { reason: '再见' },
    ended: { reason: 'kicked', message: '再见' },
  };
}
