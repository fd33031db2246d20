//! Servers calling one another: remotes and their typed clients.
//!
//! `#[remote]` turns a trait into both sides. What it writes uses the items here, and nothing else.

pub(crate) mod caller;
pub(crate) mod client;
pub(crate) mod envelope;
pub(crate) mod forward;
pub(crate) mod service;

pub use bytes::Bytes;
pub use client::{RemoteClient, Rpc, Target, TargetAll};
pub use service::{Remote, RemoteService, decode_args, encode_result};
