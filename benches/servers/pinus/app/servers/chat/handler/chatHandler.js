'use strict';

exports.default = (app) => ({
  /** Says something to everybody in the room, or to one of them. */
  async send({ content, target }, session) {
    const rid = session.get('rid');
    const [from] = session.uid.split('*');
    const channel = app.get('channelService').getChannel(rid, false);
    const said = { msg: content, from, target };
    if (target === '*') {
      channel.pushMessage('onChat', said);
    } else {
      const uid = `${target}*${rid}`;
      const member = channel.getMember(uid);
      if (!member) return { code: 500 };
      app.get('channelService').pushMessageByUids('onChat', said, [{ uid, sid: member.sid }]);
    }
    return {};
  },

  async echo({ d }) {
    return { d };
  },
});
