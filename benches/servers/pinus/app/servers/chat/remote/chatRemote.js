'use strict';

exports.default = (app) => {
  const names = (channel) => channel.getMembers().map((uid) => uid.split('*')[0]);
  return {
    async add(uid, sid, rid, flag) {
      const channel = app.get('channelService').getChannel(rid, flag);
      channel.pushMessage('onAdd', { route: 'onAdd', user: uid.split('*')[0] });
      channel.add(uid, sid);
      return names(channel);
    },

    async kick(uid, sid, rid) {
      const channel = app.get('channelService').getChannel(rid, false);
      if (!channel) return;
      channel.leave(uid, sid);
      channel.pushMessage('onLeave', { route: 'onLeave', user: uid.split('*')[0] });
    },
  };
};
