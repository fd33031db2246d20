/** The same bytes to the original and to Shaddock, and what each of them does then. */

import { Message, Package, connections, transports, within } from '../support/original.mjs';

/** Ids of requests that only ask whether what came before is done. */
const FENCES = 0x1000_0000;
const FENCE = 'connector.testHandler.empty';

export const HELLO = { sys: { type: 'node-e2e', version: '1' } };

/** A package, as bytes. */
export function pack(type, body = '') {
  return Package.encode(type, Buffer.from(body));
}

/** One connection, and the packages that came over it. */
export class Line {
  /** Who it is connected to. */
  server;
  /** What the server answered to the handshake. */
  handshake;
  /** Whether the client was taken in, so that it may ask. */
  isIn = false;
  closed = false;
  ended;

  #packages = [];
  #wire;
  #wake = () => {};
  #fences = 0;
  #sign;

  /** @param {(body: object) => object} [sign] where messages are to be signed */
  static async open(transport, to, sign) {
    const line = new Line();
    line.server = `${transport}://${to.host}:${to.port}`;
    line.#sign = sign ?? ((body) => body);
    line.ended = new Promise((resolve) => {
      const end = () => {
        connections.delete(line.drop);
        line.closed = true;
        line.#wake();
        resolve();
      };
      line.#wire = transports[transport](to.host, to.port, (bytes) => line.#receive(bytes), end);
    });
    connections.add(line.drop);
    await within(line.#wire.opened, line.server);
    return line;
  }

  send(bytes) {
    if (!this.closed) this.#wire.send(bytes);
  }

  /** Says hello, until there is an answer. */
  async greet(hello = HELLO) {
    this.send(pack(Package.TYPE_HANDSHAKE, JSON.stringify(hello)));
    await this.greeted();
  }

  /** Comes in. */
  async shakeHands(hello) {
    await this.greet(hello);
    this.send(pack(Package.TYPE_HANDSHAKE_ACK));
    await this.settled();
    this.take();
  }

  /** Until the handshake is answered, or the connection is closed. */
  async greeted() {
    const answer = await this.#until(() => this.#packages.find(({ type }) => type === Package.TYPE_HANDSHAKE), 'a handshake');
    if (answer) this.handshake = JSON.parse(answer.body);
  }

  /** Until what was sent is done, or the connection is closed. */
  async settled() {
    await this.#fence();
    // An answer that was under way meanwhile comes before this one. It keeps the heart beating as well.
    this.send(pack(Package.TYPE_HEARTBEAT));
    const before = this.#packages.length;
    await this.#fence();
    const late = this.#packages.splice(before);
    this.#packages.push(...late.filter(({ type }) => type !== Package.TYPE_HEARTBEAT));
  }

  /** Until so many packages came, or the connection is closed. */
  heard(count) {
    return this.#until(() => count <= this.#packages.length, `${count} packages`);
  }

  /** What came since it was last asked for. */
  take() {
    return { closed: this.closed, packages: this.#packages.splice(0).map(({ type, body }) => pack(type, body)) };
  }

  drop = () => this.#wire.drop();

  async #fence() {
    const id = FENCES + (this.#fences += 1);
    const body = Buffer.from(JSON.stringify(this.#sign({})));
    this.send(pack(Package.TYPE_DATA, Message.encode(id, Message.TYPE_REQUEST, 0, FENCE, body)));
    const answer = pack(Package.TYPE_DATA, Message.encode(id, Message.TYPE_RESPONSE, 0, null, Buffer.from('{}')));
    const isAnswer = ({ type, body }) => pack(type, body).equals(answer);
    const found = await this.#until(() => this.#packages.find(isAnswer), 'what was sent to be done');
    if (found) this.#packages.splice(this.#packages.indexOf(found), 1);
  }

  async #until(found, what) {
    const search = async () => {
      for (;;) {
        const value = found();
        if (value || this.closed) return value;
        await new Promise((resolve) => (this.#wake = resolve));
      }
    };
    return within(search(), what);
  }

  #receive(bytes) {
    const packages = Package.decode(bytes);
    for (const { type, body } of [packages].flat()) this.#packages.push({ type, body: body ?? Buffer.alloc(0) });
    this.#wake();
  }
}
