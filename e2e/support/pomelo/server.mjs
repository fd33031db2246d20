/**
 * One front-end of the original pomelo with wirelab's routes, dictionary and schemas, and no master:
 *
 *     node server.mjs [--port N] [--heartbeat N] [--dict] [--protobuf] [--crypto] [--picky] [--tcp-fix]
 *
 * Prints `ready <port>` when it listens; port 0, which it is unless given, is any that is free. SIGTERM ends it.
 * `--picky` is the handshake of `connector-plain`; `--tcp-fix` lets it answer over TCP on a node of today.
 */

import { createRequire } from 'node:module';
import net from 'node:net';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';

const flag = { type: 'boolean', default: false };
const { values: options } = parseArgs({
  options: {
    port: { type: 'string', default: '0' },
    heartbeat: { type: 'string' },
    dict: flag,
    protobuf: flag,
    crypto: flag,
    picky: flag,
    'tcp-fix': flag,
  },
});

process.noDeprecation = true;
if (options['tcp-fix']) mendTcp();

const base = fileURLToPath(new URL('.', import.meta.url));
const wirelab = fileURLToPath(new URL('../../../examples/wirelab/config/', import.meta.url));

// Pomelo reads what server it is from the command line.
const server = { id: 'connector-plain', serverType: 'connector', host: '127.0.0.1', clientPort: options.port, frontend: true };
process.argv.splice(2, Infinity, ...Object.entries(server).map(([key, value]) => `${key}=${value}`));

const require = createRequire(import.meta.url);
const pomelo = require('pomelo');
const app = pomelo.createApp({ base });
app.set('dictionaryConfig', { dict: path.join(wirelab, 'dictionary.json') });
// These it takes from its base on.
const protos = (name) => path.relative(base, path.join(wirelab, name));
app.set('protobufConfig', { serverProtos: protos('serverProtos.json'), clientProtos: protos('clientProtos.json') });
app.set('connectorConfig', {
  connector: pomelo.connectors.hybridconnector,
  setNoDelay: true,
  heartbeat: options.heartbeat && Number(options.heartbeat),
  useDict: options.dict,
  useProtobuf: options.protobuf,
  useCrypto: options.crypto,
  ...(options.picky && { checkClient, handshake }),
});
// In the place of the one that looks for a master.
app.load({ name: '__monitor__' });

process.once('SIGTERM', () => process.exit(0));
app.start((error) => {
  if (error) throw error;
  app.components.__proxy__.client.proxies = { sys: { area: { msgRemote: area() } } };
  const { listeningServer } = app.components.__connector__.connector;
  const ready = () => console.log(`ready ${listeningServer.address().port}`);
  if (listeningServer.listening) ready();
  else listeningServer.once('listening', ready);
});

/** A back-end in this process: as far as JSON, what it is asked goes as pomelo sends it. */
function area() {
  const remote = require('pomelo/lib/common/remote/backend/msgRemote')(app);
  const sent = (value) => JSON.parse(JSON.stringify(value));
  return {
    forwardMessage: (session, message, exported, answer) => remote.forwardMessage(sent(message), sent(exported), answer),
  };
}

function checkClient(type) {
  return type !== 'old-client';
}

function handshake({ user }, answer) {
  if (user?.reject) answer(new Error('a client that asked for it'));
  else answer(null, { hello: 'accept', echo: user ?? null });
}

/** Pomelo gives an object for the encoding, which node has refused since. */
function mendTcp() {
  const { write } = net.Socket.prototype;
  net.Socket.prototype.write = function (data, encoding, ...rest) {
    const isEncoding = typeof encoding !== 'object';
    return write.call(this, data, isEncoding ? encoding : undefined, ...rest);
  };
}
