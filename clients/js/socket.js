/** Where WebSockets come from. */

import { ClientError } from './errors.js';

/** In a variable, so that bundlers for pages leave it alone. */
const NPM = 'ws';

/**
 * Node 20 has no WebSocket of its own, and that of later ones takes no certificates: there it is npm's `ws`.
 *
 * @param {import('./shaddock.js').Options} options
 * @returns {Promise<(url: string) => WebSocket>}
 */
export async function opener({ WebSocket: given, tls }) {
  const Socket = given ?? (tls ? undefined : globalThis.WebSocket) ?? (await fromNpm());
  return (url) => (tls ? new Socket(url, tls) : new Socket(url));
}

async function fromNpm() {
  try {
    return (await import(/* @vite-ignore */ /* webpackIgnore: true */ NPM)).WebSocket;
  } catch (cause) {
    throw new ClientError('there is no WebSocket here, or none that takes the option tls: npm install ws', { cause });
  }
}

/**
 * Where to connect.
 *
 * @param {import('./shaddock.js').Options} options
 * @returns {Promise<string>}
 */
export async function urlOf({ url, host, port, secure = false }) {
  if (typeof url === 'function') return url();
  if (url) return url;
  if (!host || !port) throw new ClientError('where to? Give url, or host and port');
  // An IPv6 address needs brackets in a URL.
  const name = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
  return `${secure ? 'wss' : 'ws'}://${name}:${port}`;
}
