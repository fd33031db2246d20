//! Sessions follow their keys: when servers come or go, those concerned are told before anything more is sent for them.

use std::sync::Arc;
use std::time::Duration;

use shaddock_cluster::Member;

use super::Core;
use crate::ids::Kind;
use crate::router::owner;
use crate::server::ServerHandle;
use crate::session::lane::Job;
use crate::session::mailbox::Order;
use crate::session::record::Record;
use crate::session::{Moved, Session};

/// How long a session that could not follow its key waits before it tries again, at first.
const FOLLOW_AGAIN: Duration = Duration::from_secs(1);

/// Why keys get other owners.
#[derive(Clone, Copy, PartialEq)]
pub(crate) enum Cause<'a> {
    /// A server that has not been here.
    Came,
    /// This one is not here any more, and has lost what it knew. One that never was ready may have known of what
    /// others gave it.
    Went { member: &'a Member, was_unready: bool },
    /// A server is ready, or is about to go, and what the keys are about was handed over.
    Handover,
}

impl Core {
    /// Those who are in the cluster when this server enters it own the keys.
    pub(crate) fn know_owners(&self) {
        for kind in self.app.kinds() {
            self.router.change_view(kind, |_| self.owners(kind));
        }
    }

    /// Servers of `kind` came or went: keys have other owners now, and the sessions concerned are
    /// told before anything more is sent by the new ones.
    pub(crate) fn on_owners(&self, kind: &Kind, cause: Cause<'_>) {
        let members = self.router.caller().node().members();
        let follows = self.definition.on_moved.contains_key(kind.as_str());
        let hands_over = self.router.hands_over(kind);
        self.router.change_view(kind, |before| {
            let now = self.owners(kind);
            let Some(frontend) = &self.frontend else { return now };
            // Nothing is known of keys there that anybody would have to follow.
            if !follows && !hands_over {
                return now;
            }
            let runs = |view: &[Member]| view.iter().map(|member| member.boot).collect::<Vec<_>>();
            let gone = match cause {
                Cause::Went { member, was_unready } => Some((member, was_unready)),
                _ => None,
            };
            if gone.is_none() && runs(before) == runs(&now) {
                return now;
            }
            // Keys may have been handed over to one that front-ends never knew as their owner.
            let added = match gone {
                Some((member, true)) => Some([before, std::slice::from_ref(member)].concat()),
                _ => None,
            };
            let before = added.as_deref().unwrap_or(before);
            for record in frontend.table.all() {
                // Without a hook there is something to wait for: see `Connection::poll_lane`.
                if !follows && record.forwarded() == 0 {
                    continue;
                }
                let Ok(key) = self.router.key(kind, &Session::here(record.clone())) else {
                    continue;
                };
                let Some(to) = owner(&now, &key) else {
                    continue;
                };
                // One that was away, or is another run of itself, is a new owner under an old name.
                let from = owner(before, &key)
                    .filter(|from| gone.is_none_or(|(gone, _)| gone.id != from.id));
                if from.is_some_and(|from| from.id == to.id && from.boot == to.boot) {
                    continue;
                }
                let from = from.map(|from| &from.id).filter(|from| members.get(from).is_some());
                let moved = Moved {
                    kind: kind.clone(),
                    from: from.cloned(),
                    to: to.id.clone(),
                    is_handed_over: hands_over && cause == Cause::Handover && from.is_some(),
                    failures: 0,
                    _under_way: frontend.begin_following(kind),
                };
                record.mailbox.order(Order::Moved(moved));
            }
            now
        });
    }

    /// `by` had taken this server for dead. If this is a front-end, the uids of its sessions may have been given
    /// to others, and its members are out of the channels there. If that is one, it has entered its sessions
    /// elsewhere, and does so here again where they belong.
    pub(super) fn on_forgotten(&self, by: &Member) {
        self.channels.forget_frontend(&by.id);
        let follows = self.definition.on_moved.contains_key(by.kind.as_str());
        let Some(frontend) = &self.frontend else { return };
        for record in frontend.table.all() {
            if record.has_claim() {
                record.mailbox.order(Order::Confirm);
            }
            let owner = self.router.of_session(&by.kind, &Session::here(record.clone()));
            if follows && owner.is_ok_and(|owner| owner == by.id) {
                let (kind, from, to) = (by.kind.clone(), Some(by.id.clone()), by.id.clone());
                let _under_way = frontend.begin_following(&by.kind);
                let moved =
                    Moved { kind, from, to, is_handed_over: false, failures: 0, _under_way };
                record.mailbox.order(Order::Moved(moved));
            }
        }
    }

    /// Lets the application know that a session's key has another owner, until it has managed.
    pub(super) fn follow(self: &Arc<Core>, record: &Arc<Record>, mut moved: Moved) -> Job {
        let (core, record) = (self.clone(), record.clone());
        let hook = core.definition.on_moved.get(moved.kind.as_str()).cloned();
        let session = Session::here(record.clone());
        let owner = core.router.of_session(&moved.kind, &session);
        let (Some(hook), Ok(owner)) = (hook, owner) else {
            return Box::pin(std::future::ready(()));
        };
        // Whoever died meanwhile has nothing to let go of.
        let members = core.router.caller().node().members();
        moved.from = moved.from.filter(|from| members.get(from).is_some());
        // The key may have moved on since: then that is another move, which comes after this one.
        if owner != moved.to {
            if moved.from.as_ref() == Some(&owner) {
                return Box::pin(std::future::ready(()));
            }
            moved.to = owner;
        }
        Box::pin(async move {
            let (handle, session) = (ServerHandle(core.clone()), session);
            let done = async { hook(handle, session.clone(), moved.clone()).await };
            let Err(fault) = core.within(core.deadline(), done).await else {
                return;
            };
            let pause = FOLLOW_AGAIN * 2_u32.pow(moved.failures.min(5));
            if core.seldom.now() {
                tracing::warn!(server = %core.id, session = %session.id(), %fault, ?pause, "sessions do not follow their keys yet");
            }
            moved.failures += 1;
            core.tasks.spawn("follow", async move |stop| {
                if stop.run_until_cancelled(tokio::time::sleep(pause)).await.is_some() {
                    record.mailbox.order(Order::Moved(moved));
                }
            });
        })
    }
}
