//! Pushing: a body is encoded once, and each front-end gets one message.

use std::fmt;
use std::sync::{Arc, OnceLock, Weak};

use bytes::Bytes;
use serde::Serialize;
use serde_json::{Map, Value};
use shaddock_cluster::Node;
use shaddock_protocol::text;

use crate::app::Tables;
use crate::error::{Fault, Result};
use crate::ids::{ServerId, SessionId};
use crate::rpc::caller::Caller;
use crate::rpc::envelope::{self, Push, Tell, To};
use crate::telemetry::PushMetrics;

/// Where pushes for the sessions of one server go.
pub(crate) trait Deliver: Send + Sync {
    /// Leaves a push for those of our sessions it is meant for.
    fn deliver(&self, route: &str, body: &Bytes, to: &To<'_>);
}

/// Sends pushes on behalf of one server.
#[derive(Clone)]
pub(crate) struct Pusher(Arc<Inner>);

struct Inner {
    caller: Caller,
    tables: Arc<Tables>,
    metrics: PushMetrics,
    /// The server's own sessions, if it is a front-end: they are reached at once, so that what a
    /// handler pushes to them arrives before its answer.
    own: OnceLock<Weak<dyn Deliver>>,
}

impl Pusher {
    pub(crate) fn new(caller: Caller, tables: Arc<Tables>, metrics: PushMetrics) -> Pusher {
        Pusher(Arc::new(Inner { caller, tables, metrics, own: OnceLock::new() }))
    }

    /// What asks other servers.
    pub(crate) fn caller(&self) -> &Caller {
        &self.0.caller
    }

    /// The server's place in the cluster.
    pub(crate) fn node(&self) -> &Node {
        self.0.caller.node()
    }

    /// From now on pushes to our own sessions go there. Said once.
    pub(crate) fn deliver_own(&self, own: Weak<dyn Deliver>) {
        let _ = self.0.own.set(own);
    }

    /// Writes a body as JSON, and sees to it that it fits the route's schema, if there is one.
    pub(crate) fn encode(&self, route: &str, body: &impl Serialize) -> Result<Bytes> {
        let body = text::to_json(body).map_err(|error| {
            Fault::internal(format!("a push to {route} can't be written: {error}"))
        })?;
        self.0.tables.check(route, &body)?;
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
        self.push_packed(frontend, &packed, route, body)
    }

    /// Pushes to a ready list of sessions.
    pub(crate) fn push_packed(
        &self,
        frontend: &ServerId,
        sessions: &Bytes,
        route: &str,
        body: &Bytes,
    ) -> Result<()> {
        self.send([frontend], route, body, To::Sessions(sessions))
    }

    /// Pushes to every session of `uid`, wherever it is.
    pub(crate) fn push_uid(
        &self,
        frontends: &[ServerId],
        uid: &str,
        route: &str,
        body: &Bytes,
    ) -> Result<()> {
        self.send(frontends, route, body, To::Uid(uid))
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
        self.send(frontends, route, body, To::All { with, unbound })
    }

    /// Pushes to every session that is in this group.
    pub(crate) fn push_group(
        &self,
        frontends: &[ServerId],
        group: &str,
        route: &str,
        body: &Bytes,
    ) -> Result<()> {
        self.send(frontends, route, body, To::Group(group))
    }

    /// Every front-end that has sessions, also those that are about to go.
    pub(crate) fn frontends(&self) -> Vec<ServerId> {
        let members = self.node().members().all();
        members.into_iter().filter(|member| member.frontend).map(|member| member.id).collect()
    }

    /// Gives the first reason why one front-end could not be reached; the others are all the same.
    fn send<'a>(
        &self,
        frontends: impl IntoIterator<Item = &'a ServerId>,
        route: &str,
        body: &Bytes,
        to: To<'_>,
    ) -> Result<()> {
        let node = self.0.caller.node();
        let push = Push { route, body, to };
        let mut packed = None;
        let mut sent = Ok(());
        for frontend in frontends {
            self.0.metrics.sent.increment(1);
            if *frontend == node.peer().id {
                if let Some(own) = self.0.own.get().and_then(Weak::upgrade) {
                    own.deliver(route, body, &push.to);
                }
                continue;
            }
            let packed = match &packed {
                Some(packed) => packed,
                None => &*packed.insert(envelope::pack(&Tell::Push(push.clone()))?),
            };
            if let Err(error) = node.cast(frontend, packed) {
                self.0.metrics.unsent.increment(1);
                sent = sent.and(Err(error.into()));
            }
        }
        sent
    }
}

impl fmt::Debug for Pusher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Pusher").finish_non_exhaustive()
    }
}
