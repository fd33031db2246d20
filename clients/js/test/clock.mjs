/**
 * Time that goes on when a test says so, in node and in pages.
 *
 * Node 20 has mock timers of its own, but there a timer that is cleared after it fired takes another one with it, and
 * sockets do that.
 *
 * @param {import('node:test').TestContext} t until its end
 * @returns {(ms: number) => void} lets so much time pass
 */
export function freeze(t) {
  const { setTimeout, clearTimeout } = globalThis;
  const { now } = Date;
  let time = now();
  const timers = new Set();
  t.after(() => {
    Object.assign(globalThis, { setTimeout, clearTimeout });
    Date.now = now;
  });
  Date.now = () => time;
  globalThis.setTimeout = (run, ms = 0) => {
    const timer = { at: time + ms, run };
    timers.add(timer);
    return timer;
  };
  globalThis.clearTimeout = (timer) => timers.delete(timer) || clearTimeout(timer);
  return (ms) => {
    const end = time + ms;
    for (;;) {
      const [next] = [...timers].filter(({ at }) => at <= end).sort((a, b) => a.at - b.at);
      if (!next) break;
      timers.delete(next);
      time = Math.max(time, next.at);
      next.run();
    }
    time = end;
  };
}
