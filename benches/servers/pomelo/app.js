/** The chat on pomelo: a master, which starts a gate, three connectors and three chat servers. */
'use strict';

const { crc32 } = require('crc');
const pomelo = require('pomelo');

const app = pomelo.createApp();
app.set('name', 'chat');

app.configure('production', 'gate', () => {
  app.set('connectorConfig', { connector: pomelo.connectors.hybridconnector });
});
app.configure('production', 'connector', () => {
  app.set('connectorConfig', { connector: pomelo.connectors.hybridconnector, heartbeat: 3, useDict: true });
});
app.configure('production', () => {
  app.route('chat', (session, message, app, choose) => {
    const servers = app.getServersByType('chat');
    if (!servers?.length) return choose(new Error('no chat server'));
    choose(null, servers[Math.abs(crc32(session.get('rid'))) % servers.length].id);
  });
});

app.start();
process.on('uncaughtException', (error) => console.error(error.stack));
