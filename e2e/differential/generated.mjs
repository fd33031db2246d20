/**
 * What is asked of both servers: of each kind some, made up from a seed.
 *
 * Some things are not asked, as the original does not survive them: a message that is cut short; an id from 2^31 on; a body
 * that is a JSON array; protobuf that does not fit its schema.
 */

import { Message, Package } from '../support/original.mjs';
import { HELLO, pack } from './both.mjs';

const { TYPE_REQUEST, TYPE_NOTIFY, TYPE_RESPONSE, TYPE_PUSH } = Message;
const ECHO = 'connector.testHandler.echo';
const JSON_BACK = 'connector.testHandler.json';
const TYPED_ECHO = 'connector.protoHandler.echo';
const TYPED_JSON = 'connector.protoHandler.json';

/**
 * Cases, each with the packages to send one by one and a `kind`, by which differences are listed.
 *
 * `codes` is the dictionary, `encoders` make a typed body of an object: as JSON alone, or as JSON and in other ways.
 *
 * `free` says that answers are compared as JSON values, not as bytes; `ends` that both servers close; `answers` how many
 * packages to wait for, where they may come later than the answer to the next request.
 */
export function* cases(random, { codes, encoders, uid }) {
  const isTyped = encoders.length !== 1;
  let lastId = 0;
  const data = (fields) => pack(Package.TYPE_DATA, message({ codes, random, id: (lastId += 1), ...fields }));
  const ask = (route, body = {}, more) => data({ route, body, ...more });
  const say = (route, body, more) => data({ route, body, type: TYPE_NOTIFY, ...more });
  const one = (kind, bytes, more) => ({ kind, packages: [bytes], ...more });
  const test = (method, body, more) => ask(`connector.testHandler.${method}`, body, more);

  yield one('a push to nobody', test('push', { route: 'onPush', body: { a: 1 } }));
  yield one('a bind', test('bind', { uid }));
  yield one('a second bind', test('bind', { uid: 'another' }));

  for (let turn = 0; turn < 6; turn += 1) {
    yield one('an echo', test('echo', { body: random.json(4) }));
    yield one('a message as it came', test('json', random.object()));
    yield one('a push', test('push', { route: random.pick(['onPush', 'onOther', `on${random.text(8)}`]), body: random.object() }));
    const note = { n: random.json(1) };
    yield { kind: 'a notify', packages: [say('connector.testHandler.note', note), test('notes')] };
    yield one('a typed push', test('push', { route: 'onProto', body: random.typed() }));
    for (const encode of encoders) {
      yield one('a typed echo', ask(TYPED_ECHO, encode(TYPED_ECHO, random.typed())));
      yield one('a typed message as it came', ask(TYPED_JSON, encode(TYPED_JSON, random.typed())));
    }
    const id = random.pick([1, 127, 128, 300, 16383, 16384, 2 ** 21, 2 ** 28 - 1, 2 ** 31 - 1, random.int(1, 2 ** 31 - 1)]);
    yield one('an id', test('echo', { body: id }, { id }));
    yield one('a large echo', test('echo', { body: random.text(12).repeat(random.int(100, 1000)) }));
    yield one('an answer without a body', test('empty'));
    yield { kind: 'failures', packages: ['fail', 'failWith', 'failBody'].map((method) => test(method)) };
    yield one('a forwarded echo', ask('area.areaHandler.echo', { body: random.json(4) }), { answers: 1 });
    yield one('a push from a back-end', ask('area.areaHandler.push', { route: 'onPush', body: random.object() }), { answers: 2 });
    yield one('a failure of a back-end', ask('area.areaHandler.fail'), { answers: 1 });
    yield one('an unknown method of a back-end', ask(`area.areaHandler.no${random.text(6)}`), { answers: 1 });
    yield one('an unknown method', test(`no${random.text(6)}`));
    yield one('an unknown handler', ask('connector.nobody.echo'));
    yield one('an unknown kind of server', ask(`nowhere${random.text(3)}.testHandler.echo`));
    yield one('a route of two parts, or of four', ask(random.pick(['connector.testHandler', `${ECHO}.more`, 'a.b', 'a...'])));
    yield one('a body that is no JSON', test('echo', random.pick(NO_JSON)));
    yield one('a body that is null', test('echo', 'null'));
    yield one('free JSON', test('echo', `{"body":${random.pick(FREE)}}`), { free: true });
  }

  yield one('an id of 0', test('echo', { body: 1 }, { id: 0 }));
  yield one('an id with too many bytes', data({ route: ECHO, body: { body: 1 }, idBytes: [0x81, 0x00] }));
  yield one('characters above U+FFFF', test('echo', { body: `${random.text()}😀` }));
  yield one('characters above U+FFFF as pages write them', test('echo', cesu('{"body":"a😀"}')));
  yield one('half a character', test('echo', '{"body":"a\\ud83d"}'));
  yield one('a push from a client', data({ route: 'connector.testHandler.note', body: { n: 'pushed' }, type: TYPE_PUSH }));
  yield one('notes', test('notes'));
  yield one('a response from a client', pack(Package.TYPE_DATA, Buffer.from([TYPE_RESPONSE << 1, 1, ...Buffer.from('{}')])));
  yield one('bits that mean nothing', test('echo', { body: 1 }, { bits: random.pick([0x10, 0x20, 0x40, 0x80, 0xf0]) }));
  yield one('an unknown type of message', pack(Package.TYPE_DATA, Buffer.from([random.int(4, 7) << 1, 1, 1, 2, 3])));
  yield one('a route without a dot', ask(random.pick(['plainword', ''])));
  yield one('a code that nobody has', ask(random.int(500, 65535)));
  yield one('the code 0', ask(0));
  if (Object.keys(codes).length === 0) yield one('a code without a dictionary', ask(12));
  yield one('a method that every object has', test('toString'));
  const scalar = random.pick(['5', '"text"', 'true', '1.5']);
  if (isTyped) yield one('a number or text for a body', ask(JSON_BACK, scalar));
  else yield one('an answer that does not fit', ask(TYPED_ECHO, scalar));
  yield one('a push that is null', test('push', { route: 'onPush', body: null }));
  yield one('a push of characters above U+FFFF', test('push', { route: 'onPush', body: { a: '😀' } }));
  if (isTyped) {
    const { str, ...unfit } = random.typed();
    yield one('a push that does not fit', test('push', { route: 'onProto', body: unfit }));
    const emoji = { ...random.typed(), str: 'a😀' };
    yield one('characters above U+FFFF in protobuf', ask(TYPED_ECHO, encoders[0](TYPED_ECHO, emoji)));
  }
  yield one('a heartbeat', pack(Package.TYPE_HEARTBEAT));
  yield one('a second handshake', pack(Package.TYPE_HANDSHAKE, JSON.stringify(HELLO)));
  yield one('a second ack', pack(Package.TYPE_HANDSHAKE_ACK));
  const racers = [test('delay', { ms: 300, n: 1 }), test('delay', { ms: 0, n: 2 })];
  yield { kind: 'a request that is overtaken', packages: racers, answers: 2 };

  yield one('a kick', test('kick', { reason: random.text() }), { ends: true });
  yield one('a kick by a back-end', ask('area.areaHandler.kick', { reason: random.text() }), { ends: true });
  yield one('a kick without a reason', test('kick'), { ends: true });
  yield one('the method constructor', test('constructor'), { ends: true });
  yield one('a kick by the client', pack(Package.TYPE_KICK, '{}'), { ends: true });
  yield one('an unknown type of package', Buffer.from([random.pick([0, 6, 9, 255]), 0, 0, 0]), { ends: true });
}

const NO_JSON = ['', '{', '{bad json', '"', 'nul', '{"body":1}x', '\u0000', '{body:1}'];

/** JSON in forms that JavaScript would not write itself. */
const FREE = [
  ' [ 1 , 2 ]\n',
  '1.0',
  '1e2',
  '1E-7',
  '1e21',
  '0.000001',
  '-0',
  '123456789012345678901234567890',
  '9007199254740993',
  '{"b":1,"10":2,"2":3}',
  '{"a":1,"a":2}',
  '{"":0,"__proto__":1,"constructor":2}',
  '"\\u4e8c\\/\\u0041"',
  '"\u007f"',
  '[[[[[[[[[[[[[[[[[[[[]]]]]]]]]]]]]]]]]]]]',
];

/** The bytes of a message, also of one that no encoder would make. */
function message({ codes, random, type = TYPE_REQUEST, id, idBytes, route, body, bits = 0 }) {
  const code = typeof route === 'number' ? route : random.chance() ? codes[route] : undefined;
  const name = Buffer.from(`${route}`);
  const text = typeof body === 'string' || body instanceof Uint8Array ? body : JSON.stringify(body);
  return Buffer.concat([
    Buffer.from([bits | (type << 1) | (code === undefined ? 0 : 1)]),
    Buffer.from(type === TYPE_REQUEST ? (idBytes ?? varint(id)) : []),
    code === undefined ? Buffer.from([name.length, ...name]) : Buffer.from([code >> 8, code & 0xff]),
    Buffer.from(text),
  ]);
}

function varint(number) {
  const bytes = [];
  for (; 127 < number; number = Math.floor(number / 128)) bytes.push((number % 128) | 0x80);
  return [...bytes, number];
}

/** Text with each half of a character above U+FFFF as three bytes. */
function cesu(text) {
  const units = Array.from({ length: text.length }, (_, at) => text.charCodeAt(at));
  const three = (unit) => [0xe0 | (unit >> 12), 0x80 | ((unit >> 6) & 0x3f), 0x80 | (unit & 0x3f)];
  return Buffer.from(units.flatMap((unit) => (unit < 0x80 ? unit : three(unit))));
}
