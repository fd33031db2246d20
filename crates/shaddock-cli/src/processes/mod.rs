//! `start --processes`: a process for each server of this host, watched.

mod hosts;
mod keeper;
mod pipe;
pub(crate) mod word;

use std::collections::HashMap;
use std::ffi::OsString;
use std::io::Write;
use std::num::NonZeroUsize;
use std::thread::available_parallelism;
use std::time::Duration;

use anyhow::{Context as _, bail};
use shaddock::Config;
use shaddock::config::Server;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::arguments::Options;
use crate::commands::start::{Summary, show};
use crate::output::{say, say_to_stderr};
use crate::run::Ending;
use crate::signals::Signals;
use keeper::{Handle, Keeper, News};

/// What processes have said and was not shown yet. When there is more they wait.
const SAID: usize = 1024;

/// How much longer than its own deadline a process may take to stop before it is ended.
const GRACE: Duration = Duration::from_secs(5);

/// The servers that run on this host, or on one called `host`.
pub(crate) fn of_host(config: &Config, host: Option<&str>) -> anyhow::Result<Vec<String>> {
    let here = |server: &&Server| match host {
        Some(host) => server.host == host,
        None => hosts::is_here(&server.host),
    };
    let ids: Vec<String> =
        config.servers.iter().filter(here).map(|server| server.id.clone()).collect();
    if ids.is_empty() {
        let mut hosts: Vec<_> = config.servers.iter().map(|server| server.host.as_str()).collect();
        hosts.sort_unstable();
        hosts.dedup();
        let here = host.unwrap_or("this host");
        bail!("no server of servers.json runs on {here}: they run on {}", hosts.join(", "));
    }
    Ok(ids)
}

/// Runs `ids` in a process each, and says how in the end the worst of them ended.
pub(crate) async fn start(
    begun: Instant,
    config: &Config,
    ids: &[String],
    options: &Options,
    out: &mut impl Write,
) -> anyhow::Result<Ending> {
    if config.cluster.urls.is_empty() {
        bail!(
            "servers in several processes find each other over a broker: start one, as by `nats-server -js`, \
             and say where it is: --cluster nats://127.0.0.1:4222"
        );
    }
    let mut signals = Signals::listen().context("the system does not let us hear its signals")?;
    let program =
        std::env::current_exe().context("the program can't be found to be started again")?;
    let (news, heard) = mpsc::channel(SAID);
    let workers = options.workers.unwrap_or_else(|| share(ids.len()));
    // They end with this.
    let mut keepers = JoinSet::new();
    let mut handles = Vec::new();
    for id in ids {
        let server =
            config.server(id).with_context(|| format!("servers.json has no server {id}"))?;
        let (keeper, handle) = Keeper::new(
            server.clone(),
            program.clone(),
            arguments(options, id, workers),
            news.clone(),
        );
        handles.push(handle);
        keepers.spawn(keeper.keep());
    }
    let width = ids.iter().map(String::len).max().unwrap_or_default();
    let (ready, ending) = (HashMap::new(), Ending::Well);
    let mut all = Processes { heard, handles, width, ready, failed: None, ending };
    drop(news);

    let reason = all.run(begun, ids, &mut signals, out).await;
    if let Some(reason) = reason {
        say(out, &format!("stopping ({reason}): front-ends first; a signal ends it at once"));
        let stopped = Instant::now();
        all.stop(config.stop.deadline + GRACE, &mut signals, out).await;
        say(out, &format!("stopped in {} ms", stopped.elapsed().as_millis()));
    } else {
        say(out, "all servers have ended");
    }
    match all.failed {
        Some(id) => bail!("{id} did not start"),
        None => Ok(all.ending),
    }
}

/// All processes, as they are shown.
struct Processes {
    heard: mpsc::Receiver<News>,
    /// Those that have not ended.
    handles: Vec<Handle>,
    /// How wide the names of servers are.
    width: usize,
    /// What those have said that were ready.
    ready: HashMap<String, Summary>,
    /// One that ended before it was ready, when nobody had asked it to.
    failed: Option<String>,
    /// The worst so far.
    ending: Ending,
}

impl Processes {
    /// Shows what is said, and when all are ready, until there is a reason to stop, or nothing left to.
    async fn run(
        &mut self,
        begun: Instant,
        ids: &[String],
        signals: &mut Signals,
        out: &mut impl Write,
    ) -> Option<&'static str> {
        let mut was_ready = false;
        loop {
            // Both branches are cancel-safe.
            tokio::select! {
                next = self.heard.recv() => self.hear(next?, out),
                signal = signals.next() => return Some(signal),
            }
            if !was_ready && self.ready.len() == ids.len() {
                was_ready = true;
                show(&self.summary(ids), out);
                say(out, &format!("ready in {} ms", begun.elapsed().as_millis()));
            }
            if self.failed.is_some() {
                return Some("a server did not start");
            }
        }
    }

    /// Stops front-ends, and when these have ended, the others.
    async fn stop(&mut self, deadline: Duration, signals: &mut Signals, out: &mut impl Write) {
        let failed = self.failed.clone();
        for is_frontend in [true, false] {
            self.side(is_frontend).for_each(Handle::stop);
            let end = Instant::now() + deadline;
            let mut is_cut_off = false;
            while self.side(is_frontend).next().is_some() {
                // All branches are cancel-safe.
                tokio::select! {
                    Some(next) = self.heard.recv() => self.hear(next, out),
                    signal = signals.next() => {
                        say(out, &format!("cut off ({signal})"));
                        is_cut_off = true;
                        self.handles.iter().for_each(Handle::kill);
                    }
                    () = sleep_until(end), if !is_cut_off => {
                        say(out, &format!("what has not ended in {} s is cut off", deadline.as_secs_f64()));
                        is_cut_off = true;
                        self.side(is_frontend).for_each(Handle::kill);
                    }
                }
            }
        }
        // Who was not ready yet when it was stopped has not failed.
        self.failed = failed;
    }

    fn side(&self, is_frontend: bool) -> impl Iterator<Item = &Handle> {
        self.handles.iter().filter(move |handle| handle.is_frontend == is_frontend)
    }

    fn hear(&mut self, news: News, out: &mut impl Write) {
        match news {
            News::Said { id, line, is_error } => {
                let line = format!("{id:width$} | {line}", width = self.width);
                if is_error { say_to_stderr(&line) } else { say(out, &line) }
            }
            News::Ready { id, summary } => {
                self.ready.insert(id, summary);
            }
            News::Ended { id, ending } => {
                self.ending = self.ending.max(ending);
                self.handles.retain(|handle| handle.id != id);
                if !self.ready.contains_key(&id) {
                    self.failed.get_or_insert(id);
                }
            }
        }
    }

    /// What all of them have said, in the order of `ids`.
    fn summary(&self, ids: &[String]) -> Summary {
        let mut all = Summary::default();
        for summary in ids.iter().filter_map(|id| self.ready.get(id)) {
            all.places.extend_from_slice(&summary.places);
            all.lines.extend_from_slice(&summary.lines);
        }
        all
    }
}

/// How many threads each of so many processes has, so that together they have one per core. Threads that only wake one
/// another cost: with one each instead of two, on two cores, an echo over seven processes takes 8 % less CPU.
fn share(processes: usize) -> NonZeroUsize {
    let cores = available_parallelism().map_or(1, NonZeroUsize::get);
    NonZeroUsize::new(cores / processes.max(1)).unwrap_or(NonZeroUsize::MIN)
}

/// What starts one server as this program was started.
fn arguments(options: &Options, id: &str, workers: NonZeroUsize) -> Vec<OsString> {
    let mut arguments: Vec<OsString> = Vec::new();
    let mut give = |flag: &str, value: OsString| arguments.extend([flag.into(), value]);
    if let Some(config) = &options.config {
        give("--config", config.into());
    }
    if let Some(env) = &options.env {
        give("--env", env.into());
    }
    for (key, value) in &options.set {
        give("--set", format!("{key}={value}").into());
    }
    if let Some(cluster) = &options.cluster {
        give("--cluster", cluster.into());
    }
    if let Some(log) = &options.log {
        give("--log", log.into());
    }
    give("--workers", workers.to_string().into());
    arguments.extend(["start", "--watched", id].map(OsString::from));
    arguments
}
