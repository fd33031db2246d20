//! The cluster's engine over NATS: servers in many processes, on many machines.
//!
//! [`Nats::connect`] makes one connection to the brokers, for all servers of a process. It moves bytes as
//! [`Engine`](shaddock_cluster::Engine) promises; [`Store`](shaddock_cluster::Store)s are key-value buckets
//! of JetStream. `nats-server` 2.9 and later will do; 2.11 and later are better at forgetting what was
//! deleted, and at not letting one frozen server slow down the others.
//!
//! ```no_run
//! use shaddock_cluster::Engine;
//! use shaddock_nats::{Login, Nats, Options};
//!
//! # async fn connect() -> Result<(), shaddock_cluster::EngineError> {
//! let engine = Nats::connect(Options {
//!     name: "chat-server-1".to_owned(),
//!     login: Login::Token("a secret".to_owned()),
//!     ..Options::new(["nats://10.0.0.5:4222", "nats://10.0.0.6:4222"])
//! })
//! .await?;
//! assert!(64 * 1024 < engine.max_payload());
//! # Ok(()) }
//! ```
//!
//! # When brokers fail
//!
//! One that does not answer for six seconds is given up, and another one is tried: those that were named, and
//! those that they named. Without any, the link is down, publishing fails at once, and it goes on trying. What
//! was on its way is lost. Subscriptions live on.
//!
//! # What is lost
//!
//! A subscription has room for 65,536 messages of each pattern, whatever was asked for, since NATS's client
//! has one number for all. What comes when there is no room is lost, and logged. So is what the broker holds back for a
//! process that does not read: it closes the connection, and the process comes back over another.
//!
//! # When stores fail
//!
//! What is asked of a store ends within three seconds: with its answer, or as
//! [`Unreachable`](shaddock_cluster::StoreError::Unreachable), at once while the link is down. Nothing is asked twice
//! if it may have been done. A bucket that is gone, since its broker's disk is new, is made anew, empty. Without
//! JetStream there are no stores, and opening one says so.

mod connect;
mod engine;
mod feed;
mod options;
mod store;

pub use self::engine::Nats;
pub use self::options::{Login, Options, Tls};
