/** What a server can do to a client, as wirelab's `connector.testHandler`. */

const said = require('../../../said');

const KICKED_AFTER = 50;

module.exports = (app) => ({
  echo(message, session, next) {
    if (typeof message !== 'object') next(new Error('no object'));
    else next(null, { code: 200, body: message.body });
  },

  delay({ ms, n }, session, next) {
    setTimeout(() => next(null, { code: 200, n }), ms);
  },

  bind({ uid }, session, next) {
    if (session.uid) next(new Error('bound already'), { code: 500, uid: session.uid });
    else session.bind(uid, (error) => next(error, { code: 200, uid }));
  },

  push({ route, body }, session, next) {
    if (!session.uid) return next(new Error('not bound'));
    const to = [{ uid: session.uid, sid: session.frontendId }];
    app.get('channelService').pushMessageByUids(route, body, to, (error) => next(error, { code: 200 }));
  },

  kick({ reason }, session, next) {
    setTimeout(() => app.get('sessionService').kickBySessionId(session.id, reason ?? 'kick'), KICKED_AFTER);
    next(null, { code: 200 });
  },

  note({ n }, session, next) {
    session.set('notes', [...(session.get('notes') ?? []), n]);
    session.push('notes', (error) => {
      if (error || !session.uid) return next(error);
      const to = [{ uid: session.uid, sid: session.frontendId }];
      app.get('channelService').pushMessageByUids('onNote', { n }, to, next);
    });
  },

  notes(message, session, next) {
    next(null, { code: 200, notes: session.get('notes') ?? [] });
  },

  fail(message, session, next) {
    next(new Error('asked to fail'));
  },

  failWith(message, session, next) {
    next(new Error('asked to fail'), { code: 501, msg: 'custom' });
  },

  failBody(message, session, next) {
    next(new Error('asked to fail'), { msg: 'no code' });
  },

  empty(message, session, next) {
    next(null);
  },

  json(message, session, next) {
    next(null, { code: 200, json: JSON.stringify(said(message)) });
  },
});
