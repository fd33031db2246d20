/** A server that says what a test tells it to, with the original's codecs. */

import { once } from 'node:events';
import { createRequire } from 'node:module';
import { WebSocketServer } from 'ws';

const require = createRequire(import.meta.url);
export const { Package, Message } = require('pomelo-protocol');
export const Protobuf = require('pomelo-protobuf');

/**
 * Listens on a free port until the test ends. `answer` gets each message of a client that shook hands.
 *
 * @param {import('node:test').TestContext} t
 * @param {{ handshake?: object, answer?: (peer: Peer, message: any) => void }} [script]
 */
export async function listen(t, { handshake = { code: 200, sys: {} }, answer = () => {} } = {}) {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  await once(server, 'listening');
  t.after(() => {
    for (const socket of server.clients) socket.terminate();
    server.close();
  });
  const peers = [];
  const waiting = [];
  server.on('connection', (socket) => {
    const peer = new Peer(socket, handshake, answer);
    if (waiting.length) waiting.shift()(peer);
    else peers.push(peer);
  });
  return {
    url: `ws://127.0.0.1:${server.address().port}`,
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
    this.closed = once(socket, 'close');
    socket.on('message', (data) => {
      const got = Package.decode(data);
      this.packages.push(got);
      this.#awaited = this.#awaited.filter((wait) => !wait(got));
      if (got.type === Package.TYPE_HANDSHAKE && handshake) {
        this.send(Package.TYPE_HANDSHAKE, JSON.stringify(handshake));
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
    const isCode = typeof route === 'number';
    this.send(Package.TYPE_DATA, Message.encode(0, Message.TYPE_PUSH, isCode ? 1 : 0, route, bytes(body)));
  }
}

export function packed(type, body) {
  return Package.encode(type, body === undefined ? undefined : bytes(body));
}

function bytes(body) {
  if (Buffer.isBuffer(body)) return body;
  return Buffer.from(typeof body === 'string' ? body : JSON.stringify(body));
}
