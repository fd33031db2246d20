//! Back-ends of a kind give each other what they know of a key before it gets another owner.
//!
//! Three steps: what arrives is *held* until nothing is being handled any more; the application hands its state
//! over; what was held, and what still arrives, is *passed on* to the new owners, in order. Only then are the
//! front-ends told. So each key has one owner at any time, and nothing that was sent is lost.
//!
//! Who stops hands over everything. Who is added enters the cluster as one that is not ready, has each of the others
//! hand over what is to be its own, and then is.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::join_all;
use shaddock_cluster::{Answer, Member, Peer, State};
use tokio::time::{Duration, timeout};

use crate::error::{Fault, Result};
use crate::ids::{Kind, ServerId};
use crate::router::View;
use crate::rpc::envelope::{self, Ask, Forward, Method, Tell};
use crate::rpc::{decode_args, encode_result};
use crate::running::{Cause, Core, Inbox, reply};
use crate::server::ServerHandle;
use crate::session::remote;

/// The name of the remote by which servers of a kind agree. Applications can't have one of this name.
pub(crate) const SERVICE: &str = "@handover";
/// Answered when what is to be the caller's own was handed over to it, or can't be.
const ARRIVES: &str = "arrives";
/// These own nothing any more: `(servers,)`.
const LEAVES: &str = "leaves";

/// How many messages may wait for a hand-over; more are refused.
const HELD: usize = 65_536;

/// How long a hand-over to a server that is added may take.
const MAKING_ROOM: Duration = Duration::from_secs(2);

/// What one server knows of who owns what among its kind, and what becomes of messages that belong to a key.
#[derive(Default)]
pub(crate) struct Handover {
    phase: Mutex<Phase>,
    kin: Mutex<Kin>,
    /// Held while one is done.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
enum Phase {
    /// They are handled here.
    #[default]
    Here,
    /// They wait, until it is known where.
    Held(Vec<Held>),
    /// They go on to the owners of their keys.
    PassedOn,
}

/// Something that arrived.
struct Held {
    from: Peer,
    payload: Bytes,
    answer: Option<Answer>,
}

/// Of those of its kind, the ones that the front-ends see in another way.
#[derive(Default)]
struct Kin {
    /// They own keys, and are not ready yet.
    arriving: BTreeSet<ServerId>,
    /// They own nothing any more.
    leaving: BTreeSet<ServerId>,
}

impl Handover {
    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kin(&self) -> MutexGuard<'_, Kin> {
        self.kin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A server has gone.
    pub(crate) fn forget(&self, server: &ServerId) {
        let mut kin = self.kin();
        kin.arriving.remove(server);
        kin.leaving.remove(server);
    }
}

/// Makes `core`, which is about to enter the cluster, one that is not ready, if there may be something to hand over.
pub(crate) fn prepare(core: &Core) {
    if core.definition.on_handover.is_some() {
        core.router.caller().node().set_leaving();
        core.handover.kin().arriving.insert(core.id.clone());
    }
}

/// Has all others of its kind hand over what `core` owns, and tells the cluster that it is ready. One after another,
/// for what one of them has under way may need the next.
pub(crate) async fn arrive(core: &Arc<Core>) {
    if core.definition.on_handover.is_none() {
        return;
    }
    for member in core.others() {
        let ready = core.router.caller().remote(&member.id, SERVICE, ARRIVES);
        if let Err(error) = ready.call::<()>(&()).await {
            tracing::warn!(server = %core.id, from = %member.id, %error, "nothing was handed over: sessions will follow their keys");
        }
    }
    core.router.caller().node().set_staying();
    core.handover.kin().arriving.remove(&core.id);
}

/// Hands over all that `core` owns, to those of its kind that don't stop `together` with it.
pub(crate) async fn leave(core: &Arc<Core>, together: &[ServerId], limit: Duration) {
    core.handover.kin().leaving.extend(together.iter().cloned());
    if core.owners(&core.kind).is_empty() {
        return;
    }
    let others = core.others();
    // Who does not hear of it may hand over to this one, which then passes it on while it can.
    let told = others.iter().map(|member| async {
        let ready = core.router.caller().remote(&member.id, SERVICE, LEAVES);
        ready.call::<()>(&(together,)).await
    });
    let _ = timeout(limit / 4, join_all(told)).await;
    hand_over(core, limit / 2).await;
}

/// Waits until every front-end but those that stop `together` with it sends to others what it sent to `core`, which
/// has said that it leaves.
pub(crate) async fn be_left(core: &Arc<Core>, together: &[ServerId], limit: Duration) {
    let _ = timeout(limit, followed(core, &core.id, false, together)).await;
}

/// Does for another server of the kind what it asks.
pub(crate) async fn serve(
    core: Arc<Core>,
    from: ServerId,
    method: String,
    args: Bytes,
) -> Result<Bytes> {
    match method.as_str() {
        ARRIVES => {
            core.handover.kin().arriving.insert(from);
            hand_over(&core, MAKING_ROOM).await;
        }
        LEAVES => {
            let (servers,): (Vec<ServerId>,) = decode_args(&args)?;
            {
                let mut kin = core.handover.kin();
                kin.arriving.retain(|id| !servers.contains(id));
                kin.leaving.extend(servers);
            }
            core.on_owners(&core.kind, Cause::Handover);
        }
        _ => return Err(Fault::internal(format!("{} has no remote {SERVICE}.{method}", core.id))),
    }
    encode_result(&())
}

/// A server is ready, or is about to go. When all front-ends know that one is ready, nothing needs to be passed on to
/// it any more.
pub(crate) fn on_changed(core: &Arc<Core>, member: &Member) {
    if member.state == State::Leaving || !core.handover.kin().arriving.remove(&member.id) {
        return;
    }
    let (core, new) = (core.clone(), member.id.clone());
    core.tasks.clone().spawn("hand-over", async move |stop| {
        if stop.run_until_cancelled(followed(&core, &new, true, &[])).await.is_none() {
            return;
        }
        let _turn = core.handover.turn.lock().await;
        let is_settled = {
            let kin = core.handover.kin();
            kin.arriving.is_empty() && !kin.leaving.contains(&core.id)
        };
        if is_settled {
            *core.handover.phase() = Phase::Here;
        }
    });
}

/// Hands over what belongs to others, if the application says how. The hook has half of `limit`, and so has what it
/// waits for.
async fn hand_over(core: &Arc<Core>, limit: Duration) {
    let Some(hook) = &core.definition.on_handover else { return };
    let _turn = core.handover.turn.lock().await;
    let before = std::mem::replace(&mut *core.handover.phase(), Phase::Held(Vec::new()));
    let is_idle = core.work.idle(limit / 2).await;
    core.on_owners(&core.kind, Cause::Handover);
    let after = if is_idle {
        let handed = async { hook(ServerHandle(core.clone())).await };
        let handed = timeout(limit / 2, core.caught(handed)).await;
        let handed = handed.unwrap_or_else(|_| Err(Fault::internal("it took too long")));
        if let Err(fault) = handed {
            tracing::error!(server = %core.id, %fault, "not everything was handed over");
        }
        Phase::PassedOn
    } else {
        tracing::warn!(server = %core.id, "requests take too long for a hand-over: sessions will follow their keys");
        before
    };
    let inbox = Inbox(core.clone());
    // Kept until all is on its way, so that nothing that arrives gets before it.
    let mut phase = core.handover.phase();
    let held = std::mem::replace(&mut *phase, after);
    if let Phase::Held(held) = held {
        held.into_iter().for_each(|held| inbox.place(&mut phase, held));
    }
}

/// Returns when no session is left that does not know whether `server` `owns` keys. Front-ends of `without` have none.
async fn followed(core: &Arc<Core>, server: &ServerId, owns: bool, without: &[ServerId]) {
    let caller = core.router.caller();
    let members = caller.node().members().all().into_iter();
    let frontends = members.filter(|member| member.frontend && !without.contains(&member.id));
    let asked = frontends.map(async |frontend| {
        let ready = caller.remote(&frontend.id, remote::SERVICE, remote::FOLLOWED);
        if let Err(error) = ready.call::<()>(&(&core.kind, server, owns)).await {
            tracing::warn!(server = %core.id, frontend = %frontend.id, %error, "a front-end may still send messages to the old owners of keys");
        }
    });
    join_all(asked).await;
}

impl Core {
    /// Who owns the keys of a kind, as far as this server has to know.
    pub(crate) fn owners(&self, kind: &Kind) -> View {
        let members = self.router.caller().node().members();
        if *kind != self.kind {
            return members.of_kind(kind);
        }
        let kin = self.handover.kin();
        let owns = |member: &Member| match member.state {
            State::Leaving => kin.arriving.contains(&member.id),
            _ => !kin.leaving.contains(&member.id),
        };
        members.all().into_iter().filter(|member| member.kind == *kind && owns(member)).collect()
    }

    /// The others of its kind that can be asked.
    fn others(&self) -> Vec<Member> {
        let members = self.router.caller().node().members().all().into_iter();
        let is_other = |member: &Member| member.kind == self.kind && member.id != self.id;
        members.filter(|member| is_other(member) && member.state != State::Suspect).collect()
    }

    /// Who is to have a message now, and what to send there.
    fn readdress(&self, held: &Held) -> Result<(ServerId, Bytes)> {
        let of_method =
            |method: &Method<'_>| self.router.of_key(&self.kind, method.key.unwrap_or_default());
        if held.answer.is_none() {
            let Tell::Remote(method) = envelope::unpack(&held.payload)? else {
                return Err(Fault::internal("a push belongs to no key"));
            };
            let owner = of_method(&method)?;
            return Ok((owner, envelope::pack(&Tell::Remote(Method { key: None, ..method }))?));
        }
        match envelope::unpack(&held.payload)? {
            Ask::Forward(forward) => {
                let session = self.far_session(&held.from.id, &forward)?;
                let owner = self.router.of_session(&self.kind, &session)?;
                let origin = Some(held.from.id.as_str());
                Ok((owner, envelope::pack(&Ask::Forward(Forward { origin, ..forward }))?))
            }
            Ask::Remote(method) => {
                let owner = of_method(&method)?;
                Ok((owner, envelope::pack(&Ask::Remote(Method { key: None, ..method }))?))
            }
        }
    }

    /// Sends a message to another server, and the answer back.
    fn pass_on(&self, owner: &ServerId, payload: &Bytes, answer: Option<Answer>) {
        let node = self.router.caller().node();
        let Some(answer) = answer else {
            if let Err(error) = node.cast(owner, payload) {
                tracing::warn!(server = %self.id, %error, "a one-way call was not passed on");
            }
            return;
        };
        let (deadline, under_way) = (answer.deadline(), self.work.under_way());
        node.call_then(owner, payload, deadline, move |result| {
            match result {
                // As it is: it was packed for whoever asked.
                Ok(packed) => {
                    if let Err(error) = answer.send(packed) {
                        tracing::warn!(%error, "an answer was not passed on");
                    }
                }
                Err(error) => reply(answer, Err(error.into())),
            }
            drop(under_way);
        });
    }
}

impl Inbox {
    /// Takes a message in: here, later, or on another server.
    pub(crate) fn receive(&self, from: &Peer, payload: Bytes, answer: Option<Answer>) {
        // Kept while it is dispatched, so that nothing slips in behind the one who holds.
        let mut phase = self.0.handover.phase();
        let is_for_all = || {
            // What is being handled here may ask for more of itself.
            from.id == self.0.id || !is_keyed(&payload, answer.is_some())
        };
        if matches!(*phase, Phase::Here) || is_for_all() {
            self.dispatch(from, payload, answer);
        } else {
            self.place(&mut phase, Held { from: from.clone(), payload, answer });
        }
    }

    /// Does with a message that belongs to a key what this phase demands.
    fn place(&self, phase: &mut Phase, held: Held) {
        let core = &self.0;
        match phase {
            Phase::Here => self.dispatch(&held.from, held.payload, held.answer),
            // Dropping the answer tells whoever asked.
            Phase::Held(all) if HELD <= all.len() => core.metrics.lane_overflows.increment(1),
            Phase::Held(all) => all.push(held),
            Phase::PassedOn => match core.readdress(&held) {
                Ok((owner, _)) if owner == core.id => {
                    self.dispatch(&held.from, held.payload, held.answer);
                }
                Ok((owner, payload)) => core.pass_on(&owner, &payload, held.answer),
                Err(fault) => match held.answer {
                    Some(answer) => reply(answer, Err(fault)),
                    None => {
                        tracing::warn!(server = %core.id, from = %held.from.id, %fault, "a one-way call was not passed on")
                    }
                },
            },
        }
    }
}

/// Whether a message is for whoever owns a key, and was not passed on already.
fn is_keyed(payload: &[u8], asks: bool) -> bool {
    let method = match asks {
        true => match envelope::unpack(payload) {
            Ok(Ask::Forward(forward)) => return forward.origin.is_none(),
            Ok(Ask::Remote(method)) => method,
            Err(_) => return false,
        },
        false => match envelope::unpack(payload) {
            Ok(Tell::Remote(method)) => method,
            _ => return false,
        },
    };
    method.key.is_some()
}
