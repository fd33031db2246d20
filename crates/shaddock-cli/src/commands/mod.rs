//! One file for each command.

pub(crate) mod check;
pub(crate) mod routes;
pub(crate) mod start;
