/** As much of the server of npm's `ws` as the client's tests use, in a page: it listens in node, over a relay. */

class Emitter {
  #listeners = [];

  on(event, listener) {
    this.#listeners.push([event, listener]);
    return this;
  }

  emit(event, ...told) {
    for (const [name, listener] of this.#listeners) if (name === event) listener(...told);
  }
}

export class WebSocketServer extends Emitter {
  #relay = new WebSocket(`ws://${location.host}/relay`);
  #sockets = new Map();
  #port;

  constructor() {
    super();
    this.#relay.onmessage = ({ data }) => this.#hear(JSON.parse(data));
  }

  address() {
    return { port: this.#port };
  }

  close() {
    this.#relay.close();
  }

  #hear([event, id, data]) {
    if (event === 'listening') {
      this.#port = id;
      this.emit(event);
    } else if (event === 'connection') {
      const socket = new Socket((command, sent) => this.#relay.send(JSON.stringify([command, id, sent])));
      this.#sockets.set(id, socket);
      this.emit(event, socket);
    } else {
      this.#sockets.get(id).emit(event, data && Uint8Array.from(data));
    }
  }
}

class Socket extends Emitter {
  #tell;

  constructor(tell) {
    super();
    this.#tell = tell;
  }

  send(data) {
    this.#tell('send', typeof data === 'string' ? data : [...data]);
  }

  terminate() {
    this.#tell('terminate');
  }
}
