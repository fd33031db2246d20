//! The command line.

use std::fs;
use std::io::{self, IsTerminal as _, Write as _};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Context as _;
use clap::{Args, Parser, Subcommand};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};

use crate::{Address, Entrance, Plan, Progress, Report, Scenario, Speech, respond, run_until};

/// Plays many clients of a server that knows the chat's routes, and says what they saw
#[derive(Debug, Parser)]
#[command(name = "shaddock-robot", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

/// What the robot can be told, as a command of its own or below another program's.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Ask a route again and again, and be answered the same
    Echo(Echo),
    /// Talk in rooms, and count every copy of every message
    Chat(Chat),
    /// Come in by the gate and leave, again and again
    Login(Login),
    /// Log in and do nothing
    Idle(Idle),
    /// Cut all off at once, and have them come back at once
    Storm(Storm),
    /// Talk in rooms for long, while visitors come and go
    Soak(Soak),
    /// Be a server that does next to nothing, to see what robot and kernel cost
    Responder(Responder),
}

/// Ask a route again and again.
#[derive(Debug, Args)]
pub struct Echo {
    /// How many ask
    #[arg(long, default_value_t = 100)]
    clients: usize,
    /// What is asked; `chat.chatHandler.echo` goes through a chat server
    #[arg(long, default_value = "connector.entryHandler.echo")]
    route: String,
    #[command(flatten)]
    talk: Talk,
    #[command(flatten)]
    common: Common,
}

/// Talk in rooms.
#[derive(Debug, Args)]
pub struct Chat {
    /// How many rooms, of --members each
    #[arg(long, default_value_t = 10)]
    rooms: usize,
    /// How many of each room speak
    #[arg(long, default_value_t = 2)]
    senders: usize,
    /// How many of each room read nothing once they are in
    #[arg(long, default_value_t = 0)]
    stalled: usize,
    #[command(flatten)]
    talk: Talk,
    #[command(flatten)]
    common: Common,
}

/// Come in and leave.
#[derive(Debug, Args)]
pub struct Login {
    /// How many do so at a time
    #[arg(long, default_value_t = 50)]
    clients: usize,
    /// End after so many, and don't warm up
    #[arg(long)]
    total: Option<usize>,
    /// Don't leave before the end
    #[arg(long)]
    stay: bool,
    #[command(flatten)]
    common: Common,
}

/// Do nothing.
#[derive(Debug, Args)]
pub struct Idle {
    /// How many
    #[arg(long, default_value_t = 1000)]
    clients: usize,
    #[command(flatten)]
    common: Common,
}

/// Come back at once.
#[derive(Debug, Args)]
pub struct Storm {
    /// How many
    #[arg(long, default_value_t = 1000)]
    clients: usize,
    /// Seconds from one storm to the next
    #[arg(long, default_value_t = 5.0)]
    every: f64,
    #[command(flatten)]
    common: Common,
}

/// Talk for long.
#[derive(Debug, Args)]
pub struct Soak {
    /// How many rooms, of --members each
    #[arg(long, default_value_t = 10)]
    rooms: usize,
    /// How many of each room speak
    #[arg(long, default_value_t = 2)]
    senders: usize,
    /// How many visitors there are at a time, for a second each
    #[arg(long, default_value_t = 10)]
    visitors: usize,
    #[command(flatten)]
    talk: Talk,
    #[command(flatten)]
    common: Common,
}

/// Be a server.
#[derive(Debug, Args)]
pub struct Responder {
    /// Where it listens: gate and connector in one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:3014")]
    listen: SocketAddr,
}

#[derive(Debug, Args)]
struct Talk {
    /// Messages that each has under way at once, without --rate
    #[arg(long, default_value_t = 1)]
    outstanding: usize,
    /// Messages a second in all, each due at its moment, from which its latency counts
    #[arg(long)]
    rate: Option<f64>,
    /// Bytes of text in each message
    #[arg(long, default_value_t = 64)]
    size: usize,
}

#[derive(Debug, Args)]
struct Common {
    /// The host of the gate
    #[arg(long, default_value = "127.0.0.1")]
    host: String,
    /// The port of the gate
    #[arg(long, default_value_t = 3014)]
    port: u16,
    /// Don't ask a gate, but go to this connector
    #[arg(long, value_name = "HOST:PORT")]
    connector: Option<Address>,
    /// Speak by raw TCP, not by WebSocket
    #[arg(long)]
    tcp: bool,
    /// Users in a room
    #[arg(long, default_value_t = 10)]
    members: usize,
    /// How many log in at once before it begins
    #[arg(long, default_value_t = 50)]
    entering: usize,
    /// Seconds to measure [default: 10; of a soak 3600]
    #[arg(long)]
    seconds: Option<f64>,
    /// Seconds before, which don't count
    #[arg(long, value_name = "SECONDS", default_value_t = 2.0)]
    warmup: f64,
    /// Threads that do the work [default: one for two cores]
    #[arg(long)]
    threads: Option<usize>,
    /// A process of the server, to read its CPU time and memory, and those of its children; may be given often
    #[arg(long, value_name = "PID")]
    pid: Vec<u32>,
    /// What to call the run in reports
    #[arg(long, default_value = "")]
    label: String,
    /// Write the report as JSON to this file; - for stdout, in place of the table
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
    /// Write each second as a line of CSV to this file; - as with --json
    #[arg(long, value_name = "FILE")]
    csv: Option<PathBuf>,
    /// Write a page with charts to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Don't say how it goes
    #[arg(long)]
    quiet: bool,
}

/// Does what the command line says, as the program `shaddock-robot`: 1 if anything went wrong, or was lost, doubled or
/// out of order.
pub fn run() -> ExitCode {
    match obey(Arguments::parse().command) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            // Nobody reads it any more: no reason to panic.
            let _ = writeln!(io::stderr(), "error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Does what it is told, and says whether all that was due came, once and in order.
///
/// # Errors
///
/// When there is no report, or it can't be written.
pub fn obey(command: Command) -> anyhow::Result<bool> {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = runtime.context("tokio's runtime can't be made")?;
    if let Command::Responder(Responder { listen }) = command {
        return runtime.block_on(async {
            let listener = TcpListener::bind(listen).await;
            let listener = listener.with_context(|| format!("can't listen at {listen}"))?;
            writeln!(io::stdout(), "listening at {}", listener.local_addr()?)?;
            respond(listener).await?;
            Ok(true)
        });
    }
    let (plan, output) = plan(command)?;
    let interrupt = async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending().await
        }
    };
    let report =
        runtime.block_on(run_until(plan, interrupt, |progress| tell(progress, output.quiet)))?;
    if !output.quiet && io::stderr().is_terminal() {
        // Where the line about how it goes was.
        let _ = write!(io::stderr(), "\r\x1b[K");
    }
    output.write(&report)?;
    Ok(report.is_clean())
}

/// How it goes, in one line that is written over; in many lines where nobody looks.
fn tell(progress: &Progress, is_quiet: bool) {
    let mut out = io::stderr();
    let _ = match (is_quiet, out.is_terminal()) {
        (true, _) => Ok(()),
        (_, true) => write!(out, "\r\x1b[K{progress}"),
        (_, false) => writeln!(out, "{progress}"),
    };
}

/// What becomes of the report.
struct Output {
    json: Option<PathBuf>,
    csv: Option<PathBuf>,
    html: Option<PathBuf>,
    quiet: bool,
}

fn plan(command: Command) -> anyhow::Result<(Plan, Output)> {
    let mut usual = 10.0;
    let (scenario, clients, talk, common) = match command {
        Command::Echo(Echo { clients, route, talk, common }) => {
            (Scenario::Echo { route }, clients, Some(talk), common)
        }
        Command::Chat(Chat { rooms, senders, stalled, talk, common }) => {
            (Scenario::Chat { rooms, senders, stalled }, 0, Some(talk), common)
        }
        Command::Login(Login { clients, total, stay, common }) => {
            (Scenario::Login { total, stay }, clients, None, common)
        }
        Command::Idle(Idle { clients, common }) => (Scenario::Idle, clients, None, common),
        Command::Storm(Storm { clients, every, common }) => {
            (Scenario::Storm { every: seconds("--every", every)? }, clients, None, common)
        }
        Command::Soak(Soak { rooms, senders, visitors, talk, common }) => {
            usual = 3600.0;
            (Scenario::Soak { rooms, senders, visitors }, 0, Some(talk), common)
        }
        Command::Responder(_) => unreachable!("it has no plan"),
    };
    let entrance = match common.connector {
        Some(connector) => Entrance::Connector(connector),
        None => Entrance::Gate(Address { host: common.host, port: common.port }),
    };
    let mut plan = Plan::new(scenario, entrance);
    plan.clients = clients;
    if let Some(Talk { outstanding, rate, size }) = talk {
        (plan.outstanding, plan.rate, plan.size) = (outstanding, rate, size);
    }
    plan.speech = if common.tcp { Speech::Tcp } else { Speech::WebSocket };
    plan.members = common.members;
    plan.entering = common.entering;
    plan.time = seconds("--seconds", common.seconds.unwrap_or(usual))?;
    plan.warm_up = seconds("--warmup", common.warmup)?;
    plan.threads = common.threads.unwrap_or(plan.threads);
    plan.pids = common.pid;
    plan.label = common.label;
    let Common { json, csv, html, quiet, .. } = common;
    Ok((plan, Output { json, csv, html, quiet }))
}

fn seconds(flag: &str, number: f64) -> anyhow::Result<Duration> {
    Duration::try_from_secs_f64(number)
        .ok()
        .with_context(|| format!("{flag} is a number of seconds, not {number}"))
}

impl Output {
    fn write(&self, report: &Report) -> anyhow::Result<()> {
        let mut is_told = false;
        for (path, text) in [
            (&self.json, Report::json as fn(&Report) -> String),
            (&self.csv, Report::csv),
            (&self.html, Report::html),
        ] {
            let Some(path) = path else {
                continue;
            };
            if path == Path::new("-") {
                is_told = true;
                writeln!(io::stdout(), "{}", text(report).trim_end())?;
            } else {
                fs::write(path, text(report))
                    .with_context(|| format!("can't write {}", path.display()))?;
            }
        }
        if !is_told {
            write!(io::stdout(), "{report}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> anyhow::Result<Plan> {
        let arguments = Arguments::try_parse_from(line.split(' '))?;
        Ok(plan(arguments.command)?.0)
    }

    #[test]
    fn a_plan_is_what_the_command_line_says() {
        let line = "robot chat --rooms 3 --members 7 --rate 20 --seconds 1.5 --warmup 0 --tcp --pid 1 --pid 2";
        let plan = parse(line).unwrap();
        assert_eq!(plan.scenario, Scenario::Chat { rooms: 3, senders: 2, stalled: 0 });
        assert_eq!((plan.population(), plan.rate, plan.speech), (21, Some(20.0), Speech::Tcp));
        assert_eq!(plan.time, Duration::from_millis(1500));
        assert_eq!(plan.pids, [1, 2]);
        let gate = Address { host: "127.0.0.1".into(), port: 3014 };
        assert_eq!(plan.entrance, Entrance::Gate(gate));
    }

    #[test]
    fn what_makes_no_sense_is_refused_with_a_reason() {
        for (line, reason) in [
            ("robot echo --seconds=-1", "--seconds is a number of seconds"),
            ("robot echo --connector nowhere", "a host and a port"),
            ("robot", "Usage"),
        ] {
            let error = format!("{:#}", parse(line).expect_err(line));
            assert!(error.contains(reason), "{line}: {error}");
        }
        for (line, reason) in [
            ("robot chat --senders 11", "more senders than members"),
            ("robot chat --stalled 9", "a sender can't be stalled"),
            ("robot echo --clients 0", "no clients"),
            ("robot echo --rate 0", "the rate"),
            ("robot storm --every 0", "from storm to storm"),
        ] {
            let error = parse(line).unwrap().check().expect_err(line).to_string();
            assert!(error.contains(reason), "{line}: {error}");
        }
    }
}
