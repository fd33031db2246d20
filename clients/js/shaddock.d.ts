/** A client for Shaddock and pomelo servers: requests, notifies and pushes over a WebSocket. */

/** Where to connect, and how. */
export interface Options {
  /** Such as `ws://127.0.0.1:3050` or `wss://play.example.com`. Or give `host` and `port`. */
  url?: string;
  host?: string;
  port?: number;
  /** With `host` and `port`: `wss` instead of `ws`. */
  secure?: boolean;
  /** What the server's handshake function is told about this user. */
  user?: unknown;
  /** How long a request waits for its answer, in milliseconds; 10,000 unless told. */
  requestTimeout?: number;
  /** How long opening and handshake may take together, in milliseconds; 10,000 unless told. */
  connectTimeout?: number;
  /** The WebSocket class to use: the global one unless told. Node before 22 has none: give it npm's `ws`. */
  WebSocket?: any;
}

/** How a connection ended. */
export interface Ending {
  /**
   * - `closed`: by `disconnect()`.
   * - `kicked`: the server put us out; `message` is what it said.
   * - `timeout`: nothing came for two heartbeats.
   * - `lost`: the socket closed.
   * - `malformed`: the server sent what can't be read.
   */
  reason: 'closed' | 'kicked' | 'timeout' | 'lost' | 'malformed';
  /** The same for people. */
  message: string;
  /** The WebSocket's close code, where there was one. */
  code?: number;
}

/** What a kick brings. */
export interface Kick {
  reason: string;
}

/**
 * Opens a connection and shakes hands.
 *
 * Rejects with {@link ConnectError}, {@link RefusedError} or {@link TimeoutError}.
 */
export function connect(options: Options): Promise<Client>;

/** One connection to a front-end server. It is used once: after its end, make another. */
export class Client {
  constructor(options: Options);

  /** Whether requests can be made now. */
  readonly isOpen: boolean;

  /**
   * Opens the connection and shakes hands; gives what the server's handshake says to this user.
   *
   * Listeners added before this miss nothing. Rejects as {@link connect} does.
   */
  init(): Promise<any>;

  /**
   * Asks, and gives the answer as it came: a `code` in it is the application's affair.
   *
   * Rejects with {@link TimeoutError}, with {@link ClosedError}, or with a TypeError or RangeError for
   * what can't be encoded.
   */
  request<Reply = any>(route: string, body?: unknown, options?: { timeout?: number }): Promise<Reply>;

  /** Tells without being answered. Throws where `request` rejects. */
  notify(route: string, body?: unknown): void;

  /** Calls `listener` with the body of each push to the route `event`. */
  on(event: 'kick', listener: (kick: Kick) => void): this;
  on(event: 'disconnect', listener: (ending: Ending) => void): this;
  on<Body = any>(event: string, listener: (body: Body) => void): this;

  /** Stops calling `listener`; without one, stops all of that event. */
  off(event: string, listener?: (body: any) => void): this;

  /**
   * Closes the connection. What waits for an answer is rejected with {@link ClosedError}; nothing is
   * called back after `disconnect`.
   */
  disconnect(): void;
}

/** What every error of this module is. */
export class ClientError extends Error {}

/** No connection came about: nobody listens there, or what listens there does not talk like a server. */
export class ConnectError extends ClientError {}

/** The server answered the handshake and does not want us. */
export class RefusedError extends ConnectError {
  /** What the server said: 500, or 501 for the type or version of the client. */
  readonly code: number;
}

/** No answer came in time. It may still have been handled; an answer that comes later is dropped. */
export class TimeoutError extends ClientError {}

/** The connection ended, or had ended before. What was requested may have been handled or not. */
export class ClosedError extends ClientError {
  readonly ending: Ending;
}
