/** A server that says what a test tells it to, with the original's codecs. Runs in node and, over a relay, in pages. */

import protobuf from 'pomelo-protobuf';
import protocol from 'pomelo-protocol';
import { WebSocketServer } from 'ws';

export const { Package, Message } = protocol;
export const Protobuf = protobuf;

/** After what was under way has happened, but not later. */
const turn = () => new Promise((resolve) => setImmediate(resolve));

/** Long enough for what is on its way to arrive. */
export const rest = async () => {
  for (let turns = 0; turns < 10; turns++) await turn();
};

/** Until it is so. */
export async function until(condition) {
  while (!condition()) await turn();
}

/** Resolves with what the first call of the listener is given. */
export const first = (client, event) => new Promise((resolve) => client.on(event, resolve));

/**
 * Listens on a free port until the test ends. `answer` gets each message of a client that shook hands; `handshake`
 * is what the handshake is answered, or makes it of what the client says. Nothing is no answer.
 *
 * @param {import('node:test').TestContext} t
 * @param {{ handshake?: any, answer?: (peer: Peer, message: any) => void }} [script]
 */
export async function listen(t, { handshake = { code: 200, sys: {} }, answer = () => {} } = {}) {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  await new Promise((resolve) => server.on('listening', resolve));
  const all = [];
  t.after(() => {
    for (const peer of all) peer.socket.terminate();
    server.close();
  });
  const peers = [];
  const waiting = [];
  server.on('connection', (socket) => {
    const peer = new Peer(socket, typeof handshake === 'function' ? handshake : () => handshake, answer);
    all.push(peer);
    if (waiting.length) waiting.shift()(peer);
    else peers.push(peer);
  });
  return {
    url: `ws://127.0.0.1:${server.address().port}`,
    /** How many have connected. */
    count: () => all.length,
    /** The next client that connects. */
    peer: () => (peers.length ? Promise.resolve(peers.shift()) : new Promise((resolve) => waiting.push(resolve))),
  };
}

/** One client, seen from the server. */
export class Peer {
  /** Everything it sent: packages as the original's codec reads them. */
  packages = [];
  #awaited = [];

  constructor(socket, handshake, answer) {
    this.socket = socket;
    this.closed = new Promise((resolve) => socket.on('close', resolve));
    socket.on('message', (data) => {
      const got = Package.decode(data);
      this.packages.push(got);
      this.#awaited = this.#awaited.filter((wait) => !wait(got));
      if (got.type === Package.TYPE_HANDSHAKE) {
        const said = handshake(jsonOf(got.body));
        if (said) this.send(Package.TYPE_HANDSHAKE, JSON.stringify(said));
      }
      if (got.type === Package.TYPE_DATA) answer(this, Message.decode(got.body));
    });
  }

  /** The first package of this type, now or later. */
  async got(type) {
    return (
      this.packages.find((got) => got.type === type) ??
      new Promise((resolve) => this.#awaited.push((got) => got.type === type && (resolve(got), true)))
    );
  }

  send(type, body) {
    this.socket.send(packed(type, body));
  }

  respond(id, body) {
    this.send(Package.TYPE_DATA, Message.encode(id, Message.TYPE_RESPONSE, 0, null, bytes(body)));
  }

  push(route, body) {
    this.socket.send(pushed(route, body));
  }
}

export function pushed(route, body) {
  return packed(Package.TYPE_DATA, Message.encode(0, Message.TYPE_PUSH, typeof route === 'number' ? 1 : 0, route, bytes(body)));
}

export function packed(type, body) {
  return Package.encode(type, body === undefined ? undefined : bytes(body));
}

export function jsonOf(body) {
  return JSON.parse(new TextDecoder().decode(body));
}

export function unhex(digits) {
  return Uint8Array.from(digits.match(/../g) ?? [], (pair) => parseInt(pair, 16));
}

function bytes(body) {
  if (ArrayBuffer.isView(body) || Array.isArray(body)) return body;
  return new TextEncoder().encode(typeof body === 'string' ? body : JSON.stringify(body));
}
