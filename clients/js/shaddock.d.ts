/** A client for Shaddock and pomelo servers: requests, notifies and pushes over a WebSocket. */

/** Where to connect, and how. Times are in milliseconds. */
export interface Options {
  /**
   * Such as `ws://127.0.0.1:3050` or `wss://play.example.com`. Or give `host` and `port`. A function is asked
   * before each connection: it can ask a gate which server is there now.
   */
  url?: string | (() => string | Promise<string>);
  host?: string;
  port?: number;
  /** With `host` and `port`: `wss` instead of `ws`. */
  secure?: boolean;
  /** What the server's handshake function is told about this user. */
  user?: unknown;
  /**
   * Called after each handshake, the first and those of later connections, before anybody else may say
   * anything: the place to log in. While it throws, `connect` rejects, and a reconnect is tried again later.
   */
  login?: (entrance: Entrance) => unknown;
  /** How long a request waits for its answer; 10,000 unless told. Waiting in the queue is part of it. */
  requestTimeout?: number;
  /** How long connecting may take, handshake and login included; 10,000 unless told. */
  connectTimeout?: number;
  /**
   * Connect again when the connection was lost or fell silent: true, or how often. Not after a kick, a refusal,
   * bytes that can't be read, or `disconnect()`. The first connection is tried once.
   */
  reconnect?: boolean | BackOff;
  /** How many messages may wait while reconnecting; without it none, and they are refused at once. */
  queue?: number;
  /**
   * Sign what is said, for servers with `useCrypto`: with a new RSA key, or with this pair for
   * `RSASSA-PKCS1-v1_5` and `SHA-256` whose public key can be exported.
   */
  sign?: true | CryptoKeyPair;
  /** In node, with npm's `ws`: whom to trust, and who we are. */
  tls?: TlsOptions;
  /**
   * The class of WebSockets to use: the global one unless told, or where there is none that will do, the one of
   * npm's `ws` if that is installed.
   */
  WebSocket?: any;
}

/** The times between tries to reconnect: the first, then twice as long each time, and up to a half less by chance. */
export interface BackOff {
  /** Before the first try, in milliseconds; 500 unless told. */
  first?: number;
  /** The longest, in milliseconds; 30,000 unless told. */
  longest?: number;
  /** After so many tries in a row it is over; without it, never. */
  tries?: number;
}

/** As node's `tls.connect` takes them. */
export interface TlsOptions {
  /** Certificates, in PEM, of those whom to trust instead of the well-known ones. */
  ca?: string | Uint8Array | (string | Uint8Array)[];
  /** False accepts any certificate: for tests. */
  rejectUnauthorized?: boolean;
  /** The name that the certificate must have, if it is not the host's. */
  servername?: string;
  /** Our own certificate, in PEM, and its key. */
  cert?: string | Uint8Array;
  key?: string | Uint8Array;
}

/** What a login may use. */
export interface Entrance {
  /** What the server's handshake said to this user. */
  readonly user: any;
  request<Reply = any>(route: string, body?: unknown, options?: { timeout?: number }): Promise<Reply>;
  notify(route: string, body?: unknown): void;
}

/** How a connection ended. */
export interface Ending {
  /**
   * - `closed`: by `disconnect()`.
   * - `kicked`: the server put us out; `message` is what it said.
   * - `timeout`: nothing came for two heartbeats.
   * - `lost`: the socket closed.
   * - `malformed`: the server sent what can't be read.
   * - `refused`: the server refused the handshake; `code` is what it said.
   * - `unreachable`: no try to reconnect came through.
   */
  reason: 'closed' | 'kicked' | 'timeout' | 'lost' | 'malformed' | 'refused' | 'unreachable';
  /** The same for people. */
  message: string;
  /** The WebSocket's close code or the handshake's, where there was one. */
  code?: number;
}

/** What a kick brings. */
export interface Kick {
  reason: string;
}

/** What happens to a client, in this order. */
export interface Events {
  /** The server puts us out. `disconnect` follows. */
  kick: Kick;
  /** The connection has ended. What waited for an answer was rejected. */
  disconnect: Ending;
  /** In `delay` milliseconds there will be try number `attempt` to connect again, since the last one ended so. */
  reconnecting: { attempt: number; delay: number; ending: Ending };
  /** Connected again at this try, and logged in; what waited in the queue was sent. */
  reconnect: { attempt: number; user: any };
  /** It is over: nothing will be tried or called back any more. Comes once, also if the first connection failed. */
  close: Ending;
}

/**
 * Opens a connection, shakes hands and logs in.
 *
 * Rejects with {@link ConnectError}, {@link RefusedError}, {@link TimeoutError}, {@link ClosedError} if it ended
 * during the login, or with what the login threw.
 */
export function connect(options: Options): Promise<Client>;

/**
 * One user's way to the servers: a connection, and the next one after it if `reconnect` says so.
 *
 * Messages go out in the order in which they were said. After `close`, make another client.
 */
export class Client {
  constructor(options: Options);

  /** Whether what is said now is sent now. */
  readonly isOpen: boolean;

  /**
   * Opens the connection, shakes hands and logs in; gives what the server's handshake says to this user.
   *
   * Listeners added before this miss nothing. Rejects as {@link connect} does.
   */
  init(): Promise<any>;

  /**
   * Asks, and gives the answer as it came: a `code` in it is the application's affair.
   *
   * Rejects with {@link TimeoutError}, {@link ClosedError}, {@link QueueFullError}, or with a TypeError or RangeError
   * for what can't be encoded. A request that was sent is never sent again.
   */
  request<Reply = any>(route: string, body?: unknown, options?: { timeout?: number }): Promise<Reply>;

  /** Tells without being answered. Throws where `request` rejects. */
  notify(route: string, body?: unknown): void;

  /** Calls `listener` with what happens to the client, or with the body of each push to the route `event`. */
  on<Name extends keyof Events>(event: Name, listener: (body: Events[Name]) => void): this;
  on<Body = any>(event: string, listener: (body: Body) => void): this;

  /** Stops calling `listener`; without one, stops all of that event. */
  off(event: string, listener?: (body: any) => void): this;

  /**
   * Closes the connection for good. What waits for an answer is rejected with {@link ClosedError}; nothing is
   * called back after `close`.
   */
  disconnect(): void;
}

/** What every error of this package is. */
export class ClientError extends Error {}

/** No connection came about: nobody listens there, or what listens there does not talk like a server. */
export class ConnectError extends ClientError {}

/** The server answered the handshake and does not want us. Trying again will not help. */
export class RefusedError extends ConnectError {
  /** What the server said: 500, or 501 for the type or version of the client. */
  readonly code: number;
  /** All that the server said, with the code; `msg` is for people if there is one. */
  readonly answer: { code: number; msg?: string; [field: string]: unknown };
}

/** No answer came in time. It may still have been handled; an answer that comes later is dropped. */
export class TimeoutError extends ClientError {}

/** The connection ended, or had ended before. What was requested may have been handled or not. */
export class ClosedError extends ClientError {
  readonly ending: Ending;
}

/** As many messages wait for the next connection as may. This one was not sent. */
export class QueueFullError extends ClientError {}
