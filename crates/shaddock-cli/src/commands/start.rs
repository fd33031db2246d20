//! `start`: servers, until somebody asks them to stop.

use std::collections::HashMap;
use std::io::Write;

use anyhow::{Context as _, bail, ensure};
use serde::{Deserialize, Serialize};
use shaddock::{App, Config, Running, ServerHandle};
use tokio::time::Instant;

use crate::output::say;
use crate::processes::word;
use crate::run::Ending;
use crate::signals::{Signals, Watcher};

/// The ids of the servers to run: those named and those of these kinds; all, if neither is said.
pub(crate) fn choose(
    config: &Config,
    ids: Vec<String>,
    kinds: &[String],
) -> anyhow::Result<Vec<String>> {
    for kind in kinds {
        if !config.servers.iter().any(|server| server.kind == *kind) {
            let mut known: Vec<_> = config.servers.iter().map(|server| &server.kind[..]).collect();
            known.dedup();
            bail!("servers.json has no servers of kind {kind}; it has {}", known.join(", "));
        }
    }
    if ids.is_empty() && kinds.is_empty() {
        return Ok(config.servers.iter().map(|server| server.id.clone()).collect());
    }
    let mut chosen = ids;
    for server in config.servers.iter().filter(|server| kinds.contains(&server.kind)) {
        if !chosen.contains(&server.id) {
            chosen.push(server.id.clone());
        }
    }
    Ok(chosen)
}

/// Runs the servers of `app`, and says how in the end they ended.
///
/// With a `watcher` it says what there is to say to the process that watches this one, and stops with it.
pub(crate) async fn start(
    begun: Instant,
    app: impl Future<Output = anyhow::Result<App>>,
    mut watcher: Option<Watcher>,
    out: &mut impl Write,
) -> anyhow::Result<Ending> {
    let running = tokio::select! {
        running = async { anyhow::Ok(app.await?.start().await?) } => running?,
        () = Watcher::stops(watcher.as_mut()) => return Ok(Ending::Well),
    };
    // Until here a signal ends the process at once, as its watcher does; nobody was let in who would mind.
    let signals = Signals::listen().context("the system does not let us hear its signals")?;
    let is_watched = watcher.is_some();
    let mut signals = signals.watched_by(watcher);
    if is_watched {
        word::ready(&summary(&running), out);
        word::beat(running.app());
    } else {
        show(&summary(&running), out);
        say(out, &format!("ready in {} ms", begun.elapsed().as_millis()));
    }

    let reason = tokio::select! {
        signal = signals.next() => signal,
        () = running.stopping() => "the application asked for it",
        () = running.killed() => return Ok(killed(out)),
    };
    let seconds = running.app().config().stop.deadline.as_secs_f64();
    say(
        out,
        &format!(
            "stopping ({reason}): what is under way has {seconds} s; a signal ends it at once"
        ),
    );
    let stopped = Instant::now();
    tokio::select! {
        all_ended = running.stop() => {
            let elapsed = stopped.elapsed().as_millis();
            say(out, &match all_ended {
                true => format!("stopped in {elapsed} ms"),
                false => format!("stopped in {elapsed} ms; what had not ended was cut off"),
            });
            ensure!(!running.has_failed(), "its last server did not start again");
            Ok(if all_ended { Ending::Well } else { Ending::CutOff })
        }
        signal = signals.next() => {
            say(out, &format!("cut off ({signal})"));
            Ok(Ending::CutOff)
        }
        () = running.killed() => Ok(killed(out)),
    }
}

fn killed(out: &mut impl Write) -> Ending {
    say(out, "killed by an operator");
    Ending::Killed
}

/// What there is to know about servers that have started.
#[derive(Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Summary {
    /// Each server's kind, and where it listens, or its name.
    pub(crate) places: Vec<(String, String)>,
    /// What the application announced.
    pub(crate) lines: Vec<String>,
}

fn summary(running: &Running) -> Summary {
    let addresses: HashMap<_, _> = running.addresses().collect();
    let place = |server: ServerHandle| {
        let place = match addresses.get(server.id()) {
            Some(address) => address.to_string(),
            None => server.id().to_string(),
        };
        (server.kind().to_string(), place)
    };
    let mut lines = running.app().announcements();
    if let Some(address) = running.metrics() {
        lines.push(format!("the metrics: http://{address}/metrics"));
    }
    Summary { places: running.app().servers().into_iter().map(place).collect(), lines }
}

/// A line for each kind of server, and what was announced.
pub(crate) fn show(summary: &Summary, out: &mut impl Write) {
    let mut kinds: Vec<(&str, Vec<&str>)> = Vec::new();
    for (kind, place) in &summary.places {
        match kinds.iter_mut().find(|(known, _)| *known == kind) {
            Some((_, places)) => places.push(place),
            None => kinds.push((kind, vec![place])),
        }
    }
    let width = kinds.iter().map(|(kind, _)| kind.len()).max().unwrap_or_default();
    for (kind, places) in kinds {
        say(out, &format!("{kind:width$}  {}", places.join(", ")));
    }
    for line in &summary.lines {
        say(out, line);
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use shaddock::config::{Config, Overrides};
    use shaddock::{AppHandle, Component, Server};

    use super::*;

    /// Wants the application to stop as soon as it has started, and may leave a task that never ends.
    struct Brief {
        is_stubborn: bool,
    }

    impl Component for Brief {
        async fn after_start(&self, app: &AppHandle) -> shaddock::Result<()> {
            if self.is_stubborn {
                app.tasks().spawn("stubborn", |_| pending());
            }
            app.stop();
            Ok(())
        }
    }

    fn brief(is_stubborn: bool) -> App {
        let servers = r#"{"chat": [{"id": "chat-1", "host": "127.0.0.1"}, {"id": "chat-2", "host": "127.0.0.1"}]}"#;
        let config = Config::embedded(&[("servers.json", servers)], None, &Overrides::default());
        App::new(config.unwrap()).server(Server::backend("chat")).component(Brief { is_stubborn })
    }

    /// How it ended, and what is said of it.
    async fn seen(app: App) -> (Ending, String) {
        let mut out = Vec::new();
        let ending = start(Instant::now(), async { Ok(app) }, None, &mut out).await.unwrap();
        (ending, String::from_utf8(out).unwrap())
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_by_itself_ends_well() {
        let wanted = "\
chat  chat-1, chat-2
ready in 0 ms
stopping (the application asked for it): what is under way has 10 s; a signal ends it at once
stopped in 0 ms
";
        assert_eq!(seen(brief(false)).await, (Ending::Well, wanted.to_owned()));
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_is_cut_off_and_told() {
        let (ending, said) = seen(brief(true)).await;
        assert_eq!(ending, Ending::CutOff);
        assert!(said.ends_with("stopped in 10000 ms; what had not ended was cut off\n"), "{said}");
    }

    #[test]
    fn servers_are_chosen_by_name_and_by_kind() {
        let servers = r#"{
            "gate": [{"id": "gate-1", "host": "127.0.0.1"}],
            "chat": [{"id": "chat-1", "host": "127.0.0.1"}, {"id": "chat-2", "host": "127.0.0.1"}]
        }"#;
        let config =
            Config::embedded(&[("servers.json", servers)], None, &Overrides::default()).unwrap();
        let chosen = |ids: &[&str], kinds: &[&str]| {
            let [ids, kinds] = [ids, kinds]
                .map(|names| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>());
            choose(&config, ids, &kinds)
        };
        assert_eq!(chosen(&[], &[]).unwrap(), ["gate-1", "chat-1", "chat-2"]);
        assert_eq!(chosen(&["chat-2"], &[]).unwrap(), ["chat-2"]);
        assert_eq!(chosen(&["chat-2"], &["chat"]).unwrap(), ["chat-2", "chat-1"]);
        assert_eq!(chosen(&[], &["gate", "chat"]).unwrap(), ["gate-1", "chat-1", "chat-2"]);
        let error = chosen(&[], &["chats"]).unwrap_err().to_string();
        assert_eq!(error, "servers.json has no servers of kind chats; it has gate, chat");
    }

    #[tokio::test(start_paused = true)]
    async fn servers_that_are_not_asked_for_do_not_run() {
        let (_, said) = seen(brief(false).only(["chat-2"])).await;
        assert!(said.starts_with("chat  chat-2\n"), "{said}");
    }
}
