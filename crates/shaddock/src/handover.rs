//! Back-ends of a kind give each other what they know of a key before it gets another owner.
//!
//! Three steps: what arrives is *held* until nothing is being handled any more; the application hands its state
//! over; what was held, and what still arrives, is *passed on* to the new owners, in order. Only then are the
//! front-ends told. So each key has one owner at any time, and nothing that was sent is lost.
//!
//! Who stops hands over everything. Who is added enters the cluster as one that is not ready, has each of the others
//! hand over what is to be its own, and then is.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::future::{join, join_all};
use shaddock_cluster::{Answer, Boot, Member, Members, Peer, State};
use tokio::sync::oneshot;
use tokio::task::yield_now;
use tokio::time::{Duration, Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

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
/// These runs of servers own nothing any more: `(boots,)`.
const LEAVES: &str = "leaves";
/// Answered when nothing is passed on to the caller any more, which has handed over all it had.
const LEFT: &str = "left";

/// How many messages may wait for a hand-over; more are refused.
const HELD: usize = 65_536;
/// How many bytes they may have together.
const HELD_BYTES: usize = 64 * 1024 * 1024;

/// How many of them go on at once, so that others get their turn, and queues are emptied meanwhile.
const PORTION: usize = 256;
/// How often a message is passed on. Who gets it after that handles it: two servers may not agree for a moment.
const PASSES: u8 = 4;

/// How long a hand-over to a server that is added may take.
const MAKING_ROOM: Duration = Duration::from_secs(2);
/// How long what is being handled may keep all else waiting.
const UNDER_WAY: Duration = Duration::from_secs(2);
/// How long others may take to learn that a server is ready.
const NEWS: Duration = Duration::from_millis(500);

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
    Held(Waiting),
    /// They go on to the owners of their keys.
    PassedOn,
}

/// What waits for the end of a hand-over.
#[derive(Default)]
struct Waiting {
    messages: VecDeque<Held>,
    bytes: usize,
}

/// Something that arrived.
struct Held {
    from: Peer,
    payload: Bytes,
    answer: Option<Answer>,
}

/// Runs of servers that not all see in one way. What is heard late of one that has gone is about nobody.
#[derive(Default)]
struct Kin {
    /// Of this kind: they have asked for what is to be their own. That ends if they leave before they are ready.
    asking: BTreeMap<Boot, CancellationToken>,
    /// Of this kind: they own keys, and are not ready yet.
    arriving: BTreeSet<Boot>,
    /// Of this kind: they are ready, and front-ends may not know it yet.
    welcomed: BTreeSet<Boot>,
    /// Of this kind: they have said that they leave. Nothing is handed over to them.
    leaving: BTreeSet<Boot>,
    /// Those of them that owned nothing any more when this one handed over.
    left: BTreeSet<Boot>,
    /// This one does.
    is_leaving: bool,
    /// Of any kind: they came as ones that are not ready, and are so still.
    unready: BTreeSet<Boot>,
}

impl Handover {
    fn phase(&self) -> MutexGuard<'_, Phase> {
        self.phase.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kin(&self) -> MutexGuard<'_, Kin> {
        self.kin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A server has come.
    pub(crate) fn meet(&self, member: &Member) {
        if member.state == State::Leaving {
            self.kin().unready.insert(member.boot);
        }
    }

    /// A server has gone. Says whether it was never ready: others may have handed over to it all the same.
    pub(crate) fn forget(&self, boot: Boot) -> bool {
        let was_unready = {
            let mut kin = self.kin();
            kin.asking.remove(&boot);
            kin.arriving.remove(&boot);
            kin.welcomed.remove(&boot);
            kin.leaving.remove(&boot);
            kin.left.remove(&boot);
            kin.unready.remove(&boot)
        };
        self.settle();
        was_unready
    }

    /// Nothing is passed on any more when there is nobody left to whom it would have to be.
    fn settle(&self) {
        let mut phase = self.phase();
        let is_settled = {
            let kin = self.kin();
            kin.arriving.is_empty() && kin.welcomed.is_empty() && !kin.is_leaving
        };
        if is_settled && matches!(*phase, Phase::PassedOn) {
            *phase = Phase::Here;
        }
    }
}

impl Kin {
    /// Those that have asked get what is their own from now on.
    ///
    /// Those that leave hand over what they have by themselves: until then it is theirs, for whoever gets messages about
    /// it. But from now on nothing else is.
    fn come_and_go(&mut self) {
        self.arriving.extend(self.asking.keys());
        self.left.extend(&self.leaving);
    }
}

/// Makes `core`, which is about to enter the cluster, one that is not ready, if there may be something to hand over.
pub(crate) fn prepare(core: &Core) {
    if core.definition.on_handover.is_some() {
        core.router.caller().node().set_leaving();
        core.handover.kin().arriving.insert(core.boot());
    }
}

/// Has all others of its kind hand over what `core` owns, and tells the cluster that it is ready. One after another,
/// for what one of them has under way may need the next.
pub(crate) async fn arrive(core: &Arc<Core>) {
    if core.definition.on_handover.is_none() {
        return;
    }
    for member in core.others() {
        if core.handover.kin().is_leaving {
            return;
        }
        let ready = core.router.caller().remote(&member.id, SERVICE, ARRIVES);
        if let Err(error) = ready.call::<()>(&()).await {
            tracing::warn!(server = %core.id, from = %member.id, %error, "nothing was handed over: sessions will follow their keys");
        }
    }
    {
        // Kept meanwhile: whoever begins to stop it says so afterwards.
        let mut kin = core.handover.kin();
        if kin.is_leaving {
            return;
        }
        core.router.caller().node().set_staying();
        kin.arriving.remove(&core.boot());
    }
    // Others of its kind that came at the same time may be ready by now.
    core.handover.settle();
}

/// Waits until `core`, and every front-end of the cluster, know as owners those of `new` that own keys. At most for a
/// moment: who learns it later is told by somebody, as ever.
pub(crate) async fn be_known(core: &Arc<Core>, new: &[&Core]) {
    let new = new.iter().filter(|new| new.definition.on_handover.is_some());
    let own: Vec<_> = new.map(|new| (&new.kind, new.boot())).collect();
    let is_ready = |members: &Members| {
        let is_leaving = |member: &Member| member.state == State::Leaving;
        let all = members.all();
        !all.iter()
            .any(|member| is_leaving(member) && own.iter().any(|(_, boot)| *boot == member.boot))
    };
    let _ = timeout(NEWS, core.router.caller().node().members().until(is_ready)).await;
    for (kind, _) in &own {
        core.on_owners(kind, Cause::Handover);
    }
    if core.definition.on_handover.is_some() {
        let _ = timeout(NEWS, followed(core, core.boot(), true, &[])).await;
    }
}

/// Whether `core` has something to hand over to others than those that stop `together` with it.
pub(crate) fn has_heirs(core: &Core, together: &[Boot]) -> bool {
    let owners = core.owners(&core.kind);
    let kin = core.handover.kin();
    let is_heir = |boot: &Boot| !kin.leaving.contains(boot) && !together.contains(boot);
    core.definition.on_handover.is_some() && owners.iter().any(|owner| is_heir(&owner.boot))
}

/// Hands over all that `core` owns, to those of its kind that don't stop `together` with it. Without one it keeps what
/// it has.
pub(crate) async fn leave(core: &Arc<Core>, together: &[Boot], limit: Duration) {
    if core.definition.on_handover.is_none() {
        return;
    }
    let end = Instant::now() + limit;
    {
        let mut kin = core.handover.kin();
        kin.is_leaving = true;
        kin.leaving.extend(together);
    }
    if !has_heirs(core, together) {
        return;
    }
    let others = core.others();
    // Who does not hear of it may hand over to this one, which then passes it on while it can.
    let told = others.iter().map(|member| async {
        let ready = core.router.caller().remote(&member.id, SERVICE, LEAVES);
        ready.call::<()>(&(together,)).await
    });
    let _ = timeout(limit / 4, join_all(told)).await;
    // They may all have said the same meanwhile.
    if has_heirs(core, together) {
        hand_over(core, end, CancellationToken::new()).await;
    }
}

/// Waits until every front-end but those that stop `together` with it, and every other server of its kind, sends to
/// others what it sent to `core`, which has said that it leaves.
pub(crate) async fn be_left(core: &Arc<Core>, together: &[Boot], limit: Duration) {
    let others = if core.definition.on_handover.is_some() { core.others() } else { Vec::new() };
    let told = others.iter().map(|member| async {
        let ready = core.router.caller().remote(&member.id, SERVICE, LEFT);
        ready.call::<()>(&()).await
    });
    let followed = followed(core, core.boot(), false, together);
    let _ = timeout(limit, join(followed, join_all(told))).await;
}

/// Does for another server of the kind what it asks.
pub(crate) async fn serve(
    core: Arc<Core>,
    from: Boot,
    method: String,
    args: Bytes,
) -> Result<Bytes> {
    match method.as_str() {
        ARRIVES => {
            let members = core.router.caller().node().members();
            let withdrawn = CancellationToken::new();
            {
                let mut kin = core.handover.kin();
                // One that has gone meanwhile was forgotten already.
                if members.all().iter().any(|member| member.boot == from) {
                    kin.asking.insert(from, withdrawn.clone());
                }
            }
            hand_over(&core, Instant::now() + MAKING_ROOM, withdrawn).await;
        }
        LEAVES => {
            let (boots,): (Vec<Boot>,) = decode_args(&args)?;
            let members = core.router.caller().node().members();
            {
                let mut kin = core.handover.kin();
                let all = members.all();
                let is_there = |boot: &Boot| all.iter().any(|member| member.boot == *boot);
                for boot in boots.into_iter().filter(is_there) {
                    // It may wait for this server, as this one does for it.
                    if let Some(withdrawn) = kin.asking.get(&boot) {
                        withdrawn.cancel();
                    }
                    kin.leaving.insert(boot);
                }
            }
        }
        LEFT => {
            core.handover.kin().left.insert(from);
            core.on_owners(&core.kind, Cause::Handover);
        }
        _ => return Err(Fault::internal(format!("{} has no remote {SERVICE}.{method}", core.id))),
    }
    encode_result(&())
}

/// A server is ready, or is about to go. When all front-ends know that one is ready, nothing needs to be passed on to
/// it any more.
pub(crate) fn on_changed(core: &Arc<Core>, member: &Member) {
    let new = member.boot;
    if member.state == State::Leaving {
        return;
    }
    {
        let mut kin = core.handover.kin();
        kin.unready.remove(&new);
        let had_asked = kin.asking.remove(&new).is_some();
        if !kin.arriving.remove(&new) && !had_asked {
            return;
        }
        kin.welcomed.insert(new);
    }
    let core = core.clone();
    core.tasks.clone().spawn("hand-over", async move |stop| {
        if stop.run_until_cancelled(followed(&core, new, true, &[])).await.is_some() {
            core.handover.kin().welcomed.remove(&new);
            core.handover.settle();
        }
    });
}

/// Hands over what belongs to others, if the application says how, until `end`, or until the one that it is for is
/// `withdrawn`. Once it has begun it comes to its end, whether or not somebody waits for that.
async fn hand_over(core: &Arc<Core>, end: Instant, withdrawn: CancellationToken) {
    let (done, ended) = oneshot::channel();
    let core = core.clone();
    core.tasks.clone().run("hand-over", async move {
        let turn = timeout_at(end, core.handover.turn.lock()).await;
        match turn {
            Ok(_turn) => hand_over_in_turn(&core, end, &withdrawn).await,
            Err(_) => {
                tracing::warn!(server = %core.id, "another hand-over takes too long: sessions will follow their keys");
            }
        }
        // Whoever asked may have gone.
        let _ = done.send(());
    });
    let _ = ended.await;
}

async fn hand_over_in_turn(core: &Arc<Core>, end: Instant, withdrawn: &CancellationToken) {
    let Some(hook) = &core.definition.on_handover else { return };
    let held = Phase::Held(Waiting::default());
    let before = std::mem::replace(&mut *core.handover.phase(), held);
    let patience = end.saturating_duration_since(Instant::now()).min(UNDER_WAY);
    let is_idle = core.work.idle(patience).await && Instant::now() < end;
    core.handover.kin().come_and_go();
    core.on_owners(&core.kind, Cause::Handover);
    let mut after = if is_idle {
        let handed = async { hook(ServerHandle(core.clone())).await };
        let handed = timeout_at(end, withdrawn.run_until_cancelled(core.caught(handed))).await;
        match handed {
            Ok(Some(Ok(()))) => Phase::PassedOn,
            // All is here still.
            Ok(None) => {
                core.handover.kin().come_and_go();
                core.on_owners(&core.kind, Cause::Handover);
                before
            }
            failed => {
                let late = || Fault::internal("it took too long");
                let fault = failed.ok().flatten().and_then(Result::err).unwrap_or_else(late);
                tracing::error!(server = %core.id, %fault, "nothing was handed over: sessions will follow their keys");
                before
            }
        }
    } else {
        tracing::warn!(server = %core.id, "requests take too long for a hand-over: sessions will follow their keys");
        before
    };
    let inbox = Inbox(core.clone());
    while !inbox.place_held(&mut after) {
        yield_now().await;
    }
    // The one that it was for may have gone.
    core.handover.settle();
}

/// Returns when no session is left that does not know whether `server` `owns` keys. Front-ends of `without` have none.
async fn followed(core: &Arc<Core>, server: Boot, owns: bool, without: &[Boot]) {
    let caller = core.router.caller();
    let members = caller.node().members().all().into_iter();
    let frontends = members.filter(|member| member.frontend && !without.contains(&member.boot));
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
        let owns = |Member { boot, state, .. }: &Member| {
            !kin.left.contains(boot) && (*state != State::Leaving || kin.arriving.contains(boot))
        };
        members.all().into_iter().filter(|member| member.kind == *kind && owns(member)).collect()
    }

    fn boot(&self) -> Boot {
        self.router.caller().node().peer().boot
    }

    /// The others of its kind that can be asked.
    fn others(&self) -> Vec<Member> {
        let members = self.router.caller().node().members().all().into_iter();
        let is_other = |member: &Member| member.kind == self.kind && member.id != self.id;
        members.filter(|member| is_other(member) && member.state != State::Suspect).collect()
    }

    /// Which other server is to have a message now, and what to send there.
    fn readdress(&self, held: &Held) -> Result<Option<(ServerId, Bytes)>> {
        let other = |owner: ServerId| Some(owner).filter(|owner| *owner != self.id);
        let of_method = |method: &Method<'_>| {
            self.router.of_key(&self.kind, method.key.unwrap_or_default()).map(other)
        };
        if held.answer.is_none() {
            let Tell::Remote(method) = envelope::unpack(&held.payload)? else {
                return Err(Fault::internal("a push belongs to no key"));
            };
            let Some(owner) = of_method(&method)? else { return Ok(None) };
            return Ok(Some((owner, envelope::pack(&Tell::Remote(method.passed_on()))?)));
        }
        match envelope::unpack(&held.payload)? {
            Ask::Forward(forward) => {
                let session = self.far_session(&held.from.id, &forward)?;
                let owner = self.router.of_session(&self.kind, &session)?;
                let Some(owner) = other(owner) else { return Ok(None) };
                let origin = forward.origin.or(Some(held.from.id.as_str()));
                let passed = forward.passed.saturating_add(1);
                let forward = Forward { origin, passed, ..forward };
                Ok(Some((owner, envelope::pack(&Ask::Forward(forward))?)))
            }
            Ask::Remote(method) => {
                let Some(owner) = of_method(&method)? else { return Ok(None) };
                Ok(Some((owner, envelope::pack(&Ask::Remote(method.passed_on()))?)))
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

impl Method<'_> {
    fn passed_on(self) -> Self {
        Method { passed: self.passed.saturating_add(1), ..self }
    }
}

impl Inbox {
    /// Takes a message in: here, later, or on another server.
    pub(crate) fn receive(&self, from: &Peer, payload: Bytes, answer: Option<Answer>) {
        if self.0.definition.on_handover.is_none() {
            return self.dispatch(from, payload, answer);
        }
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

    /// Does with some of those that are held what the phase `after` demands, and with the last of them begins it. Says
    /// whether it did.
    fn place_held(&self, after: &mut Phase) -> bool {
        // Kept meanwhile, so that nothing that arrives gets before them.
        let mut phase = self.0.handover.phase();
        let Phase::Held(waiting) = &mut *phase else { return true };
        let is_last = waiting.messages.len() <= PORTION;
        let portion = waiting.messages.len().min(PORTION);
        for held in waiting.messages.drain(..portion) {
            waiting.bytes -= held.payload.len();
            self.place(after, held);
        }
        if is_last {
            *phase = std::mem::take(after);
        }
        is_last
    }

    /// Does with a message that belongs to a key what this phase demands.
    fn place(&self, phase: &mut Phase, held: Held) {
        let core = &self.0;
        match phase {
            Phase::Here => self.dispatch(&held.from, held.payload, held.answer),
            // Dropping the answer tells whoever asked.
            Phase::Held(all) => {
                let bytes = all.bytes.saturating_add(held.payload.len());
                if HELD <= all.messages.len() || HELD_BYTES < bytes {
                    core.metrics.lane_overflows.increment(1);
                    if core.seldom.now() {
                        tracing::warn!(server = %core.id, "too much waits for a hand-over: messages are refused");
                    }
                    return;
                }
                all.bytes = bytes;
                all.messages.push_back(held);
            }
            Phase::PassedOn => match core.readdress(&held) {
                Ok(None) => self.dispatch(&held.from, held.payload, held.answer),
                // It gives the key to this one.
                Ok(Some((owner, _))) if owner == held.from.id => {
                    self.dispatch(&held.from, held.payload, held.answer);
                }
                Ok(Some((owner, payload))) => core.pass_on(&owner, &payload, held.answer),
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

/// Whether a message is for whoever owns a key, and was not passed on too often already.
fn is_keyed(payload: &[u8], asks: bool) -> bool {
    let method = match asks {
        true => match envelope::unpack(payload) {
            Ok(Ask::Forward(forward)) => return forward.passed < PASSES,
            Ok(Ask::Remote(method)) => method,
            Err(_) => return false,
        },
        false => match envelope::unpack(payload) {
            Ok(Tell::Remote(method)) => method,
            _ => return false,
        },
    };
    method.key.is_some() && method.passed < PASSES
}
