//! The servers around one, as applications see them: `Cluster`.

use std::fmt;
use std::num::NonZeroUsize;

use serde::Serialize;
use serde_json::{Map, Value};
use shaddock_cluster::Member;
use shaddock_protocol::crc32_index;

use crate::channel::push::Pusher;
use crate::error::{Fault, Result};
use crate::ids::{Kind, ServerId};
use crate::router::Router;
use crate::session::remote;

/// The servers around one: who there is, and what reaches clients wherever they are.
///
/// Cheap to clone; an argument of handlers.
#[derive(Clone)]
pub struct Cluster {
    router: Router,
    pusher: Pusher,
}

/// Where clients reach a front-end.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Endpoint {
    /// Which server it is.
    pub id: ServerId,
    /// The host that clients are told.
    pub host: String,
    /// The port that clients are told.
    pub client_port: u16,
}

/// The names under which servers tell each other where their clients reach them.
pub(crate) const META_HOST: &str = "clientHost";
pub(crate) const META_PORT: &str = "clientPort";

impl Cluster {
    pub(crate) fn new(router: Router, pusher: Pusher) -> Cluster {
        Cluster { router, pusher }
    }

    /// The servers of `kind` that live, sorted by id.
    pub fn servers(&self, kind: &str) -> Vec<ServerId> {
        kind.parse().map(|kind: Kind| self.router.servers(&kind)).unwrap_or_default()
    }

    /// The front-ends of `kind` that live and can be connected to, sorted by id.
    pub fn endpoints(&self, kind: &str) -> Vec<Endpoint> {
        let Ok(kind) = kind.parse::<Kind>() else {
            return Vec::new();
        };
        let members = self.router.caller().node().members().of_kind(&kind);
        members.iter().filter_map(endpoint).collect()
    }

    /// The front-end that pomelo's own rule picks for `key`: the absolute value of its signed CRC-32,
    /// modulo how many there are, of those sorted by id.
    ///
    /// Only the gate should use it: when one comes or goes, nearly every key moves.
    ///
    /// # Errors
    ///
    /// If no front-end of `kind` lives.
    pub fn pick_crc32(&self, kind: &str, key: &str) -> Result<Endpoint> {
        let mut endpoints = self.endpoints(kind);
        match NonZeroUsize::new(endpoints.len()) {
            Some(count) => Ok(endpoints.swap_remove(crc32_index(key, count))),
            None => Err(Fault::internal(format!("no front-end of kind {kind} lives"))),
        }
    }

    /// How busy a server is, as it said with its last heartbeat, about a second ago at most: see [`Server::load`].
    /// Nothing, if there is no such server, or it does not say.
    ///
    /// [`Server::load`]: crate::Server::load
    pub fn load(&self, server: &ServerId) -> Option<u64> {
        self.router.caller().node().members().load(server)
    }

    /// A server of `kind` that has little to do: of two drawn at random, which may be the same one, the one with the
    /// smaller [`load`](Cluster::load).
    ///
    /// Not the one with the smallest load of all: whoever is asked between two heartbeats would send everybody there.
    /// So the less loaded of two servers gets three of four, and of many none gets more than twice its share. This is
    /// "the power of two choices" (M. Mitzenmacher, 1996), which needs no fresher loads than these.
    ///
    /// # Errors
    ///
    /// If no server of `kind` lives.
    pub fn server_by_load(&self, kind: &str) -> Result<ServerId> {
        Ok(self.lighter(kind)?.id)
    }

    /// The same among front-ends, with where clients reach it.
    ///
    /// # Errors
    ///
    /// If no front-end of `kind` lives.
    ///
    /// # Examples
    ///
    /// ```
    /// use serde_json::{Value, json};
    /// use shaddock::{Cluster, Result, Server};
    ///
    /// /// Which connector a client should use.
    /// async fn query_entry(cluster: Cluster) -> Result<Value> {
    ///     let connector = cluster.endpoint_by_load("connector")?;
    ///     Ok(json!({ "code": 200, "host": connector.host, "port": connector.client_port }))
    /// }
    ///
    /// let gate = Server::frontend("gate").on("gateHandler.queryEntry", query_entry);
    /// # let _ = gate;
    /// ```
    pub fn endpoint_by_load(&self, kind: &str) -> Result<Endpoint> {
        endpoint(&self.lighter(kind)?)
            .ok_or_else(|| Fault::internal(format!("no client connects to servers of kind {kind}")))
    }

    fn lighter(&self, kind: &str) -> Result<Member> {
        let lighter = kind
            .parse()
            .ok()
            .and_then(|kind: Kind| self.router.caller().node().members().lighter(&kind));
        lighter.ok_or_else(|| Fault::internal(format!("no server of kind {kind} lives")))
    }

    /// Pushes to every session of `uid`, on whichever front-end they are.
    ///
    /// # Errors
    ///
    /// If the body can't be written as JSON or does not fit the route's schema, or a front-end
    /// can't be reached. That nobody has this uid is no error.
    pub fn push(&self, uid: &str, route: &str, body: &impl Serialize) -> Result<()> {
        let body = self.pusher.encode(route, body)?;
        self.pusher.push_uid(&self.pusher.frontends(), uid, route, &body)
    }

    /// Pushes to every session of the front-ends of `kind` that is bound to a uid, or to all
    /// whatsoever, whose settings have the values in `with`.
    ///
    /// # Errors
    ///
    /// As [`push`](Cluster::push).
    pub fn broadcast(
        &self,
        kind: &str,
        route: &str,
        body: &impl Serialize,
        to: Broadcast,
    ) -> Result<()> {
        let body = self.pusher.encode(route, body)?;
        let members = self.router.caller().node().members().all();
        let wanted =
            members.into_iter().filter(|member| member.frontend && member.kind.as_str() == kind);
        let frontends: Vec<_> = wanted.map(|member| member.id).collect();
        self.pusher.push_all(&frontends, to.with, to.unbound, route, &body)
    }

    /// Closes every session of `uid`, on whichever front-end they are. With a reason the clients
    /// are told it.
    ///
    /// # Errors
    ///
    /// If a front-end can't be reached. That nobody has this uid is no error.
    pub fn kick(&self, uid: &str, reason: Option<&str>) -> Result<()> {
        let mut told = Ok(());
        for frontend in self.pusher.frontends() {
            let remote = self.router.caller().remote(&frontend, remote::SERVICE, remote::KICK);
            told = told.and(remote.tell(&(uid, reason)));
        }
        Ok(told?)
    }
}

/// Whom a broadcast is for.
#[derive(Clone, Default, Debug)]
pub struct Broadcast {
    /// Sessions whose settings have these values. Empty: all.
    pub with: Map<String, Value>,
    /// Sessions that are not bound to a uid, too.
    pub unbound: bool,
}

/// Where clients reach a server, if they do.
fn endpoint(member: &Member) -> Option<Endpoint> {
    Some(Endpoint {
        id: member.id.clone(),
        host: member.meta.get(META_HOST)?.as_str()?.to_owned(),
        client_port: member.meta.get(META_PORT)?.as_u64()?.try_into().ok()?,
    })
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster").finish_non_exhaustive()
    }
}
