/** What is asked of both servers where messages have to be signed. */

import { createRequire } from 'node:module';

import { Message, Package } from '../support/original.mjs';
import { HELLO, pack } from './both.mjs';

const { Key } = createRequire(import.meta.url)('node-bignumber');

const key = new Key();
key.generate(1024, '10001');

/** A hello that brings the key along. */
export const SIGNED_HELLO = { ...HELLO, sys: { ...HELLO.sys, rsa: { rsa_n: key.n.toString(16), rsa_e: key.e } } };

/** A body with its signature; `text` is what is signed, if it is not the body's JSON. */
export function signed(body, text = JSON.stringify(body)) {
  return { ...body, __crypto__: key.signString(text, 'sha256') };
}

/** Cases, as those of `generated.mjs`. */
export function* signedCases(random) {
  let lastId = 0;
  const echo = (kind, body) => {
    const text = Buffer.from(JSON.stringify(body));
    const message = Message.encode((lastId += 1), Message.TYPE_REQUEST, 0, 'connector.testHandler.echo', text);
    return { kind, packages: [pack(Package.TYPE_DATA, message)] };
  };
  for (let turn = 0; turn < 6; turn += 1) {
    yield echo('a signed echo', signed({ body: random.int(0, 1000), [`x${turn}`]: random.number() }));
    yield echo('a signed echo of letters with accents', signed({ body: 'Aéß€' }));
    yield echo('no signature', { body: turn });
    yield echo('a signature that is no hex', { body: turn, __crypto__: random.text() });
    yield echo('the signature of something else', { ...signed({ body: turn }), body: turn + 1 });
    yield echo('a signed body with a member more', { ...signed({ body: turn }), more: 1 });
    // Pomelo's own clients sign Chinese as the bytes of its UTF-8, taken for letters.
    const chinese = { body: `你好${turn}` };
    yield echo('signed Chinese', signed(chinese, Buffer.from(JSON.stringify(chinese)).toString('latin1')));
    yield echo('signed Chinese, as any other text', signed(chinese));
    yield echo('a signed echo of characters above U+FFFF', signed({ body: '😀' }));
  }
}
