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
    let mut lines: Vec<String> = kinds.into_iter().map(line).collect();
    lines.extend(running.app().announcements());
    if let Some(address) = running.app().config().metrics {
        lines.push(format!("the metrics: http://{address}/metrics"));
    }
    lines
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
        App::new(config.unwrap())
            .server(Server::backend("chat"))
            .component(Brief { is_stubborn })
    }

    #[tokio::test(start_paused = true)]
    async fn what_ends_by_itself_ends_well() {
        assert!(
            start(Instant::now(), "here", brief(false), &[])
                .await
                .unwrap()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn what_does_not_end_is_cut_off_and_told() {
        assert!(
            !start(Instant::now(), "here", brief(true), &[])
                .await
                .unwrap()
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_server_that_is_not_configured_is_not_started() {
        let ids = ["chat-3".to_owned()];
        let error = start(Instant::now(), "here", brief(false), &ids)
            .await
            .unwrap_err()
            .to_string();
        assert!(error.contains("chat-3"), "{error}");
    }

    #[tokio::test]
    async fn the_summary_has_the_servers_that_run() {
        let running = brief(false).only(["chat-2"]).start().await.unwrap();
        assert_eq!(summary(&running), ["chat  chat-2"]);
        assert!(running.stop().await);
    }
}
