//! Why an application does not start.

use std::io;
use std::net::SocketAddr;

use shaddock_cluster::{JoinError, StoreError};

use super::TablesError;
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
    /// The tables that clients are given can't be used.
    #[error(transparent)]
    Tables(#[from] TablesError),
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
    /// A server that is to run in this process does already.
    #[error("{id} runs in this process already")]
    Runs {
        /// Which.
        id: String,
    },
    /// No such server runs in this process.
    #[error("{id} does not run in this process")]
    NotHere {
        /// Which.
        id: ServerId,
    },
    /// The application is stopping, or has stopped.
    #[error("the application is stopping")]
    Stopping,
    /// A component did not start.
    #[error("the component {name} did not start: {fault}")]
    Component {
        /// Which.
        name: &'static str,
        /// Why.
        fault: Fault,
    },
}
