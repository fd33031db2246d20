//! Back-ends of a kind give each other what they know of a key before it gets another owner.
//!
//! Three steps: what arrives is *held* until nothing is being handled any more; the application hands its state
//! over; what was held, and what still arrives, is *passed on* to the new owners, in order. Only then are the
//! front-ends told. So each key has one owner at any time, and nothing that was sent is lost.
//!
//! Who stops hands over everything. Who is added enters the cluster as one that is not ready, has each of the others
//! hand over what is to be its own, and then is. Of one kind, one at a time does either: it takes its turn first, and
//! gives it back when all others know.

mod held;
mod turn;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::{BoxFuture, join, join_all};
use serde::Serialize;
use shaddock_cluster::{Boot, Member, Members, State};
use tokio::sync::{oneshot, watch};
use tokio::task::yield_now;
use tokio::time::{Duration, Instant, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use self::held::{Phase, Waiting};
use self::turn::Turn;
use crate::error::{Fault, Result};
use crate::ids::Kind;
use crate::router::View;
use crate::rpc::{decode_args, encode_result};
use crate::running::{Cause, Core, Inbox};
use crate::server::ServerHandle;
use crate::session::remote;

/// The name of the remote by which servers of a kind agree. Applications can't have one of this name.
pub(crate) const SERVICE: &str = "@handover";
/// Answered when what is to be the caller's own was handed over to it, or can't be.
const ARRIVES: &str = "arrives";
/// Answered when nothing is being handed over to the caller any more, which stops before it was ready.
const TURNS_BACK: &str = "turns back";
/// The caller owns keys, and all front-ends know it.
const ARRIVED: &str = "arrived";
/// These runs of servers own nothing any more: `(boots,)`. Answered when nothing is passed on to them.
const LEFT: &str = "left";

/// How long a server that is added waits for its turn.
const ARRIVAL: Duration = Duration::from_secs(10);
/// How long a hand-over to it may take.
const MAKING_ROOM: Duration = Duration::from_secs(2);
/// How long what is being handled may keep all else waiting.
const UNDER_WAY: Duration = Duration::from_secs(2);
/// How long front-ends and the others of its kind may take to learn that it is ready, before the next one begins.
const FOLLOWING: Duration = Duration::from_secs(2);
/// How long the others of its process may take.
const NEWS: Duration = Duration::from_millis(500);

/// What one server knows of who owns what among its kind, and what becomes of messages that belong to a key.
#[derive(Default)]
pub(crate) struct Handover {
    phase: Mutex<Phase>,
    kin: Mutex<Kin>,
    /// Held while something is handed over.
    doing: tokio::sync::Mutex<()>,
    /// Held by this one until it has arrived. If it is stopped before, its turn is left here.
    arrival: tokio::sync::Mutex<Option<Turn>>,
    /// Whether it has its turn, or is about to get it.
    has_turn: watch::Sender<bool>,
    /// It is to stop.
    stops: CancellationToken,
}

/// Runs of servers of whom more is known than all members of the cluster know.
#[derive(Default)]
struct Kin {
    /// Of this kind: they have asked for what is to be their own. That ends if they turn back.
    asking: BTreeMap<Boot, CancellationToken>,
    /// Of this kind: they own keys, and are not ready yet.
    arriving: BTreeSet<Boot>,
    /// Of this kind: they own nothing any more.
    left: BTreeSet<Boot>,
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

    /// Nothing needs to be passed on any more on account of this run of a server.
    fn settle(&self, boot: Boot) {
        let mut phase = self.phase();
        if matches!(*phase, Phase::PassedOn(of) if of == boot) {
            *phase = Phase::Here;
        }
    }
}

/// Why keys are handed over.
enum Occasion {
    /// This run of a server gets some.
    Arrival(Boot),
    /// These give up all of theirs.
    Departure(Vec<Boot>),
}

impl Kin {
    fn begin(&mut self, occasion: &Occasion) {
        match occasion {
            Occasion::Arrival(boot) => _ = self.arriving.insert(*boot),
            Occasion::Departure(boots) => self.left.extend(boots),
        }
    }

    fn take_back(&mut self, occasion: &Occasion) {
        match occasion {
            Occasion::Arrival(boot) => _ = self.arriving.remove(boot),
            Occasion::Departure(boots) => self.left.retain(|boot| !boots.contains(boot)),
        }
    }
}

/// Makes `core`, which is about to enter the cluster, one that is not ready, if there may be something to hand over.
pub(crate) fn prepare(core: &Core) {
    if core.definition.on_handover.is_some() {
        core.router.caller().node().set_leaving();
        core.handover.kin().arriving.insert(core.boot());
    }
}

/// Has all others of its kind hand over what `core` owns, and tells the cluster that it is ready. Those that start
/// `together` do so one after another, and as long as nobody else is in the cluster, that is turn enough.
pub(crate) async fn arrive(core: &Arc<Core>, together: &[Boot]) {
    if core.definition.on_handover.is_none() {
        return;
    }
    // Kept until it has arrived. Whoever stops it before goes on with its turn.
    let mut turn = core.handover.arrival.lock().await;
    let arrival = async {
        let members = core.router.caller().node().members().all();
        let is_alone = members.iter().all(|member| together.contains(&member.boot));
        if !is_alone {
            *turn = Turn::take(core, Instant::now() + ARRIVAL).await;
        }
        if is_alone || turn.is_some() {
            ask_for_keys(core).await;
        }
        core.router.caller().node().set_staying();
        core.handover.kin().arriving.remove(&core.boot());
        be_known(core).await;
    };
    let arrived = core.handover.stops.run_until_cancelled(arrival).await;
    if arrived.is_some()
        && let Some(turn) = turn.take()
    {
        turn.give_back().await;
    }
}

/// Has those who own keys hand over what `core` is to have. One after another, for what one of them has under way may
/// need the next.
async fn ask_for_keys(core: &Core) {
    for owner in core.heirs(&[core.boot()]).iter().filter(|owner| owner.state != State::Suspect) {
        let ready = core.router.caller().remote(&owner.id, SERVICE, ARRIVES);
        if let Err(error) = ready.call::<()>(&()).await {
            tracing::warn!(server = %core.id, from = %owner.id, %error, "nothing was handed over: sessions will follow their keys");
        }
    }
}

/// Has all others know that `core` owns keys, front-ends first, and waits a moment for that.
async fn be_known(core: &Arc<Core>) {
    let (all_know, known) = oneshot::channel();
    let core = core.clone();
    core.tasks.clone().run("arrival", async move {
        let told = async {
            followed(&core, true, &[]).await;
            tell_others(&core, &[], ARRIVED, &()).await;
        };
        core.handover.stops.run_until_cancelled(told).await;
        // Nobody waits if it took too long.
        let _ = all_know.send(());
    });
    let _ = timeout(FOLLOWING, known).await;
}

/// Waits until `core` knows as owners those of `new` that own keys. At most for a moment: who learns it later is told by
/// somebody, as ever.
pub(crate) async fn know(core: &Core, new: &[&Core]) {
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
}

/// Whether `core` may have something to hand over to others than those that stop `together` with it.
pub(crate) fn hands_over(core: &Core, together: &[Boot]) -> bool {
    core.definition.on_handover.is_some() && !core.others(together).is_empty()
}

/// Servers of one kind that stop together.
pub(crate) struct Departure {
    cores: Vec<Arc<Core>>,
    turn: Option<Turn>,
}

impl Departure {
    /// Hands over all that `cores` own, to the others of their kind. Without any they keep what they have.
    pub(crate) async fn begin(cores: Vec<Arc<Core>>, limit: Duration) -> Departure {
        let end = Instant::now() + limit;
        let mut departure = Departure { cores, turn: None };
        let hands_over = |core: &Arc<Core>| core.definition.on_handover.is_some();
        if departure.cores.iter().all(hands_over) {
            departure.hand_over(end).await;
        }
        departure
    }

    async fn hand_over(&mut self, end: Instant) {
        for core in &self.cores {
            core.handover.stops.cancel();
            // One that was about to arrive does not any more.
            let begun = core.handover.arrival.lock().await.take();
            if begun.is_some() {
                if core.is_arriving() {
                    tell_others(core, &[], TURNS_BACK, &()).await;
                }
                self.turn = begun;
            }
        }
        let owns = self.turn.is_some() || !self.cores.iter().all(|core| core.is_arriving());
        let together = self.boots();
        let [first, ..] = &*self.cores else { return };
        if !owns || first.others(&together).is_empty() {
            return;
        }
        let left = || end.saturating_duration_since(Instant::now());
        if self.turn.is_none() {
            // Where nobody else owns keys, those who are about to are let in first.
            let is_time = |_: &Members| {
                !first.heirs(&together).is_empty() || first.others(&together).is_empty()
            };
            let members = first.router.caller().node().members();
            let _ = timeout(left() / 4, members.until(is_time)).await;
            self.turn = Turn::take(first, Instant::now() + left() / 2).await;
        }
        if self.turn.is_some() && !first.heirs(&together).is_empty() {
            let handed = self.cores.iter().map(|core| {
                let occasion = Occasion::Departure(together.clone());
                hand_over(core, occasion, end, CancellationToken::new())
            });
            join_all(handed).await;
        }
    }

    /// Waits until every front-end but those that stop `together` with them, and every other server of their kind, sends
    /// to others what it sent to them, which have said that they leave.
    pub(crate) async fn end(self, together: &[Boot], limit: Duration) {
        let followed = self.cores.iter().map(|core| followed(core, false, together));
        let told = async {
            let boots = self.boots();
            if let Some(first) = self.cores.first()
                && first.definition.on_handover.is_some()
            {
                tell_others(first, &boots, LEFT, &(&boots,)).await;
            }
        };
        let _ = timeout(limit, join(join_all(followed), told)).await;
        if let Some(turn) = self.turn {
            let _ = timeout(limit, turn.give_back()).await;
        }
    }

    fn boots(&self) -> Vec<Boot> {
        self.cores.iter().map(|core| core.boot()).collect()
    }
}

/// Does for another server of the kind what it asks.
pub(crate) fn serve(
    core: Arc<Core>,
    from: Boot,
    method: &str,
    args: Bytes,
) -> BoxFuture<'static, Result<Bytes>> {
    match method {
        ARRIVES => {
            // Noted at once, for what comes next may take it back.
            let withdrawn = core.handover.kin().asking.entry(from).or_default().clone();
            async move {
                // One that has gone meanwhile was forgotten already.
                if !core.knows(from) {
                    core.handover.forget(from);
                }
                let end = Instant::now() + MAKING_ROOM;
                hand_over(&core, Occasion::Arrival(from), end, withdrawn).await;
                encode_result(&())
            }
            .boxed()
        }
        TURNS_BACK => async move {
            if let Some(withdrawn) = core.handover.kin().asking.get(&from) {
                withdrawn.cancel();
            }
            let _done = core.handover.doing.lock().await;
            encode_result(&())
        }
        .boxed(),
        ARRIVED => async move {
            let _done = core.handover.doing.lock().await;
            if core.is_unready(from) {
                core.handover.kin().arriving.insert(from);
            }
            core.on_owners(&core.kind, Cause::Handover);
            core.handover.settle(from);
            encode_result(&())
        }
        .boxed(),
        LEFT => async move {
            let (boots,): (Vec<Boot>,) = decode_args(&args)?;
            core.handover.kin().left.extend(boots.iter().filter(|boot| core.knows(**boot)));
            core.on_owners(&core.kind, Cause::Handover);
            boots.iter().for_each(|boot| core.handover.settle(*boot));
            encode_result(&())
        }
        .boxed(),
        turn::OVER => async move {
            // The sender lives in `core`, so this can't fail.
            let _ = core.handover.has_turn.subscribe().wait_for(|has_turn| !has_turn).await;
            encode_result(&())
        }
        .boxed(),
        _ => {
            let fault = Fault::internal(format!("{} has no remote {SERVICE}.{method}", core.id));
            std::future::ready(Err(fault)).boxed()
        }
    }
}

/// Hands over what belongs to others, if the application says how, until `end`, or until it is `withdrawn`. Once it has
/// begun it comes to its end, whether or not somebody waits for that.
async fn hand_over(
    core: &Arc<Core>,
    occasion: Occasion,
    end: Instant,
    withdrawn: CancellationToken,
) {
    let (done, ended) = oneshot::channel();
    let core = core.clone();
    core.tasks.clone().run("hand-over", async move {
        match timeout_at(end, core.handover.doing.lock()).await {
            Ok(_doing) => hand_over_alone(&core, &occasion, end, &withdrawn).await,
            Err(_) => {
                tracing::warn!(server = %core.id, "another hand-over takes too long: sessions will follow their keys");
            }
        }
        // Whoever asked may have gone.
        let _ = done.send(());
    });
    let _ = ended.await;
}

async fn hand_over_alone(
    core: &Arc<Core>,
    occasion: &Occasion,
    end: Instant,
    withdrawn: &CancellationToken,
) {
    let Some(hook) = &core.definition.on_handover else { return };
    let held = Phase::Held(Waiting::default());
    let before = std::mem::replace(&mut *core.handover.phase(), held);
    let handed = async {
        let patience = end.saturating_duration_since(Instant::now()).min(UNDER_WAY);
        let is_idle = core.work.idle(patience).await && Instant::now() < end;
        core.handover.kin().begin(occasion);
        core.on_owners(&core.kind, Cause::Handover);
        if is_idle {
            hook(ServerHandle(core.clone())).await?;
        } else {
            tracing::warn!(server = %core.id, "requests take too long for a hand-over: sessions will follow their keys");
        }
        Ok(is_idle)
    };
    let cause = match occasion {
        Occasion::Arrival(boot) => *boot,
        Occasion::Departure(_) => core.boot(),
    };
    let handed = timeout_at(end, withdrawn.run_until_cancelled(core.caught(handed))).await;
    let mut after = match handed {
        Ok(Some(Ok(true))) => Phase::PassedOn(cause),
        Ok(Some(Ok(false))) => before,
        // All is here still.
        Ok(None) => {
            core.handover.kin().take_back(occasion);
            core.on_owners(&core.kind, Cause::Handover);
            before
        }
        failed => {
            let late = || Fault::internal("it took too long");
            let fault = failed.ok().flatten().and_then(Result::err).unwrap_or_else(late);
            tracing::error!(server = %core.id, %fault, "nothing was handed over: sessions will follow their keys");
            before
        }
    };
    let inbox = Inbox(core.clone());
    while !inbox.place_held(&mut after) {
        yield_now().await;
    }
    core.handover.kin().asking.remove(&cause);
    // The one that it was for may have gone.
    if !core.knows(cause) {
        core.handover.forget(cause);
    }
}

/// Returns when no session is left that does not know whether `core` `owns` keys. Front-ends of `without` have none.
async fn followed(core: &Core, owns: bool, without: &[Boot]) {
    let caller = core.router.caller();
    let members = caller.node().members().all().into_iter();
    let frontends = members.filter(|member| member.frontend && !without.contains(&member.boot));
    let asked = frontends.map(async |frontend| {
        let ready = caller.remote(&frontend.id, remote::SERVICE, remote::FOLLOWED);
        if let Err(error) = ready.call::<()>(&(&core.kind, core.boot(), owns)).await {
            tracing::warn!(server = %core.id, frontend = %frontend.id, %error, "a front-end may still send messages to the old owners of keys");
        }
    });
    join_all(asked).await;
}

/// Waits until all of its kind but those of `without` have heard something of `core`, or can't.
async fn tell_others(core: &Core, without: &[Boot], method: &str, args: &impl Serialize) {
    let others = core.others(without).into_iter();
    let told = others.filter(|other| other.state != State::Suspect).map(async |other| {
        let ready = core.router.caller().remote(&other.id, SERVICE, method);
        // Who has not heard it finds out when the members change.
        let _ = ready.call::<()>(args).await;
    });
    join_all(told).await;
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
    fn heirs(&self, without: &[Boot]) -> Vec<Member> {
        let owners = self.owners(&self.kind);
        owners.iter().filter(|owner| !without.contains(&owner.boot)).cloned().collect()
    }

    /// The others of its kind that are not among `without`, in whatever state.
    fn others(&self, without: &[Boot]) -> Vec<Member> {
        let members = self.router.caller().node().members().all().into_iter();
        let is_other = |member: &Member| member.kind == self.kind && member.id != self.id;
        members.filter(|member| is_other(member) && !without.contains(&member.boot)).collect()
    }

    fn boot(&self) -> Boot {
        self.router.caller().node().peer().boot
    }

    /// Whether it is in the cluster, or about to be, and not ready yet.
    fn is_arriving(&self) -> bool {
        self.handover.kin().arriving.contains(&self.boot())
    }

    fn knows(&self, server: Boot) -> bool {
        let members = self.router.caller().node().members().all();
        members.iter().any(|member| member.boot == server)
    }

    fn is_unready(&self, server: Boot) -> bool {
        let members = self.router.caller().node().members().all();
        members.iter().any(|member| member.boot == server && member.state == State::Leaving)
    }
}
