//! `start`: servers, until somebody asks them to stop.

use std::collections::HashMap;

use anyhow::Context as _;
use shaddock::{App, Running};
use tokio::time::Instant;

use crate::output::say;
use crate::signals::Signals;

/// Runs the servers called `ids`, or all, and says whether in the end all of them ended by themselves.
pub(crate) async fn start(
    begun: Instant,
    place: &str,
    app: App,
    ids: &[String],
) -> anyhow::Result<bool> {
    let app = if ids.is_empty() { app } else { app.only(ids) };
    say(place);
    let running = app.start().await?;
    // Until here a signal ends the process at once, and nobody was let in who would mind.
    let mut signals = Signals::listen().context("the system does not let us hear its signals")?;
    for line in summary(&running) {
        say(&line);
    }
    say(&format!("ready in {} ms", begun.elapsed().as_millis()));

    let reason = tokio::select! {
        signal = signals.next() => signal,
        () = running.stopping() => "the application asked for it",
    };
    let seconds = running.app().config().stop.deadline.as_secs_f64();
    say(&format!(
        "stopping ({reason}): what is under way has {seconds} s; a signal ends it at once"
    ));
    let stopped = Instant::now();
    tokio::select! {
        all_ended = running.stop() => {
            let elapsed = stopped.elapsed().as_millis();
            say(&match all_ended {
                true => format!("stopped in {elapsed} ms"),
                false => format!("stopped in {elapsed} ms; what had not ended was cut off"),
            });
            Ok(all_ended)
        }
        signal = signals.next() => {
            say(&format!("cut off ({signal})"));
            Ok(false)
        }
    }
}

/// What listens where, a line for each kind of server, and what the application announced.
fn summary(running: &Running) -> Vec<String> {
    let addresses: HashMap<_, _> = running.addresses().collect();
    let mut kinds: Vec<(String, Vec<String>)> = Vec::new();
    for server in running.app().servers() {
        let kind = server.kind().to_string();
        let place = match addresses.get(server.id()) {
            Some(address) => address.to_string(),
            None => server.id().to_string(),
        };
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, places)) => places.push(place),
            None => kinds.push((kind, vec![place])),
        }
    }
    let width = kinds
        .iter()
        .map(|(kind, _)| kind.len())
        .max()
        .unwrap_or_default();
    let line =
        |(kind, places): (String, Vec<String>)| format!("{kind:width$}  {}", places.join(", "));
    kinds
        .into_iter()
        .map(line)
        .chain(running.app().announcements())
        .collect()
}
