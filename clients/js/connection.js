/** One connection: a socket, the handshake, heartbeats, and messages by the tables of the handshake. */

import { ClosedError, ConnectError, RefusedError } from './errors.js';
import { MEMBER } from './signing.js';
import { Tables, json } from './tables.js';
import * as wire from './wire.js';

const { Kind, Type } = wire;

/**
 * @typedef {import('./shaddock.js').Ending} Ending
 *
 * @typedef {object} Call a message to the server; a request is one that can be resolved
 * @property {string} route
 * @property {any} body
 * @property {number} [id] set when it is sent
 * @property {(answer: any) => void} [resolve]
 * @property {(error: Error) => void} [reject]
 *
 * @typedef {object} Owner who hears of the connection; `end` is heard last, and only if the handshake was done
 * @property {(route: string, body: any) => void} push
 * @property {(kick: any) => void} kick
 * @property {(ending: Ending) => void} end
 */

/** What the handshake says of us. The type is not the old client's, so text comes as plain UTF-8. */
const US = { type: 'shaddock-js', version: '0.1.0' };

const LAST_ID = 2 ** 31 - 1;

export class Connection {
  /** @type {any} what the handshake said to this user */
  user;
  /** @type {Ending | undefined} set once it has ended */
  ending;
  tables = new Tables();

  #socket;
  #owner;
  #signer;
  /** @type {{ resolve: (connection: Connection) => void, reject: (error: Error) => void } | undefined} until hands are shaken */
  #opening;
  /** @type {Map<number, Call>} */
  #waiting = new Map();
  #lastId = 0;
  /** Done when all that was signed is sent: signatures may be ready in another order than they were asked for. */
  #sent = Promise.resolve();

  /** Milliseconds between heartbeats; 0 where the server wants none. */
  #interval = 0;
  #heard = 0;
  /** @type {Record<string, any>} */
  #timers = {};

  /**
   * @param {WebSocket} socket
   * @param {Owner} owner
   * @param {import('./signing.js').Signer} [signer]
   */
  constructor(socket, owner, signer) {
    this.#socket = socket;
    this.#owner = owner;
    this.#signer = signer;
  }

  /**
   * Shakes hands as soon as the socket is open.
   *
   * @param {unknown} user
   * @param {Tables} [known] those of a former connection
   * @returns {Promise<Connection>}
   */
  open(user, known) {
    const socket = this.#socket;
    socket.binaryType = 'arraybuffer';
    socket.onopen = () => {
      const hello = { sys: { ...US, rsa: this.#signer?.rsa ?? {}, ...known?.versions }, user };
      this.#write(wire.encodePackage(Kind.handshake, wire.encodeText(JSON.stringify(hello))));
    };
    socket.onmessage = (/** @type {MessageEvent} */ { data }) => this.#receive(data, known);
    const noConnection = () => this.end({ reason: 'lost', message: `no connection to ${socket.url}` });
    // A close event follows and tells as much; but node's WebSocket leaves it out if there was no connection.
    socket.onerror = () => this.#opening && noConnection();
    socket.onclose = (/** @type {CloseEvent} */ { code }) => {
      if (this.#opening) noConnection();
      else this.end({ reason: 'lost', message: `the connection was lost (${code})`, code });
    };
    return new Promise((resolve, reject) => (this.#opening = { resolve, reject }));
  }

  /**
   * Sends a message; its answer, if it has one, settles it. Throws what can't be encoded.
   *
   * @param {Call} call
   */
  say(call) {
    if (this.ending) throw new ClosedError(this.ending);
    call.id = call.resolve && this.#nextId();
    if (this.#signer) this.#saySigned(this.#signer, call);
    else this.#write(this.#packed(call, call.body));
    if (call.id !== undefined) this.#waiting.set(call.id, call);
  }

  /**
   * Drops the answer to a request.
   *
   * @param {Call} call
   */
  forget(call) {
    if (call.id !== undefined && this.#waiting.get(call.id) === call) this.#waiting.delete(call.id);
  }

  /**
   * Closes the socket, after what was said has gone. What waits for an answer is rejected.
   *
   * @param {Ending} ending
   * @param {Error} [error] what `open` rejects with, if it waits
   */
  end(ending, error = new ConnectError(ending.message)) {
    if (this.ending) return;
    this.ending = ending;
    for (const timer of Object.values(this.#timers)) clearTimeout(timer);
    // The socket closes when it can: nothing it says matters any more.
    this.#socket.onopen = this.#socket.onmessage = this.#socket.onclose = null;
    if (this.#signer) this.#sent.then(() => this.#socket.close());
    else this.#socket.close();
    for (const { reject } of this.#waiting.values()) reject?.(new ClosedError(ending));
    this.#waiting.clear();
    if (this.#opening) this.#opening.reject(error);
    else this.#owner.end(ending);
  }

  /**
   * @param {ArrayBuffer | string} data one WebSocket message: one package or more
   * @param {Tables} [known]
   */
  #receive(data, known) {
    this.#heard = Date.now();
    try {
      if (typeof data === 'string') throw new wire.Malformed('a text message');
      for (const { kind, body } of wire.decodePackages(new Uint8Array(data))) {
        if (kind === Kind.handshake && this.#opening) this.#welcome(json(body), known);
        else this.#handle(kind, body);
        if (this.ending) return;
      }
    } catch (error) {
      const { message } = /** @type {Error} */ (error);
      this.end({ reason: 'malformed', message: `the server sent what can't be read: ${message}` });
    }
  }

  /**
   * @param {any} answer
   * @param {Tables} [known]
   */
  #welcome(answer, known) {
    const { code, sys = {}, user } = answer;
    if (code !== 200) {
      const error = new RefusedError(answer);
      this.end({ reason: 'refused', message: error.message, code }, error);
      return;
    }
    this.tables = Tables.read(sys, known);
    this.user = user;
    this.#interval = (sys.heartbeat ?? 0) * 1000;
    this.#write(wire.encodePackage(Kind.ack));
    this.#scheduleHeartbeat();
    this.#watch();
    this.#opening?.resolve(this);
    this.#opening = undefined;
  }

  /**
   * @param {number} kind
   * @param {Uint8Array} body
   */
  #handle(kind, body) {
    if (kind === Kind.heartbeat) this.#scheduleHeartbeat();
    else if (kind === Kind.data && !this.#opening) this.#hear(wire.decodeMessage(body));
    else if (kind === Kind.kick && !this.#opening) this.#kicked(json(body));
    else throw new wire.Malformed(`a package of type ${kind} out of turn`);
  }

  // Scheduled by each heartbeat of the server rather than by an interval: browsers slow down timers
  // that timers started to one a minute in hidden tabs, and the server would take us for dead.
  #scheduleHeartbeat() {
    if (this.#interval === 0 || this.#timers.heartbeat !== undefined) return;
    this.#timers.heartbeat = setTimeout(() => {
      this.#timers.heartbeat = undefined;
      this.#write(wire.encodePackage(Kind.heartbeat));
    }, this.#interval);
  }

  /** Ends the connection after two intervals without a word from the server. */
  #watch() {
    if (this.#interval === 0) return;
    const left = this.#heard + 2 * this.#interval - Date.now();
    if (left <= 0) this.end({ reason: 'timeout', message: `nothing came for ${2 * this.#interval} ms` });
    else this.#timers.silence = setTimeout(() => this.#watch(), left);
  }

  /** @param {ReturnType<typeof wire.decodeMessage>} message */
  #hear({ type, id, route, body }) {
    if (type === Type.response) this.#answered(/** @type {number} */ (id), body);
    else if (type === Type.push) {
      const name = typeof route === 'number' ? this.tables.routeOf(route) : /** @type {string} */ (route);
      this.#owner.push(name, this.tables.decode(name, body));
    } else throw new wire.Malformed(`a message of type ${type} from a server`);
  }

  /**
   * @param {number} id
   * @param {Uint8Array} body
   */
  #answered(id, body) {
    const call = this.#waiting.get(id);
    if (!call) return; // it timed out
    const answer = this.tables.decode(call.route, body);
    this.#waiting.delete(id);
    call.resolve?.(answer);
  }

  /** @param {any} kick */
  #kicked(kick) {
    this.#owner.kick(kick);
    this.end({ reason: 'kicked', message: typeof kick.reason === 'string' ? kick.reason : '' });
  }

  /**
   * @param {import('./signing.js').Signer} signer
   * @param {Call} call
   */
  #saySigned(signer, call) {
    const { route, body } = call;
    // The server verifies what it parsed, as JSON.stringify writes it.
    const text = JSON.stringify(body) ?? '';
    if (!text.startsWith('{')) throw new TypeError(`the body to ${route} must be an object to be signed`);
    if (!this.tables.allows(route, MEMBER)) throw new TypeError(`the schema of ${route} has no field ${MEMBER} for a signature`);
    const signed = (/** @type {string} */ signature) => this.#packed(call, { ...JSON.parse(text), [MEMBER]: signature });
    signed(signer.blank); // what can't be encoded is thrown to the caller, not later
    const signing = signer.sign(text);
    this.#sent = this.#sent
      .then(async () => this.#write(signed(await signing)))
      .catch((error) => this.end({ reason: 'lost', message: `signing failed: ${error.message}` }));
  }

  /**
   * @param {Call} call
   * @param {any} body
   */
  #packed({ id, route }, body) {
    const message = wire.encodeMessage(id, this.tables.codeOf(route) ?? route, this.tables.encode(route, body));
    return wire.encodePackage(Kind.data, message);
  }

  #nextId() {
    do {
      this.#lastId = (this.#lastId % LAST_ID) + 1;
    } while (this.#waiting.has(this.#lastId));
    return this.#lastId;
  }

  /** @param {Uint8Array} bytes */
  #write(bytes) {
    this.#socket.send(/** @type {BufferSource} */ (bytes));
  }
}
