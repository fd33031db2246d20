'use strict';

const { crc32 } = require('crc');

exports.default = (app) => ({
  /** Names the connector that `uid` goes to. */
  async queryEntry({ uid }) {
    const connectors = app.getServersByType('connector');
    if (!uid || !connectors?.length) return { code: 500 };
    const { host, clientPort } = connectors[Math.abs(crc32(uid)) % connectors.length];
    return { code: 200, host, port: clientPort };
  },
});
