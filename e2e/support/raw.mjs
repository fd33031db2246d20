/** Bytes in, bytes out: for what no client would send. */

import { randomBytes } from 'node:crypto';
import { once } from 'node:events';
import net from 'node:net';

import { within } from './original.mjs';

const sockets = new Set();

/** Opens a TCP connection to a server. */
export async function dial({ host, port }) {
  const socket = net.connect({ host, port, noDelay: true, allowHalfOpen: true });
  sockets.add(socket);
  await once(socket, 'connect');
  return new Raw(socket);
}

/** Drops what tests left open. */
export function dropAllRaw() {
  for (const socket of sockets) socket.destroy();
}

/** One TCP connection, and everything that came over it. */
export class Raw {
  received = Buffer.alloc(0);
  /** Resolves when the server has closed, in whatever way. */
  closed;

  constructor(socket) {
    this.socket = socket;
    socket.on('data', (chunk) => (this.received = Buffer.concat([this.received, chunk])));
    socket.on('error', () => {});
    this.closed = new Promise((resolve) => {
      const done = () => {
        sockets.delete(socket);
        socket.destroy();
        resolve(this.received);
      };
      socket.once('end', done).once('close', done);
    });
  }

  /** @param {Uint8Array | string} bytes a string is hex */
  write(bytes) {
    this.socket.write(typeof bytes === 'string' ? Buffer.from(bytes, 'hex') : bytes);
    return this;
  }

  close() {
    this.socket.destroy();
  }

  /** What came, once the server has closed. */
  ended(limit) {
    return within(this.closed, 'the server to close', limit);
  }

  /** What came, once it holds this many bytes. */
  async receivedAtLeast(count) {
    const enough = async () => {
      while (this.received.length < count) await once(this.socket, 'data');
      return this.received;
    };
    return within(Promise.race([enough(), this.closed]), `${count} bytes`);
  }
}

/** Opens a WebSocket by hand, so that its frames can be anything. */
export async function upgrade(to) {
  const raw = await dial(to);
  raw.write(Buffer.from(
    `GET / HTTP/1.1\r\nHost: ${to.host}:${to.port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n` +
      `Sec-WebSocket-Key: ${randomBytes(16).toString('base64')}\r\nSec-WebSocket-Version: 13\r\n\r\n`,
  ));
  while (!raw.received.includes('\r\n\r\n')) await raw.receivedAtLeast(raw.received.length + 1);
  raw.received = raw.received.subarray(raw.received.indexOf('\r\n\r\n') + 4);
  return raw;
}

/** A frame from a client; the options break the rules. */
export function frame(payload, { opcode = 2, masked = true, bits = 0x80, length = payload.length } = {}) {
  const head = [bits | opcode];
  const mask = masked ? 0x80 : 0;
  if (length < 126) head.push(mask | length);
  else if (length < 0x10000) head.push(mask | 126, length >> 8, length & 0xff);
  else {
    const wide = Buffer.alloc(8);
    wide.writeBigUInt64BE(BigInt(length));
    head.push(mask | 127, ...wide);
  }
  if (!masked) return Buffer.concat([Buffer.from(head), payload]);
  const key = randomBytes(4);
  return Buffer.concat([Buffer.from(head), key, payload.map((byte, at) => byte ^ key[at % 4])]);
}

/** The close frame at the end of what came, if there is one: its code. */
export function closeCode(received) {
  for (let at = 0; at + 2 <= received.length; ) {
    const length = received[at + 1] & 0x7f;
    if ((received[at] & 0x0f) === 8) return 2 <= length ? received.readUInt16BE(at + 2) : 1005;
    if (length === 127) return undefined;
    at += length === 126 ? 4 + received.readUInt16BE(at + 2) : 2 + length;
  }
  return undefined;
}
