'use strict';

module.exports = (app) => {
  const names = (channel) => channel.getMembers().map((uid) => uid.split('*')[0]);
  return {
    add(uid, sid, rid, flag, done) {
      const channel = app.get('channelService').getChannel(rid, flag);
      channel.pushMessage({ route: 'onAdd', user: uid.split('*')[0] });
      channel.add(uid, sid);
      done(null, names(channel));
    },

    kick(uid, sid, rid, done) {
      const channel = app.get('channelService').getChannel(rid, false);
      if (channel) {
        channel.leave(uid, sid);
        channel.pushMessage({ route: 'onLeave', user: uid.split('*')[0] });
      }
      done(null);
    },
  };
};
