//! A framework for distributed real-time game and chat servers that every pomelo client can talk to.
//!
//! An application is made of *servers* of several *kinds*: front-ends hold the client connections,
//! back-ends hold the game. [`App`] starts those that the configuration names. Clients are answered by
//! *handlers*, async functions whose arguments say what they need; servers answer one another by
//! *remotes*, which are traits ([`macro@remote`]); *channels* push to many clients at once.
//!
//! ```
//! use shaddock::{App, Channels, Config, Msg, Result, Server, Session};
//!
//! /// A client comes into a room under a name that nobody else has.
//! async fn enter(session: Session, channels: Channels, Msg(name): Msg<String>) -> Result<usize> {
//!     session.bind_unique(name).await?;
//!     let lobby = channels.open("lobby");
//!     lobby.join(session.member()?);
//!     Ok(lobby.count())
//! }
//!
//! /// Everyone hears what somebody says.
//! async fn say(channels: Channels, Msg(text): Msg<String>) -> Result<()> {
//!     channels.open("lobby").push("onSay", &text)
//! }
//!
//! fn app(config: Config) -> App {
//!     App::new(config)
//!         .server(Server::frontend("connector").on("entryHandler.enter", enter).on("entryHandler.say", say))
//! }
//! # let _ = app;
//! ```
//!
//! Where to go on: [`Server`] for what a kind of server does, [`Session`] for one client, [`Rpc`] for
//! calls between servers, [`config`] for what is set from outside, [`connector`] for clients that speak
//! what no other does, and, with the feature `testing`,
//! the module `testing` for running all of it in memory. The program around it is one line with the
//! crate `shaddock-cli`.
//!
//! # Features
//!
//! * `tls`, `udp`, `mqtt` and `socketio`: front-ends inside TLS, for datagrams, and for clients of MQTT and Socket.IO.
//! * `crypto`: messages that clients sign, pomelo's `useCrypto`.
//! * `testing`: a kit for tests.

pub mod admin;
mod app;
mod component;
mod server;

mod census;
mod channel;
mod cluster;
pub mod connector;
mod cron;
mod frontend;
mod group;
mod handler;
mod handover;
mod handshake;
mod router;
pub mod rpc;
mod running;
mod session;

pub mod config;
pub mod filters;
#[cfg(feature = "testing")]
pub mod testing;

mod error;
mod ids;
mod tasks;
mod telemetry;

pub use app::{App, AppEvent, AppHandle, Failed, RouteInfo, Running, StartError, TablesError};
pub use channel::{Channel, Channels};
pub use cluster::{Broadcast, Cluster, Endpoint};
pub use component::Component;
pub use config::{Config, ConfigError};
pub use cron::{Crons, Job, JobError, Schedule, ScheduleError};
pub use error::{Fault, Result};
pub use group::{Group, Groups};
pub use handler::extract::{FromRequest, Msg, State};
pub use handler::filter::{Filter, Next};
pub use handler::{Concurrent, Handler, IntoEndpoint, Origin, Reply, Request};
pub use handshake::Peer;
pub use ids::{Kind, Member, MemberError, ServerId, SessionId, Uid};
pub use rpc::{Remote, Rpc};
pub use server::{Server, ServerHandle};
pub use session::{BindError, Moved, Session};
pub use shaddock_cluster::Engine;
pub use shaddock_macros::remote;
pub use shaddock_protocol::{Hello, Route};
pub use shaddock_transport::{AccessList, Forwarding, Network, NetworkError, Networks};
pub use tasks::Tasks;
