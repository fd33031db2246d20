/** What can go wrong, told apart by what one would do about it. */

/** What every error of this package is. */
export class ClientError extends Error {
  name = 'ClientError';
}

/** No connection came about: nobody listens there, or what listens there does not talk like a server. */
export class ConnectError extends ClientError {
  name = 'ConnectError';
}

/** The server answered the handshake and does not want us. Trying again will not help. */
export class RefusedError extends ConnectError {
  name = 'RefusedError';

  /** @param {any} answer what the server said: `code` is 500, or 501 for the type or version of the client */
  constructor(answer) {
    const { code, msg } = answer;
    super(`the server refused the handshake with code ${code}${typeof msg === 'string' ? `: ${msg}` : ''}`);
    this.code = code;
    this.answer = answer;
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

/** As many messages wait for the next connection as may. This one was not sent. */
export class QueueFullError extends ClientError {
  name = 'QueueFullError';
}
