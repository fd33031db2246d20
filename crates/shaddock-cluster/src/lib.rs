//! How Shaddock's servers find and reach each other.
//!
//! A server enters the cluster as a [`Node`], over an [`Engine`] that moves bytes: [`memory::Memory`] inside
//! one process, or another crate's between machines. It asks another server with [`Node::call`], tells it
//! something with [`Node::cast`], sees who is there in [`Members`], and takes what arrives through
//! [`Receive`]. What the bytes mean is not known here.
//!
//! ```
//! use std::sync::Arc;
//!
//! use bytes::Bytes;
//! use shaddock_cluster::memory::Memory;
//! use shaddock_cluster::{Answer, Config, Node, Peer, Receive};
//! use tokio::time::{Duration, Instant};
//!
//! struct Shout;
//!
//! impl Receive for Shout {
//!     fn call(&self, _from: &Peer, payload: Bytes, answer: Answer) {
//!         let _ = answer.send(payload.to_ascii_uppercase());
//!     }
//!     fn cast(&self, _from: &Peer, _payload: Bytes) {}
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let engine = Memory::new();
//! let join = async |id: &str, kind: &str| {
//!     let config = Config::new(id.parse()?, kind.parse()?);
//!     let node = Node::join(engine.clone(), config, Arc::new(Shout), |task| drop(tokio::spawn(task))).await?;
//!     Ok::<Node, Box<dyn std::error::Error>>(node)
//! };
//! let _chat = join("chat-1", "chat").await?;
//! let gate = join("gate-1", "gate").await?;
//!
//! let chat = gate.pick(&"chat".parse()?, b"lobby").ok_or("no chat server")?;
//! let answer = gate.call(&chat.id, "hello", Instant::now() + Duration::from_secs(5)).await?;
//! assert_eq!(answer, "HELLO");
//! # Ok(()) }
//! ```

mod engine;
mod ids;
pub mod memory;
mod store;

mod calls;
mod config;
mod directory;
mod error;
mod frame;
mod inner;
mod join;
mod members;
mod node;
mod pick;
mod receive;
mod roster;
mod run;
mod subjects;
mod task;
pub mod trampoline;
mod unsent;

#[cfg(feature = "contract")]
pub mod contract;

pub use self::config::{Config, Timings};
pub use self::directory::{Claim, ClaimError, Directory};
pub use self::engine::{
    Back, BoxFuture, Delivery, Engine, EngineError, Feed, Link, Pattern, PublishError, Source,
    Subject, Subscription,
};
pub use self::error::{CallError, CallFailure, CastError, CastFailure, JoinError};
pub use self::ids::{Boot, ClusterName, Kind, NameError, Peer, ServerId};
pub use self::members::{Member, Members, Meta, State};
pub use self::node::{Call, Node, Stats};
pub use self::pick::{hash, rendezvous};
pub use self::receive::{Answer, Event, Receive};
pub use self::store::{Change, Entry, Store, StoreError, Watch, check_key};
