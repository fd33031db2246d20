/** Serves the client and its tests to pages, with a relay by which a page can listen. */

import { once } from 'node:events';
import { readFile } from 'node:fs/promises';
import { createServer } from 'node:http';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { WebSocketServer } from 'ws';

const require = createRequire(import.meta.url);
const CLIENT = new URL('../../clients/js/', import.meta.url);
const PAGE = new URL('page/', import.meta.url);

/** Listens on a free port; gives the address of the empty page. */
export async function servePages() {
  const http = createServer(async ({ url }, response) => {
    try {
      const text = await textOf(url);
      const type = url.endsWith('.html') ? 'text/html' : 'text/javascript';
      response.writeHead(200, { 'content-type': `${type}; charset=utf-8` }).end(text);
    } catch (error) {
      response.writeHead(404).end(String(error));
    }
  });
  const relays = new WebSocketServer({ server: http, path: '/relay' });
  relays.on('connection', relay);
  http.listen(0, '127.0.0.1');
  await once(http, 'listening');
  return {
    address: `http://127.0.0.1:${http.address().port}/page/index.html`,
    close() {
      for (const socket of relays.clients) socket.terminate();
      http.close();
    },
  };
}

async function textOf(path) {
  const [, folder, file] = /^\/(client|page|codec)\/([\w./-]+)$/.exec(path);
  if (folder === 'codec') return moduleOf(await readFile(require.resolve(file), 'utf8'));
  return readFile(fileURLToPath(new URL(file, folder === 'client' ? CLIENT : PAGE)), 'utf8');
}

/** A script that takes itself to be in a page or in node, by what it finds, as a module. */
function moduleOf(script) {
  return `const module = { exports: {} }; (function () { ${script} }).call({}); export default module.exports;`;
}

/** Listens for a page: what comes and goes is told as `[what, whom, bytes]`. */
function relay(page) {
  const server = new WebSocketServer({ host: '127.0.0.1', port: 0 });
  const sockets = [];
  const tell = (...told) => page.send(JSON.stringify(told));
  server.on('listening', () => tell('listening', server.address().port));
  server.on('connection', (socket) => {
    const id = sockets.push(socket) - 1;
    tell('connection', id);
    socket.on('message', (data) => tell('message', id, [...data]));
    socket.on('close', () => tell('close', id));
  });
  page.on('message', (text) => {
    const [command, id, data] = JSON.parse(text);
    if (command === 'terminate') sockets[id].terminate();
    else sockets[id].send(typeof data === 'string' ? data : Uint8Array.from(data));
  });
  page.on('close', () => {
    for (const socket of sockets) socket.terminate();
    server.close();
  });
}
