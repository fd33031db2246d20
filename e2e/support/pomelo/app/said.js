/** What a client said, without the member that pomelo adds to it. */
module.exports = function said(message) {
  delete message.__route__;
  return message;
};
