//! A remote from the callee's side: a named set of methods over bytes.

use std::fmt;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::envelope;
use crate::error::{Fault, Result};
use crate::server::ServerHandle;

/// What runs when a method of a remote is called. `#[remote]` writes this.
pub trait RemoteService: Send + Sync + 'static {
    /// Runs `method` with its arguments as they came. `None` if there is no such method.
    fn call(
        self: Arc<Self>,
        method: &str,
        args: Bytes,
    ) -> Option<BoxFuture<'static, Result<Bytes>>>;
}

type Make = dyn Fn(&ServerHandle) -> Arc<dyn RemoteService> + Send + Sync;

/// A remote that can be given to a [`Server`](crate::Server): made anew for each server of the kind.
#[derive(Clone)]
pub struct Remote {
    kind: &'static str,
    name: &'static str,
    methods: &'static [&'static str],
    make: Arc<Make>,
}

impl Remote {
    /// A remote called `name`, for servers of `kind`. `#[remote]` calls this.
    pub fn new<S: RemoteService>(
        kind: &'static str,
        name: &'static str,
        methods: &'static [&'static str],
        make: impl Fn(&ServerHandle) -> S + Send + Sync + 'static,
    ) -> Remote {
        Remote { kind, name, methods, make: Arc::new(move |server| Arc::new(make(server))) }
    }

    /// The kind of server it is for.
    pub fn kind(&self) -> &'static str {
        self.kind
    }

    /// What it is called.
    pub fn name(&self) -> &'static str {
        self.name
    }

    /// What can be called.
    pub fn methods(&self) -> &'static [&'static str] {
        self.methods
    }

    pub(crate) fn make(&self, server: &ServerHandle) -> Arc<dyn RemoteService> {
        (self.make)(server)
    }
}

impl fmt::Debug for Remote {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Remote")
            .field("kind", &self.kind)
            .field("name", &self.name)
            .finish_non_exhaustive()
    }
}

/// Reads the arguments of a call, as a tuple.
///
/// # Errors
///
/// A fault that names what could not be read.
pub fn decode_args<T: DeserializeOwned>(args: &[u8]) -> Result<T> {
    envelope::unpack(args)
        .map_err(|error| Fault::internal(format!("unreadable arguments: {error}")))
}

/// Writes what a method returned.
///
/// # Errors
///
/// If the value can't be written.
pub fn encode_result(value: &impl Serialize) -> Result<Bytes> {
    envelope::pack(value).map_err(|error| Fault::internal(format!("unwritable result: {error}")))
}
