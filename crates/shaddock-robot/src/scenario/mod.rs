//! What clients do.

pub(crate) mod chat;
pub(crate) mod echo;
pub(crate) mod idle;
pub(crate) mod login;
pub(crate) mod soak;
pub(crate) mod storm;
