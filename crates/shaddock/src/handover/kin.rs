//! Who owns the keys of a kind, as one server of it knows, and what the others have to know.

use std::collections::{BTreeMap, BTreeSet};

use futures_util::future::join_all;
use serde::Serialize;
use shaddock_cluster::{Boot, Member, State};
use tokio::time::{Duration, Instant};
use tokio_util::sync::CancellationToken;

use super::{Handover, KNOWS, MEETING, MEETS, SERVICE};
use crate::admin;
use crate::ids::Kind;
use crate::router::View;
use crate::rpc::caller;
use crate::running::{Cause, Core};

/// How often a front-end looks whether its sessions follow their keys.
pub(super) const GLANCE: Duration = Duration::from_millis(5);

/// Runs of servers of whom more is known than all members of the cluster know.
#[derive(Default)]
pub(super) struct Kin {
    /// Of this kind: they have asked for what is to be their own. That ends if they turn back.
    pub(super) asking: BTreeMap<Boot, CancellationToken>,
    /// Of this kind: they own keys, and are not ready yet.
    pub(super) arriving: BTreeSet<Boot>,
    /// Of this kind: they own nothing any more.
    pub(super) left: BTreeSet<Boot>,
    /// Of any kind: they came as ones that are not ready, and are so still.
    unready: BTreeSet<Boot>,
}

impl Handover {
    /// A server has come.
    pub(crate) fn meet(&self, member: &Member) {
        if member.state == State::Leaving {
            self.kin().unready.insert(member.boot);
        }
    }

    /// A server is ready, or is about to go.
    pub(crate) fn on_changed(&self, member: &Member) {
        if member.state != State::Leaving {
            let mut kin = self.kin();
            kin.unready.remove(&member.boot);
            kin.arriving.remove(&member.boot);
        }
    }

    /// A server has gone. Says whether it was never ready: others may have handed over to it all the same.
    pub(crate) fn forget(&self, boot: Boot) -> bool {
        self.settle(boot);
        let mut kin = self.kin();
        if let Some(withdrawn) = kin.asking.remove(&boot) {
            withdrawn.cancel();
        }
        kin.arriving.remove(&boot);
        kin.left.remove(&boot);
        kin.unready.remove(&boot)
    }
}

impl Core {
    /// Who owns the keys of a kind, as far as this server has to know.
    pub(crate) fn owners(&self, kind: &Kind) -> View {
        let members = self.router.caller().node().members();
        if *kind != self.kind {
            return members.of_kind(kind);
        }
        let kin = self.handover.kin();
        let owns = |Member { boot, state, .. }: &Member| {
            !kin.left.contains(boot) && (*state != State::Leaving || kin.arriving.contains(boot))
        };
        members.all().into_iter().filter(|member| member.kind == *kind && owns(member)).collect()
    }

    /// Those of them that are not among `without`.
    pub(super) fn heirs(&self, without: &[Boot]) -> Vec<Member> {
        let owners = self.owners(&self.kind);
        owners.iter().filter(|owner| !without.contains(&owner.boot)).cloned().collect()
    }

    /// The others of its kind that are not among `without`, in whatever state.
    pub(super) fn others(&self, without: &[Boot]) -> Vec<Member> {
        let members = self.router.caller().node().members().all().into_iter();
        let is_other = |member: &Member| member.kind == self.kind && member.id != self.id;
        members.filter(|member| is_other(member) && !without.contains(&member.boot)).collect()
    }

    pub(super) fn boot(&self) -> Boot {
        self.router.caller().node().peer().boot
    }

    /// Whether it is in the cluster, or about to be, and not ready yet.
    pub(super) fn is_arriving(&self) -> bool {
        self.handover.kin().arriving.contains(&self.boot())
    }

    pub(super) fn member(&self, server: Boot) -> Option<Member> {
        let members = self.router.caller().node().members().all();
        members.into_iter().find(|member| member.boot == server)
    }

    /// Whether no front-end says that it does not know this run of a server. The sessions of one that does would stay
    /// here alone, for they follow nobody whom they don't know.
    pub(super) async fn is_met(&self, server: Boot) -> bool {
        if server == self.boot() {
            return true;
        }
        let caller = self.router.caller();
        let members = caller.node().members().all().into_iter();
        let is_asked = |member: &Member| member.frontend && member.kind.as_str() != admin::KIND;
        let asked = members.filter(is_asked).map(async |front| {
            let meets = caller.remote(&front.id, SERVICE, MEETS);
            // Whoever can't be reached will be told that it was forgotten.
            caller::until(Instant::now() + 2 * MEETING, meets.call(&server)).await.unwrap_or(true)
        });
        join_all(asked).await.into_iter().all(|meets| meets)
    }

    /// A server of this kind owns keys, or does not any more, as all others know.
    pub(super) fn learn(&self, server: Boot, owns: bool) {
        if let Some(member) = self.member(server) {
            let mut kin = self.handover.kin();
            if !owns {
                kin.left.insert(server);
            } else if member.state == State::Leaving {
                kin.arriving.insert(server);
            }
        }
        self.on_owners(&self.kind, Cause::Handover);
        self.handover.settle(server);
    }

    /// Whether all that is sent from here to servers of a `kind` goes by whether those of `boots` `own` keys.
    pub(super) async fn has_followed(&self, kind: &Kind, boots: &[Boot], own: bool) -> bool {
        if boots.iter().any(|boot| self.router.has(kind, *boot) != own) {
            return false;
        }
        match &self.frontend {
            Some(frontend) => frontend.have_followed(kind, GLANCE).await,
            None => true,
        }
    }
}

/// Returns when all who may send something to servers of its kind know whether those of `boots` `own` keys: at last the
/// others of the kind, which pass on what the rest sends. Those of `without` send nothing any more.
pub(super) async fn make_known(core: &Core, boots: &[Boot], own: bool, without: &[Boot]) {
    let is_asked = |member: &Member| {
        let sends = member.frontend || core.definition.on_handover.is_some();
        sends && member.kind.as_str() != admin::KIND && !without.contains(&member.boot)
    };
    let members = core.router.caller().node().members().all().into_iter().filter(is_asked);
    let (kin, strangers): (Vec<_>, Vec<_>) = members.partition(|member| member.kind == core.kind);
    ask(core, strangers, KNOWS, &(&core.kind, boots, own)).await;
    ask(core, kin, KNOWS, &(&core.kind, boots, own)).await;
}

/// Waits until all of these have answered, or can't.
pub(super) async fn ask(core: &Core, members: Vec<Member>, method: &str, args: &impl Serialize) {
    let asked = members.iter().map(async |member| {
        let ready = core.router.caller().remote(&member.id, SERVICE, method);
        // Who has left meanwhile need not know any more.
        if let Err(error) = ready.call::<()>(args).await
            && core.member(member.boot).is_some()
        {
            tracing::warn!(server = %core.id, of = %member.id, %error, "a server may still take others for the owners of keys");
        }
    });
    join_all(asked).await;
}
