//! Which server of a kind is called: `Rpc` and its targets.

use std::fmt;
use std::marker::PhantomData;

use futures_util::future::join_all;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::caller::{Caller, RpcError};
use crate::error::Result;
use crate::ids::{Kind, ServerId};
use crate::router::Router;
use crate::session::Session;

/// The typed caller of a remote. `#[remote]` writes this.
pub trait RemoteClient: Sized {
    /// The kind of server the remote lives on.
    const KIND: &'static str;
    /// The same methods, called on every server of the kind at once.
    type All;
    /// A caller of one server.
    fn to(target: Target) -> Self;
    /// A caller of all of them.
    fn to_all(target: TargetAll) -> Self::All;
}

/// Calls the remote `C` on servers of its kind; an argument of handlers.
///
/// Each method chooses the server, and gives the typed client of it.
pub struct Rpc<C> {
    router: Router,
    kind: Kind,
    client: PhantomData<fn() -> C>,
}

impl<C: RemoteClient> Rpc<C> {
    pub(crate) fn new(router: Router, kind: Kind) -> Rpc<C> {
        Rpc { router, kind, client: PhantomData }
    }

    /// The server that this session's messages go to: by the kind's key.
    ///
    /// # Errors
    ///
    /// If the session has no key for this kind, or no server of the kind lives.
    pub fn of(&self, session: &Session) -> Result<C> {
        let (server, key) = self.router.place(&self.kind, session)?;
        Ok(self.client(server, key))
    }

    /// The server called `id`. That it lives is found out by calling.
    pub fn at(&self, id: &ServerId) -> C {
        self.client(id.clone(), None)
    }

    /// The server that owns `key`, by rendezvous hash.
    ///
    /// # Errors
    ///
    /// If no server of the kind lives.
    pub fn on(&self, key: &str) -> Result<C> {
        Ok(self.client(self.router.of_key(&self.kind, key)?, Some(key.to_owned())))
    }

    /// Some server of the kind, rather one that answers well.
    ///
    /// # Errors
    ///
    /// If no server of the kind lives.
    pub fn any(&self) -> Result<C> {
        Ok(self.client(self.router.any(&self.kind)?, None))
    }

    /// Every server of the kind, at once.
    pub fn all(&self) -> C::All {
        let servers = self.router.servers(&self.kind);
        C::to_all(TargetAll { caller: self.router.caller().clone(), servers })
    }

    fn client(&self, server: ServerId, key: Option<String>) -> C {
        let key = key.filter(|_| self.router.hands_over(&self.kind));
        C::to(Target { caller: self.router.caller().clone(), server, key })
    }
}

impl<C> Clone for Rpc<C> {
    fn clone(&self) -> Rpc<C> {
        Rpc { router: self.router.clone(), kind: self.kind.clone(), client: PhantomData }
    }
}

impl<C> fmt::Debug for Rpc<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Rpc({})", self.kind)
    }
}

/// One server, as the client of a remote calls it.
#[derive(Clone, Debug)]
pub struct Target {
    caller: Caller,
    server: ServerId,
    /// The key that it was chosen for, if it may be handed over.
    key: Option<String>,
}

impl Target {
    /// Which server is called.
    pub fn server(&self) -> &ServerId {
        &self.server
    }

    /// Calls a method and waits for its result, up to the deadline of remotes.
    ///
    /// Dropping the future forgets the answer; the method may run all the same.
    ///
    /// # Errors
    ///
    /// What the method returned, or that it could not be called: which server, which method and why.
    pub async fn call<T: DeserializeOwned>(
        &self,
        remote: &str,
        method: &str,
        args: &impl Serialize,
    ) -> Result<T> {
        let ready = self.caller.remote(&self.server, remote, method).on(self.key.as_deref());
        ready.call(args).await.map_err(RpcError::into_fault)
    }

    /// Sends a one-way call. Those sent from one server to another are handled in order.
    ///
    /// # Errors
    ///
    /// If it could not be sent.
    pub fn tell(&self, remote: &str, method: &str, args: &impl Serialize) -> Result<()> {
        let ready = self.caller.remote(&self.server, remote, method).on(self.key.as_deref());
        ready.tell(args).map_err(RpcError::into_fault)
    }
}

/// Every server of a kind, as the client of a remote calls them.
#[derive(Clone, Debug)]
pub struct TargetAll {
    caller: Caller,
    servers: Vec<ServerId>,
}

impl TargetAll {
    /// Calls a method on each of them at once, and waits for all the results.
    pub async fn call<T: DeserializeOwned>(
        &self,
        remote: &str,
        method: &str,
        args: &(impl Serialize + Sync),
    ) -> Vec<(ServerId, Result<T>)> {
        let calls = self.servers.iter().map(async |server| {
            let target = Target { caller: self.caller.clone(), server: server.clone(), key: None };
            let result = target.call(remote, method, args).await;
            (target.server, result)
        });
        join_all(calls).await
    }

    /// Sends a one-way call to each of them.
    ///
    /// # Errors
    ///
    /// The first reason why one could not be sent; the others are sent all the same.
    pub fn tell(&self, remote: &str, method: &str, args: &impl Serialize) -> Result<()> {
        let mut sent = Ok(());
        for server in &self.servers {
            let target = Target { caller: self.caller.clone(), server: server.clone(), key: None };
            let told = target.tell(remote, method, args);
            sent = sent.and(told);
        }
        sent
    }
}
