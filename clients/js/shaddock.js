/**
 * A client for Shaddock and pomelo servers: requests, notifies and pushes over a WebSocket.
 *
 * ```js
 * const client = await connect({ url: 'ws://127.0.0.1:3050' });
 * client.on('onChat', ({ from, msg }) => console.log(from, msg));
 * const { users } = await client.request('connector.entryHandler.enter', { username: 'py', rid: 'lobby' });
 * ```
 *
 * It runs in browsers as it is, and in node with the WebSocket from there or from npm's `ws`.
 */

import { Connection } from './connection.js';
import { ClientError, ClosedError, ConnectError, QueueFullError, RefusedError, TimeoutError } from './errors.js';
import { Signer } from './signing.js';
import { opener, urlOf } from './socket.js';

export * from './errors.js';

const REQUEST_TIMEOUT = 10_000;
const CONNECT_TIMEOUT = 10_000;
const BACK_OFF = { first: 500, longest: 30_000, tries: Infinity };

/** After these another connection may go better. */
const RETRIED = ['lost', 'timeout'];

/** What the client itself tells: a push to one of these routes is not heard. */
const OWN_EVENTS = ['kick', 'disconnect', 'reconnecting', 'reconnect', 'close'];

/**
 * Opens a connection, shakes hands and logs in.
 *
 * @param {import('./shaddock.js').Options} options
 * @returns {Promise<Client>}
 */
export async function connect(options) {
  const client = new Client(options);
  await client.init();
  return client;
}

/** One user's way to the servers: a connection, and the next one after it if that is wanted. */
export class Client {
  #options;
  /** @type {Map<string, Set<Function>>} */
  #listeners = new Map();

  /** @type {Connection | undefined} where messages go; handshake and login are done */
  #connection;
  /** @type {import('./tables.js').Tables | undefined} of the last connection */
  #tables;
  /** @type {import('./connection.js').Call[]} what waits for the next connection */
  #queue = [];
  /** @type {((url: string) => WebSocket) | undefined} */
  #openSocket;
  /** @type {Signer | undefined} */
  #signer;

  #isUsed = false;
  /** @type {AbortController | undefined} of the try to connect that is under way */
  #trial;
  /** @type {any} until the next try */
  #timer;
  /** @type {import('./shaddock.js').Ending | undefined} of the last connection */
  #last;
  /** @type {import('./shaddock.js').Ending | undefined} set when it is over for good */
  #ending;

  /** @param {import('./shaddock.js').Options} options */
  constructor(options) {
    this.#options = options;
  }

  /** Whether what is said now is sent now. */
  get isOpen() {
    return this.#connection !== undefined;
  }

  /**
   * Opens the connection, shakes hands and logs in; gives what the server's handshake says to this user.
   *
   * @returns {Promise<any>}
   */
  async init() {
    if (this.#isUsed) throw new ClientError('a client connects once; make another');
    this.#isUsed = true;
    try {
      return (await this.#try()).user;
    } catch (error) {
      this.#close(endingOf(error));
      throw error;
    }
  }

  /**
   * Asks, and gives the answer as it came: a `code` in it is the application's affair.
   *
   * @param {string} route
   * @param {any} [body]
   * @param {{ timeout?: number }} [options]
   * @returns {Promise<any>}
   */
  request(route, body, options) {
    return this.#ask(undefined, route, body, options);
  }

  /**
   * Tells without being answered.
   *
   * @param {string} route
   * @param {any} [body]
   */
  notify(route, body = {}) {
    this.#say({ route, body });
  }

  /**
   * Calls `listener` with the body of each push to `event`, or with what happened to the connection.
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

  /** Closes the connection for good. What waits for an answer is rejected; nothing is called back after `close`. */
  disconnect() {
    this.#close({ reason: 'closed', message: 'closed by this side' });
  }

  /**
   * Makes a connection that is ready for everybody, or leaves none behind.
   *
   * @param {number} [attempt] counted when it is not the first connection
   */
  async #try(attempt) {
    const { user = {}, sign, connectTimeout = CONNECT_TIMEOUT } = this.#options;
    const trial = (this.#trial = new AbortController());
    const late = () => trial.abort(new TimeoutError(`not connected within ${connectTimeout} ms`));
    const timer = setTimeout(late, connectTimeout);
    const given = new Promise((_, reject) => (trial.signal.onabort = () => reject(trial.signal.reason)));
    const orGivenUp = (/** @type {Promise<any>} */ step) => Promise.race([given, step]);
    /** @type {Connection | undefined} */
    let connection;
    try {
      this.#openSocket ??= await orGivenUp(opener(this.#options));
      if (sign) this.#signer ??= await orGivenUp(Signer.with(sign));
      connection = this.#connectionTo(await orGivenUp(urlOf(this.#options)));
      await orGivenUp(connection.open(user, this.#tables));
      this.#tables = connection.tables;
      await orGivenUp(this.#logIn(connection));
      trial.signal.throwIfAborted();
      if (connection.ending) throw new ClosedError(connection.ending);
    } catch (error) {
      connection?.end(endingOf(error));
      throw error;
    } finally {
      clearTimeout(timer);
      this.#trial = undefined;
    }
    this.#connection = connection;
    for (const call of this.#queue.splice(0)) this.#sayLater(call);
    if (attempt) this.#emit('reconnect', { attempt, user: connection.user });
    return connection;
  }

  /** @param {string} url */
  #connectionTo(url) {
    const open = /** @type {(url: string) => WebSocket} */ (this.#openSocket);
    /** @type {Connection} */
    const connection = new Connection(
      open(url),
      {
        push: (route, body) => OWN_EVENTS.includes(route) || this.#emit(route, body),
        kick: (kick) => this.#emit('kick', kick),
        end: (ending) => connection === this.#connection && this.#lost(ending),
      },
      this.#signer,
    );
    return connection;
  }

  /**
   * Lets the login, and nobody else, use the connection.
   *
   * @param {Connection} connection
   */
  async #logIn(connection) {
    try {
      await this.#options.login?.({
        user: connection.user,
        request: (route, body, options) => this.#ask(connection, route, body, options),
        notify: (route, body = {}) => connection.say({ route, body }),
      });
    } catch (error) {
      if (!connection.ending) throw error; // else it failed since the connection did
    }
  }

  /** @param {import('./shaddock.js').Ending} ending */
  #lost(ending) {
    this.#connection = undefined;
    this.#last = ending;
    this.#emit('disconnect', ending);
    this.#tryLater(1, ending);
  }

  /**
   * Tries again after a while, unless it is hopeless, or nobody wants it.
   *
   * @param {number} attempt
   * @param {import('./shaddock.js').Ending} ending of the connection or of the attempt before
   */
  #tryLater(attempt, ending) {
    if (this.#ending) return;
    const { reconnect } = this.#options;
    if (!reconnect || !RETRIED.includes(ending.reason)) {
      this.#close(ending);
      return;
    }
    const { first, longest, tries } = { ...BACK_OFF, ...(reconnect === true ? {} : reconnect) };
    if (tries < attempt) {
      this.#close({ reason: 'unreachable', message: `given up after ${tries} tries; the last: ${ending.message}` });
      return;
    }
    const most = Math.min(longest, first * 2 ** (attempt - 1));
    // Spread out, so that those whom one server lost do not come back all at once.
    const delay = Math.round(most * (0.5 + Math.random() / 2));
    this.#timer = setTimeout(
      () => this.#try(attempt).catch((error) => this.#tryLater(attempt + 1, endingOf(error))),
      delay,
    );
    this.#emit('reconnecting', { attempt, delay, ending });
  }

  /** @param {import('./shaddock.js').Ending} ending */
  #close(ending) {
    if (this.#ending) return;
    this.#ending = ending;
    this.#trial?.abort(new ConnectError(`given up: ${ending.message}`));
    this.#connection?.end(ending);
    clearTimeout(this.#timer);
    for (const { reject } of this.#queue.splice(0)) reject?.(new ClosedError(ending));
    this.#emit('close', ending);
  }

  /**
   * @param {Connection | undefined} via or whichever is there
   * @param {string} route
   * @param {any} [body]
   * @param {{ timeout?: number }} [options]
   */
  #ask(via, route, body = {}, { timeout = this.#options.requestTimeout ?? REQUEST_TIMEOUT } = {}) {
    return new Promise((resolve, reject) => {
      /** @type {any} */
      let timer;
      const last = (/** @type {(value: any) => void} */ settle) => (/** @type {any} */ value) => {
        clearTimeout(timer);
        settle(value);
      };
      /** @type {import('./connection.js').Call} */
      const call = { route, body, resolve: last(resolve), reject: last(reject) };
      if (via) via.say(call);
      else this.#say(call);
      timer = setTimeout(() => {
        (via ?? this.#connection)?.forget(call);
        this.#queue = this.#queue.filter((queued) => queued !== call);
        reject(new TimeoutError(`no answer to ${route} within ${timeout} ms`));
      }, timeout);
    });
  }

  /**
   * Sends now, or later if that is wanted.
   *
   * @param {import('./connection.js').Call} call
   */
  #say(call) {
    const { queue = 0 } = this.#options;
    if (this.#connection) {
      this.#connection.say(call);
      return;
    }
    if (this.#ending) throw new ClosedError(this.#ending);
    if (!this.#last || !this.#tables) throw new ClientError('not connected yet: wait for init');
    if (queue === 0) throw new ClosedError(this.#last);
    if (queue <= this.#queue.length) throw new QueueFullError(`${queue} messages wait for a connection already`);
    this.#tables.encode(call.route, call.body); // what can't be encoded is thrown now
    this.#queue.push(call);
  }

  /**
   * Sends what has waited, to which nobody listens any more but a request.
   *
   * @param {import('./connection.js').Call} call
   */
  #sayLater(call) {
    try {
      /** @type {Connection} */ (this.#connection).say(call);
    } catch (error) {
      if (call.reject) call.reject(/** @type {Error} */ (error));
      else report(error);
    }
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
        report(error);
      }
    }
  }
}

/**
 * As errors of event listeners are: to nobody in particular.
 *
 * @param {unknown} error
 */
function report(error) {
  queueMicrotask(() => {
    throw error;
  });
}

/**
 * What a failed try means.
 *
 * @param {any} error
 * @returns {import('./shaddock.js').Ending}
 */
function endingOf(error) {
  if (error instanceof ClosedError) return error.ending;
  if (error instanceof RefusedError) return { reason: 'refused', message: error.message, code: error.code };
  return { reason: 'lost', message: String(error?.message ?? error) };
}
