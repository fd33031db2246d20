//! A client for Shaddock and pomelo servers over WebSocket and TCP, in TLS or not.
//!
//! Connect, ask, and take what the server pushes:
//!
//! ```no_run
//! use serde_json::{Value, json};
//! use shaddock_client::Client;
//!
//! # async fn example() -> Result<(), Box<dyn std::error::Error>> {
//! let client = Client::connect("ws://127.0.0.1:3050").await?;
//! let mut chat = client.pushes("onChat");
//!
//! let room = json!({ "username": "py", "rid": "lobby" });
//! let entered: Value = client.request("connector.entryHandler.enter", room).await?;
//! println!("here are {}", entered["users"]);
//!
//! let say = json!({ "rid": "lobby", "content": "hello", "from": "py", "target": "*" });
//! client.notify("chat.chatHandler.send", say).await?;
//! while let Some(push) = chat.next().await {
//!     let said: Value = push.json()?;
//!     println!("{}: {}", said["from"], said["msg"]);
//! }
//! println!("{}", client.closed().await);
//! # Ok(()) }
//! ```
//!
//! Dictionary, protobuf and heartbeats are what the handshake says; bodies are JSON on this side of it.
//! Each client has one task, started when the handshake is done and gone when the client is.
//!
//! A [`Builder`] makes clients that come back when their connection is lost ([`Builder::reconnect`]), log in each time
//! ([`Builder::log_in`]), or connect by other ways ([`Builder::connect_with`]).
//!
//! # Features
//!
//! * `tls`: `wss://` and `tls://`, and whom to believe there ([`Builder::trust`]).
//! * `crypto`: messages that are signed, for servers that want it ([`Builder::sign`]).

mod builder;
mod client;
mod commands;
mod connection;
mod dial;
mod error;
mod pushes;
mod reconnect;
#[cfg(feature = "crypto")]
mod signing;
mod status;
mod task;

pub use builder::Builder;
pub use client::Client;
pub use error::{CloseReason, ConnectError, RequestError};
pub use pushes::{Push, Pushes};
pub use reconnect::Reconnect;
#[cfg(feature = "crypto")]
pub use shaddock_protocol::pomelo::Signer;
#[cfg(feature = "tls")]
pub use shaddock_transport::{TlsError, Trust};
#[cfg(feature = "crypto")]
pub use signing::{KeyError, SigningKey};
pub use status::Status;
