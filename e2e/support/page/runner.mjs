/** As much of `node:test` as the client's tests use, in a page. */

/** The real one, whatever a test makes of time. */
const { setTimeout } = globalThis;
const LONGEST = 20_000;

const tests = [];

export function test(name, run) {
  tests.push({ name, run });
}

/** Runs what was given to `test`, one after another: `{ name, error }` of each. */
export async function runAll() {
  const results = [];
  for (const { name, run } of tests) results.push({ name, error: await outcome(run) });
  return results;
}

async function outcome(run) {
  const after = [];
  const strays = new AbortController();
  const stray = new Promise((_, reject) => {
    addEventListener('error', ({ error, message }) => reject(error ?? message), strays);
    addEventListener('unhandledrejection', ({ reason }) => reject(reason), strays);
    setTimeout(() => reject(`not done after ${LONGEST} ms`), LONGEST);
  });
  try {
    await Promise.race([run(contextOf(after)), stray]);
    return undefined;
  } catch (error) {
    return error?.stack ?? String(error);
  } finally {
    for (const undo of after) await undo();
    strays.abort();
  }
}

function contextOf(after) {
  return {
    after: (undo) => after.push(undo),
    mock: {
      method(object, name, replacement) {
        const before = Object.getOwnPropertyDescriptor(object, name);
        after.push(() => (before ? Object.defineProperty(object, name, before) : delete object[name]));
        const calls = [];
        object[name] = (...given) => {
          calls.push({ arguments: given });
          return replacement.apply(object, given);
        };
        return Object.assign(object[name], { mock: { calls } });
      },
    },
  };
}

/** Node's, which tests wait with. */
globalThis.setImmediate = (run) => {
  const { port1, port2 } = new MessageChannel();
  port1.onmessage = () => {
    port1.close();
    run();
  };
  port2.postMessage(undefined);
};
