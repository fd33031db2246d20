/** Conversations that were recorded with the original, with the handlers they call replaced by those of wirelab. */

import { readFileSync } from 'node:fs';

import { Message, Package } from '../support/original.mjs';
import { pack } from './both.mjs';

const recorded = JSON.parse(readFileSync(new URL('../../crates/shaddock-protocol/tests/vectors/vectors.json', import.meta.url)));
const codeToRoute = recorded.handshake_full.json.sys.codeToRoute;

/** What can't be had again, and why. */
const LEFT_OUT = {
  'tr-buffer': 'when the original flushes is its own business',
  'tr-crypto': 'the signatures are of bodies for another handler; others are made up',
  'tr-crypto-emptyrsa': 'nobody is answered, so that nobody knows when it is over',
  'tr-kick-nonstring': "the reason of wirelab's kick is text",
  'tr-malformed': 'the original does not survive it',
  'tr-udp': 'datagrams have no order to wait by',
};

/** Handlers of the recorded application, and what wirelab has for each: a route, and another body. */
const handlers = {
  'connector.entryHandler.echo': ['connector.testHandler.echo', (text) => text.replace('"x":', '"body":')],
  'connector.entryHandler.bind': ['connector.testHandler.bind'],
  'connector.entryHandler.push': ['connector.testHandler.push'],
  'connector.entryHandler.kick': ['connector.testHandler.kick'],
  'connector.entryHandler.kickDefault': ['connector.testHandler.kick'],
  'connector.entryHandler.fail': ['connector.testHandler.fail'],
  'connector.entryHandler.failCode': ['connector.testHandler.failWith'],
  'connector.entryHandler.failNoCode': ['connector.testHandler.failBody'],
  'connector.entryHandler.none': ['connector.testHandler.empty'],
  'connector.entryHandler.num': ['connector.protoHandler.echo', () => '42'],
  'connector.entryHandler.str': ['connector.protoHandler.echo', () => '"hi"'],
  'connector.entryHandler.route': ['connector.testHandler.json'],
  'connector.entryHandler.nosuch': ['connector.testHandler.nosuch'],
  'connector.entryHandler.constructor': ['connector.testHandler.constructor'],
  'chat.chatHandler.echo': ['area.areaHandler.echo', (text) => text.replace('"x":', '"body":')],
  'chat.chatHandler.fail': ['area.areaHandler.fail'],
  'chat.chatHandler.nosuch': ['area.areaHandler.nosuch'],
  // These have none.
  'chat.chatHandler.none': null,
  'connector.entryHandler.zero': null,
  'connector.entryHandler.arr': null,
  'connector.entryHandler.pb': null,
};

/** The recorded hooks of a handshake, and those of `connector-plain`. */
const hooks = [
  ['"type":"t","version":"old"', '"type":"old-client","version":"old"'],
  ['"bad":1', '"reject":true'],
];

/**
 * Each conversation: its `id`, the configuration and the transport, and its steps, of which some are undefined: left out.
 *
 * A step has `bytes`, a function of the server's own tables, or nothing to say. `greets` says that the handshake is
 * answered then, `acks` that the client is in from there on, `ends` that both servers close in their own time, and
 * `answers` how many packages come at least.
 */
export function conversations() {
  return recorded.transcripts.filter(({ id }) => !LEFT_OUT[id]).map(({ id, connector, transport, steps }) => {
    const isHooked = steps.some(({ send = '' }) => hooks.some(([from]) => unhex(send).includes(from)));
    const configuration = connector !== 'full' ? connector : isHooked ? 'plain' : 'dp';
    return { id, configuration, transport, steps: steps.map(step) };
  });
}

function step({ send, send_text_hex: sendText, recv, closed }) {
  const bytes = unhex(send ?? sendText ?? '');
  const packages = split(bytes);
  const messages = packages.filter(({ type }) => type === Package.TYPE_DATA).map(({ body }) => read(body));
  if (messages.some(({ route }) => handlers[route] === null)) return undefined;
  const kicks = messages.some(({ route }) => route?.startsWith('connector.entryHandler.kick'));
  const says = send !== undefined || sendText !== undefined;
  const greets = recv.some((answer) => unhex(answer)[0] === Package.TYPE_HANDSHAKE);
  return {
    greets,
    acks: packages.some(({ type }) => type === Package.TYPE_HANDSHAKE_ACK),
    ends: closed !== undefined && (kicks || greets || !says),
    answers: closed === undefined ? recv.length : 0,
    bytes: says && ((tables) => (sendText ? rewritten(bytes, tables).toString() : rewritten(bytes, tables))),
  };
}

/** The same packages for wirelab; what is no whole package stays as it is. */
function rewritten(bytes, tables) {
  const packages = split(bytes);
  if (packages.length === 0) return bytes;
  return Buffer.concat(packages.map(({ type, body }) => {
    if (type === Package.TYPE_HANDSHAKE) return pack(type, greeting(body.toString(), tables));
    return type === Package.TYPE_DATA ? pack(type, message(body, tables)) : pack(type, body);
  }));
}

function greeting(text, { sys }) {
  const { dictVersion, protos } = recorded.handshake_full.json.sys;
  const versions = [[dictVersion, sys.dictVersion], [protos.version, sys.protos?.version]];
  return [...hooks, ...versions].reduce((said, [from, to]) => said.replace(from, to), text);
}

function message(bytes, { sys }) {
  const { head, code, route, rest } = read(bytes);
  const [to, change = (text) => text] = handlers[route] ?? [];
  if (!to) return bytes;
  const name = Buffer.from(code === undefined ? [to.length, ...Buffer.from(to)] : [sys.dict[to] >> 8, sys.dict[to] & 0xff]);
  return Buffer.concat([head, name, Buffer.from(change(rest))]);
}

/** A message's flag and id, its route by name and by code, and the rest. */
function read(bytes) {
  const type = (bytes[0] >> 1) & 7;
  let at = 1;
  if (type === Message.TYPE_REQUEST || type === Message.TYPE_RESPONSE) at += bytes.subarray(1).findIndex((byte) => byte < 0x80) + 1;
  const head = bytes.subarray(0, at);
  if (type === Message.TYPE_RESPONSE) return { head };
  if (bytes[0] & 1) {
    const code = bytes.readUInt16BE(at);
    return { head, code, route: codeToRoute[code], rest: bytes.toString('utf8', at + 2) };
  }
  const end = at + 1 + bytes[at];
  return { head, route: bytes.toString('utf8', at + 1, end), rest: bytes.toString('utf8', end) };
}

/** Whole packages, or none. */
function split(bytes) {
  const packages = [];
  for (let at = 0; at < bytes.length; ) {
    if (bytes.length < at + 4) return [];
    const end = at + 4 + bytes.readUIntBE(at + 1, 3);
    if (bytes.length < end) return [];
    packages.push({ type: bytes[at], body: bytes.subarray(at + 4, end) });
    at = end;
  }
  return packages;
}

const unhex = (text) => Buffer.from(text, 'hex');
