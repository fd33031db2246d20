//! A framework for distributed real-time game and chat servers that every pomelo client can talk to.

pub mod app;
mod component;
mod server;

pub mod channel;
mod cluster;
mod frontend;
pub mod handler;
mod router;
pub mod rpc;
mod running;
pub mod session;

pub mod config;
mod error;
pub mod filters;
mod ids;
mod tasks;
mod telemetry;
#[cfg(feature = "testing")]
pub mod testing;

pub use app::{App, AppEvent, AppHandle, Failed, RouteInfo, Running, StartError};
pub use channel::{Channel, Channels};
pub use cluster::{Broadcast, Cluster, Endpoint};
pub use component::Component;
pub use config::{Config, ConfigError};
pub use error::{Fault, Result};
pub use handler::extract::{FromRequest, Msg, State};
pub use handler::filter::{Filter, Next};
pub use handler::{Handler, Origin, Reply, Request};
pub use ids::{Kind, Member, MemberError, ServerId, SessionId, Uid};
pub use rpc::{Remote, Rpc, RpcError};
pub use server::{Server, ServerHandle};
pub use session::{BindError, Moved, Session};
pub use shaddock_macros::remote;
pub use shaddock_protocol::Route;
pub use tasks::Tasks;
