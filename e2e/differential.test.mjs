/**
 * The original pomelo and Shaddock are told the same, and answer the same; but for what `differential/differences.mjs` lists.
 *
 * `SEED=n` makes other requests up than those of seed 1.
 */

import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';

import { Line } from './differential/both.mjs';
import { differences } from './differential/differences.mjs';
import { cases } from './differential/generated.mjs';
import { Random } from './differential/random.mjs';
import { SIGNED_HELLO, signed, signedCases } from './differential/signed.mjs';
import { conversations } from './differential/transcripts.mjs';
import { builds, dropAll, within } from './support/original.mjs';
import { startPomelo } from './support/pomelo.mjs';
import { lab, startWirelab } from './support/wirelab.mjs';

/** Cases made up from one seed are the same in every run. */
const seed = Number(process.env.SEED ?? 1);
const wirelab = await startWirelab();
after(() => {
  dropAll();
  return wirelab.stop();
});

/** As in wirelab's configuration. */
const configurations = {
  plain: { heartbeat: 2, picky: true },
  dict: { heartbeat: 3, dict: true },
  proto: { heartbeat: 3, protobuf: true },
  dp: { heartbeat: 3, dict: true, protobuf: true },
};

/** Kinds of cases that went as the list of differences says. */
const seen = new Set();

describe('what was recorded with pomelo, said again to it and to Shaddock', { skip: wirelab.missing, concurrency: true }, () => {
  const pomelos = {};
  before(async () => {
    const all = Object.entries({ ...configurations, crypto: { crypto: true } });
    await Promise.all(all.map(async ([id, configuration]) => (pomelos[id] = await startPomelo(configuration))));
  });
  after(() => {
    dropAll();
    return Promise.all(Object.values(pomelos).map((pomelo) => pomelo.stop()));
  });
  for (const { id, configuration, transport, steps } of conversations()) {
    test(id, async () => {
      const servers = [pomelos[configuration], lab[configuration]];
      const tables = await Promise.all(servers.map(tablesOf));
      const lines = await Promise.all(servers.map((server) => Line.open(transport, server)));
      const wrong = [];
      for (const [at, step] of steps.entries()) {
        if (!step) continue;
        const [said, answered] = await Promise.all(lines.map((line, who) => walk(line, step, tables[who])));
        const packages = step.bytes ? [Buffer.from(step.bytes(tables[0]))] : [];
        wrong.push(...judge({ kind: `${id} step ${at}`, packages }, said, answered));
      }
      assert.deepEqual(wrong, []);
    });
  }
});

for (const [id, configuration] of Object.entries(configurations)) {
  describe(`connector-${id} and pomelo, asked what seed ${seed} makes up`, { skip: wirelab.missing }, () => {
    for (const transport of ['ws', 'tcp']) {
      test(transport, () => compare({ configuration, transport, shaddock: lab[id], make: ({ sys }) => {
        const more = { codes: sys.dict ?? {}, encoders: encoders(sys), uid: `${id}-${transport}` };
        return cases(new Random(seed), more);
      } }));
    }
  });
}

describe(`connector-crypto and pomelo, asked what seed ${seed} makes up`, { skip: wirelab.missing }, () => {
  const make = () => signedCases(new Random(seed));
  for (const transport of ['ws', 'tcp']) {
    const more = { configuration: { crypto: true }, shaddock: lab.crypto, hello: SIGNED_HELLO, sign: signed };
    test(transport, () => compare({ transport, make, ...more }));
  }
});

test('every difference that is listed is there', { skip: wirelab.missing }, () => {
  assert.deepEqual(Object.keys(differences).filter((kind) => !seen.has(kind)), []);
});

/** Puts cases, which `make` makes for who was let in, to a pomelo that is started for it and to Shaddock. */
async function compare({ configuration, transport, shaddock, hello, sign, make }) {
  const pomelo = await startPomelo(configuration);
  try {
    const open = async () => {
      const lines = await Promise.all([pomelo, shaddock].map((server) => Line.open(transport, server, sign)));
      await Promise.all(lines.map((line) => line.shakeHands(hello)));
      return lines;
    };
    let lines = await open();
    const wrong = [];
    for (const one of make(lines[0].handshake)) {
      if (lines.some(({ closed }) => closed)) {
        dropAll();
        lines = await open();
      }
      wrong.push(...judge(one, ...(await Promise.all(lines.map((line) => put(line, one))))));
    }
    assert.deepEqual(wrong, []);
  } finally {
    dropAll();
    await pomelo.stop();
  }
}

/** The handshake of somebody who has no tables yet. */
async function tablesOf(server) {
  const line = await Line.open('tcp', server);
  await line.greet({ sys: { rsa: {} } });
  line.drop();
  return line.handshake;
}

/** Takes a step of a conversation, and gives back what the server does. */
async function walk(line, { bytes, greets, acks, ends, answers }, tables) {
  if (bytes) line.send(bytes(tables));
  if (greets) await line.greeted();
  if (acks && line.handshake) line.isIn = true;
  if (ends) await within(line.ended, 'the connection to be closed');
  else if (line.isIn) {
    await line.heard(answers);
    await line.settled();
  }
  return line.take();
}

/** Says what a case says, and gives back what the server does. */
async function put(line, { kind, packages, ends, answers = 0 }) {
  for (const bytes of packages) line.send(bytes);
  const done = async () => {
    await line.heard(answers);
    await line.settled();
  };
  await within(ends ? line.ended : done(), `${line.server} to be done with ${kind}`);
  return line.take();
}

/** What is wrong, as lines to read; nothing, if all is as expected. */
function judge(one, theirs, ours) {
  const listed = differences[one.kind];
  const show = (packages) => packages.map((bytes) => bytes.toString('latin1').slice(0, 200));
  const heard = ({ closed, packages }) => ({ closed, packages: show(packages) });
  const told = { kind: one.kind, sent: show(one.packages), pomelo: heard(theirs), shaddock: heard(ours) };
  if (isSame(one, theirs, ours)) return listed ? [{ why: 'listed as a difference, and there is none', ...told }] : [];
  if (!listed) return [{ why: 'a difference that is not listed', ...told }];
  seen.add(one.kind);
  return listed.holds(theirs, ours) ? [] : [{ why: 'another difference than the one listed', ...told }];
}

function isSame({ free }, theirs, ours) {
  if (theirs.closed !== ours.closed || theirs.packages.length !== ours.packages.length) return false;
  return theirs.packages.every((bytes, at) => bytes.equals(ours.packages[at]) || (free && isSameValue(bytes, ours.packages[at])));
}

/** Whether two answers differ in nothing but how their JSON is written. */
function isSameValue(one, other) {
  const parts = (bytes) => {
    const at = bytes.indexOf('{');
    return [bytes.subarray(4, at).toString('hex'), sorted(JSON.parse(bytes.subarray(at)))];
  };
  return JSON.stringify(parts(one)) === JSON.stringify(parts(other));
}

function sorted(value) {
  if (Array.isArray(value)) return value.map(sorted);
  if (value === null || typeof value !== 'object') return value;
  return Object.entries(value).sort(([one], [other]) => (one < other ? -1 : 1)).map(([name, item]) => [name, sorted(item)]);
}

/** How a client may write a typed body here. */
function encoders({ protos }) {
  if (!protos) return [(route, body) => body];
  return Object.values(builds).map((build) => {
    const { protobuf } = build();
    protobuf.init({ encoderProtos: protos.client, decoderProtos: protos.server });
    return (route, body) => Buffer.from(protobuf.encode(route, body));
  });
}
