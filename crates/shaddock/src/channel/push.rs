//! Pushing: a body is encoded once, and each front-end gets one message.

use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};
use shaddock_protocol::pomelo::Protos;
use shaddock_protocol::text;

use crate::error::{Fault, Result};
use crate::ids::{ServerId, SessionId};
use crate::rpc::caller::Caller;
use crate::rpc::envelope::{self, Push, Tell, To};
use crate::telemetry::PushMetrics;

/// Sends pushes on behalf of one server.
#[derive(Clone, Debug)]
pub(crate) struct Pusher {
    caller: Caller,
    protos: Arc<Protos>,
    metrics: PushMetrics,
}

impl Pusher {
    pub(crate) fn new(caller: Caller, protos: Arc<Protos>, metrics: PushMetrics) -> Pusher {
        Pusher {
            caller,
            protos,
            metrics,
        }
    }

    /// Writes a body as JSON, and sees to it that it fits the route's schema, if there is one.
    pub(crate) fn encode(&self, route: &str, body: &impl Serialize) -> Result<Bytes> {
        let body = text::to_json(body).map_err(|error| {
            Fault::internal(format!("a push to {route} can't be written: {error}"))
        })?;
        self.protos.check(route, &body)?;
        Ok(body)
    }

    /// Pushes to some sessions of one front-end.
    pub(crate) fn push_to(
        &self,
        frontend: &ServerId,
        sessions: &[SessionId],
        route: &str,
        body: &Bytes,
    ) -> Result<()> {
        let packed = envelope::pack_sessions(sessions.iter().copied());
        self.send(frontend, &Self::packed(route, body, To::Sessions(&packed))?)
    }

    /// Pushes to a ready list of sessions.
    pub(crate) fn push_packed(
        &self,
        frontend: &ServerId,
        sessions: &Bytes,
        route: &str,
        body: &Bytes,
    ) -> Result<()> {
        self.send(
            frontend,
            &Self::packed(route, body, To::Sessions(sessions))?,
        )
    }

    /// Pushes to every session of `uid`, wherever it is.
    pub(crate) fn push_uid(
        &self,
        frontends: &[ServerId],
        uid: &str,
        route: &str,
        body: &Bytes,
    ) -> Result<()> {
        self.send_all(frontends, &Self::packed(route, body, To::Uid(uid))?)
    }

    /// Pushes to every session that has these settings.
    pub(crate) fn push_all(
        &self,
        frontends: &[ServerId],
        with: Map<String, Value>,
        unbound: bool,
        route: &str,
        body: &Bytes,
    ) -> Result<()> {
        self.send_all(
            frontends,
            &Self::packed(route, body, To::All { with, unbound })?,
        )
    }

    fn packed(route: &str, body: &Bytes, to: To<'_>) -> Result<Bytes> {
        let push = Push { route, body, to };
        Ok(envelope::pack(&Tell::Push(push))?)
    }

    fn send_all(&self, frontends: &[ServerId], packed: &Bytes) -> Result<()> {
        let mut sent = Ok(());
        for frontend in frontends {
            let told = self.send(frontend, packed);
            sent = sent.and(told);
        }
        sent
    }

    fn send(&self, frontend: &ServerId, packed: &Bytes) -> Result<()> {
        self.metrics.sent.increment(1);
        self.caller.node().cast(frontend, packed).map_err(|error| {
            self.metrics.unsent.increment(1);
            Fault::from(error)
        })
    }
}
