/** As much of `node:assert/strict` as the client's tests use, in a page. */

export default { ok, equal, deepEqual, match, rejects, throws };

function ok(value, message = 'not so') {
  if (!value) throw new Error(message);
}

function equal(actual, expected, message = '') {
  ok(Object.is(actual, expected), `${message} ${text(actual)} is not ${text(expected)}`);
}

function deepEqual(actual, expected, message = '') {
  ok(isSame(actual, expected), `${message} ${text(actual)} is not ${text(expected)}`);
}

function match(string, pattern) {
  ok(pattern.test(string), `${text(string)} does not match ${pattern}`);
}

async function rejects(promise, expected) {
  const [error] = await promise.then(
    () => [],
    (rejected) => [rejected],
  );
  check(error, expected);
}

function throws(run, expected) {
  let error;
  try {
    run();
  } catch (thrown) {
    error = thrown;
  }
  check(error, expected);
}

/** @param {RegExp | Function} expected a pattern, a class, or what says true of it */
function check(error, expected) {
  ok(error !== undefined, `no error, where ${expected} was expected`);
  if (expected instanceof RegExp) match(String(error), expected);
  else if (expected.prototype instanceof Error) ok(error instanceof expected, `${error?.stack} is no ${expected.name}`);
  else ok(expected(error) === true, `${error?.stack} is another error`);
}

function isSame(a, b) {
  if (Object.is(a, b)) return true;
  if (typeof a !== 'object' || typeof b !== 'object' || a === null || b === null) return false;
  if (Object.getPrototypeOf(a) !== Object.getPrototypeOf(b)) return false;
  const [left, right] = [Object.keys(a), Object.keys(b)];
  return left.length === right.length && left.every((key) => Object.hasOwn(b, key) && isSame(a[key], b[key]));
}

function text(value) {
  return JSON.stringify(value) ?? String(value);
}
