//! The main dialect: what pomelo's hybrid connector speaks over WebSocket and TCP, and its UDP
//! connector in datagrams.

mod client;
mod connector;
mod server;

mod handshake;
#[cfg(feature = "crypto")]
mod sign;
#[cfg(feature = "crypto")]
mod signature;
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
#[cfg(feature = "crypto")]
pub use self::sign::Signer;
pub use self::tables::Tables;
