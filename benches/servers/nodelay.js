/** Preloaded, it sends what every socket of the process is given at once: pomelo leaves Nagle's algorithm on between servers. */
'use strict';

const net = require('net');

const { connect } = net.Socket.prototype;
net.Socket.prototype.connect = function (...how) {
  this.once('connect', () => this.setNoDelay(true));
  return connect.apply(this, how);
};

const { emit } = net.Server.prototype;
net.Server.prototype.emit = function (event, socket, ...rest) {
  if (event === 'connection') socket.setNoDelay?.(true);
  return emit.call(this, event, socket, ...rest);
};
