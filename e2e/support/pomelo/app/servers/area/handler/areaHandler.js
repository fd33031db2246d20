/** What a back-end can do to a client, as wirelab's `area.areaHandler`. */

const testHandler = require('../../connector/handler/testHandler');

module.exports = (app) => {
  const { echo, push, kick, fail } = testHandler(app);
  return {
    echo,
    push,
    kick,
    fail,

    who(message, session, next) {
      next(null, { code: 200, uid: session.uid ?? null, sid: session.frontendId, server: 'area-server-1' });
    },
  };
};
