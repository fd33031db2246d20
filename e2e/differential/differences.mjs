/**
 * Where Shaddock means to differ from the original, by the kind of case: why, and how.
 *
 * A case of such a kind has to differ, and in this way.
 */

/** What came, without the heads of the packages. */
const texts = ({ packages }) => packages.map((bytes) => bytes.toString('utf8', 4));
const bodies = (heard) => texts(heard).map((text) => text.replace(/^[^{]*/s, ''));

/** The original says nothing, we say that it went wrong. */
const answered = (theirs, ours) => theirs.packages.length === 0 && `${bodies(ours)}` === '{"code":500}';

const escape = (half) => `\\u${half.charCodeAt(0).toString(16).toUpperCase()}`;
const escaped = (text) => text.replace(/[\ud800-\udfff]/g, escape);

/** The same, but for characters that pages would read wrongly. */
const isEscaped = (theirs, ours) => `${texts(ours)}` === escaped(`${texts(theirs)}`);

/** We answer what came too early for the original. */
const answeredEarly = (theirs, ours) => theirs.packages.length === 1 && `${bodies(ours)}` === ',{"code":200,"body":1}';

/** The original sends what its clients without protobuf can read, we say that it went wrong. */
const refused = (theirs, ours) => theirs.packages.length === 1 && `${bodies(ours)}` === '{"code":500}';

/** The original closes, we don't. */
const goesOn = (theirs, ours) => theirs.closed && !ours.closed;

const EVERY_REQUEST = 'every request is answered, so that no client waits for ever';
const EARLY = 'what a client says before it was welcomed is kept until it is, instead of being lost';
const ONE_STREAM = 'WebSocket messages are a stream of bytes: one may hold two packages, or none';
const UNFIT = 'an answer that does not fit the schema of its route is an error where it is made, whoever asks: whom it is encoded for gets an empty body of the original';
const WIDE = 'characters above U+FFFF go out as escapes: pages read them wrongly otherwise';

export const differences = {
  'a route without a dot': { why: EVERY_REQUEST, holds: answered },
  'a code that nobody has': { why: EVERY_REQUEST, holds: answered },
  'the code 0': { why: EVERY_REQUEST, holds: answered },
  'a code without a dictionary': { why: EVERY_REQUEST, holds: answered },
  'a method that every object has': { why: EVERY_REQUEST, holds: answered },
  'characters above U+FFFF': { why: WIDE, holds: isEscaped },
  'a push of characters above U+FFFF': { why: WIDE, holds: isEscaped },
  'characters above U+FFFF as pages write them': {
    why: 'pages write each half of such a character by itself: the halves are joined',
    holds: (theirs, ours) => `${bodies(theirs)}`.includes('a\ufffd') && `${bodies(ours)}`.includes('"a\\uD83D\\uDE00"'),
  },
  'characters above U+FFFF in protobuf': {
    why: 'the halves are joined, and sent as UTF-8 to whoever is not a page',
    holds: (theirs, ours) => `${theirs.packages}`.includes('a\ufffd') && `${ours.packages}`.includes('a😀'),
  },
  'a signed echo of characters above U+FFFF': { why: WIDE, holds: isEscaped },
  'signed Chinese, as any other text': {
    why: "Chinese signed like other text is right too; the original takes its own clients' way only",
    holds: (theirs, ours) => theirs.packages.length === 0 && /^{"code":200,"body":"你好\d"}$/.test(bodies(ours)),
  },
  'half a character': {
    why: 'text is Unicode, and a half is none: it becomes U+FFFD',
    holds: (theirs, ours) => `${bodies(theirs)}`.includes('"a\\ud83d"') && `${bodies(ours)}`.includes('"a\ufffd"'),
  },
  'an answer that does not fit': { why: UNFIT, holds: refused },
  'a push that does not fit': {
    why: 'who pushes is told, and nothing is sent, where the original sends an empty body',
    holds: (theirs, ours) => theirs.packages.length === 2 && `${bodies(ours)}` === '{"code":500}',
  },
  'a push that is null': {
    why: 'null is a body like any other; the original drops it and says that it was sent',
    holds: (theirs, ours) => theirs.packages.length === 1 && ours.packages.length === 2 && `${ours.packages[0]}`.endsWith('null'),
  },
  // Steps of what was recorded, counted from 0.
  'tr-preack step 3': { why: EARLY, holds: answeredEarly },
  'tr-data-first step 3': { why: EARLY, holds: answeredEarly },
  'tr-two-in-frame step 2': { why: ONE_STREAM, holds: goesOn },
  'tr-empty-frame step 2': { why: ONE_STREAM, holds: goesOn },
  'tr-results step 6': { why: UNFIT, holds: refused },
  'tr-results step 8': { why: UNFIT, holds: refused },
  'tr-errors step 7': { why: EVERY_REQUEST, holds: answered },
  'tr-errors step 8': { why: EVERY_REQUEST, holds: answered },
  'tr-errors step 9': { why: EVERY_REQUEST, holds: answered },
  'tr-full-traffic step 12': { why: EVERY_REQUEST, holds: answered },
  'tr-full-traffic step 13': { why: EVERY_REQUEST, holds: answered },
};
