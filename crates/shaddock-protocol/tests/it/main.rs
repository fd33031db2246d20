//! What the wire promises.

mod client;
mod limits;
mod protos;
mod server;
mod texts;
mod vectors;

mod fuzz_targets;
mod properties;
