'use strict';

module.exports = (app) => ({
  /** Lets a user into a room, and answers who is there. */
  enter({ username, rid }, session, next) {
    const uid = `${username}*${rid}`;
    if (app.get('sessionService').getByUid(uid)) return next(null, { code: 500, error: true });
    session.bind(uid, (error) => {
      if (error) return next(error);
      session.set('rid', rid);
      session.push('rid', (error) => {
        if (error) return next(error);
        session.on('closed', (session) => {
          app.rpc.chat.chatRemote.kick(session, uid, app.get('serverId'), rid, () => {});
        });
        app.rpc.chat.chatRemote.add(session, uid, app.get('serverId'), rid, true, (error, users) => {
          next(error, { users });
        });
      });
    });
  },

  echo({ d }, session, next) {
    next(null, { d });
  },
});
