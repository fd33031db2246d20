/**
 * Signatures, for servers that are configured with `useCrypto`: RSA, PKCS#1 version 1.5, SHA-256, by WebCrypto.
 *
 * They prove that all messages of a connection come from whoever shook hands, and nothing else: use TLS where you can.
 */

import { ClientError } from './errors.js';

/** The member of a body that holds its signature. */
export const MEMBER = '__crypto__';

const ALGORITHM = { name: 'RSASSA-PKCS1-v1_5', hash: 'SHA-256' };
const NEW_KEYS = { ...ALGORITHM, modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]) };

/** Signs what one client says. */
export class Signer {
  #key;

  /**
   * @param {CryptoKey} key
   * @param {{ rsa_n: string, rsa_e: number }} rsa
   */
  constructor(key, rsa) {
    this.#key = key;
    /** What the handshake says of the key. */
    this.rsa = rsa;
  }

  /**
   * @param {true | CryptoKeyPair} keys a pair for `RSASSA-PKCS1-v1_5` with `SHA-256`, or true for a new one
   * @returns {Promise<Signer>}
   */
  static async with(keys) {
    const subtle = globalThis.crypto?.subtle;
    if (!subtle) throw new ClientError('signing needs WebCrypto, which only pages from https or localhost have');
    const pair = keys === true ? await subtle.generateKey(NEW_KEYS, false, ['sign', 'verify']) : keys;
    const { name, hash } = /** @type {RsaHashedKeyAlgorithm} */ (pair.privateKey.algorithm);
    if (name !== ALGORITHM.name || hash.name !== ALGORITHM.hash || !pair.privateKey.usages.includes('sign')) {
      throw new ClientError(`the key to sign with must be for ${ALGORITHM.name} with ${ALGORITHM.hash}, and allowed to sign`);
    }
    const { n, e } = await subtle.exportKey('jwk', pair.publicKey);
    return new Signer(pair.privateKey, { rsa_n: hexOf(n), rsa_e: parseInt(hexOf(e), 16) });
  }

  /** In the place of a signature, and as long as one. */
  get blank() {
    return this.rsa.rsa_n.replace(/./g, '0');
  }

  /**
   * @param {string} text
   * @returns {Promise<string>}
   */
  async sign(text) {
    return hex(await crypto.subtle.sign(ALGORITHM, this.#key, /** @type {BufferSource} */ (signedBytes(text))));
  }
}

/**
 * The bytes of a text that are signed: UTF-8; but where there is Chinese in it, pomelo takes each byte for a
 * character and encodes those once more. Shaddock accepts either.
 *
 * @param {string} text
 */
export function signedBytes(text) {
  const encoder = new TextEncoder();
  if (!/[\u4e00-\u9fa5]/.test(text)) return encoder.encode(text);
  let twice = '';
  for (let at = 0; at < text.length; at++) twice += unitBytes(text.charCodeAt(at));
  return encoder.encode(twice);
}

/**
 * One unit of UTF-16, surrogate or not, as bytes, as characters.
 *
 * @param {number} unit
 */
function unitBytes(unit) {
  if (unit < 0x80) return String.fromCharCode(unit);
  if (unit < 0x800) return String.fromCharCode(0xc0 | (unit >> 6), 0x80 | (unit & 0x3f));
  return String.fromCharCode(0xe0 | (unit >> 12), 0x80 | ((unit >> 6) & 0x3f), 0x80 | (unit & 0x3f));
}

/** @param {string} [base64url] */
function hexOf(base64url = '') {
  const binary = atob(base64url.replaceAll('-', '+').replaceAll('_', '/'));
  return hex(Uint8Array.from(binary, (byte) => byte.charCodeAt(0)).buffer);
}

/** @param {ArrayBuffer} bytes */
function hex(bytes) {
  return Array.from(new Uint8Array(bytes), (byte) => byte.toString(16).padStart(2, '0')).join('');
}
