//! A run from its beginning to its report.

use std::fmt;
use std::future::{Future, pending};
use std::io;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, sleep_until};

use crate::phase::{Phase, Phases};
use crate::process::{ProcessError, Processes, Usage, own_cpu};
use crate::report::{Entering, Report, Second, Server};
use crate::tally::{Interval, Tally};
use crate::worker::Worker;
use crate::{Plan, PlanError, Scenario};

/// Carries out a plan and says what came of it.
///
/// # Errors
///
/// As [`run_until`].
pub async fn run(plan: Plan) -> Result<Report, RunError> {
    run_until(plan, pending(), |_| {}).await
}

/// Carries out a plan, but no longer than until `stop`, and tells every second how it goes.
///
/// The work is done by threads of its own: this only counts. When it is dropped they end by themselves, soon.
///
/// # Errors
///
/// When the plan makes no sense, nobody is let in, or the machine does not give what it takes. What went wrong
/// once it runs stands in the report.
pub async fn run_until(
    mut plan: Plan,
    stop: impl Future<Output = ()>,
    mut progress: impl FnMut(&Progress),
) -> Result<Report, RunError> {
    if let Scenario::Soak { rooms, .. } = plan.scenario {
        plan.rate.get_or_insert(rooms as f64);
    }
    plan.check()?;
    let mut run = Run::start(plan)?;
    let mut stop = std::pin::pin!(stop);
    run.enter(&mut stop, &mut progress).await?;
    run.measure(&mut stop, &mut progress).await;
    run.drain().await;
    run.end().await
}

/// How a run goes.
#[derive(Debug, Clone, Default)]
pub struct Progress {
    /// What happens now.
    pub what: &'static str,
    /// For how long.
    pub elapsed: Duration,
    /// How many have come in.
    pub clients: usize,
    /// Units in the last second.
    pub rate: f64,
    /// Of what arrived in the last second, in milliseconds.
    pub p50_ms: f64,
    /// The same.
    pub p99_ms: f64,
    /// What went wrong so far.
    pub errors: u64,
}

/// Why there is no report.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum RunError {
    /// The plan makes no sense.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// A process of the server is not there.
    #[error(transparent)]
    Process(#[from] ProcessError),
    /// Not one client was let in; this is what most of them were told.
    #[error("none of {clients} clients was let in: {reason}")]
    NobodyIn {
        /// How many tried.
        clients: usize,
        /// Why.
        reason: String,
    },
    /// The machine does not give what it takes.
    #[error("threads and timers are needed")]
    Machine(#[from] io::Error),
}

/// A run under way.
struct Run {
    plan: Arc<Plan>,
    phase: watch::Sender<Phase>,
    workers: Vec<Thread>,
    processes: Processes,
    /// When it began, and what the server had used by then.
    begun: Instant,
    before: Usage,
    report: Report,
}

/// What is left here of a worker.
struct Thread {
    tally: Arc<Mutex<Tally>>,
    ended: oneshot::Receiver<()>,
    handle: thread::JoinHandle<io::Result<()>>,
}

/// What all workers have counted, without what is slow to add up.
#[derive(Default)]
struct Glance {
    settled: usize,
    errors: u64,
    sent: u64,
    under_way: u64,
    last: Option<Instant>,
}

/// How often one looks whether something is over.
const LOOK: Duration = Duration::from_millis(5);

impl Run {
    fn start(plan: Plan) -> Result<Self, RunError> {
        let mut processes = Processes::new(&plan.pids)?;
        let before = processes.usage();
        let (phase, phases) = Phases::new(Phase::Entering);
        let plan = Arc::new(plan);
        let run: Arc<str> = format!("{:04x}", fastrand::u16(..)).into();
        let begun = Instant::now();
        // What is told of idle clients is how long they took to come in, the first one too.
        let is_idle = matches!(plan.scenario, Scenario::Idle);
        let window = is_idle.then(|| (begun, begun + Duration::from_secs(24 * 3600)));
        let workers = (0..plan.threads).map(|number| {
            let tally = Arc::new(Mutex::new(Tally { window, ..Tally::default() }));
            let worker =
                Worker::new(plan.clone(), number, run.clone(), phases.clone(), tally.clone());
            let (ending, ended) = oneshot::channel();
            let thread = thread::Builder::new().name(format!("robot-{number}"));
            let handle = thread.spawn(move || {
                // Dropped at the end, also by a panic.
                let _ending: oneshot::Sender<()> = ending;
                worker.work()
            })?;
            Ok(Thread { tally, ended, handle })
        });
        let workers = workers.collect::<io::Result<_>>()?;
        let report = Report::new(&plan);
        Ok(Self { plan, phase, workers, processes, begun, before, report })
    }

    /// Waits until all are in.
    async fn enter(
        &mut self,
        stop: &mut (impl Future<Output = ()> + Unpin),
        progress: &mut impl FnMut(&Progress),
    ) -> Result<(), RunError> {
        let population = self.plan.population();
        let mut told = Instant::now();
        loop {
            let glance = self.glance();
            if population <= glance.settled {
                break;
            }
            if Duration::from_secs(1) <= told.elapsed() {
                told = Instant::now();
                progress(&Progress {
                    what: "entering",
                    elapsed: self.begun.elapsed(),
                    clients: glance.settled,
                    errors: glance.errors,
                    ..Progress::default()
                });
            }
            tokio::select! {
                () = sleep(LOOK) => {}
                () = &mut *stop => break,
            }
            if self.workers.iter().all(|worker| worker.handle.is_finished()) {
                break;
            }
        }
        let total = self.total();
        let failed = usize::try_from(total.counts.errors).unwrap_or(usize::MAX);
        let entered = total.settled.saturating_sub(failed);
        if entered == 0 {
            let reason = total.errors.into_iter().max_by_key(|(_, count)| *count);
            let reason =
                reason.map_or_else(|| "there was no time".to_owned(), |(reason, _)| reason);
            return Err(RunError::NobodyIn { clients: population, reason });
        }
        let after = self.processes.usage();
        if !matches!(self.plan.scenario, Scenario::Login { .. }) {
            self.report.entering =
                Some(Entering::new(entered, self.begun.elapsed(), self.server(self.before, after)));
        }
        Ok(())
    }

    /// Starts all, and looks every second what they have done, until the time is over.
    async fn measure(
        &mut self,
        stop: &mut (impl Future<Output = ()> + Unpin),
        progress: &mut impl FnMut(&Progress),
    ) {
        let (total, warm_up) = match self.plan.scenario {
            Scenario::Login { total: Some(total), .. } => (Some(total), Duration::ZERO),
            _ => (None, self.plan.warm_up),
        };
        self.take_interval();
        let (mut first, mut first_own) = (self.processes.usage(), own_cpu());
        let start = Instant::now();
        let mut from = start + warm_up;
        let until = from + self.plan.time;
        if !matches!(self.plan.scenario, Scenario::Idle) {
            self.set_window(from, until);
        }
        self.phase.send_replace(Phase::Running(start));
        if !warm_up.is_zero() {
            tokio::select! {
                () = sleep_until(from) => {}
                () = &mut *stop => {}
            }
            self.take_interval();
            (first, first_own, from) = (self.processes.usage(), own_cpu(), Instant::now());
        }
        let (mut last, mut last_own, mut last_at) = (first, first_own, from);
        let mut peak = first.rss_kib.max(self.before.rss_kib);
        let mut is_over = false;
        while !is_over {
            let next = (last_at + Duration::from_secs(1)).min(until);
            tokio::select! {
                () = sleep_until(next) => is_over = until <= next,
                () = self.all_arrived(total) => is_over = true,
                () = &mut *stop => is_over = true,
            }
            let interval = self.take_interval();
            let (usage, own, mut now) = (self.processes.usage(), own_cpu(), Instant::now());
            if total.is_some()
                && let Some(arrived) = self.glance().last.filter(|_| is_over)
            {
                // The end is not when one looked.
                now = arrived.max(last_at);
            }
            let time = now - last_at;
            let second = Second::new(
                now - from,
                self.units(&interval, time),
                &interval,
                time,
                self.server(last, usage),
                own.saturating_sub(last_own),
            );
            let glance = self.glance();
            progress(&Progress {
                what: self.plan.scenario.name(),
                elapsed: now - from,
                clients: glance.settled,
                rate: second.rate,
                p50_ms: second.p50_ms,
                p99_ms: second.p99_ms,
                errors: glance.errors,
            });
            self.report.units += second.units;
            self.report.series.push(second);
            peak = peak.max(usage.rss_kib);
            (last, last_own, last_at) = (usage, own, now);
        }
        self.report.measured(last_at - from, last_own.saturating_sub(first_own));
        if let Some(mut server) = self.server(first, last) {
            server.rss_start_kib = self.before.rss_kib;
            server.rss_peak_kib = peak;
            self.report.served(server, last_at - from);
        }
    }

    /// Waits for what is under way.
    async fn drain(&mut self) {
        self.phase.send_replace(Phase::Draining);
        let until = Instant::now() + self.plan.patience;
        while Instant::now() < until {
            if self.glance().under_way == 0 {
                break;
            }
            if self.workers.iter().all(|worker| worker.handle.is_finished()) {
                break;
            }
            sleep(LOOK).await;
        }
    }

    async fn end(mut self) -> Result<Report, RunError> {
        self.phase.send_replace(Phase::Over);
        for worker in &mut self.workers {
            // Closed, never sent to.
            let _ = (&mut worker.ended).await;
        }
        let mut total = self.total();
        for worker in self.workers {
            match worker.handle.join() {
                Ok(worked) => worked?,
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        for _ in 0..total.unanswered {
            total.error("a request was not answered");
        }
        total.counts.lost = total.due;
        self.report.ended(total);
        Ok(self.report)
    }

    /// Resolves when as many as wanted have arrived; never if nothing is said about that.
    async fn all_arrived(&self, total: Option<usize>) {
        let Some(wanted) = total else {
            return pending().await;
        };
        loop {
            let glance = self.glance();
            let sent = usize::try_from(glance.sent).unwrap_or(usize::MAX);
            if wanted <= sent && glance.under_way == 0 {
                return;
            }
            sleep(LOOK).await;
        }
    }

    /// Idle clients are counted by the time that they are there.
    fn units(&self, interval: &Interval, elapsed: Duration) -> f64 {
        match (&self.plan.scenario, &self.report.entering) {
            (Scenario::Idle, Some(entering)) => entering.clients as f64 * elapsed.as_secs_f64(),
            _ => interval.units as f64,
        }
    }

    /// What the server used in between; none if it has no processes.
    fn server(&self, from: Usage, to: Usage) -> Option<Server> {
        (!self.processes.is_empty()).then(|| Server {
            cpu: to.cpu.saturating_sub(from.cpu),
            rss_start_kib: from.rss_kib,
            rss_peak_kib: from.rss_kib.max(to.rss_kib),
            rss_end_kib: to.rss_kib,
            processes: to.count,
            ..Server::default()
        })
    }

    fn set_window(&self, from: Instant, until: Instant) {
        for worker in &self.workers {
            worker.tally().window = Some((from, until));
        }
    }

    fn take_interval(&self) -> Interval {
        let mut taken = Interval::default();
        for worker in &self.workers {
            let interval = worker.tally().take_interval();
            taken.add(&interval);
        }
        taken
    }

    fn glance(&self) -> Glance {
        let mut glance = Glance::default();
        for worker in &self.workers {
            let tally = worker.tally();
            glance.settled += tally.settled;
            glance.errors += tally.counts.errors;
            glance.sent += tally.counts.sent;
            glance.under_way += tally.due + tally.unanswered;
            glance.last = glance.last.max(tally.last);
        }
        glance
    }

    fn total(&self) -> Tally {
        let mut total = Tally::default();
        for worker in &self.workers {
            total.add(&worker.tally());
        }
        total
    }
}

impl Thread {
    fn tally(&self) -> MutexGuard<'_, Tally> {
        self.tally.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, elapsed, clients, rate, p50_ms, p99_ms, errors } = self;
        let elapsed = elapsed.as_secs_f64();
        write!(f, "{what} {elapsed:.0} s: {clients} clients, {rate:.0}/s")?;
        write!(f, ", p50 {p50_ms:.3} ms, p99 {p99_ms:.3} ms, {errors} errors")
    }
}
