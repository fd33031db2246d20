//! The main dialect: what pomelo's hybrid connector speaks over WebSocket and TCP.

mod client;
mod connector;
mod server;

mod handshake;
mod tables;

mod dictionary;
mod message;
mod package;
mod protobuf;

pub use self::client::{Client, ClientEvent, ClientOptions, Welcome};
pub use self::connector::{Config, Connector, Limits};
pub use self::dictionary::{Dictionary, DictionaryError};
pub use self::message::{Message, MessageError, MessageFault, WireRoute};
pub use self::package::{Kind, Package, PackageError, Packages};
pub use self::protobuf::{
    BodyError, ProtobufError, Protos, Schema, SchemaError, SchemaFault, Strings,
};
pub use self::server::Server;
pub use self::tables::Tables;
