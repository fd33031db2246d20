//! Jobs with their times: `Crons` of a server, and the one task that looks at the clock.

mod schedule;
mod turn;

use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use jiff::tz::TimeZone;
use jiff::{Timestamp, Zoned};
use shaddock_protocol::Route;
use tokio::sync::Notify;
use tokio::time::{Duration, Instant, sleep};

use crate::handler::{Origin, Request, Run};
use crate::running::Core;
use crate::server::ServerHandle;
use crate::tasks::Tasks;

pub use schedule::{Schedule, ScheduleError};

/// How long to sleep at most: clocks are put right, and machines suspended.
const LOOK: Duration = Duration::from_secs(60);

/// A job of a server: what [`Server::cron`](crate::Server::cron) named, and when to run it.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Job {
    /// Unique among the jobs of a kind.
    pub id: String,
    /// When it runs.
    pub schedule: Schedule,
    /// What runs: `cronHandler.method`.
    pub action: String,
    /// Whether one server of the cluster runs it each time, rather than each server that has it.
    pub once: bool,
    /// Whether it runs again while it still runs.
    pub overlap: bool,
}

impl Job {
    /// A job that runs on each server that has it, and never twice at once.
    pub fn new(id: impl Into<String>, schedule: Schedule, action: impl Into<String>) -> Job {
        Job { id: id.into(), schedule, action: action.into(), once: false, overlap: false }
    }

    /// Each time one server of its kind runs it, whichever is first, in the whole cluster.
    ///
    /// All those servers need the job, the same time zone, and clocks that agree. It runs *at most*
    /// once: if its server dies meanwhile, it is not run again before its next time, and neither if
    /// the cluster's store can't be reached. While a run goes on, on whichever server, no other begins.
    #[must_use]
    pub fn once(self) -> Job {
        Job { once: true, ..self }
    }

    /// Runs again when it is time, even if it still runs.
    #[must_use]
    pub fn overlapping(self) -> Job {
        Job { overlap: true, ..self }
    }
}

/// Why a job was not added.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum JobError {
    /// The server has a job of this id.
    #[error("there is a job with the id `{0}` already")]
    Exists(String),
    /// No [`Server::cron`](crate::Server::cron) named what it should run.
    #[error("servers of kind {kind} have no cron `{action}`; {known}")]
    Unknown {
        /// The kind of the server.
        kind: String,
        /// What was to run.
        action: String,
        /// A sentence on what they have.
        known: String,
    },
}

/// The jobs of one server: those of `crons.json`, and what was added since.
///
/// One that fails or panics is logged and counted, and its next time comes. A time that comes while the
/// job still runs is left out, and so is what was missed while the machine slept but for one. At a stop
/// no run begins, and those under way are waited for.
///
/// # Examples
///
/// ```
/// use shaddock::{Cluster, Job, Result, ServerHandle};
///
/// /// Begins a tournament that greets everybody each minute, until it is over.
/// async fn begin(server: ServerHandle) -> Result<()> {
///     let job = Job::new("tournament", "0 * * * * *".parse()?, "greetings.send").once();
///     server.crons().add(job)?;
///     Ok(())
/// }
///
/// async fn end(server: ServerHandle) -> Result<bool> {
///     Ok(server.crons().remove("tournament"))
/// }
/// # let _ = (begin, end);
/// ```
#[derive(Clone)]
pub struct Crons(pub(crate) Arc<Core>);

impl Crons {
    /// Adds a job to this server.
    ///
    /// # Errors
    ///
    /// If there is one of its id, or nothing to run.
    pub fn add(&self, job: Job) -> Result<(), JobError> {
        let (core, times) = (&self.0, &self.0.timetable);
        let planned = Arc::new(Planned::new(core, job)?);
        let next = planned.job.schedule.after(&core.app.clock().now());
        {
            let mut entries = times.lock();
            if entries.iter().any(|entry| entry.planned.job.id == planned.job.id) {
                return Err(JobError::Exists(planned.job.id.clone()));
            }
            entries.push(Entry { planned, next });
        }
        times.changed.notify_one();
        Ok(())
    }

    /// Takes a job out. Says whether there was one; a run of it that is under way goes on.
    pub fn remove(&self, id: &str) -> bool {
        let mut entries = self.0.timetable.lock();
        let before = entries.len();
        entries.retain(|entry| entry.planned.job.id != id);
        entries.len() < before
    }

    /// The jobs, in the order they were added.
    pub fn jobs(&self) -> Vec<Job> {
        self.0.timetable.lock().iter().map(|entry| entry.planned.job.clone()).collect()
    }

    /// Looks at the clock from now on.
    pub(crate) fn start(self) {
        let tasks = self.0.timetable.tasks.clone();
        tasks.spawn("crons", async move |stop| {
            loop {
                let pause = self.run_due();
                // Both branches are cancel-safe, and what is due is found again.
                let changed = self.0.timetable.changed.notified();
                let pause = async {
                    match pause {
                        Some(pause) => sleep(pause).await,
                        None => std::future::pending().await,
                    }
                };
                tokio::select! {
                    biased;
                    () = stop.cancelled() => return,
                    () = changed => {}
                    () = pause => {}
                }
            }
        });
    }

    /// Begins what is due, and says how long nothing will be.
    fn run_due(&self) -> Option<Duration> {
        let now = self.0.app.clock().now();
        let mut due = Vec::new();
        let mut pause = None;
        for entry in self.0.timetable.lock().iter_mut() {
            if let Some(time) = entry.next.take().filter(|time| *time <= now) {
                due.push((entry.planned.clone(), time.timestamp().as_second()));
            }
            // Found anew each time, for the clock may have been put back.
            entry.next = entry.planned.job.schedule.after(&now);
            if let Some(next) = &entry.next {
                let left = Duration::try_from(now.duration_until(next)).unwrap_or_default();
                pause = Some(pause.unwrap_or(LOOK).min(left));
            }
        }
        for (planned, tick) in due {
            planned.begin(&self.0, tick);
        }
        pause
    }
}

/// The jobs of one server, and when each is next.
pub(crate) struct Timetable {
    entries: Mutex<Vec<Entry>>,
    changed: Notify,
    /// What looks at the clock; runs are tasks of the server.
    pub(crate) tasks: Tasks,
}

struct Entry {
    planned: Arc<Planned>,
    next: Option<Zoned>,
}

impl Timetable {
    pub(crate) fn new(tasks: Tasks) -> Timetable {
        Timetable { entries: Mutex::default(), changed: Notify::new(), tasks }
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A job, with what it runs.
struct Planned {
    job: Job,
    route: Route,
    run: Arc<dyn Run>,
    running: AtomicBool,
}

impl Planned {
    fn new(core: &Core, job: Job) -> Result<Planned, JobError> {
        let crons = &core.definition.crons;
        let found = crons.iter().find(|(action, _)| *action == job.action);
        let route = format!("{}.{}", core.kind, job.action).parse();
        match (found, route) {
            (Some((_, endpoint)), Ok(route)) => Ok(Planned {
                job,
                route,
                run: endpoint.run.clone(),
                running: AtomicBool::new(false),
            }),
            _ => Err(JobError::Unknown {
                kind: core.kind.to_string(),
                action: job.action,
                known: known(crons.iter().map(|(action, _)| action.as_str())),
            }),
        }
    }

    /// Runs it beside everything else, if it is its turn.
    fn begin(self: Arc<Planned>, core: &Arc<Core>, tick: i64) {
        if self.running.swap(true, Ordering::AcqRel) && !self.job.overlap {
            core.metrics.cron_skips.increment(1);
            tracing::debug!(server = %core.id, job = self.job.id, "a job still runs: this time is left out");
            return;
        }
        let owner = core.clone();
        owner.tasks.clone().run("job", async move {
            self.run(&owner, tick).await;
            self.running.store(false, Ordering::Release);
        });
    }

    async fn run(&self, core: &Arc<Core>, tick: i64) {
        let (server, job) = (&core.id, &self.job.id);
        let turn = if self.job.once {
            match turn::take(core.router.caller().node(), &self.job, tick).await {
                Ok(Some(turn)) => Some(turn),
                Ok(None) => return,
                Err(error) => {
                    core.metrics.cron_skips.increment(1);
                    tracing::warn!(%server, job, %error, "nobody knows whose turn a job is: this time is left out");
                    return;
                }
            }
        } else {
            None
        };
        core.metrics.cron_runs.increment(1);
        let request = Request {
            server: ServerHandle(core.clone()),
            route: self.route.clone(),
            origin: Origin::Clock,
            body: Bytes::from_static(b"{}"),
        };
        if let Err(fault) = core.caught(async { self.run.run(request).await }).await {
            core.metrics.cron_failures.increment(1);
            tracing::warn!(%server, job, %fault, "a job failed");
        }
        if let Some(turn) = turn
            && let Err(error) = turn.end().await
        {
            tracing::warn!(%server, job, %error, "the others were not told that a job has ended");
        }
    }
}

/// What there is, in a sentence.
pub(crate) fn known<'a>(actions: impl Iterator<Item = &'a str>) -> String {
    let actions: Vec<_> = actions.collect();
    match actions.as_slice() {
        [] => "they have none: it is named with `Server::cron`".to_owned(),
        actions => format!("they have {}", actions.join(", ")),
    }
}

/// What time it is.
#[derive(Debug)]
pub(crate) enum Clock {
    /// What the machine says.
    Machine,
    /// In tests: a beginning, from which on tokio's time counts.
    #[cfg_attr(not(feature = "testing"), allow(dead_code, reason = "made by the testing kit"))]
    Since(Instant),
}

impl Clock {
    fn now(&self) -> Zoned {
        match self {
            Clock::Machine => Zoned::now(),
            Clock::Since(begun) => {
                // The midnight with which 2026 began.
                const BEGINNING: i64 = 1_767_225_600;
                let beginning = Timestamp::constant(BEGINNING, 0);
                beginning
                    .saturating_add(begun.elapsed())
                    .unwrap_or(beginning)
                    .to_zoned(TimeZone::UTC)
            }
        }
    }
}

impl fmt::Debug for Crons {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.jobs()).finish()
    }
}
