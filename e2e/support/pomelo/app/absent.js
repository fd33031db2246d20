/** A handler that is here for its code in the dictionary only. */
module.exports = function absent(message, session, next) {
  next(new Error('not to be called here'));
};
