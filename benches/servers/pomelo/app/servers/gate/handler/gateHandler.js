'use strict';

const { crc32 } = require('crc');

module.exports = (app) => ({
  /** Names the connector that `uid` goes to. */
  queryEntry({ uid }, session, next) {
    const connectors = app.getServersByType('connector');
    if (!uid || !connectors?.length) return next(null, { code: 500 });
    const { host, clientPort } = connectors[Math.abs(crc32(uid)) % connectors.length];
    next(null, { code: 200, host, port: clientPort });
  },
});
