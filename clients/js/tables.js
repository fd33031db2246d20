/** What a handshake says of the wire: codes for routes, and schemas for bodies. */

import * as protobuf from './protobuf.js';
import { Malformed, decodeText, encodeText } from './wire.js';

/** The dictionary and the schemas of a connection; those who have them need not be sent them again. */
export class Tables {
  /** @type {Map<string, number>} */
  #codes = new Map();
  /** @type {Map<number, string>} */
  #routes = new Map();
  /** @type {{ client: protobuf.Protos, server: protobuf.Protos }} */
  #protos = { client: {}, server: {} };
  /** @type {{ dictVersion?: string, protoVersion?: string }} what the server calls them, for the next handshake */
  versions = {};

  /**
   * @param {any} sys of the handshake's answer
   * @param {Tables} [former] those whose versions the handshake named; the answer leaves out what is still the same
   */
  static read(sys, former) {
    const { dict, codeToRoute, dictVersion, useDict, protos, useProto } = sys;
    const tables = new Tables();
    if (dict) {
      tables.#codes = new Map(Object.entries(dict));
      const routes = codeToRoute ?? Object.fromEntries(Array.from(tables.#codes, ([route, code]) => [code, route]));
      tables.#routes = new Map(Object.entries(routes).map(([code, route]) => [Number(code), route]));
      tables.versions.dictVersion = dictVersion || undefined;
    } else if (useDict && former) {
      tables.#codes = former.#codes;
      tables.#routes = former.#routes;
      tables.versions.dictVersion = former.versions.dictVersion;
    }
    if (protos) {
      tables.#protos = { client: protos.client ?? {}, server: protos.server ?? {} };
      tables.versions.protoVersion = protos.version || undefined;
    } else if (useProto && former) {
      tables.#protos = former.#protos;
      tables.versions.protoVersion = former.versions.protoVersion;
    }
    return tables;
  }

  /** @param {string} route */
  codeOf(route) {
    return this.#codes.get(route);
  }

  /** @param {number} code */
  routeOf(code) {
    const route = this.#routes.get(code);
    if (route === undefined) throw new Malformed(`no route has the code ${code}`);
    return route;
  }

  /**
   * @param {string} route
   * @param {any} body
   */
  encode(route, body) {
    const { client } = this.#protos;
    return Object.hasOwn(client, route) ? protobuf.encode(client, route, body) : encodeText(JSON.stringify(body));
  }

  /**
   * Whether a body to this route can have a member of this name.
   *
   * @param {string} route
   * @param {string} name
   */
  allows(route, name) {
    const { client } = this.#protos;
    return !Object.hasOwn(client, route) || Object.hasOwn(client[route], name);
  }

  /**
   * @param {string} route of the push, or of the request that this answers
   * @param {Uint8Array} body
   */
  decode(route, body) {
    const { server } = this.#protos;
    return Object.hasOwn(server, route) ? protobuf.decode(server, route, body) : json(body);
  }
}

/** @param {Uint8Array} body */
export function json(body) {
  return body.length === 0 ? {} : JSON.parse(decodeText(body));
}
