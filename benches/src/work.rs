//! What each system has to do, and the robot that has it done.

use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::Instant;

use anyhow::{Context as _, ensure};
use serde_json::Value;

use crate::process;
use crate::system::System;

/// Something that is measured.
#[derive(Debug)]
pub(crate) struct Work {
    pub(crate) name: &'static str,
    /// What the robot is told.
    pub(crate) line: &'static str,
    /// Whether the robot's own time is to be added to the line.
    is_timed: bool,
    /// Done once, by a system that has done nothing before.
    pub(crate) is_alone: bool,
}

const fn work(name: &'static str, line: &'static str) -> Work {
    Work { name, line, is_timed: true, is_alone: false }
}

/// What is done long enough for a queue that has no bound to grow.
const fn long(name: &'static str, line: &'static str) -> Work {
    Work { name, line, is_timed: false, is_alone: true }
}

/// Who does not read is cut off, or has all kept for them.
pub(crate) const STALLED: &str = "the same, 100 stalled";

/// What [`STALLED`] is compared with.
pub(crate) const NOT_STALLED: &str = "room of 1,000, 20/s of 16 KiB";

/// In the order in which they are done: the first logins are those of a system that has just started.
pub(crate) const WORKS: &[Work] = &[
    Work { is_timed: false, ..work("login, cold", "login --clients 50 --total 2000 --stay") },
    work("login, warm", "login --clients 50"),
    work("echo, connector, 100 x 1", "echo --clients 100 --outstanding 1"),
    work("echo, connector, 100 x 8", "echo --clients 100 --outstanding 8"),
    work(
        "echo, chat server, 100 x 1",
        "echo --clients 100 --outstanding 1 --route chat.chatHandler.echo",
    ),
    work(
        "echo, chat server, 100 x 8",
        "echo --clients 100 --outstanding 8 --route chat.chatHandler.echo",
    ),
    work(
        "echo, chat server, 100 x 64",
        "echo --clients 100 --outstanding 64 --route chat.chatHandler.echo",
    ),
    work(
        "echo, chat server, 5,000/s",
        "echo --clients 100 --rate 5000 --route chat.chatHandler.echo",
    ),
    work("rooms of 10", "chat --rooms 10 --members 10 --outstanding 4"),
    work("rooms of 100", "chat --rooms 10 --members 100 --outstanding 2"),
    work("rooms of 1,000", "chat --rooms 1 --members 1000 --outstanding 2"),
    work("rooms of 100, 20/s", "chat --rooms 10 --members 100 --rate 20"),
    long(
        NOT_STALLED,
        "chat --rooms 1 --members 1000 --rate 20 --size 16384 --warmup 1 --seconds 12",
    ),
    long(
        STALLED,
        "chat --rooms 1 --members 1000 --rate 20 --size 16384 --warmup 1 --seconds 12 --stalled 100",
    ),
    Work { is_alone: true, ..work("10,000 idle", "idle --clients 10000") },
];

impl Work {
    /// Whether the clients do nothing.
    pub(crate) fn is_idle(&self) -> bool {
        self.line.starts_with("idle")
    }

    /// Whether `system` can do it as the others do.
    pub(crate) fn suits(&self, system: System) -> bool {
        // The one holds nothing that could be compared, the other holds what it does with more threads.
        !matches!(system, System::Responder | System::ShaddockThread) || !self.is_alone
    }
}

/// Who does it.
#[derive(Debug)]
pub(crate) struct Robot {
    pub(crate) program: PathBuf,
    /// How long each work is measured.
    pub(crate) seconds: f64,
}

/// What came of a work, in one round.
#[derive(Clone, Debug)]
pub(crate) struct Report {
    /// As the robot has it.
    pub(crate) json: Value,
    /// Percent of one core that the rest of the machine was busy.
    pub(crate) others: f64,
}

impl Robot {
    /// What is typed to have `work` done.
    pub(crate) fn line(&self, work: &Work) -> String {
        if work.is_timed { self.timed(work.line) } else { work.line.to_owned() }
    }

    /// The line, for as long as each work is measured.
    pub(crate) fn timed(&self, line: &str) -> String {
        format!("{line} --warmup 1 --seconds {}", self.seconds)
    }

    /// Does what `line` says, with the system of these processes.
    ///
    /// # Errors
    ///
    /// When anything was lost, doubled, out of order or wrong.
    pub(crate) fn run(&self, line: &str, pids: Vec<u32>) -> anyhow::Result<Report> {
        let mut command = Command::new(&self.program);
        command.args(line.split(' ')).args(["--quiet", "--json", "-"]);
        for pid in &pids {
            command.arg("--pid").arg(pid.to_string());
        }
        let servers = process::tree(&pids);
        let (begun, busy, used) = (Instant::now(), process::busy()?, process::used(&servers)?);
        let output = command.stderr(Stdio::inherit()).output().context("the robot")?;
        let others = (process::busy()? - busy).saturating_sub(process::used(&servers)? - used);
        let others = 100.0 * others.as_secs_f64() / begun.elapsed().as_secs_f64();
        let text = String::from_utf8_lossy(&output.stdout);
        let json: Value =
            serde_json::from_str(&text).with_context(|| format!("the robot says {text:?}"))?;
        ensure!(
            output.status.success(),
            "not all went well: {} {}",
            json["counts"],
            json["errors"]
        );
        Ok(Report { json, others })
    }
}

impl Report {
    /// A number of the robot's report, such as `/latency_ms/p99`; none where it has none.
    pub(crate) fn number(&self, place: &str) -> Option<f64> {
        self.json.pointer(place)?.as_f64()
    }

    /// CPU time of the server for each unit, in microseconds.
    pub(crate) fn cpu(&self) -> Option<f64> {
        self.number(CPU)
    }

    /// What kept it from being faster.
    pub(crate) fn limit(&self) -> &'static str {
        let of = |place| self.number(place).unwrap_or(0.0);
        let (server, robot) = (of("/server/cpu_percent"), of("/robot/cpu_percent"));
        match () {
            () if self.json["load"]["rate"].is_number() => "the rate",
            () if 180.0 < server + robot + self.others => "the machine",
            () if 90.0 < robot => "the robot",
            () if 90.0 < server => "the server",
            () => "waiting",
        }
    }
}

/// Where it has the most memory that the server held.
pub(crate) const PEAK: &str = "/server/rss_peak_kib";

/// Where a report has the server's CPU time.
pub(crate) const CPU: &str = "/server/cpu_us_per_unit";

/// Where it has the longest of the shortest 99 %.
pub(crate) const P99: &str = "/latency_ms/p99";
