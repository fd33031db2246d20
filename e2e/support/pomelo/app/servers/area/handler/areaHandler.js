const absent = require('../../../absent');

module.exports = { echo: absent, push: absent, kick: absent, fail: absent, who: absent };
