//! What a process that is watched says to the one that watches it, as lines of its stdout.

use std::io::Write;
use std::time::Duration;

use shaddock::AppHandle;

use crate::commands::start::Summary;
use crate::output::say;

/// How often a process says that it lives.
const BEAT: Duration = Duration::from_secs(1);

const READY: &str = "@ready ";
const ALIVE: &str = "@alive";

/// A line of a process.
#[derive(Debug, PartialEq)]
pub(super) enum Word {
    /// It is ready, and this is to be shown.
    Ready(Summary),
    Alive,
    /// Not for us: what the application prints.
    Said(String),
}

impl Word {
    pub(super) fn read(line: String) -> Word {
        if line == ALIVE {
            return Word::Alive;
        }
        let summary = line.strip_prefix(READY).and_then(|json| serde_json::from_str(json).ok());
        summary.map_or(Word::Said(line), Word::Ready)
    }
}

/// Says that this process is ready.
pub(crate) fn ready(summary: &Summary, out: &mut impl Write) {
    let json = serde_json::to_string(summary).expect("texts can be written");
    say(out, &format!("{READY}{json}"));
}

/// Says from now on that this process lives.
pub(crate) fn beat(app: &AppHandle) {
    app.tasks().spawn("sign of life", async |stop| {
        let mut tick = tokio::time::interval(BEAT);
        // Stopping is watched by another clock.
        while stop.run_until_cancelled(tick.tick()).await.is_some() {
            say(&mut std::io::stdout(), ALIVE);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_is_understood() {
        let summary = Summary {
            places: vec![("gate".to_owned(), "127.0.0.1:3014".to_owned())],
            lines: vec!["the page: http://127.0.0.1:3001".to_owned()],
        };
        let mut said = Vec::new();
        ready(&summary, &mut said);
        let line = String::from_utf8(said).unwrap().trim_end().to_owned();
        assert_eq!(Word::read(line), Word::Ready(summary));
        assert_eq!(Word::read(ALIVE.to_owned()), Word::Alive);
        for line in ["", "@ready to go", "hello"] {
            assert_eq!(Word::read(line.to_owned()), Word::Said(line.to_owned()));
        }
    }
}
