//! The wire of pomelo's clients, without IO: packages, messages, handshake, dictionary, protobuf.
//!
//! A connection is a machine: bytes and time go in, events and bytes come out. It has no socket,
//! no clock and no task; whoever owns it moves bytes and sleeps. [`Dialect`] is what all of them
//! look like from a server, [`pomelo::Server`] is the one for pomelo's clients, and
//! [`pomelo::Client`] is the other end of it. Clients of pomelo's other connectors have machines
//! of their own, `mqtt::Server` and `socketio::Server`.
//!
//! Bodies are JSON text on the inner side of a machine, whatever they are on the wire.
//!
//! # Features
//!
//! * `crypto`: pomelo's `useCrypto`, messages that clients sign (`pomelo::Config::signed`).
//! * `mqtt`: the dialect of MQTT clients.
//! * `socketio`: the dialect of Socket.IO clients.
//!
//! # Examples
//!
//! ```
//! use std::time::Instant;
//! use shaddock_protocol::pomelo::{Client, ClientEvent, ClientOptions, Config, Connector, Server};
//! use shaddock_protocol::{Dialect, Event};
//!
//! let now = Instant::now();
//! let mut server = Server::new(&Connector::new(Config::default())?, now);
//! let mut client = Client::new(ClientOptions::default(), now);
//!
//! server.receive(client.poll_transmit().expect("a client shakes hands first"), now);
//! assert!(matches!(server.poll_event(now), Some(Event::Handshake(_))));
//! server.accept(None, now);
//!
//! client.receive(server.poll_transmit().expect("the answer"), now);
//! assert!(matches!(client.poll_event(now), Some(ClientEvent::Ready(_))));
//! server.receive(client.poll_transmit().expect("the ack"), now);
//! assert!(matches!(server.poll_event(now), Some(Event::Ready)));
//!
//! let id = 1.try_into()?;
//! server.receive(client.request(id, "chat.chatHandler.send", &"{}".into())?, now);
//! let Some(Event::Message(message)) = server.poll_event(now) else { panic!("no message") };
//! let reply = server.voice().response(id, &message.route, &r#"{"code":200}"#.into())?;
//! client.receive(reply, now);
//! let Some(ClientEvent::Response { body, .. }) = client.poll_event(now) else { panic!() };
//! assert_eq!(body, r#"{"code":200}"#);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod dialect;
mod route;
mod voice;

pub mod pomelo;

#[cfg(feature = "mqtt")]
pub mod mqtt;
#[cfg(feature = "socketio")]
pub mod socketio;

mod chunks;
mod crc;
pub mod text;

pub use self::crc::crc32_index;
pub use self::dialect::{CloseReason, Dialect, Event, Hello, Incoming, Refusal};
pub use self::route::{Route, RouteError};
pub use self::voice::{Encode, EncodeError, Voice};
