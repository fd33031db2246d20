//! Stopping in order: an application, or one server of it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::time::{Instant, timeout};

use super::start::{Runner, Running, RunningServer, Started};
use super::{StartError, lock};
use crate::handover::{self, Departure};
use crate::ids::ServerId;

/// How long leaving the cluster may take even when the deadline has passed.
const LAST_WORD: Duration = Duration::from_millis(100);

impl Running {
    /// Stops in order: front-ends with all that their clients have under way, back-ends, components
    /// in reverse, and at last the link to the others. Says whether everything ended by itself.
    ///
    /// Front-ends take nobody in any more, tell their clients so and give them time to go elsewhere, if `[stop]`
    /// says so. Back-ends [hand over](crate::Server::on_handover) what they have, and leave when no front-end sends
    /// anything to them any more.
    ///
    /// What has not ended when the deadline of `[stop]` has passed is not waited for, and ends with the
    /// runtime at the latest. A fifth of that time is kept for components, however long clients take.
    pub async fn stop(&self) -> bool {
        let (runner, app) = (&*self.runner, self.app());
        app.stop();
        let time = runner.time();
        let servers = lock(&runner.servers).clone();
        let components = std::mem::take(&mut *lock(&runner.started));
        let mut clean = runner.finish(&servers, &components, &time).await;
        clean &= app.tasks().finish(time.left()).await;
        leave(&servers, &time).await;
        // A server holds the application, and would be held by it for ever.
        lock(&runner.servers).clear();
        lock(&app.0.servers).clear();
        clean
    }
}

impl Runner {
    /// Stops one server. The last one is left to whoever stops the application.
    pub(super) async fn stop_one(&self, id: &ServerId) -> Result<bool, StartError> {
        let taken = {
            let mut servers = lock(&self.servers);
            // Of two that are stopped at once, one is the last.
            if matches!(servers.as_slice(), [server] if server.core.id == *id) {
                self.app().stop();
                return Ok(true);
            }
            self.take_from(&mut servers, id)
        };
        let server = taken.ok_or_else(|| StartError::NotHere { id: id.clone() })?;
        Ok(self.retire(&server).await)
    }

    /// Stops one server, and starts it again.
    pub(super) async fn restart(&self, id: &ServerId) -> Result<(), StartError> {
        let server = self.take(id).ok_or_else(|| StartError::NotHere { id: id.clone() })?;
        let entry = server.core.entry.clone();
        self.retire(&server).await;
        drop(server);
        let added = self.add(entry).await;
        if lock(&self.servers).is_empty() {
            // Nothing is left to run. If that was asked for meanwhile, it is no failure.
            let failed = added.is_err() && !self.app().is_stopping();
            self.has_failed.fetch_or(failed, Ordering::Relaxed);
            self.app().stop();
        }
        added
    }

    /// From now on this server is in the hands of whoever took it.
    pub(super) fn take(&self, id: &ServerId) -> Option<Arc<RunningServer>> {
        self.take_from(&mut lock(&self.servers), id)
    }

    fn take_from(
        &self,
        servers: &mut Vec<Arc<RunningServer>>,
        id: &ServerId,
    ) -> Option<Arc<RunningServer>> {
        let at = servers.iter().position(|server| server.core.id == *id)?;
        lock(&self.app().0.servers).retain(|server| server.id() != id);
        Some(servers.remove(at))
    }

    /// Stops a server that was taken, and says whether everything of it ended by itself.
    pub(super) async fn retire(&self, server: &Arc<RunningServer>) -> bool {
        let time = self.time();
        let id = &server.core.id;
        let of_server = |started: &mut Started| started.0.as_ref() == Some(id);
        let components: Vec<_> = lock(&self.started).extract_if(.., of_server).collect();
        let servers = std::slice::from_ref(server);
        let clean = self.finish(servers, &components, &time).await;
        leave(servers, &time).await;
        tracing::info!(server = %id, clean, "a server was stopped");
        clean
    }

    /// Stops servers together, and components: all but the link to the others.
    async fn finish(
        &self,
        servers: &[Arc<RunningServer>],
        components: &[Started],
        time: &Time,
    ) -> bool {
        let app = self.app();
        for (_, component) in components {
            let _ = timeout(time.for_servers(), component.before_stop(app)).await;
        }
        let is_front = |server: &&RunningServer| server.core.frontend.is_some();
        let all = servers.iter().map(|server| &**server);
        let (front, back): (Vec<_>, Vec<_>) = all.clone().partition(is_front);
        let mut clean = true;
        for server in all.clone() {
            clean &= server.core.timetable.tasks.finish(time.for_servers()).await;
        }
        front.iter().for_each(|server| server.node().set_leaving());
        for server in &front {
            clean &= server.listening.finish(time.for_servers()).await;
        }
        let together: Vec<_> = all.clone().map(|server| server.node().peer().boot).collect();
        let hands_over = back.iter().any(|server| handover::hands_over(&server.core, &together));
        // What back-ends have to hand over needs time, too.
        let kept = if hands_over { time.for_servers() / 2 } else { Duration::ZERO };
        let for_clients = || time.for_servers().saturating_sub(kept);
        let grace = app.config().stop.grace.min(for_clients());
        let told = front.iter().filter(|server| server.core.say_that_it_stops(grace));
        join_all(told.map(|server| server.connections.idle(grace))).await;
        let connections = front.iter().map(|server| server.connections.finish(for_clients()));
        clean &= join_all(connections).await.into_iter().all(|ended| ended);
        for server in &front {
            clean &= server.lingering.finish(for_clients()).await;
        }
        let mut kinds: BTreeMap<_, Vec<_>> = BTreeMap::new();
        for server in &back {
            kinds.entry(server.core.kind.as_str()).or_default().push(server.core.clone());
        }
        let most = time.for_servers() * 3 / 4;
        let departures = kinds.into_values().map(|cores| Departure::begin(cores, most));
        let departures = join_all(departures).await;
        back.iter().for_each(|server| server.node().set_leaving());
        let half = time.for_servers() / 2;
        let departures = departures.into_iter().map(|departure| departure.end(&together, half));
        join_all(departures).await;
        for server in front.into_iter().chain(back) {
            clean &= server.core.work.idle(time.for_servers()).await;
            clean &= server.core.tasks.finish(time.for_servers()).await;
        }
        for (_, component) in components.iter().rev() {
            let _ = timeout(time.left(), component.stop(app)).await;
        }
        clean
    }

    /// The time that a stop has, from now on.
    fn time(&self) -> Time {
        let whole = self.app().config().stop.deadline;
        Time { end: Instant::now() + whole, for_components: whole / 5 }
    }
}

/// How long a stop may take yet.
struct Time {
    end: Instant,
    for_components: Duration,
}

impl Time {
    fn left(&self) -> Duration {
        self.end.saturating_duration_since(Instant::now())
    }

    fn for_servers(&self) -> Duration {
        self.left().saturating_sub(self.for_components)
    }
}

/// Takes servers out of the cluster.
async fn leave(servers: &[Arc<RunningServer>], time: &Time) {
    for server in servers {
        let _ = timeout(time.left().max(LAST_WORD), server.node().leave()).await;
    }
}
