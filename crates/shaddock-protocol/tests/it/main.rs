//! What the wire promises.

mod client;
mod datagrams;
mod limits;
mod mqtt;
mod protos;
mod server;
mod signature;
mod socketio;
mod texts;
mod vectors;

mod fuzz_dialects;
mod fuzz_targets;
mod properties;
