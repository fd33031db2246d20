/** Bodies with a schema, as wirelab's `connector.protoHandler`. */

const said = require('../../../said');

module.exports = {
  echo(message, session, next) {
    next(null, said(message));
  },

  json(message, session, next) {
    next(null, { code: 200, json: JSON.stringify(said(message)) });
  },
};
