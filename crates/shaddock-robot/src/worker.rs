//! One thread and the clients it plays.

use std::fmt;
use std::future::Future;
use std::io;
use std::rc::Rc;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use shaddock_transport::HybridWire;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::Semaphore;
use tokio::task::JoinSet;
use tokio::time::Instant;

use crate::entry::{self, EntryError, User};
use crate::link::Link;
use crate::phase::Phases;
use crate::scenario::chat::Seats;
use crate::tally::Tally;
use crate::timer::Timer;
use crate::{Plan, Scenario, scenario};

/// What the clients of one thread share.
#[derive(Debug)]
pub(crate) struct Worker {
    pub(crate) plan: Arc<Plan>,
    /// Which of the plan's threads this is.
    pub(crate) number: usize,
    /// In the names of all users and rooms, so that no run meets those of another.
    pub(crate) run: Arc<str>,
    pub(crate) phases: Phases,
    pub(crate) tally: Arc<Mutex<Tally>>,
    /// So many more may log in now.
    pub(crate) doors: Semaphore,
}

impl Worker {
    pub(crate) fn new(
        plan: Arc<Plan>,
        number: usize,
        run: Arc<str>,
        phases: Phases,
        tally: Arc<Mutex<Tally>>,
    ) -> Self {
        let doors = Semaphore::new(plan.entering.div_ceil(plan.threads));
        Self { plan, number, run, phases, tally, doors }
    }

    /// Plays its part of the plan, in this thread, until all of its clients have left.
    pub(crate) fn work(self) -> io::Result<()> {
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default())?;
        runtime.block_on(async {
            let timer = Timer::new()?;
            self.play(timer).await;
            Ok(())
        })
    }

    pub(crate) async fn play(self, timer: Timer) {
        let worker = Rc::new(self);
        let mut clients = Clients::default();
        match &worker.plan.scenario {
            Scenario::Echo { route } => scenario::echo::spawn(&worker, route, timer, &mut clients),
            Scenario::Chat { rooms, senders, stalled } => {
                let seats = Seats { senders: *senders, stalled: *stalled };
                scenario::chat::spawn(&worker, *rooms, seats, timer, &mut clients);
            }
            Scenario::Login { total, stay } => {
                scenario::login::spawn(&worker, *total, *stay, &mut clients);
            }
            Scenario::Idle => scenario::idle::spawn(&worker, &mut clients),
            Scenario::Storm { every } => scenario::storm::spawn(&worker, *every, &mut clients),
            Scenario::Soak { rooms, senders, visitors } => {
                let seats = Seats { senders: *senders, stalled: 0 };
                scenario::chat::spawn(&worker, *rooms, seats, timer, &mut clients);
                scenario::soak::visit(&worker, *rooms, *visitors, &mut clients);
            }
        }
        clients.ended().await;
    }

    pub(crate) fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Those of `all` that are this thread's.
    pub(crate) fn share(&self, all: usize) -> impl Iterator<Item = usize> + use<> {
        (self.number..all).step_by(self.plan.threads)
    }

    /// The user of a number, in a room with those of the numbers around.
    pub(crate) fn user(&self, number: usize) -> User {
        self.user_in(number, number / self.plan.members)
    }

    /// The user of a number, in the room of another.
    pub(crate) fn user_in(&self, number: usize, room: usize) -> User {
        let run = &self.run;
        User { name: format!("u{run}_{number}"), room: format!("r{run}_{room}") }
    }

    /// Lets somebody in before the start, when it is their turn, and counts them as settled.
    pub(crate) async fn admit(&self, user: &User) -> Option<Link<HybridWire>> {
        let permit = self.doors.acquire().await.expect("nobody closes it");
        let entered = self.log_in(user).await;
        drop(permit);
        self.tally().settled += 1;
        entered
    }

    /// Lets somebody in, or counts why not.
    pub(crate) async fn log_in(&self, user: &User) -> Option<Link<HybridWire>> {
        let entered = self.try_log_in(user).await;
        entered.map_err(|error| self.tally().error(error)).ok()
    }

    /// Lets somebody in, and counts that it was so, and how long it took since `intended`; or why not.
    pub(crate) async fn count_log_in(
        &self,
        user: &User,
        intended: Instant,
    ) -> Option<Link<HybridWire>> {
        self.tally().begun();
        let entered = self.try_log_in(user).await;
        let mut tally = self.tally();
        match entered {
            Ok(link) => {
                tally.arrived(intended, Instant::now());
                Some(link)
            }
            Err(error) => {
                tally.failed(error);
                None
            }
        }
    }

    async fn try_log_in(&self, user: &User) -> Result<Link<HybridWire>, EntryError> {
        entry::log_in(&self.plan.entrance, self.plan.speech, user).await
    }
}

/// The tasks of a thread.
#[derive(Default)]
pub(crate) struct Clients(JoinSet<()>);

impl Clients {
    pub(crate) fn spawn(&mut self, client: impl Future<Output = ()> + 'static) {
        self.0.spawn_local(client);
    }

    /// Waits until all have ended.
    pub(crate) async fn ended(&mut self) {
        while let Some(ended) = self.0.join_next().await {
            if let Err(error) = ended {
                std::panic::resume_unwind(error.into_panic());
            }
        }
    }
}

impl fmt::Debug for Clients {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Clients").field(&self.0.len()).finish()
    }
}
