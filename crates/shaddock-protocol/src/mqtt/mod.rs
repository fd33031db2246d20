//! The dialect of MQTT clients: publish and subscribe as requests. MQTT 3.1 and 3.1.1.
//!
//! There are no topics to match here. What a client publishes is a message to one handler, what it
//! subscribes to a request to another, and what is pushed to it is a publish of its own:
//!
//! | a client sends | the handler at | gets | its result is |
//! |---|---|---|---|
//! | PUBLISH | [`Config::publish_route`] | a publish | a publish for the client; without `topic`, none |
//! | SUBSCRIBE | [`Config::subscribe_route`] | `{"subscriptions":[{"topic":"a/b","qos":0}],"messageId":7}` | a list of what is granted, a number each: 0, 1, 2, or 128 for no |
//!
//! A publish is this object, from clients as to them, in results as in pushes, whose route is not
//! sent. Only `topic` must be there:
//!
//! ```json
//! {"topic":"a/b","payload":"text","qos":1,"retain":false,"dup":false,"messageId":7}
//! ```
//!
//! A payload that is not UTF-8 is base64, and then there is `"encoding":"base64"` as well.
//! `messageId` must be given where `qos` is not 0; nothing is sent again here.
//!
//! QoS 0 is a notify. QoS 1 is a request, acknowledged once it is handled, whatever comes of it.
//! QoS 2 is a request, too, and handled once, however often it comes on one connection. UNSUBSCRIBE
//! and PINGREQ are answered here. Wills are read and forgotten, sessions end with the connection.
//! Nothing in MQTT says why a client is sent away, so a kick closes the connection.
//!
//! # Examples
//!
//! ```
//! use std::time::Instant;
//! use shaddock_protocol::mqtt::{Config, Connector, Server};
//! use shaddock_protocol::{Dialect, Event};
//!
//! let config = Config::new("chat.mqtt.publish".parse()?, "chat.mqtt.subscribe".parse()?);
//! let now = Instant::now();
//! let mut server = Server::new(&Connector::new(config), now);
//!
//! server.receive(b"\x10\x0e\0\x04MQTT\x04\x02\0\x3c\0\x02me"[..].into(), now);
//! assert!(matches!(server.poll_event(now), Some(Event::Handshake(_))));
//! server.accept(None, now);
//! assert_eq!(server.poll_transmit().expect("CONNACK"), &b"\x20\x02\0\0"[..]);
//! assert!(matches!(server.poll_event(now), Some(Event::Ready)));
//!
//! server.receive(b"\x32\x0a\0\x04room\0\x07hi"[..].into(), now);
//! let Some(Event::Message(message)) = server.poll_event(now) else { panic!("no message") };
//! let id = message.id.expect("of QoS 1");
//! let reply = server.voice().response(id, &message.route, &r#"{"topic":"room"}"#.into())?;
//! assert_eq!(reply, &b"\x30\x06\0\x04room\x40\x02\0\x07"[..]);
//! # Ok::<(), Box<dyn std::error::Error>>(())
//! ```

mod connector;
mod packet;
mod publish;
mod reply;
mod server;
mod write;

pub use self::connector::{Config, Connector, Limits};
pub use self::packet::PacketError;
pub use self::reply::ReplyError;
pub use self::server::Server;
