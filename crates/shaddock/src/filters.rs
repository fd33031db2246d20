//! Filters that are built in. The deadline of requests is no filter: it is always on.

use std::future::Future;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use governor::clock::Clock;
use governor::state::{InMemoryState, NotKeyed, keyed::DefaultKeyedStateStore};
use governor::{Quota, RateLimiter};
use tokio::time::Instant;

use crate::AppHandle;
use crate::component::Component;
use crate::error::{Fault, Result};
use crate::handler::filter::{Filter, Next};
use crate::handler::{Reply, Request};
use crate::ids::{ServerId, SessionId};

/// Logs each request with its time, at level `info`.
///
/// # Errors
///
/// Those of the handler, unchanged.
pub async fn access_log(request: Request, next: Next) -> Result<Reply> {
    let (server, route) = (request.server().id().clone(), request.route().clone());
    let session = request.session().map(|session| session.id()).ok();
    let begun = Instant::now();
    let result = next.run(request).await;
    let elapsed = begun.elapsed();
    match &result {
        Ok(reply) => {
            tracing::info!(%server, %route, ?session, ?elapsed, bytes = reply.body().len(), "answered");
        }
        Err(fault) => {
            tracing::info!(%server, %route, ?session, ?elapsed, code = fault.code(), "failed")
        }
    }
    result
}

/// Lets through so many requests of each session, and answers the others with code 429.
///
/// `per_second` is what a session may send in the long run, `burst` what it may send at once. It
/// counts on each server by itself; `[frontend] rate` in shaddock.toml counts at the door.
pub fn rate_limit(per_second: NonZeroU32, burst: NonZeroU32) -> impl Filter {
    let quota = Quota::per_second(per_second).allow_burst(burst);
    type Place = (ServerId, SessionId);
    type Keyed = RateLimiter<Place, DefaultKeyedStateStore<Place>, TokioClock>;
    let limiter: Arc<Keyed> =
        Arc::new(RateLimiter::new(quota, DefaultKeyedStateStore::default(), TokioClock));
    let calls = Arc::new(AtomicU64::new(0));
    move |request: Request, next: Next| {
        let allowed = match request.session() {
            Ok(session) => {
                limiter.check_key(&(request.server().id().clone(), session.id())).is_ok()
            }
            Err(_) => true,
        };
        // Sessions that were quiet long enough to have their whole burst again are forgotten.
        if calls.fetch_add(1, Ordering::Relaxed) % 4096 == 4095 {
            limiter.retain_recent();
        }
        async move {
            if !allowed {
                return Err(Fault::new(429, "too many requests"));
            }
            next.run(request).await
        }
    }
}

/// Answers with code 503 while the process is too busy: while its tasks wait longer than a limit
/// before they run.
///
/// It is a filter, and the [`Component`] that measures: give a clone to each place.
///
/// # Examples
///
/// ```
/// use std::time::Duration;
/// use shaddock::filters::TooBusy;
/// # use shaddock::{App, Config};
/// # fn app(app: App) -> App {
/// let too_busy = TooBusy::new(Duration::from_millis(70));
/// app.filter(too_busy.clone()).component(too_busy)
/// # }
/// ```
#[derive(Clone, Debug)]
pub struct TooBusy {
    limit: Duration,
    lag: Arc<AtomicU64>,
}

impl TooBusy {
    /// Refuses while tasks wait longer than `limit`.
    pub fn new(limit: Duration) -> TooBusy {
        TooBusy { limit, lag: Arc::default() }
    }

    fn is_busy(&self) -> bool {
        self.limit < Duration::from_micros(self.lag.load(Ordering::Relaxed))
    }
}

impl Filter for TooBusy {
    fn call(
        &self,
        request: Request,
        next: Next,
    ) -> impl Future<Output = Result<Reply>> + Send + 'static {
        let busy = self.is_busy();
        async move {
            if busy {
                return Err(Fault::new(503, "too busy"));
            }
            next.run(request).await
        }
    }
}

impl Component for TooBusy {
    async fn start(&self, app: &AppHandle) -> Result<()> {
        const EVERY: Duration = Duration::from_millis(100);
        let lag = self.lag.clone();
        app.tasks().spawn("lag meter", async move |stop| {
            loop {
                let due = Instant::now() + EVERY;
                if stop.run_until_cancelled(tokio::time::sleep_until(due)).await.is_none() {
                    return;
                }
                let late = due.elapsed().as_micros();
                lag.store(u64::try_from(late).unwrap_or(u64::MAX), Ordering::Relaxed);
            }
        });
        Ok(())
    }
}

/// Counts the messages of one session at the door.
#[derive(Debug)]
pub(crate) struct Meter(RateLimiter<NotKeyed, InMemoryState, TokioClock>);

impl Meter {
    pub(crate) fn new(per_second: NonZeroU32, burst: NonZeroU32) -> Meter {
        let quota = Quota::per_second(per_second).allow_burst(burst);
        Meter(RateLimiter::direct_with_clock(quota, TokioClock))
    }

    pub(crate) fn allows(&self) -> bool {
        self.0.check().is_ok()
    }
}

/// Tokio's time, which tests can pause, for governor.
#[derive(Clone, Default, Debug)]
struct TokioClock;

impl Clock for TokioClock {
    type Instant = std::time::Instant;

    fn now(&self) -> std::time::Instant {
        Instant::now().into_std()
    }
}
