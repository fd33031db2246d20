//! A client for Shaddock and pomelo servers over WebSocket and TCP.
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
//! Each connection has one task, started when the handshake is done and gone when the connection is.

mod builder;
mod client;
mod connection;
mod error;
mod pushes;

pub use builder::Builder;
pub use client::Client;
pub use error::{CloseReason, ConnectError, RequestError};
pub use pushes::{Push, Pushes};
