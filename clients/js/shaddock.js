/**
 * A client for Shaddock and pomelo servers: requests, notifies and pushes over a WebSocket.
 *
 * ```js
 * const client = await connect({ url: 'ws://127.0.0.1:3050' });
 * client.on('onChat', ({ from, msg }) => console.log(from, msg));
 * const { users } = await client.request('connector.entryHandler.enter', { username: 'py', rid: 'lobby' });
 * ```
 *
 * It runs in browsers as it is, and in node with a WebSocket from there or from npm's `ws`.
 */

import * as protobuf from './protobuf.js';
import * as wire from './wire.js';

const { Kind, Type } = wire;

/** What the handshake says of us. The type is not the old client's, so text comes as plain UTF-8. */
const US = { type: 'shaddock-js', version: '0.1.0' };

const REQUEST_TIMEOUT = 10_000;
const CONNECT_TIMEOUT = 10_000;
const LAST_ID = 2 ** 31 - 1;

/** What every error of this module is. */
export class ClientError extends Error {
  name = 'ClientError';
}

/** No connection came about: nobody listens there, or what listens there does not talk like a server. */
export class ConnectError extends ClientError {
  name = 'ConnectError';
}

/** The server answered the handshake and does not want us. */
export class RefusedError extends ConnectError {
  name = 'RefusedError';

  /** @param {number} code what the server said: 500, or 501 for the type or version of the client */
  constructor(code) {
    super(`the server refused the handshake with code ${code}`);
    this.code = code;
  }
}

/** No answer came in time. It may still have been handled; an answer that comes later is dropped. */
export class TimeoutError extends ClientError {
  name = 'TimeoutError';
}

/** The connection ended, or had ended before. What was requested may have been handled or not. */
export class ClosedError extends ClientError {
  name = 'ClosedError';

  /** @param {import('./shaddock.js').Ending} ending */
  constructor(ending) {
    super(`the connection is closed: ${ending.message}`);
    this.ending = ending;
  }
}

/**
 * Opens a connection and shakes hands.
 *
 * @param {import('./shaddock.js').Options} options
 * @returns {Promise<Client>}
 */
export async function connect(options) {
  const client = new Client(options);
  await client.init();
  return client;
}

/** One connection to a front-end server. It is used once: after its end, make another. */
export class Client {
  #options;
  /** @type {WebSocket | undefined} */
  #socket;
  /** @type {{ resolve: (user: any) => void, reject: (error: Error) => void } | undefined} waits for the handshake */
  #opening;
  /** @type {import('./shaddock.js').Ending | undefined} */
  #ending;

  /** @type {Map<string, Set<Function>>} */
  #listeners = new Map();
  /** @type {Map<number, { route: string, resolve: Function, reject: Function, timer: any }>} */
  #waiting = new Map();
  #lastId = 0;

  /** @type {Map<string, number>} */
  #codes = new Map();
  /** @type {Map<number, string>} */
  #routes = new Map();
  /** @type {{ client: protobuf.Protos, server: protobuf.Protos }} */
  #protos = { client: {}, server: {} };

  /** Milliseconds between heartbeats; 0 where the server wants none. */
  #interval = 0;
  #heard = 0;
  /** @type {Record<string, any>} */
  #timers = {};

  /** @param {import('./shaddock.js').Options} options */
  constructor(options) {
    this.#options = options;
  }

  /** Whether requests can be made now. */
  get isOpen() {
    return this.#socket !== undefined && this.#opening === undefined && this.#ending === undefined;
  }

  /**
   * Opens the connection and shakes hands; gives what the server's handshake says to this user.
   *
   * @returns {Promise<any>}
   */
  init() {
    if (this.#socket) throw new ClientError('a client connects once; make another');
    const url = urlOf(this.#options);
    const Socket = this.#options.WebSocket ?? globalThis.WebSocket;
    if (!Socket) throw new ClientError("there is no WebSocket here: give the option WebSocket, from npm's ws");
    return new Promise((resolve, reject) => {
      this.#opening = { resolve, reject };
      const socket = (this.#socket = new Socket(url));
      const timeout = this.#options.connectTimeout ?? CONNECT_TIMEOUT;
      this.#timers.opening = setTimeout(
        () => this.#fail(new TimeoutError(`no handshake with ${url} within ${timeout} ms`)),
        timeout,
      );
      socket.binaryType = 'arraybuffer';
      socket.onopen = () => this.#shakeHands();
      socket.onmessage = (/** @type {MessageEvent} */ { data }) => this.#receive(data);
      socket.onerror = () => {}; // a close event follows, and it tells as little
      socket.onclose = (/** @type {CloseEvent} */ { code }) => {
        if (this.#opening) this.#fail(new ConnectError(`no connection to ${url}`));
        else this.#end({ reason: 'lost', message: `the connection was lost (${code})`, code });
      };
    });
  }

  /**
   * Asks, and gives the answer as it came: a `code` in it is the application's affair.
   *
   * @param {string} route
   * @param {any} [body]
   * @param {{ timeout?: number }} [options]
   * @returns {Promise<any>}
   */
  async request(route, body = {}, { timeout = this.#options.requestTimeout ?? REQUEST_TIMEOUT } = {}) {
    const id = this.#nextId();
    this.#say(id, route, body);
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => {
        this.#waiting.delete(id);
        reject(new TimeoutError(`no answer to ${route} within ${timeout} ms`));
      }, timeout);
      this.#waiting.set(id, { route, resolve, reject, timer });
    });
  }

  /**
   * Tells without being answered.
   *
   * @param {string} route
   * @param {any} [body]
   */
  notify(route, body = {}) {
    this.#say(undefined, route, body);
  }

  /**
   * Calls `listener` with the body of each push to `event`; or, for `kick` and `disconnect`, when that happens.
   *
   * @param {string} event
   * @param {Function} listener
   */
  on(event, listener) {
    const listeners = this.#listeners.get(event) ?? new Set();
    this.#listeners.set(event, listeners.add(listener));
    return this;
  }

  /**
   * Stops calling `listener`; without one, stops all of that event.
   *
   * @param {string} event
   * @param {Function} [listener]
   */
  off(event, listener) {
    if (listener) this.#listeners.get(event)?.delete(listener);
    else this.#listeners.delete(event);
    return this;
  }

  /** Closes the connection. What waits for an answer is rejected; nothing is called back after `disconnect`. */
  disconnect() {
    if (this.#opening) this.#fail(new ConnectError('disconnected before the handshake was done'));
    else this.#end({ reason: 'closed', message: 'closed by this side' });
  }

  #shakeHands() {
    const hello = { sys: { ...US, rsa: {} }, user: this.#options.user ?? {} };
    this.#send(Kind.handshake, wire.encodeText(JSON.stringify(hello)));
  }

  /** @param {ArrayBuffer | string} data one WebSocket message: one package or more */
  #receive(data) {
    this.#heard = Date.now();
    try {
      if (typeof data === 'string') throw new wire.Malformed('a text message');
      for (const { kind, body } of wire.decodePackages(new Uint8Array(data))) {
        this.#handle(kind, body);
        if (this.#ending) return;
      }
    } catch (error) {
      const message = `the server sent what can't be read: ${/** @type {Error} */ (error).message}`;
      if (this.#opening) this.#fail(new ConnectError(message));
      else this.#end({ reason: 'malformed', message });
    }
  }

  /**
   * @param {number} kind
   * @param {Uint8Array} body
   */
  #handle(kind, body) {
    if (kind === Kind.handshake && this.#opening) this.#welcome(json(body));
    else if (kind === Kind.heartbeat) this.#scheduleHeartbeat();
    else if (kind === Kind.data && !this.#opening) this.#hear(wire.decodeMessage(body));
    else if (kind === Kind.kick) this.#kicked(json(body));
    else throw new wire.Malformed(`a package of type ${kind} out of turn`);
  }

  /** @param {any} answer */
  #welcome({ code, sys = {}, user }) {
    if (code !== 200) {
      this.#fail(new RefusedError(code));
      return;
    }
    this.#codes = new Map(Object.entries(sys.dict ?? {}));
    const routes = sys.codeToRoute ?? Object.fromEntries(Array.from(this.#codes, ([route, code]) => [code, route]));
    this.#routes = new Map(Object.entries(routes).map(([code, route]) => [Number(code), route]));
    this.#protos = { client: sys.protos?.client ?? {}, server: sys.protos?.server ?? {} };
    this.#interval = (sys.heartbeat ?? 0) * 1000;
    this.#send(Kind.ack);
    this.#scheduleHeartbeat();
    this.#watch();
    clearTimeout(this.#timers.opening);
    this.#opening?.resolve(user);
    this.#opening = undefined;
  }

  // Scheduled by each heartbeat of the server rather than by an interval: browsers slow down timers
  // that timers started to one a minute in hidden tabs, and the server would take us for dead.
  #scheduleHeartbeat() {
    if (this.#interval === 0 || this.#timers.heartbeat !== undefined) return;
    this.#timers.heartbeat = setTimeout(() => {
      this.#timers.heartbeat = undefined;
      this.#send(Kind.heartbeat);
    }, this.#interval);
  }

  /** Ends the connection after two intervals without a word from the server. */
  #watch() {
    if (this.#interval === 0) return;
    const left = this.#heard + 2 * this.#interval - Date.now();
    if (left <= 0) this.#end({ reason: 'timeout', message: `nothing came for ${2 * this.#interval} ms` });
    else this.#timers.silence = setTimeout(() => this.#watch(), left);
  }

  /** @param {ReturnType<typeof wire.decodeMessage>} message */
  #hear({ type, id, route, body }) {
    if (type === Type.response) this.#answered(/** @type {number} */ (id), body);
    else if (type === Type.push) this.#pushed(route, body);
    else throw new wire.Malformed(`a message of type ${type} from a server`);
  }

  /**
   * @param {number} id
   * @param {Uint8Array} body
   */
  #answered(id, body) {
    const waiting = this.#waiting.get(id);
    if (!waiting) return; // it timed out
    const answer = this.#decode(waiting.route, body);
    this.#waiting.delete(id);
    clearTimeout(waiting.timer);
    waiting.resolve(answer);
  }

  /**
   * @param {string | number | undefined} route
   * @param {Uint8Array} body
   */
  #pushed(route, body) {
    const name = typeof route === 'number' ? this.#routes.get(route) : route;
    if (name === undefined) throw new wire.Malformed(`no route has the code ${route}`);
    if (name === 'kick' || name === 'disconnect') return; // ours: nobody else may say so
    this.#emit(name, this.#decode(name, body));
  }

  /** @param {any} kick */
  #kicked(kick) {
    const message = typeof kick.reason === 'string' ? kick.reason : '';
    if (this.#opening) {
      this.#fail(new ConnectError(`kicked: ${message}`));
      return;
    }
    this.#emit('kick', kick);
    this.#end({ reason: 'kicked', message });
  }

  /**
   * @param {number | undefined} id
   * @param {string} route
   * @param {any} body
   */
  #say(id, route, body) {
    if (this.#ending) throw new ClosedError(this.#ending);
    if (!this.isOpen) throw new ClientError('not connected yet: wait for init');
    const { client } = this.#protos;
    const bytes = Object.hasOwn(client, route)
      ? protobuf.encode(client, route, body)
      : wire.encodeText(JSON.stringify(body));
    this.#send(Kind.data, wire.encodeMessage(id, this.#codes.get(route) ?? route, bytes));
  }

  /**
   * @param {string} route of the push, or of the request that this answers
   * @param {Uint8Array} body
   */
  #decode(route, body) {
    const { server } = this.#protos;
    return Object.hasOwn(server, route) ? protobuf.decode(server, route, body) : json(body);
  }

  #nextId() {
    do {
      this.#lastId = (this.#lastId % LAST_ID) + 1;
    } while (this.#waiting.has(this.#lastId));
    return this.#lastId;
  }

  /**
   * @param {number} kind
   * @param {Uint8Array} [body]
   */
  #send(kind, body) {
    this.#socket?.send(/** @type {BufferSource} */ (wire.encodePackage(kind, body)));
  }

  /**
   * Each listener is called, whatever the others throw.
   *
   * @param {string} event
   * @param {any} body
   */
  #emit(event, body) {
    for (const listener of [...(this.#listeners.get(event) ?? [])]) {
      try {
        listener(body);
      } catch (error) {
        queueMicrotask(() => {
          throw error;
        });
      }
    }
  }

  /** @param {import('./shaddock.js').Ending} ending */
  #end(ending) {
    if (this.#ending || !this.#socket) return;
    this.#ending = ending;
    this.#letGo();
    for (const { reject, timer } of this.#waiting.values()) {
      clearTimeout(timer);
      reject(new ClosedError(ending));
    }
    this.#waiting.clear();
    this.#emit('disconnect', ending);
  }

  /** @param {ClientError} error why there is no connection */
  #fail(error) {
    const opening = this.#opening;
    this.#opening = undefined;
    this.#ending = { reason: 'closed', message: error.message };
    this.#letGo();
    opening?.reject(error);
  }

  /** Stops the timers, and leaves the socket to close when it can: nothing it says matters any more. */
  #letGo() {
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    const socket = /** @type {WebSocket} */ (this.#socket);
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  }
}

/** @param {import('./shaddock.js').Options} options */
function urlOf({ url, host, port, secure = false }) {
  if (url) return url;
  if (!host || !port) throw new ClientError('where to? Give url, or host and port');
  // An IPv6 address needs brackets in a URL.
  const name = host.includes(':') && !host.startsWith('[') ? `[${host}]` : host;
  return `${secure ? 'wss' : 'ws'}://${name}:${port}`;
}

/** @param {Uint8Array} body */
function json(body) {
  return body.length === 0 ? {} : JSON.parse(wire.decodeText(body));
}
