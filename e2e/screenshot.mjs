/** Draws two people chatting: `node screenshot.mjs picture.png`. Runs `CHAT_BIN`, or uses a chat that runs. */

import { heard, join, launch, person, say } from './support/browser.mjs';
import { startChat } from './support/chat.mjs';

const [, , file] = process.argv;
if (!file) {
  console.error('usage: node screenshot.mjs picture.png');
  process.exit(2);
}

const chat = await startChat();
if (chat.missing) process.exit(1);
const browser = await launch();
try {
  const [mina, tom] = [await person(browser, { height: 720 }), await person(browser)];
  await join(mina, 'mina', 'orchard');
  await join(tom, 'tom', 'orchard');
  const talk = [
    [tom, 'Is this thing on?'],
    [mina, 'Loud and clear Welcome to the orchard.'],
    [tom, 'Three connectors, three chat servers, and one command started all of them. Which one am I on?'],
    [mina, 'The gate picks one by your name, and the room does not care: we meet here anyway.'],
    [mina, 'Psst: lunch at noon? 😀', 'tom'],
    [tom, 'Yes! 😄'],
  ];
  for (const [speaker, text, to] of talk) {
    await say(speaker, text, to ?? '*');
    await heard(mina, text);
  }
  await mina.getByLabel('Message', { exact: true }).fill('See you there');
  await mina.evaluate(() => Promise.all(document.getAnimations().map((animation) => animation.finished)));
  await mina.screenshot({ path: file });
} finally {
  await browser.close();
  await chat.stop();
}
