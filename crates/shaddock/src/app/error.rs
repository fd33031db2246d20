//! Why an application does not start.

use std::io;
use std::net::SocketAddr;

use shaddock_cluster::{JoinError, StoreError};
use shaddock_protocol::pomelo::{DictionaryError, PackageError, SchemaError};

use crate::config::ConfigError;
use crate::error::Fault;
use crate::ids::ServerId;

/// Why an application did not start. Nothing of it runs.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum StartError {
    /// The options of a server are wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The configuration and the application do not fit.
    #[error("{0}")]
    Mismatch(String),
    /// A handler or a hook needs something that is not there: a sentence for each.
    #[error("the application can't work:\n  {}", .0.join("\n  "))]
    Missing(Vec<String>),
    /// The dictionary of routes can't be made.
    #[error("the dictionary of routes")]
    Dictionary(#[from] DictionaryError),
    /// A file of schemas is wrong.
    #[error("the protobuf schemas of {files}")]
    Schemas {
        /// Which files.
        files: String,
        /// What is wrong.
        source: SchemaError,
    },
    /// The tables don't fit into a handshake.
    #[error("dictionary and schemas are too large for a handshake")]
    Tables(#[from] PackageError),
    /// A certificate or its key can't be used.
    #[cfg(feature = "tls")]
    #[error("{id} has no certificate to show")]
    Tls {
        /// Which server.
        id: String,
        /// What is wrong.
        source: shaddock_transport::TlsError,
    },
    /// An address can't be listened at.
    #[error("{what} can't listen at {address}")]
    Listen {
        /// What wants to.
        what: String,
        /// Where.
        address: SocketAddr,
        /// Why it can't.
        source: io::Error,
    },
    /// A server can't enter the cluster.
    #[error("{id} can't enter the cluster")]
    Join {
        /// Which.
        id: ServerId,
        /// Why.
        source: JoinError,
    },
    /// The directory of uids can't be reached.
    #[error("the directory of uids can't be reached")]
    Directory(#[from] StoreError),
    /// A component did not start.
    #[error("the component {name} did not start: {fault}")]
    Component {
        /// Which.
        name: &'static str,
        /// Why.
        fault: Fault,
    },
}
