//! Back-ends of a kind give each other what they know of a key before it gets another owner.
//!
//! Three steps: what arrives is *held* until nothing is being handled any more; the application hands its state
//! over; what was held, and what still arrives, is *passed on* to the new owners, in order. Only then are the
//! front-ends told. So each key has one owner at any time, and nothing that was sent is lost.
//!
//! Who stops hands over everything. Who is added enters the cluster as one that is not ready, has each of the others
//! hand over what is to be its own, and then is. Of one kind, one at a time does either: it takes its turn first, and
//! gives it back when all others know.

mod arrival;
mod departure;
mod held;
mod kin;
mod turn;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use shaddock_cluster::Boot;
use tokio::sync::{oneshot, watch};
use tokio::task::yield_now;
use tokio::time::{Duration, Instant, sleep, timeout, timeout_at};
use tokio_util::sync::CancellationToken;

use self::held::{Keyed, Waiting};
use self::kin::{GLANCE, Kin};
use self::turn::Turn;
use crate::census;
use crate::error::{Fault, Result};
use crate::ids::{Kind, ServerId, SessionId};
use crate::rpc::{decode_args, encode_result};
use crate::running::{Cause, Core, Inbox};
use crate::server::ServerHandle;

pub(crate) use self::arrival::{arrive, prepare};
pub(crate) use self::departure::{Departure, hands_over};

/// The name of the remote by which servers of a kind agree. Applications can't have one of this name.
pub(crate) const SERVICE: &str = "@handover";
/// Answered when what is to be the caller's own was handed over to it, or can't be.
const ARRIVES: &str = "arrives";
/// Answered when nothing is being handed over to the caller any more, which stops before it was ready.
const TURNS_BACK: &str = "turns back";
/// Answers which members of channels are not where this front-end sends what they say: `(kind, (channel, session)s)`, and
/// which of these.
pub(crate) const STRAYS: &str = "strays";
/// Answers whether this front-end knows that run of a server, or learns of it in a moment.
const MEETS: &str = "meets";
/// Answered when these runs of servers get what is their own, and nothing else: `(kind, boots, whether they own keys)`.
const KNOWS: &str = "knows";

/// How long a hand-over to a server that is added may take.
const MAKING_ROOM: Duration = Duration::from_secs(2);
/// How long a front-end may take to learn of one that is added.
const MEETING: Duration = Duration::from_millis(500);
/// How long what is being handled may keep all else waiting.
const UNDER_WAY: Duration = Duration::from_secs(2);

tokio::task_local! {
    /// While the hook runs: the one server that keys are handed over to, if not to all others.
    static HEIR: Option<ServerId>;
}

/// Whether a key of which `owner` is the owner stays, as far as the running hook is concerned. When a server is added,
/// all stay that don't become its own: if they are somebody else's by now, they were before, and those who send them
/// here don't know that one, for they are parted.
pub(crate) fn keeps(owner: &ServerId) -> bool {
    HEIR.try_with(|heir| heir.as_ref().is_some_and(|heir| heir != owner)).unwrap_or(false)
}

/// What one server knows of who owns what among its kind, and what becomes of messages that belong to a key.
#[derive(Default)]
pub(crate) struct Handover {
    keyed: Mutex<Keyed>,
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

impl Handover {
    fn keyed(&self) -> MutexGuard<'_, Keyed> {
        self.keyed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn kin(&self) -> MutexGuard<'_, Kin> {
        self.kin.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Nothing needs to be passed on any more on account of this run of a server.
    fn settle(&self, boot: Boot) {
        self.keyed().passed_to.remove(&boot);
    }
}

/// Does for another server what it asks.
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
                if core.member(from).is_none() {
                    core.handover.forget(from);
                }
                let end = Instant::now() + MAKING_ROOM;
                let arrive = move |kin: &mut Kin| _ = kin.arriving.insert(from);
                hand_over(&core, from, arrive, end, withdrawn).await;
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
        KNOWS => async move {
            let (kind, boots, own): (Kind, Vec<Boot>, bool) = decode_args(&args)?;
            if kind == core.kind {
                if own {
                    // What was to be theirs may still be handed over.
                    let _done = core.handover.doing.lock().await;
                }
                boots.iter().for_each(|boot| core.learn(*boot, own));
            } else {
                // Whoever asks has a deadline.
                while !core.has_followed(&kind, &boots, own).await {
                    sleep(GLANCE).await;
                }
            }
            encode_result(&())
        }
        .boxed(),
        MEETS => async move {
            let server: Boot = decode_args(&args)?;
            let members = core.router.caller().node().members();
            let met = members.until(|_| core.member(server).is_some());
            encode_result(&timeout(MEETING, met).await.is_ok())
        }
        .boxed(),
        STRAYS => async move {
            let (kind, members): (Kind, Vec<(String, SessionId)>) = decode_args(&args)?;
            encode_result(&census::strays(&core, from, &kind, &members))
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

/// Hands over what belongs to others when those that `begin` says come or go, on account of the run `of` a server: until
/// `end`, or until it is `withdrawn`. Once it has begun it comes to its end, whether or not somebody waits for that.
async fn hand_over(
    core: &Arc<Core>,
    of: Boot,
    begin: impl FnOnce(&mut Kin) + Send + 'static,
    end: Instant,
    withdrawn: CancellationToken,
) {
    let (done, ended) = oneshot::channel();
    let core = core.clone();
    core.tasks.clone().run("hand-over", async move {
        match timeout_at(end, core.handover.doing.lock()).await {
            Ok(_doing) => {
                let met = withdrawn.run_until_cancelled(core.is_met(of)).await;
                if met.unwrap_or(true) {
                    hand_over_alone(&core, of, begin, end, &withdrawn).await;
                } else {
                    tracing::warn!(server = %core.id, "a front-end does not know who is added: sessions will follow their keys");
                }
                core.handover.kin().asking.remove(&of);
                // The one that it was for may have gone.
                if core.member(of).is_none() {
                    core.handover.forget(of);
                }
            }
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
    of: Boot,
    begin: impl FnOnce(&mut Kin),
    end: Instant,
    withdrawn: &CancellationToken,
) {
    let Some(hook) = &core.definition.on_handover else { return };
    core.handover.keyed().held = Some(Waiting::default());
    let handed = async {
        let patience = end.saturating_duration_since(Instant::now()).min(UNDER_WAY);
        let is_idle = core.work.idle(patience).await && Instant::now() < end;
        begin(&mut core.handover.kin());
        core.on_owners(&core.kind, Cause::Handover);
        if is_idle {
            let heir = core.member(of).map(|heir| heir.id).filter(|heir| *heir != core.id);
            let hook = async { hook(ServerHandle(core.clone())).await };
            HEIR.scope(heir, hook).await?;
        } else {
            tracing::warn!(server = %core.id, "requests take too long for a hand-over: sessions will follow their keys");
        }
        Ok(is_idle)
    };
    match timeout_at(end, withdrawn.run_until_cancelled(core.caught(handed))).await {
        Ok(Some(Ok(true))) => _ = core.handover.keyed().passed_to.insert(of),
        Ok(Some(Ok(false))) => {}
        // All is here still.
        Ok(None) => {
            core.handover.kin().arriving.remove(&of);
            core.on_owners(&core.kind, Cause::Handover);
        }
        failed => {
            let late = || Fault::internal("it took too long");
            let fault = failed.ok().flatten().and_then(Result::err).unwrap_or_else(late);
            tracing::error!(server = %core.id, %fault, "nothing was handed over: sessions will follow their keys");
        }
    }
    let inbox = Inbox(core.clone());
    while !inbox.place_held() {
        yield_now().await;
    }
}
