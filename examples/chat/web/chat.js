/**
 * The chat's page: a login view, and a view of the room one is in.
 *
 * What people are called and what they say is shown as text, never as HTML: it goes through `textContent`.
 */

import { ClosedError, ConnectError, TimeoutError, connect } from './shaddock.js';

/** The target that means everybody in the room. */
const ALL = '*';
const ALLOWED = /^[a-zA-Z0-9_\u4e00-\u9fa5]+$/;
const LONGEST_NAME = 20;
const NOTICE_LASTS = 6_000;
const MOST_NOTICES = 3;

/** A sentence for the user: what is wrong and what to do. */
class Sorry extends Error {}

/**
 * @typedef {object} Seat where this user sits
 * @property {import('./shaddock.js').Client} client
 * @property {string} name
 * @property {string} room
 * @property {Set<string>} users everybody in the room, this user too
 */

/** @type {Seat | undefined} */
let seat;
/** Counts joins and leaves, so that a join which was overtaken knows. */
let visits = 0;
let unread = 0;

const byId = (/** @type {string} */ id) => /** @type {any} */ (document.getElementById(id));
const [login, chat, messages, target, entry, lost] = ['login', 'chat', 'messages', 'target', 'entry', 'lost'].map(byId);

// ---- Joining and leaving

byId('login-form').addEventListener('submit', async (/** @type {Event} */ event) => {
  event.preventDefault();
  const name = byId('name').value.trim();
  const room = byId('channel').value.trim();
  const wrong = [checked('name', name, 'name'), checked('channel', room, 'channel')].find(Boolean);
  byId('login-error').textContent = wrong ?? '';
  if (wrong) {
    /** @type {HTMLElement} */ (document.querySelector('[aria-invalid=true]')).focus();
    return;
  }
  for (const former of [messages, target, byId('notices')]) former.replaceChildren();
  entry.value = '';
  await busy(byId('join'), 'Joining…', async () => {
    try {
      await join(name, room);
      show(chat);
      entry.focus();
    } catch (error) {
      byId('login-error').textContent = sentence(error);
    }
  });
});

byId('rejoin').addEventListener('click', () =>
  busy(byId('rejoin'), 'Rejoining…', async () => {
    const { name, room } = /** @type {Seat} */ (seat);
    try {
      await join(name, room);
      entry.focus();
    } catch (error) {
      byId('lost-sentence').textContent = sentence(error);
    }
  }),
);

byId('leave').addEventListener('click', () => {
  visits += 1;
  unread = 0;
  seat?.client.disconnect();
  seat = undefined;
  show(login);
  byId('name').focus();
});

/**
 * What is wrong with a name, if anything; marks its field.
 *
 * @param {string} id
 * @param {string} value
 * @param {string} what
 */
function checked(id, value, what) {
  let wrong;
  if (value === '') wrong = `Please enter a ${what}.`;
  else if (LONGEST_NAME < value.length) wrong = `This ${what} is too long: ${LONGEST_NAME} characters at most.`;
  else if (!ALLOWED.test(value)) wrong = `A ${what} can only have letters, digits, Chinese characters and _.`;
  byId(id).setAttribute('aria-invalid', String(wrong !== undefined));
  return wrong;
}

/**
 * Takes a seat in the room, or throws and leaves everything as it was.
 *
 * @param {string} name
 * @param {string} room
 */
async function join(name, room) {
  const visit = (visits += 1);
  const client = await connect(await findConnector(name));
  /** @type {Seat} */
  const next = { client, name, room, users: new Set() };
  /** @type {() => void} */
  let sitDown = () => {};
  const seated = new Promise((resolve) => (sitDown = () => resolve(undefined)));
  // Listened to before entering and told after it: who comes, goes or speaks meanwhile is not missed.
  const listen = (/** @type {string} */ event, /** @type {(here: Seat, body: any) => void} */ listener) =>
    client.on(event, (body) => seated.then(() => seat === next && listener(next, body)));
  listen('onAdd', came);
  listen('onLeave', went);
  listen('onChat', heard);
  listen('disconnect', fellOut);
  let answer;
  try {
    answer = await client.request('connector.entryHandler.enter', { username: name, rid: room });
    if (answer.error) throw new Sorry(`Somebody called ${name} is in ${room} already. Choose another name, or try again in a few seconds.`);
    if (!answer.users) throw new Sorry('The server did not let you in. Please try again in a while.');
    if (visit !== visits) throw new Sorry('You left in the meantime.');
  } catch (error) {
    client.disconnect();
    throw error;
  }
  next.users = new Set(answer.users);
  seat = next;
  sitDown();
  byId('room-name').textContent = room;
  byId('user-name').textContent = name;
  lost.hidden = true;
  byId('say-error').textContent = '';
  setAble(true);
  showUsers();
  showTitle();
}

/**
 * Asks the gate which connector serves this user. The gate is on the page's host.
 *
 * @param {string} uid
 */
async function findConnector(uid) {
  const secure = location.protocol === 'https:';
  const port = Number(new URLSearchParams(location.search).get('gate') ?? document.documentElement.dataset.gatePort);
  const gate = await connect({ host: location.hostname, port, secure });
  try {
    const { code, host, port } = await gate.request('gate.gateHandler.queryEntry', { uid });
    if (code !== 200) throw new Sorry('No server can take you at the moment. Please wait a little and try again.');
    return { host, port, secure };
  } finally {
    gate.disconnect();
  }
}

/**
 * The connection ended and it was not this user's wish.
 *
 * @param {Seat} _here
 * @param {import('./shaddock.js').Ending} ending
 */
function fellOut(_here, ending) {
  const kicked = ending.reason === 'kicked';
  byId('lost-sentence').textContent = kicked
    ? `The server ended your visit${ending.message ? `: ${ending.message}` : ''}. You can come back in.`
    : 'The connection to the server was lost. What was said is still here; rejoin to go on.';
  lost.hidden = false;
  setAble(false);
  byId('rejoin').focus();
}

/**
 * @param {unknown} error
 * @returns {string} what to tell the user about it
 */
function sentence(error) {
  if (error instanceof Sorry) return error.message;
  if (!navigator.onLine) return 'You seem to be offline. Check the network and try again.';
  if (error instanceof TimeoutError) return 'The server did not answer in time. Please try again.';
  if (error instanceof ConnectError) return 'The server can’t be reached. Please try again in a moment.';
  if (error instanceof ClosedError) return 'The connection to the server was lost. Please try again.';
  console.error(error);
  return 'Something went wrong. Please try again.';
}

// ---- In the room

byId('say').addEventListener('submit', async (/** @type {Event} */ event) => {
  event.preventDefault();
  const content = entry.value;
  if (!seat || content.trim() === '' || entry.readOnly) return;
  const to = target.value;
  entry.readOnly = true; // until the answer, so that Enter twice says it once
  try {
    await say(seat, content, to);
    entry.value = '';
    byId('say-error').textContent = '';
  } catch (error) {
    byId('say-error').textContent = sentence(error);
  } finally {
    entry.readOnly = false;
  }
});

/**
 * @param {Seat} from
 * @param {string} content
 * @param {string} to a name, or `*`
 */
async function say({ client, name, room, users }, content, to) {
  if (to !== ALL && !users.has(to)) throw new Sorry(`${to} has left. Choose somebody else to talk to.`);
  const answer = await client.request('chat.chatHandler.send', { rid: room, content, from: name, target: to });
  if (answer.code === 500) throw new Sorry('This was not delivered. Please try again.');
  // What is said to all comes back as a push; what is said to one goes to that one alone.
  if (to !== ALL && to !== name) showMessage({ msg: content, from: name, target: to }, name);
}

/** @type {(here: Seat, push: { user: string }) => void} */
function came(here, { user }) {
  if (here.users.has(user)) return;
  here.users.add(user);
  showUsers();
  notice(`${user} is here now.`);
}

/** @type {(here: Seat, push: { user: string }) => void} */
function went(here, { user }) {
  if (!here.users.delete(user)) return;
  showUsers();
  notice(`${user} has left.`);
}

/** @type {(here: Seat, said: { msg: string, from: string, target: string }) => void} */
function heard(here, said) {
  showMessage(said, here.name);
  if (said.from === here.name) return;
  // Hidden from screen readers, to which the history reads the message itself.
  notice(`${said.from} is saying something.`).setAttribute('aria-hidden', 'true');
  if (document.hidden) unread += 1;
  showTitle();
}

document.addEventListener('visibilitychange', () => {
  if (!document.hidden) unread = 0;
  showTitle();
});

// ---- What is seen

/** @param {HTMLElement} view */
function show(view) {
  login.hidden = view !== login;
  chat.hidden = view !== chat;
  showTitle();
}

function showTitle() {
  const where = seat ? `${seat.room} · Shaddock chat` : 'Shaddock chat';
  document.title = unread === 0 ? where : `(${unread}) ${where}`;
}

/** The list of people and the choice of whom to talk to, which stays as it was. */
function showUsers() {
  const { users, name } = /** @type {Seat} */ (seat);
  const chosen = target.value || ALL;
  const options = [new Option('all', ALL), ...Array.from(users, (user) => new Option(user, user))];
  // Somebody who left stays chosen: what was meant for one must not go to all.
  if (chosen !== ALL && !users.has(chosen)) options.push(new Option(`${chosen} (left)`, chosen));
  target.replaceChildren(...options);
  target.value = chosen;
  byId('people').replaceChildren(...Array.from(users, (user) => element('li', user === name ? 'me' : '', user)));
  byId('people-title').textContent = `Here now: ${users.size}`;
}

/**
 * @param {{ msg: string, from: string, target: string }} said
 * @param {string} me
 */
function showMessage({ msg, from, target: to }, me) {
  const now = new Date();
  const time = element('time', '', now.toLocaleTimeString([], { hour: '2-digit', minute: '2-digit', hourCycle: 'h23' }));
  time.setAttribute('datetime', now.toISOString());
  const head = element('p', 'head', `${from} says to ${to === ALL ? 'all' : to}: `);
  head.append(time);
  const text = element('p', 'text', msg);
  text.dir = 'auto';
  const item = element('li', [from === me ? 'mine' : '', to === ALL ? '' : 'private'].join(' ').trim(), '');
  item.append(head, text);
  const wasAtEnd = messages.scrollHeight - messages.scrollTop - messages.clientHeight < 40;
  messages.append(item);
  // Somebody who has scrolled up to read is left there.
  if (wasAtEnd || from === me) messages.scrollTop = messages.scrollHeight;
}

/** @param {string} text */
function notice(text) {
  const box = byId('notices');
  const note = element('p', '', text);
  for (const old of [...box.children]) if (old.textContent === text) old.remove();
  box.prepend(note);
  while (MOST_NOTICES < box.children.length) box.lastElementChild.remove();
  setTimeout(() => note.remove(), NOTICE_LASTS);
  return note;
}

/** @param {boolean} able whether one can speak */
function setAble(able) {
  for (const control of byId('say').elements) control.disabled = !able;
}

/**
 * Runs `work` once at a time, while the button says what goes on.
 *
 * @param {HTMLButtonElement} button
 * @param {string} text
 * @param {() => Promise<void>} work
 */
async function busy(button, text, work) {
  if (button.getAttribute('aria-disabled') === 'true') return;
  const before = button.textContent;
  button.setAttribute('aria-disabled', 'true'); // not `disabled`, which would lose the focus
  button.textContent = text;
  await work();
  button.removeAttribute('aria-disabled');
  button.textContent = before;
}

/**
 * @param {string} tag
 * @param {string} className
 * @param {string} text
 */
function element(tag, className, text) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.textContent = text;
  return made;
}
