//! A uid that one session in the whole cluster has: claimed, made anew after a partition, given back.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use bytes::Bytes;
use shaddock_cluster::{Claim, ClaimError};
use tokio::sync::oneshot;
use tokio::time::{Instant, sleep, timeout};

use super::mailbox::Order;
use super::record::{Frontend, Record};
use super::{Change, How, Unchanged, remote};
use crate::ids::{ServerId, SessionId, Uid};

/// How long one who kicks waits for the other to be gone.
const EVICTION: Duration = Duration::from_secs(10);

/// Between two looks whether the other is gone: at first, and at most.
const LOOKS: [Duration; 2] = [Duration::from_millis(10), Duration::from_millis(200)];

/// Between two questions to a directory that does not answer.
const AGAIN: Duration = Duration::from_secs(1);

/// For how long a session's messages wait until it is known whether the session has its uid still.
const PROMPTLY: Duration = Duration::from_secs(1);

/// What a client is told whose uid another session was given while its front-end was taken for dead.
const REPLACED: &str = "logged in elsewhere";

/// Whether a session has its uid still.
enum Standing {
    Ours,
    Lost,
    Unknown,
}

/// Who made a claim: `front-end/session/attempt`. With the attempt a claim whose answer got lost is told from
/// a later one of the same session.
struct Owner {
    frontend: ServerId,
    session: SessionId,
}

impl Owner {
    fn of(claim: &Claim) -> Option<Owner> {
        let mut parts = std::str::from_utf8(&claim.owner).ok()?.split('/');
        let frontend = parts.next()?.parse().ok()?;
        let session = SessionId(u64::from_str_radix(parts.next()?, 16).ok()?);
        Some(Owner { frontend, session })
    }
}

impl Record {
    /// Claims a uid, and binds the session to it.
    ///
    /// In a task of its own: should nobody wait for it any more, it is made or given back all the same.
    pub(super) async fn claim(self: &Arc<Record>, uid: Uid, how: How) -> Result<(), Unchanged> {
        let (tx, rx) = oneshot::channel();
        let record = self.clone();
        self.frontend.tasks.run("claim", async move {
            // Nobody waiting is no error.
            let _ = tx.send(record.make_claim(uid, how).await);
        });
        rx.await.unwrap_or_else(|_| Err(Unchanged::Unreachable("the server stops".to_owned())))
    }

    async fn make_claim(self: &Arc<Record>, uid: Uid, how: How) -> Result<(), Unchanged> {
        let attempt = self.attempts.fetch_add(1, Ordering::Relaxed);
        let owner = format!("{}/{}/{attempt}", self.frontend.id, self.id);
        let claimed = match how {
            How::Kicking { reason } => self.take_kicking(&uid, &owner, reason).await,
            How::Shared | How::Unique => self.take(&uid, &owner).await,
        };
        let given_back = {
            let mut state = self.lock();
            state.claiming = None;
            match claimed {
                Ok(claim) if state.ended => claim,
                Ok(claim) => {
                    self.settle(&mut state, uid, Some(claim));
                    return Ok(());
                }
                Err(ClaimError::Store(error)) => {
                    drop(state);
                    self.frontend.give_back(uid.to_string(), owner.into());
                    return Err(Unchanged::Unreachable(error.to_string()));
                }
                Err(_) => return Err(Unchanged::Taken),
            }
        };
        self.release(Some(given_back)).await;
        Err(Unchanged::Closed)
    }

    /// Claims a uid that nobody has, or nobody who lives.
    async fn take(&self, uid: &str, owner: &str) -> Result<Claim, ClaimError> {
        let directory = &self.frontend.directory;
        loop {
            match directory.claim(uid, owner).await {
                Err(ClaimError::Taken { by })
                    if self.may_replace(&by) || self.frontend.has_let_go(&by).await =>
                {
                    match directory.take_over(&by, owner).await {
                        Err(ClaimError::Gone) => {}
                        taken => {
                            // Whoever is believed to be gone may only be parted from us, or from one who
                            // believed it before.
                            self.frontend.have_confirmed(uid);
                            return taken;
                        }
                    }
                }
                claimed => return claimed,
            }
        }
    }

    /// Kicks who has a uid, waits for its end, and claims it. Of many who kick the same one, one gets it.
    async fn take_kicking(
        &self,
        uid: &str,
        owner: &str,
        reason: Option<String>,
    ) -> Result<Claim, ClaimError> {
        let end = Instant::now() + EVICTION;
        let [mut pause, longest] = LOOKS;
        let (mut first, mut kicked) = (None, false);
        loop {
            let by = match self.take(uid, owner).await {
                Err(ClaimError::Taken { by }) => by,
                taken => return taken,
            };
            let other = first.get_or_insert_with(|| by.owner.clone());
            if *other != by.owner || end <= Instant::now() {
                return Err(ClaimError::Taken { by });
            }
            if !kicked {
                match self.frontend.kick_owner(&by, reason.clone()).await {
                    Some(Unchanged::Closed) => {
                        match self.frontend.directory.take_over(&by, owner).await {
                            Err(ClaimError::Gone) => {}
                            taken => return taken,
                        }
                    }
                    // Its front-end does not answer: it will, or be dead in a moment.
                    Some(_) => {}
                    None => kicked = true,
                }
            }
            sleep(pause).await;
            pause = longest.min(2 * pause);
        }
    }

    /// Whether a claim is left over, by a front-end that is gone or by this session.
    fn may_replace(&self, claim: &Claim) -> bool {
        let Some(owner) = Owner::of(claim) else {
            return false;
        };
        let own = owner.frontend == self.frontend.id && owner.session == self.id;
        own || self.frontend.is_gone(&owner)
    }

    /// Finds out whether the uid is still this session's, after a time in which others took its front-end for
    /// dead. A session that has lost it is kicked; while the directory can't be reached it stays.
    ///
    /// The session's messages wait for this, so it ends without the answer when that takes long.
    pub(crate) async fn confirm(self: Arc<Record>) {
        if self.doubts.fetch_add(1, Ordering::AcqRel) != 0 {
            // Whoever is at it looks once more.
            return;
        }
        let (sure, is_sure) = oneshot::channel::<()>();
        let tasks = self.frontend.tasks.clone();
        tasks.spawn("claim", async move |stop| {
            stop.run_until_cancelled(self.dispel_doubts()).await;
            drop(sure);
        });
        let _ = timeout(PROMPTLY, is_sure).await;
    }

    /// Asks the directory until it has said how things are, later than whatever gave rise to doubt.
    async fn dispel_doubts(&self) {
        loop {
            let doubts = self.doubts.load(Ordering::Acquire);
            match self.standing().await {
                Standing::Unknown => {
                    sleep(AGAIN).await;
                    continue;
                }
                Standing::Ours => {}
                Standing::Lost => {
                    tracing::info!(server = %self.frontend.id, session = %self.id, "another session was given the uid of this one");
                    self.mailbox.order(Order::Kick(Some(REPLACED.to_owned())));
                }
            }
            let (now, none) = (Ordering::AcqRel, Ordering::Acquire);
            if self.doubts.compare_exchange(doubts, 0, now, none).is_ok() {
                return;
            }
        }
    }

    /// Makes the claim anew, so that who would take it over for having thought us dead comes too late.
    async fn standing(&self) -> Standing {
        let directory = &self.frontend.directory;
        let Ok(_permit) = self.frontend.confirming.acquire().await else {
            return Standing::Unknown;
        };
        let Some(claim) = self.lock().claim.clone() else {
            return Standing::Ours;
        };
        // One that is gone was another's for a while, in whose name things were said and done.
        let renewed = match directory.renew(&claim).await {
            // Brokers can forget what they had promised to keep. An older claim is not a loss of ours, if nobody has it.
            Err(ClaimError::Taken { by })
                if by.revision < claim.revision
                    && (self.may_replace(&by) || self.frontend.has_let_go(&by).await) =>
            {
                directory.take_over(&by, &claim.owner).await
            }
            renewed => renewed,
        };
        let has_ended = {
            let mut state = self.lock();
            let is_held = state.claim.as_ref().is_some_and(|held| held.owner == claim.owner);
            match renewed {
                Ok(new) if is_held => {
                    state.hold(Some(new));
                    return Standing::Ours;
                }
                Ok(new) => new,
                Err(ClaimError::Store(_)) => return Standing::Unknown,
                Err(_) if is_held => {
                    // The revision stays, for whoever sees it to know that it is an old one.
                    state.claim = None;
                    return Standing::Lost;
                }
                Err(_) => return Standing::Ours,
            }
        };
        self.release(Some(has_ended)).await;
        Standing::Ours
    }

    /// Gives a claim back. If the directory does not answer, that goes on behind the session's back.
    pub(super) async fn release(&self, claim: Option<Claim>) {
        let Some(claim) = claim else { return };
        if !matches!(self.frontend.directory.release(&claim).await, Ok(true)) {
            self.frontend.give_back(claim.name, claim.owner);
        }
    }
}

impl Frontend {
    /// The sessions of `run`, one run of a front-end, have ids with this upper half.
    pub(crate) fn upper_half(run: shaddock_cluster::Boot) -> u64 {
        run.bits() << 32
    }

    /// Whether the front-end of an owner is not there any more, or is another run of itself.
    fn is_gone(&self, owner: &Owner) -> bool {
        let node = self.pusher.node();
        match node.members().get(&owner.frontend) {
            Some(member) => {
                Frontend::upper_half(member.boot) != owner.session.0 & !u64::from(u32::MAX)
            }
            // One that we have never seen may only be one that we have not seen yet.
            None => node.knows_all(),
        }
    }

    /// Whether the session that made a claim says that it does not have it: it has given up waiting for the answer of a
    /// directory that carried out later what it was asked.
    async fn has_let_go(&self, claim: &Claim) -> bool {
        let Some(Owner { frontend, session }) = Owner::of(claim) else {
            return false;
        };
        if frontend == self.id {
            return !self.holds(session, &claim.name);
        }
        let remote = self.pusher.caller().remote(&frontend, remote::SERVICE, remote::HOLDS);
        // Who does not say so at once may have it.
        let holds = timeout(PROMPTLY, remote.call::<bool>(&(session, &claim.name))).await;
        matches!(holds, Ok(Ok(false)))
    }

    /// Whether a session has claimed `uid`, or is about to.
    pub(super) fn holds(&self, session: SessionId, uid: &str) -> bool {
        self.table.get(session).is_some_and(|record| {
            let state = record.lock();
            state.claim.as_ref().is_some_and(|claim| claim.name == uid)
                || state.claiming.as_deref() == Some(uid)
        })
    }

    /// Kicks the session that made a claim, or says why not.
    async fn kick_owner(&self, claim: &Claim, reason: Option<String>) -> Option<Unchanged> {
        let Owner { frontend, session } = Owner::of(claim)?;
        if frontend == self.id {
            let Some(record) = self.table.get(session) else {
                return Some(Unchanged::Closed);
            };
            record.mailbox.order(Order::Kick(reason));
            return None;
        }
        let change = Change::Kick { reason };
        let remote = self.pusher.caller().remote(&frontend, remote::SERVICE, remote::CHANGE);
        match remote.call::<Result<u64, Unchanged>>(&(session, change)).await {
            Ok(done) => done.err(),
            Err(error) => Some(Unchanged::Unreachable(error.to_string())),
        }
    }

    /// Has every front-end find out whether its sessions of this uid have it still.
    fn have_confirmed(&self, uid: &str) {
        let members = self.pusher.node().members().all();
        for member in members.into_iter().filter(|member| member.frontend && member.id != self.id) {
            remote::have_confirmed(self.pusher.caller(), &self.tasks, member.id, uid);
        }
    }

    /// Gives back what was claimed under this owner, if anything was, however often the directory must be asked.
    fn give_back(&self, name: String, owner: Bytes) {
        let (id, directory) = (self.id.clone(), self.directory.clone());
        let turns = self.confirming.clone();
        self.tasks.spawn("claim", async move |stop| {
            let mut is_told = false;
            loop {
                // A directory that is slow gets no faster by being asked for all at once.
                let Ok(permit) = turns.acquire().await else { return };
                let given_back = match directory.get(&name).await {
                    Ok(Some(claim)) if claim.owner == owner => directory.release(&claim).await,
                    Ok(_) => return,
                    Err(error) => Err(error),
                };
                drop(permit);
                match given_back {
                    Ok(true) => return,
                    Ok(false) => {}
                    Err(error) if is_told => {
                        tracing::debug!(server = %id, %error, "a uid is still not given back");
                    }
                    Err(error) => {
                        tracing::warn!(server = %id, %error, "a uid is not given back yet");
                        is_told = true;
                    }
                }
                if stop.run_until_cancelled(sleep(AGAIN)).await.is_none() {
                    return;
                }
            }
        });
    }
}
