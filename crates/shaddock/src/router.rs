//! Which server a message or a call goes to.

use std::fmt;
use std::sync::{Arc, PoisonError, RwLock};

use rustc_hash::{FxHashMap, FxHashSet};
use shaddock_cluster::{Boot, Member as Peer, rendezvous};

use crate::error::{Fault, Result};
use crate::ids::{Kind, ServerId};
use crate::rpc::caller::Caller;
use crate::session::Session;
use crate::tasks::guarded;

/// How the servers of a kind are chosen for a session.
#[derive(Clone)]
pub(crate) enum Rule {
    /// The owner of this key, by rendezvous hash.
    Key(Arc<Key>),
    /// This one of those that live, which are sorted by id.
    Choose(Arc<Choose>),
}

pub(crate) type Key = dyn Fn(&Session) -> Result<String> + Send + Sync;
pub(crate) type Choose = dyn Fn(&Session, &[ServerId]) -> Result<ServerId> + Send + Sync;

/// Those of an application.
#[derive(Default)]
pub(crate) struct Rules {
    pub(crate) of_kind: FxHashMap<Kind, Rule>,
    /// Kinds that hand over what they know of keys.
    pub(crate) handing: FxHashSet<Kind>,
}

/// Chooses servers on behalf of one. Cheap to clone.
#[derive(Clone)]
pub(crate) struct Router(Arc<Inner>);

struct Inner {
    caller: Caller,
    rules: Arc<Rules>,
    /// Who is chosen among by key. Changed only when the sessions concerned have been told.
    views: RwLock<FxHashMap<Kind, View>>,
}

pub(crate) type View = Arc<[Peer]>;

impl Router {
    pub(crate) fn new(caller: Caller, rules: Arc<Rules>) -> Router {
        Router(Arc::new(Inner { caller, rules, views: RwLock::default() }))
    }

    pub(crate) fn caller(&self) -> &Caller {
        &self.0.caller
    }

    /// The ids of the servers of a kind that live, sorted.
    pub(crate) fn servers(&self, kind: &Kind) -> Vec<ServerId> {
        self.0
            .caller
            .node()
            .members()
            .of_kind(kind)
            .iter()
            .map(|member| member.id.clone())
            .collect()
    }

    /// The server a session's messages go to.
    pub(crate) fn of_session(&self, kind: &Kind, session: &Session) -> Result<ServerId> {
        Ok(self.place(kind, session)?.0)
    }

    /// The same, with the key that it was chosen for.
    pub(crate) fn place(
        &self,
        kind: &Kind,
        session: &Session,
    ) -> Result<(ServerId, Option<String>)> {
        match self.0.rules.of_kind.get(kind) {
            Some(Rule::Choose(choose)) => {
                let servers = self.servers(kind);
                let chosen = guarded("route_with", || choose(session, &servers));
                Ok((chosen.unwrap_or_else(|| Err(panicked()))?, None))
            }
            _ => {
                let key = self.key(kind, session)?;
                Ok((self.of_key(kind, &key)?, Some(key)))
            }
        }
    }

    /// The key of a session for servers of `kind`: what the kind says, else its uid, else its id.
    pub(crate) fn key(&self, kind: &Kind, session: &Session) -> Result<String> {
        match self.0.rules.of_kind.get(kind) {
            Some(Rule::Key(key)) => {
                guarded("route_by", || key(session)).unwrap_or_else(|| Err(panicked()))
            }
            _ => Ok(match session.find_uid() {
                Some(uid) => (*uid).to_owned(),
                None => session.id().to_string(),
            }),
        }
    }

    /// The owner of a key.
    pub(crate) fn of_key(&self, kind: &Kind, key: &str) -> Result<ServerId> {
        let views = self.0.views.read().unwrap_or_else(PoisonError::into_inner);
        let owner = match views.get(kind) {
            Some(view) => owner(view, key).map(|member| member.id.clone()),
            None => self.0.caller.node().pick(kind, key.as_bytes()).map(|member| member.id),
        };
        owner.ok_or_else(|| nobody(kind))
    }

    /// Whether servers of a kind hand over what they know of keys.
    pub(crate) fn hands_over(&self, kind: &Kind) -> bool {
        self.0.rules.handing.contains(kind)
    }

    /// Whether keys may belong to this run of a server.
    pub(crate) fn has(&self, kind: &Kind, server: Boot) -> bool {
        let views = self.0.views.read().unwrap_or_else(PoisonError::into_inner);
        views.get(kind).is_some_and(|view| view.iter().any(|member| member.boot == server))
    }

    /// Whether a key belongs to another than this run of a server.
    pub(crate) fn is_elsewhere(&self, kind: &Kind, key: &str, server: Boot) -> bool {
        let views = self.0.views.read().unwrap_or_else(PoisonError::into_inner);
        let owner = views.get(kind).and_then(|view| owner(view, key));
        owner.is_some_and(|owner| owner.boot != server)
    }

    /// A server of the kind, rather one that answers well.
    pub(crate) fn any(&self, kind: &Kind) -> Result<ServerId> {
        self.0.caller.node().any(kind).map(|member| member.id).ok_or_else(|| nobody(kind))
    }

    /// From now on keys of `kind` belong to those that `change` makes of those they belonged to; as long as it runs,
    /// nobody is given an owner.
    pub(crate) fn change_view(&self, kind: &Kind, change: impl FnOnce(&[Peer]) -> View) {
        let mut views = self.0.views.write().unwrap_or_else(PoisonError::into_inner);
        let view = change(views.get(kind).map_or(&[], |view| &**view));
        views.insert(kind.clone(), view);
    }
}

/// Who of `members` owns `key`.
pub(crate) fn owner<'a>(members: &'a [Peer], key: &str) -> Option<&'a Peer> {
    rendezvous(members, key.as_bytes())
}

fn panicked() -> Fault {
    Fault::internal("the rule that chooses servers panicked")
}

fn nobody(kind: &Kind) -> Fault {
    Fault::internal(format!("there is no server of kind {kind}"))
}

impl fmt::Debug for Router {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Router").finish_non_exhaustive()
    }
}
