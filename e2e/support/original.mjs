/**
 * A client as those that exist: the original codecs, over WebSocket or TCP, in TLS or not, or in datagrams.
 *
 * `browser` is the build that runs in pages, with its own idea of emoji; `node` is the other.
 */

import assert from 'node:assert/strict';
import dgram from 'node:dgram';
import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import net from 'node:net';
import tls from 'node:tls';
import { WebSocket } from 'ws';

import { gate } from './chat.mjs';

const require = createRequire(import.meta.url);
const ANSWERED_WITHIN = 15_000;

/** The two builds. Each call makes its own, as the tables live inside them. */
export const builds = {
  browser() {
    return {
      protobuf: inPage(['protobuf', 'module'], 'pomelo-protobuf/lib/client/protobuf.js'),
      protocol: inPage(['window', 'module'], 'pomelo-protocol/lib/protocol.js'),
    };
  },
  node() {
    // All front-ends have the same tables, so that one copy of the module serves all.
    return { protobuf: require('pomelo-protobuf'), protocol: require('pomelo-protocol') };
  },
};

/** What a script leaves behind that takes itself to be in a page, where these globals are. */
function inPage([own, module], file) {
  const exports = {};
  const script = new Function(own, module, readFileSync(require.resolve(file), 'utf8'));
  const holder = { exports };
  script.call({}, exports, holder);
  return holder.exports;
}

export const { Package, Message } = require('pomelo-protocol');

/** The forms in which clients exist: the browser's, and the two of node. */
export const forms = [
  { build: 'browser', transport: 'ws' },
  { build: 'node', transport: 'ws' },
  { build: 'node', transport: 'tcp' },
];

/** Opens a connection and shakes hands. */
export async function open(form, to) {
  const client = new Original(form);
  await client.connect(to);
  await client.shakeHands();
  return client;
}

/** Every connection that is open: a test that fails leaves some. */
export const connections = new Set();

/** Drops what tests left open, so that the process can end. */
export function dropAll() {
  for (const drop of connections) drop();
}

/** The way of a login: the gate says which connector, which lets `username` into the room `rid`. */
export async function login(form, username, rid, to) {
  to ??= await entryOf(form, username);
  const client = await open(form, to);
  client.entered = await client.request('connector.entryHandler.enter', { username, rid });
  assert.ok(client.entered.users, `${username} enters ${rid}: ${JSON.stringify(client.entered)}`);
  return client;
}

/** What the gate answers. */
export async function entryOf(form, uid) {
  const client = await open(form, gate);
  const entry = await client.request('gate.gateHandler.queryEntry', { uid });
  client.close();
  return entry;
}

export class Original {
  /** The server's answer to the handshake. */
  handshake;
  /** How many heartbeats came. */
  heartbeats = 0;
  /** Whether to answer them. */
  isBeating = true;
  /** Messages that came, in their order: pushes and answers. */
  heard = [];
  /** Resolves when the connection is over: `{ code, kick }`, where there is such. */
  closed;

  #build;
  #transport;
  #wire;
  #lastId = 0;
  #routes = new Map();
  #waiting = new Map();
  #pushes = new Map();
  #beat;
  #shaken = deferred();
  #end = deferred();
  #kick;

  constructor({ build, transport }) {
    this.#build = builds[build]();
    this.#transport = transport;
    this.type = build === 'browser' ? 'js-websocket' : 'node-e2e';
    this.closed = this.#end.promise;
  }

  /** @param {{ host: string, port: number, ca?: Buffer }} to `ca` is who is believed inside TLS */
  async connect({ host, port, ca }) {
    const receive = (bytes) => this.#receive(bytes);
    const end = (code) => {
      connections.delete(drop);
      clearTimeout(this.#beat);
      this.#end.resolve({ code, kick: this.#kick });
      const error = new Error(`closed with ${code}`);
      this.#shaken.reject(error);
      for (const { reject } of this.#waiting.values()) reject(error);
    };
    this.#wire = transports[this.#transport](host, port, receive, end, ca);
    const drop = () => this.#wire.drop();
    connections.add(drop);
    await this.#wire.opened;
  }

  /** Resolves with the answer, which it acknowledges. */
  async shakeHands(sys = {}, { acknowledge = true, user = {} } = {}) {
    const hello = { sys: { type: this.type, version: '0.0.1', rsa: {}, ...sys }, user };
    this.send(Package.TYPE_HANDSHAKE, JSON.stringify(hello));
    this.handshake = await within(this.#shaken.promise, 'the answer to the handshake');
    if (this.handshake.code !== 200) return this.handshake;
    const { protos } = this.handshake.sys;
    if (protos) this.#build.protobuf.init({ encoderProtos: protos.client, decoderProtos: protos.server });
    if (acknowledge) this.send(Package.TYPE_HANDSHAKE_ACK);
    return this.handshake;
  }

  request(route, body = {}, id = (this.#lastId += 1)) {
    this.write(this.requestBytes(route, body, id));
    return this.answer(id, route);
  }

  /** The answer to what was sent as request `id`. */
  answer(id, route) {
    this.#routes.set(id, route);
    const answer = deferred();
    this.#waiting.set(id, answer);
    return within(answer.promise, `the answer to ${route}`);
  }

  requestBytes(route, body, id) {
    return this.#data(id, Message.TYPE_REQUEST, route, body);
  }

  /** A body as protobuf, by the schema that the handshake brought. */
  typed(route, body) {
    return Uint8Array.from(this.#build.protobuf.encode(route, body));
  }

  notify(route, body = {}) {
    this.write(this.#data(0, Message.TYPE_NOTIFY, route, body));
  }

  /** The next push to this route that was not asked for yet. */
  async pushed(route) {
    const { come, awaited } = this.#pushesTo(route);
    if (come.length) return come.shift();
    const push = deferred();
    awaited.push(push);
    return within(push.promise, `a push to ${route}`);
  }

  /** How many pushes to this route wait to be asked for. */
  pending(route) {
    return this.#pushesTo(route).come.length;
  }

  /** @param {string | Uint8Array} [body] */
  send(type, body) {
    const { Package, strencode } = this.#build.protocol;
    this.write(Package.encode(type, typeof body === 'string' ? strencode(body) : body));
  }

  write(bytes) {
    this.#wire.send(bytes);
  }

  /** Waits until what was written has left. */
  flushed() {
    return this.#wire.flushed();
  }

  /** Stops reading, for good. */
  pause() {
    clearTimeout(this.#beat);
    this.#wire.pause();
  }

  close() {
    clearTimeout(this.#beat);
    this.#wire.close();
    return this.closed;
  }

  /** A data package, with the route as code where the dictionary has it. */
  #data(id, type, route, body) {
    const { Message, Package, strencode } = this.#build.protocol;
    const code = typeof route === 'number' ? route : this.handshake?.sys.dict?.[route];
    const bytes = body instanceof Uint8Array ? body : strencode(typeof body === 'string' ? body : JSON.stringify(body));
    const message = Message.encode(id, type, code === undefined ? 0 : 1, code ?? route, bytes);
    return Package.encode(Package.TYPE_DATA, message);
  }

  #receive(bytes) {
    const { Package, strdecode } = this.#build.protocol;
    const packages = Package.decode(bytes);
    for (const { type, body } of Array.isArray(packages) ? packages : [packages]) {
      if (type === Package.TYPE_HANDSHAKE) this.#shaken.resolve(JSON.parse(strdecode(body)));
      else if (type === Package.TYPE_HEARTBEAT) this.#heartbeat();
      else if (type === Package.TYPE_DATA) this.#message(body);
      else if (type === Package.TYPE_KICK) this.#kick = JSON.parse(strdecode(body));
      else assert.fail(`a package of type ${type} from the server`);
    }
  }

  // As the page's client does: a beat is answered an interval later.
  #heartbeat() {
    this.heartbeats += 1;
    clearTimeout(this.#beat);
    if (!this.isBeating) return;
    this.#beat = setTimeout(() => this.send(Package.TYPE_HEARTBEAT), this.handshake.sys.heartbeat * 1000);
  }

  #message(bytes) {
    const { protocol, protobuf } = this.#build;
    const { id, type, route: named, body: raw } = protocol.Message.decode(bytes);
    const isAnswer = type === Message.TYPE_RESPONSE;
    const route = isAnswer ? this.#routes.get(id) : (this.handshake.sys.codeToRoute?.[named] ?? named);
    const isTyped = this.handshake.sys.protos?.server[route] !== undefined;
    const body = isTyped ? protobuf.decode(route, raw) : JSON.parse(protocol.strdecode(raw));
    this.heard.push({ route, body });
    if (isAnswer) {
      this.#waiting.get(id)?.resolve(body);
      this.#waiting.delete(id);
      return;
    }
    const { come, awaited } = this.#pushesTo(route);
    if (awaited.length) awaited.shift().resolve(body);
    else come.push(body);
  }

  #pushesTo(route) {
    if (!this.#pushes.has(route)) this.#pushes.set(route, { come: [], awaited: [] });
    return this.#pushes.get(route);
  }
}

export const transports = {
  ws: (host, port, receive, end) => websocket(new WebSocket(`ws://${host}:${port}`), receive, end),
  wss: (host, port, receive, end, ca) => websocket(new WebSocket(`wss://${host}:${port}`, { ca }), receive, end),
  tcp: (host, port, receive, end) => stream(net.connect({ host, port, noDelay: true }), 'connect', receive, end),
  tls: (host, port, receive, end, ca) => stream(tls.connect({ host, port, ca, servername: host }), 'secureConnect', receive, end),
  udp,
};

function websocket(socket, receive, end) {
  socket.on('message', (data, isBinary) => {
    assert.ok(isBinary, 'the server sends binary messages');
    receive(data);
  });
  socket.on('error', () => {});
  socket.on('close', end);
  return {
    opened: once(socket, 'open'),
    send: (bytes) => socket.send(bytes),
    flushed: async () => {
      while (0 < socket.bufferedAmount) await new Promise(setImmediate);
    },
    pause: () => socket.pause(),
    close: () => socket.close(),
    drop: () => socket.terminate(),
  };
}

function stream(socket, opened, receive, end) {
  let rest = Buffer.alloc(0);
  socket.on('data', (chunk) => {
    rest = Buffer.concat([rest, chunk]);
    while (4 <= rest.length && 4 + rest.readUIntBE(1, 3) <= rest.length) {
      const length = 4 + rest.readUIntBE(1, 3);
      receive(rest.subarray(0, length));
      rest = rest.subarray(length);
    }
  });
  socket.on('error', () => {});
  socket.on('close', () => end());
  return {
    opened: once(socket, opened),
    send: (bytes) => socket.write(bytes),
    flushed: async () => {
      while (0 < socket.writableLength) await new Promise(setImmediate);
    },
    pause: () => socket.pause(),
    close: () => socket.end(),
    drop: () => socket.destroy(),
  };
}

/** Nothing but a kick says that it is over. */
function udp(host, port, receive, end) {
  const socket = dgram.createSocket('udp4');
  socket.on('message', (datagram) => {
    receive(datagram);
    if (datagram[0] === Package.TYPE_KICK) socket.close();
  });
  socket.on('error', () => {});
  socket.on('close', () => end());
  socket.connect(port, host);
  return {
    opened: once(socket, 'connect'),
    send: (bytes) => socket.send(bytes),
    flushed: async () => {},
    pause: () => socket.removeAllListeners('message'),
    close: () => socket.close(),
    drop: () => socket.close(),
  };
}

/** Fails with a name rather than waiting for ever. */
export async function within(promise, what, limit = ANSWERED_WITHIN) {
  let timer;
  const late = new Promise((_, reject) => {
    timer = setTimeout(() => reject(new Error(`waited ${limit} ms for ${what}`)), limit);
  });
  try {
    return await Promise.race([promise, late]);
  } finally {
    clearTimeout(timer);
  }
}

function deferred() {
  let resolve, reject;
  const promise = new Promise((...both) => ([resolve, reject] = both));
  promise.catch(() => {}); // it may be that nobody waits
  return { promise, resolve, reject };
}
