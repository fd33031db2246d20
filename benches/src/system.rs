//! What is measured: how it is started, and how it ends.

use std::fs::{self, File};
use std::net::TcpStream;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use std::thread::park_timeout;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use shaddock_client::Client;

use crate::process::{self, Memory};

/// A server, and how it is set up.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum System {
    Pomelo,
    PomeloNoDelay,
    Pinus,
    Shaddock,
    ShaddockThread,
    ShaddockNats,
    Responder,
}

/// Where the programs are.
#[derive(Debug)]
pub(crate) struct Programs {
    pub(crate) chat: PathBuf,
    pub(crate) robot: PathBuf,
    pub(crate) broker: PathBuf,
    pub(crate) servers: PathBuf,
}

/// The port of every system's gate.
const GATE: u16 = 3014;

/// All on which they listen.
const PORTS: [u16; 4] = [GATE, 3050, 3051, 3052];

const BROKER: u16 = 4333;

/// How long a system may take until somebody is let in.
const READY: Duration = Duration::from_secs(30);

/// How long it may take to end.
const ENDED: Duration = Duration::from_secs(20);

impl System {
    pub(crate) const ALL: [System; 7] = [
        System::Pomelo,
        System::PomeloNoDelay,
        System::Pinus,
        System::Shaddock,
        System::ShaddockThread,
        System::ShaddockNats,
        System::Responder,
    ];

    pub(crate) fn name(self) -> &'static str {
        match self {
            System::Pomelo => "pomelo",
            System::PomeloNoDelay => "pomelo + nodelay",
            System::Pinus => "pinus",
            System::Shaddock => "shaddock",
            System::ShaddockThread => "shaddock, one thread",
            System::ShaddockNats => "shaddock over NATS",
            System::Responder => "bare responder",
        }
    }

    /// What it is, in a sentence.
    pub(crate) fn set_up(self) -> &'static str {
        match self {
            System::Pomelo => {
                "pomelo 2.2.7 as it comes: a master, a gate, 3 connectors, 3 chat servers, a process each"
            }
            System::PomeloNoDelay => "the same with TCP_NODELAY on every socket, by a preload",
            System::Pinus => "pinus 1.7.4 (TypeScript's successor of pomelo), the same processes",
            System::Shaddock => {
                "a gate, 3 connectors and 3 chat servers in one process, with a thread for each core"
            }
            System::ShaddockThread => {
                "the same with one thread, as the bare responder and each process of pomelo have"
            }
            System::ShaddockNats => {
                "the same servers, a process each, and the one that watches them; the broker's CPU and memory count"
            }
            System::Responder => {
                "answers by fixed rules in one thread, without sessions or checks: what kernel and wire cost"
            }
        }
    }

    /// Starts it, and waits until it lets somebody in.
    pub(crate) fn start(self, programs: &Programs) -> anyhow::Result<Running> {
        self.start_with(programs, None)
    }

    /// The same, with the configuration in a folder, where it is Shaddock.
    pub(crate) fn start_with(
        self,
        programs: &Programs,
        config: Option<&Path>,
    ) -> anyhow::Result<Running> {
        for port in PORTS {
            ensure!(!is_open(port), "something listens on port {port} already: stop it first");
        }
        let mut running = Running { processes: Vec::new(), start: Start::default() };
        if self == System::ShaddockNats {
            let mut broker = Command::new(&programs.broker);
            broker.args(["-a", "127.0.0.1", "-p", &BROKER.to_string(), "-js", "-sd"]);
            broker.arg(store());
            running.spawn(broker, "broker")?;
            wait_for(BROKER)?;
        }
        let begun = Instant::now();
        running.spawn(self.command(programs, config), self.name())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        while let Err(error) = runtime.block_on(log_in()) {
            if let Some(status) =
                running.processes.last_mut().and_then(|own| own.try_wait().ok()?)
            {
                bail!("{} has ended: {status}", self.name());
            }
            if READY < begun.elapsed() {
                return Err(error.context(format!("{} lets nobody in", self.name())));
            }
            park_timeout(Duration::from_millis(2));
        }
        running.start.login = begun.elapsed();
        // Until all have come to rest.
        park_timeout(Duration::from_secs(1));
        running.start.memory = process::memory(&process::tree(&running.pids()))?;
        Ok(running)
    }

    fn command(self, programs: &Programs, config: Option<&Path>) -> Command {
        let node = |folder: &str| {
            let mut command = Command::new("node");
            command.args(["app.js", "env=production"]).current_dir(programs.servers.join(folder));
            command
        };
        let shaddock = || {
            let mut command = Command::new(&programs.chat);
            // As the others are: routes by number, and everything else as JSON.
            command.args(["start", "--echo", "--set", "kind.gate.use-protobuf=false"]);
            command.args(["--set", "kind.connector.use-protobuf=false"]);
            command.current_dir(std::env::temp_dir()).env("RUST_LOG", "warn");
            if let Some(config) = config {
                command.arg("--config").arg(config);
            }
            command
        };
        match self {
            System::Pomelo => node("pomelo"),
            System::PomeloNoDelay => {
                let mut command = node("pomelo");
                let preload = programs.servers.join("nodelay.js");
                command.env("NODE_OPTIONS", format!("--require={}", preload.display()));
                command
            }
            System::Pinus => node("pinus"),
            System::Shaddock => shaddock(),
            System::ShaddockThread => {
                let mut command = shaddock();
                command.args(["--workers", "1"]);
                command
            }
            System::ShaddockNats => {
                let mut command = shaddock();
                command.args(["--processes", "--cluster", &format!("nats://127.0.0.1:{BROKER}")]);
                command
            }
            System::Responder => {
                let mut command = Command::new(&programs.robot);
                command.arg("responder");
                command
            }
        }
    }
}

/// A system that runs. Its processes end with this.
#[derive(Debug)]
pub(crate) struct Running {
    processes: Vec<Child>,
    start: Start,
}

/// How it started.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Start {
    /// From nothing to the first login.
    pub(crate) login: Duration,
    /// Of all processes, a second later.
    pub(crate) memory: Memory,
}

impl Running {
    fn spawn(&mut self, mut command: Command, name: &str) -> anyhow::Result<()> {
        let log = log_of(name);
        let out = File::create(&log).with_context(|| format!("can't write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(out.try_clone()?).stderr(out).process_group(0);
        let process = command.spawn().with_context(|| format!("{command:?} can't be started"))?;
        self.processes.push(process);
        Ok(())
    }

    pub(crate) fn start(&self) -> Start {
        self.start
    }

    /// Of those who have started all others.
    pub(crate) fn pids(&self) -> Vec<u32> {
        self.processes.iter().map(Child::id).collect()
    }

    /// Ends it, and waits until its ports are free.
    pub(crate) fn end(self) -> anyhow::Result<()> {
        drop(self);
        let begun = Instant::now();
        while PORTS.into_iter().any(is_open) {
            ensure!(begun.elapsed() < ENDED, "it does not end");
            park_timeout(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // At once, and all of them: nothing of what they do then is measured.
        process::signal("KILL", &process::tree(&self.pids()));
        for process in &mut self.processes {
            let _ = process.wait();
        }
        // There is one only where there was a broker.
        let _ = fs::remove_dir_all(store());
    }
}

/// Where the broker keeps things.
fn store() -> PathBuf {
    std::env::temp_dir().join(format!("shaddock-bench-{}", std::process::id()))
}

/// Where what `name` says goes.
fn log_of(name: &str) -> PathBuf {
    std::env::temp_dir().join(format!("shaddock-bench-{}.log", name.replace(' ', "-")))
}

fn is_open(port: u16) -> bool {
    TcpStream::connect(("127.0.0.1", port)).is_ok()
}

fn wait_for(port: u16) -> anyhow::Result<()> {
    let begun = Instant::now();
    while !is_open(port) {
        ensure!(begun.elapsed() < READY, "nothing listens on port {port}");
        park_timeout(Duration::from_millis(10));
    }
    Ok(())
}

/// The whole way in, and out again.
async fn log_in() -> anyhow::Result<()> {
    let gate = Client::connect(&format!("ws://127.0.0.1:{GATE}")).await?;
    let entry: Value =
        gate.request("gate.gateHandler.queryEntry", json!({ "uid": "first" })).await?;
    let port = entry.get("port").with_context(|| format!("the gate answers {entry}"))?;
    let client = Client::connect(&format!("ws://127.0.0.1:{port}")).await?;
    let visitor = json!({ "username": "first", "rid": "first" });
    let answer: Value = client.request("connector.entryHandler.enter", visitor).await?;
    ensure!(answer.get("users").is_some(), "the connector answers {answer}");
    client.disconnect().await;
    gate.disconnect().await;
    Ok(())
}
