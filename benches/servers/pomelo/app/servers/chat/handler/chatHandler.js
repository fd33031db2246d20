'use strict';

module.exports = (app) => ({
  /** Says something to everybody in the room, or to one of them. */
  send({ content, target }, session, next) {
    const rid = session.get('rid');
    const [from] = session.uid.split('*');
    const channel = app.get('channelService').getChannel(rid, false);
    const said = { msg: content, from, target };
    if (target === '*') {
      channel.pushMessage('onChat', said);
    } else {
      const uid = `${target}*${rid}`;
      const member = channel.getMember(uid);
      if (!member) return next(null, { code: 500 });
      app.get('channelService').pushMessageByUids('onChat', said, [{ uid, sid: member.sid }]);
    }
    next(null, {});
  },

  echo({ d }, session, next) {
    next(null, { d });
  },
});
