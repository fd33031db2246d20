'use strict';

exports.default = (app) => ({
  /** Lets a user into a room, and answers who is there. */
  async enter({ username, rid }, session) {
    const uid = `${username}*${rid}`;
    if (app.get('sessionService').getByUid(uid)) return { code: 500, error: true };
    await session.abind(uid);
    session.set('rid', rid);
    await session.apush('rid');
    session.on('closed', (session) => {
      app.rpc.chat.chatRemote.kick(session, uid, app.get('serverId'), rid);
    });
    const users = await app.rpc.chat.chatRemote.add(session, uid, app.get('serverId'), rid, true);
    return { users };
  },

  async echo({ d }) {
    return { d };
  },
});
