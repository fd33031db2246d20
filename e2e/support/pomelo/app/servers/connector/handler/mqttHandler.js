const absent = require('../../../absent');

module.exports = { publish: absent, subscribe: absent };
