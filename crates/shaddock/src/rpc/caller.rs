//! Asking another server for something, from the caller's side.

use std::future::Future;
use std::time::Duration;

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;
use shaddock_cluster::{CallError, CastError, Node};
use tokio::time::Instant;

use super::envelope::{self, Ask, Method, Tell};
use crate::error::Fault;
use crate::ids::ServerId;

/// Why a remote gave no result: which server, which method, and why.
#[derive(Debug, thiserror::Error)]
pub(crate) enum RpcError {
    /// The remote ran and returned a fault.
    #[error("{method} on {server} failed: {fault}")]
    Failed {
        /// Where it ran.
        server: ServerId,
        /// What was called, as `Remote.method`.
        method: String,
        /// What it returned.
        fault: Fault,
    },
    /// It could not be reached, or did not answer in time. It may have run all the same.
    #[error("{method} on {server} gave no answer")]
    Unanswered {
        /// Where it was sent.
        server: ServerId,
        /// What was called.
        method: String,
        /// What happened.
        source: CallError,
    },
    /// The arguments or the result could not be written or read.
    #[error("{method} on {server}: {reason}")]
    Codec {
        /// Where it was sent.
        server: ServerId,
        /// What was called.
        method: String,
        /// What was wrong.
        reason: String,
    },
    /// A one-way call was not sent.
    #[error("{method} was not sent to {server}")]
    Unsent {
        /// Where it was to go.
        server: ServerId,
        /// What was called.
        method: String,
        /// What happened.
        source: CastError,
    },
}

impl RpcError {
    /// What the callee wants the client to be told passes through; the log learns where it came from.
    pub(crate) fn into_fault(self) -> Fault {
        let error = self;
        let reason = error.to_string();
        match error {
            RpcError::Failed { fault, .. } => fault.because(reason),
            RpcError::Unanswered { source, .. } => Fault::internal(format!("{reason}: {source}")),
            RpcError::Unsent { source, .. } => Fault::internal(format!("{reason}: {source}")),
            RpcError::Codec { .. } => Fault::internal(reason),
        }
    }
}

tokio::task_local! {
    /// When the request that is being handled must have been answered.
    static DEADLINE: Instant;
}

/// Runs `work`, whose calls of other servers end at `deadline` if they have not before.
pub(crate) fn until<F: Future>(deadline: Instant, work: F) -> impl Future<Output = F::Output> {
    DEADLINE.scope(deadline, work)
}

/// Asks other servers on behalf of one.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    node: Node,
    /// How long a call may take.
    patience: Duration,
}

/// A method of one server's, ready to be called.
pub(crate) struct Ready<'a> {
    caller: &'a Caller,
    server: &'a ServerId,
    service: &'a str,
    method: &'a str,
    key: Option<&'a str>,
}

impl Caller {
    pub(crate) fn new(node: Node, patience: Duration) -> Caller {
        Caller { node, patience }
    }

    /// When a call that begins now must have ended.
    fn deadline(&self) -> Instant {
        let own = Instant::now() + self.patience;
        DEADLINE.try_with(|deadline| own.min(*deadline)).unwrap_or(own)
    }

    pub(crate) fn node(&self) -> &Node {
        &self.node
    }

    pub(crate) fn remote<'a>(
        &'a self,
        server: &'a ServerId,
        service: &'a str,
        method: &'a str,
    ) -> Ready<'a> {
        Ready { caller: self, server, service, method, key: None }
    }
}

impl<'a> Ready<'a> {
    /// The server is asked as the owner of this key, and may pass the question on to the next owner.
    pub(crate) fn on(self, key: Option<&'a str>) -> Ready<'a> {
        Ready { key, ..self }
    }
}

impl Ready<'_> {
    /// Calls it and waits for what comes out, up to the deadline of remotes.
    pub(crate) async fn call<T: DeserializeOwned>(
        &self,
        args: &impl Serialize,
    ) -> Result<T, RpcError> {
        let args = envelope::pack(args).map_err(|error| self.codec(error))?;
        let packed = Ask::Remote(self.method(&args)).pack().map_err(|error| self.codec(error))?;
        let deadline = self.caller.deadline();
        let answer =
            self.caller.node.call(self.server, &packed, deadline).await.map_err(|source| {
                RpcError::Unanswered { server: self.server.clone(), method: self.name(), source }
            })?;
        match envelope::unpack_answer(answer) {
            Ok(result) => envelope::unpack(&result).map_err(|error| self.codec(error)),
            Err(fault) => {
                Err(RpcError::Failed { server: self.server.clone(), method: self.name(), fault })
            }
        }
    }

    /// Calls it, and runs `then` with what comes out, if anything does: where what arrives is read, and so before
    /// anything that the other server sent later, unless the answer found a queue full.
    pub(crate) fn call_then<T: DeserializeOwned>(
        &self,
        args: &impl Serialize,
        then: impl FnOnce(T) + Send + 'static,
    ) -> Result<(), RpcError> {
        let args = envelope::pack(args).map_err(|error| self.codec(error))?;
        let packed = Ask::Remote(self.method(&args)).pack().map_err(|error| self.codec(error))?;
        self.caller.node.call_then(self.server, &packed, self.caller.deadline(), move |answer| {
            let result = answer.ok().and_then(|answer| envelope::unpack_answer(answer).ok());
            if let Some(result) = result.and_then(|result| envelope::unpack(&result).ok()) {
                then(result);
            }
        });
        Ok(())
    }

    /// Sends it, and waits for nothing.
    pub(crate) fn tell(&self, args: &impl Serialize) -> Result<(), RpcError> {
        let packed = self.packed(args)?;
        self.caller.node.cast(self.server, &packed).map_err(|source| RpcError::Unsent {
            server: self.server.clone(),
            method: self.name(),
            source,
        })
    }

    fn packed(&self, args: &impl Serialize) -> Result<Bytes, RpcError> {
        let args = envelope::pack(args).map_err(|error| self.codec(error))?;
        envelope::pack(&Tell::Remote(self.method(&args))).map_err(|error| self.codec(error))
    }

    fn method<'a>(&'a self, args: &'a [u8]) -> Method<'a> {
        let Ready { service, method, key, .. } = *self;
        Method { service, method, key, passed: 0, args }
    }

    fn name(&self) -> String {
        format!("{}.{}", self.service, self.method)
    }

    fn codec(&self, error: impl std::fmt::Display) -> RpcError {
        RpcError::Codec {
            server: self.server.clone(),
            method: self.name(),
            reason: error.to_string(),
        }
    }
}
