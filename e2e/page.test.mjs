/** The chat's page, as people use it: two of them, at a desk and on a phone. */

import assert from 'node:assert/strict';
import path from 'node:path';
import { after, before, describe, test } from 'node:test';

import { browserIsMissing, heard, join, launch, person, pictures, say } from './support/browser.mjs';
import { startChat } from './support/chat.mjs';

const DESK = { width: 1280, height: 800 };
const PHONE = { width: 360, height: 740, colorScheme: 'dark' };

const skip = browserIsMissing();
let chat = skip ? { missing: skip, stop() {} } : await startChat();
let browser;

before(async () => {
  if (!chat.missing) browser = await launch();
});
after(async () => {
  await browser?.close();
  await chat.stop();
});

let rooms = 0;
/** A room that nobody else is in. */
const newRoom = () => `page${process.pid}_${(rooms += 1)}`;
const picture = (page, name) => page.screenshot({ path: path.join(pictures, `${name}.png`) });

/** Two people in a room of their own; closed after the test. */
async function two(t, room = newRoom()) {
  const [py, ai] = [await person(browser, DESK), await person(browser, PHONE)];
  t.after(() => Promise.all([py.context().close(), ai.context().close()]));
  await join(py, 'py', room);
  await join(ai, '艾', room);
  await py.getByRole('status').getByText('艾 is here now.').waitFor();
  return { py, ai, room };
}

async function one(t, look) {
  const page = await person(browser, look);
  t.after(() => page.context().close());
  return page;
}

describe('the page', { skip: chat.missing }, () => {
  test('two people talk in Chinese and with emoji', async (t) => {
    const { py, ai } = await two(t);
    await say(py, 'Hello 你好 😀👩‍👩‍👧');
    await say(ai, '你好，我在手机上 🍈');
    for (const page of [py, ai]) {
      assert.match(await (await heard(page, 'Hello 你好 😀👩‍👩‍👧')).innerText(), /py says to all:\s*\d\d:\d\d/);
      assert.match(await (await heard(page, '你好，我在手机上 🍈')).innerText(), /艾 says to all:/);
    }
    assert.equal(await py.getByLabel('Message', { exact: true }).inputValue(), '', 'the entry line is empty after the answer');
    await py.getByRole('status').getByText('艾 is saying something.').waitFor();
    await picture(py, 'desk');
    await picture(ai, 'phone');
    assert.deepEqual([...py.errors, ...ai.errors], []);
  });

  test('the choice of people has all first, then everybody', async (t) => {
    const { py, ai, room } = await two(t);
    const options = (page) => page.getByLabel('To').locator('option').allInnerTexts();
    assert.deepEqual(await options(py), ['all', 'py', '艾']);
    assert.deepEqual((await options(ai)).toSorted(), ['all', 'py', '艾'].toSorted());
    assert.equal(await py.locator('#room-name').innerText(), room);
    assert.equal(await ai.locator('#user-name').innerText(), '艾');
  });

  test('a message to one is seen by the two alone', async (t) => {
    const { py, ai, room } = await two(t);
    const bo = await one(t);
    await join(bo, 'bo', room);
    await say(py, 'between us', '艾');
    for (const page of [py, ai]) assert.match(await (await heard(page, 'between us')).innerText(), /py says to 艾:/);
    await say(py, 'for all', '*');
    await heard(bo, 'for all');
    assert.equal(await bo.getByRole('listitem').filter({ hasText: 'between us' }).count(), 0);
    await say(py, 'to myself', 'py');
    await heard(py, 'to myself');
    await say(py, 'the end', '*');
    await heard(py, 'the end');
    assert.equal(await py.getByRole('log').getByText('to myself').count(), 1);
  });

  test('HTML stays text', async (t) => {
    const { py, ai } = await two(t);
    const text = '<img src=x onerror="document.title=1"><b>bold</b> &amp; </li>';
    await say(py, text);
    for (const page of [py, ai]) {
      assert.equal(await (await heard(page, '<img')).locator('.text').innerText(), text);
      assert.equal(await page.locator('#messages img, #messages b').count(), 0);
    }
  });

  test('what can not be a name or a channel is said on the page', async (t) => {
    const page = await one(t, PHONE);
    const tries = [
      ['', 'room', /enter a name/],
      ['py', '', /enter a channel/],
      ['a*b', 'room', /name can only have letters, digits, Chinese characters and _/],
      ['py', '<b>', /channel can only have/],
      ['x'.repeat(21), 'room', /name is too long/],
      ['😀', 'room', /name can only have/],
    ];
    for (const [name, room, wrong] of tries) {
      await page.getByLabel('Your name').fill(name);
      await page.getByLabel('Channel').fill(room);
      await page.getByRole('button', { name: 'Join' }).click();
      assert.match(await page.getByRole('alert').filter({ hasText: wrong }).innerText(), wrong);
      assert.equal(await page.locator('[aria-invalid=true]').count(), 1);
    }
    await picture(page, 'refused');
    await join(page, '甲_1', newRoom());
  });

  test('a name that is taken is said, and another one goes', async (t) => {
    const { room } = await two(t);
    const page = await one(t);
    await page.getByLabel('Your name').fill('py');
    await page.getByLabel('Channel').fill(room);
    await page.getByRole('button', { name: 'Join' }).click();
    await page.getByRole('alert').filter({ hasText: /called py is in .* already/ }).waitFor();
    await join(page, 'py2', room);
  });

  test('who leaves is missed, and the one they were talking to is not given away', async (t) => {
    const { py, ai, room } = await two(t);
    await py.getByLabel('To').selectOption('艾');
    await ai.getByRole('button', { name: 'Leave' }).click();
    await ai.getByLabel('Your name').waitFor();
    await py.getByRole('status').getByText('艾 has left.').waitFor();
    await say(py, 'are you there?');
    await py.getByRole('alert').filter({ hasText: '艾 has left. Choose somebody else' }).waitFor();
    assert.equal(await py.getByRole('log').getByText('are you there?').count(), 0);
    await join(ai, '艾', room); // at once, on the same page: nothing is left of the first visit
    assert.equal(await ai.getByRole('log').getByRole('listitem').count(), 0);
    await py.getByRole('status').getByText('艾 is here now.').waitFor();
    await say(py, 'welcome back', '艾');
    await heard(ai, 'welcome back');
    await py.getByRole('button', { name: 'Leave' }).click();
    await join(py, 'py', newRoom());
    assert.equal(await py.getByLabel('To').inputValue(), '*', 'in another room one begins with all');
  });

  test('all of it goes by keyboard', async (t) => {
    const page = await one(t, DESK);
    const focused = () => page.evaluate(() => document.activeElement.id || document.activeElement.textContent);
    assert.equal(await focused(), 'name', 'one can type at once');
    await page.keyboard.type('keys');
    await page.keyboard.press('Tab');
    await page.keyboard.type(newRoom());
    await page.keyboard.press('Enter');
    await page.getByRole('log').waitFor();
    assert.equal(await focused(), 'entry');
    await page.keyboard.type('typed');
    await page.keyboard.press('Enter');
    await heard(page, 'typed');
    await page.keyboard.press('Shift+Tab');
    assert.equal(await focused(), 'target');
    await page.keyboard.press('ArrowDown');
    assert.equal(await page.getByLabel('To').inputValue(), 'keys');
    await page.keyboard.press('Shift+Tab');
    assert.equal(await focused(), 'messages', 'the history can be scrolled by keys');
    await page.keyboard.press('Shift+Tab');
    assert.equal(await focused(), 'leave');
    await page.keyboard.press('Enter');
    assert.equal(await focused(), 'name');
  });

  test('blank lines are not sent, and long words do not widen the page', async (t) => {
    const { py, ai } = await two(t);
    await say(py, '   ');
    await say(py, 'w'.repeat(500));
    await heard(ai, 'wwww');
    assert.equal(await ai.getByRole('log').getByRole('listitem').count(), 1);
    for (const page of [py, ai]) {
      const [wide, seen] = await page.evaluate(() => [document.documentElement.scrollWidth, innerWidth]);
      assert.ok(wide <= seen, `${wide} px wide, ${seen} px seen`);
    }
  });

  test('the history follows what is said, but not while one reads further up', async (t) => {
    const { py, ai } = await two(t);
    for (let n = 1; n <= 30; n++) {
      await say(py, `line ${n}.`);
      await heard(py, `line ${n}.`);
    }
    const gap = () => ai.locator('#messages').evaluate((list) => list.scrollHeight - list.scrollTop - list.clientHeight);
    await heard(ai, 'line 30.');
    assert.ok((await gap()) < 2);
    await ai.locator('#messages').evaluate((list) => (list.scrollTop = 0));
    await say(py, 'more');
    await heard(ai, 'more');
    assert.equal(await ai.locator('#messages').evaluate((list) => list.scrollTop), 0);
  });

  test('a gate that is gone is a sentence, and one can try again', async (t) => {
    const page = await one(t);
    await page.evaluate(() => (document.documentElement.dataset.gatePort = '1'));
    await page.getByLabel('Your name').fill('py');
    await page.getByLabel('Channel').fill(newRoom());
    await page.getByRole('button', { name: 'Join' }).click();
    await page.getByRole('alert').filter({ hasText: 'The server can’t be reached.' }).waitFor();
    await page.evaluate(() => (document.documentElement.dataset.gatePort = '3014'));
    await page.getByRole('button', { name: 'Join' }).click();
    await page.getByRole('log').waitFor();
  });
});

describe('the page without its server', { skip: chat.missing || (!chat.isOurs && 'the chat is not ours to kill') }, () => {
  test('says so, keeps what was said, and goes on when the server is back', async (t) => {
    const { py, ai } = await two(t);
    await say(py, 'before');
    await heard(ai, 'before');
    await chat.kill();
    await py.getByRole('alert').filter({ hasText: 'The connection to the server was lost.' }).waitFor();
    await picture(py, 'lost');
    await picture(ai, 'lost-phone');
    assert.ok(await py.getByLabel('Message', { exact: true }).isDisabled());
    await py.getByRole('button', { name: 'Rejoin' }).click();
    await py.getByRole('alert').filter({ hasText: 'The server can’t be reached.' }).waitFor();

    chat = await startChat();
    for (const page of [py, ai]) {
      await page.keyboard.press('Enter'); // the button has the focus
      await page.getByRole('button', { name: 'Rejoin' }).waitFor({ state: 'hidden' });
    }
    await say(ai, 'after');
    await heard(py, 'after');
    await heard(py, 'before');
  });
});
