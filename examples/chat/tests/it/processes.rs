//! The chat as a process for each server, over a broker, and what an operator does with it.

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStdout, Command, Output, Stdio};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

/// How long anything may take. Nothing takes as long, but a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// Between two looks at something that is waited for.
const PAUSE: Duration = Duration::from_millis(100);

/// The process and the run of each server.
type Servers = HashMap<String, (String, String)>;

/// Who may do everything, in the chat's adminUser.json.
const PASSWORD: &str = "admin";

/// A folder, and the processes that a test has started, which end with it.
struct Place {
    folder: PathBuf,
    processes: Vec<Child>,
    url: String,
}

impl Drop for Place {
    fn drop(&mut self) {
        for process in &mut self.processes {
            let _ = process.kill();
            let _ = process.wait();
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn broker() -> Option<PathBuf> {
    if let Some(named) = std::env::var_os("NATS_SERVER").filter(|named| !named.is_empty()) {
        return Some(named.into());
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join("nats-server")).find(|program| program.is_file())
}

impl Place {
    /// A broker, and the chat's configuration; nothing, where there is no broker.
    fn new(name: &str) -> Option<Place> {
        let Some(broker) = broker() else {
            let message =
                "NOT TESTED without nats-server: set NATS_SERVER, or apt-get install nats-server";
            assert!(std::env::var_os("CI").is_none_or(|value| value.is_empty()), "{message}");
            // Not by a macro, whose text is shown of failed tests alone.
            let _ = writeln!(io::stderr(), "{message}");
            return None;
        };
        let mut place = Place::configured(name);
        let process = Command::new(broker)
            .args(["-js", "-a", "127.0.0.1", "-p", "-1", "-sd"])
            .arg(place.folder.join("store"))
            .arg("--ports_file_dir")
            .arg(&place.folder)
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let ports = place.folder.join(format!("nats-server_{}.ports", process.id()));
        place.processes.push(process);
        // It writes down where it listens when it is ready.
        wait("the broker is ready", || {
            let text = fs::read_to_string(&ports).unwrap_or_default();
            let url = serde_json::from_str(&text)
                .ok()
                .and_then(|ports: Value| Some(ports.get("nats")?.get(0)?.as_str()?.to_owned()));
            url.map(|url| place.url = url).is_some()
        });
        Some(place)
    }

    /// The chat's configuration, for front-ends that listen on any port.
    fn configured(name: &str) -> Place {
        let folder =
            std::env::temp_dir().join(format!("shaddock-chat-{}-{name}", std::process::id()));
        fs::create_dir_all(&folder).unwrap();
        let servers = json!({
            "gate": [{ "id": "gate-1", "host": "127.0.0.1", "clientPort": 3014, "frontend": true }],
            "connector": [
                { "id": "connector-1", "host": "127.0.0.1", "clientPort": 3050, "frontend": true },
                { "id": "elsewhere-1", "host": "192.0.2.1", "clientPort": 3050, "frontend": true },
            ],
            "chat": [
                { "id": "chat-1", "host": "127.0.0.1", "auto-restart": "true" },
                { "id": "chat-2", "host": "127.0.0.1", "restart-force": "true" },
                { "id": "chat-3", "host": "127.0.0.1" },
            ],
        });
        fs::write(folder.join("servers.json"), servers.to_string()).unwrap();
        let anywhere = "[frontend]\nbind = \"127.0.0.1:0\"\n";
        fs::write(folder.join("shaddock.toml"), anywhere).unwrap();
        let users = chat::CONFIG.iter().find(|(name, _)| *name == "adminUser.json").unwrap().1;
        fs::write(folder.join("adminUser.json"), users).unwrap();
        Place { folder, processes: Vec::new(), url: String::new() }
    }

    fn chat(&self, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
        command
            .args(["--config"])
            .arg(&self.folder)
            .args(["--cluster", &self.url])
            .args(arguments)
            .env("SHADDOCK_PASSWORD", PASSWORD)
            .env("RUST_LOG", "warn")
            .env("NODE_ENV", "development");
        command
    }

    /// Starts the processes, and gives the one that watches them and what it says.
    fn spawn(&mut self) -> (usize, BufReader<ChildStdout>) {
        let mut process =
            self.chat(&["start", "--processes"]).stdout(Stdio::piped()).spawn().unwrap();
        let out = BufReader::new(process.stdout.take().unwrap());
        self.processes.push(process);
        (self.processes.len() - 1, out)
    }

    /// Starts the processes, and reads what is said until they are ready.
    fn start(&mut self) -> (usize, Vec<String>, BufReader<ChildStdout>) {
        let (parent, mut out) = self.spawn();
        let mut lines = Vec::new();
        loop {
            let mut line = String::new();
            assert_ne!(out.read_line(&mut line).unwrap(), 0, "it ended: {lines:?}");
            lines.push(line.trim_end().to_owned());
            if line.starts_with("ready in ") {
                return (parent, lines, out);
            }
        }
    }

    /// What an operator is told.
    fn told(&self, arguments: &[&str]) -> Output {
        self.chat(arguments).output().unwrap()
    }

    /// The servers that live.
    fn list(&self) -> Servers {
        let output = self.told(&["list"]);
        let text = String::from_utf8(output.stdout).unwrap();
        let row = |line: &str| {
            let cells: Vec<_> =
                line.split("  ").map(str::trim).filter(|cell| !cell.is_empty()).collect();
            let [id, .., pid, _version, run] = cells.as_slice() else { panic!("{text}") };
            ((*id).to_owned(), ((*pid).to_owned(), (*run).to_owned()))
        };
        text.lines().skip(1).filter(|line| line.contains("  alive  ")).map(row).collect()
    }

    /// Waits until the list is as it should be, and gives it. One without the connector is none: nobody ends that.
    fn until(&self, what: &str, is_so: impl Fn(&Servers) -> bool) -> Servers {
        let mut servers = Servers::new();
        wait(what, || {
            servers = self.list();
            servers.contains_key("connector-1") && is_so(&servers)
        });
        servers
    }

    /// Waits until all servers are there, and have told their process.
    fn all(&self) -> Servers {
        self.until("all servers are there", |now| {
            now.len() == 5 && now.values().all(|(pid, _)| pid != "-")
        })
    }

    /// Does something that must be done.
    fn does(&self, arguments: &[&str]) {
        let output = self.told(arguments);
        assert!(output.status.success(), "{arguments:?}: {output:?}");
    }
}

fn wait(what: &str, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < PATIENCE, "{what}");
        // Those who are waited for need the processor.
        std::thread::park_timeout(PAUSE);
    }
}

fn send(signal: &str, pid: &str) {
    assert!(Command::new("kill").args([signal, pid]).status().unwrap().success());
}

fn lives(pid: &str) -> bool {
    let state = fs::read_to_string(Path::new("/proc").join(pid).join("stat")).unwrap_or_default();
    // One that nobody has waited for yet has ended all the same.
    !state.is_empty() && !state.contains(") Z ")
}

#[test]
fn each_server_has_a_process_that_is_watched() {
    let Some(mut place) = Place::new("watched") else { return };
    let (parent, said, out) = place.start();
    assert!(said.iter().any(|line| line.starts_with("connector  127.0.0.1:")), "{said:?}");
    assert!(said.contains(&"chat       chat-1, chat-2, chat-3".to_owned()), "{said:?}");

    // An operator sees them, and who has another password does not.
    let before = place.all();
    let stranger = place.chat(&["list"]).env("SHADDOCK_PASSWORD", "guess").output().unwrap();
    assert_eq!(stranger.status.code(), Some(1));
    let said = String::from_utf8(stranger.stderr).unwrap();
    let refused = "error: adminUser.json has no such user with this password\n";
    assert!(said.ends_with(refused), "{said}");

    // One that crashes is started again, where servers.json says so.
    send("-KILL", &before["chat-1"].0);
    send("-KILL", &before["chat-3"].0);
    place.until("chat-1 is another run", |now| {
        now.get("chat-1").is_some_and(|chat| chat.1 != before["chat-1"].1)
    });
    place.until("chat-3 is gone", |now| !now.contains_key("chat-3"));
    // One that is stuck is ended by force first, where it says that.
    send("-STOP", &before["chat-2"].0);
    place.until("chat-2 is another run", |now| {
        now.get("chat-2").is_some_and(|chat| chat.1 != before["chat-2"].1)
    });

    // One that an operator stops or kills stays away.
    place.does(&["stop", "chat-1"]);
    place.does(&["kill", "chat-2"]);
    place.until("both are gone", |now| !now.contains_key("chat-1") && !now.contains_key("chat-2"));

    // The rest stops in order with the one that watches it.
    let process = place.processes[parent].id().to_string();
    send("-TERM", &process);
    let lines: Vec<_> = out.lines().map(Result::unwrap).collect();
    assert!(lines.last().is_some_and(|line| line.starts_with("stopped in ")), "{lines:?}");
    let status = place.processes[parent].wait().unwrap();
    assert_eq!(status.code(), Some(1), "some had failed: {lines:?}");
    assert!(!["gate-1", "connector-1"].iter().any(|id| lives(&before[*id].0)), "{lines:?}");
}

#[test]
fn processes_end_with_the_one_that_watches_them() {
    let Some(mut place) = Place::new("orphans") else { return };
    let (parent, _, _out) = place.start();
    let pids: Vec<_> = place.all().into_values().map(|(pid, _)| pid).collect();
    place.processes[parent].kill().unwrap();
    place.processes[parent].wait().unwrap();
    wait("all of them end", || !pids.iter().any(|pid| lives(pid)));
}

#[test]
fn processes_that_are_stopped_all_end_well() {
    let Some(mut place) = Place::new("stopped") else { return };
    let (parent, _, out) = place.start();
    send("-INT", &place.processes[parent].id().to_string());
    let lines: Vec<_> = out.lines().map(Result::unwrap).collect();
    assert_eq!(place.processes[parent].wait().unwrap().code(), Some(0), "{lines:?}");
}

#[test]
fn processes_that_wait_for_a_broker_end_well_when_they_are_stopped() {
    let mut place = Place::configured("waiting");
    // A broker that lets everyone in and says nothing.
    let broker = TcpListener::bind("127.0.0.1:0").unwrap();
    broker.set_nonblocking(true).unwrap();
    place.url = format!("nats://{}", broker.local_addr().unwrap());
    let (parent, out) = place.spawn();
    // The one that watches listens to signals before it starts anybody.
    let mut visitor = None;
    wait("a server looks for the broker", || {
        visitor = broker.accept().ok();
        visitor.is_some()
    });
    send("-INT", &place.processes[parent].id().to_string());
    let lines: Vec<_> = out.lines().map(Result::unwrap).collect();
    assert_eq!(place.processes[parent].wait().unwrap().code(), Some(0), "{lines:?}");
    assert!(!lines.iter().any(|line| line.contains("cut off")), "{lines:?}");
}

#[test]
fn without_a_broker_it_is_said_what_to_do() {
    for (arguments, wanted) in [
        (["start", "--processes"], "start one, as by `nats-server -js`"),
        (["show", "servers"], "there is nothing to reach"),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_chat"))
            .current_dir("/")
            .args(arguments)
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(output.status.code() == Some(1) && said.contains(wanted), "{said}");
    }
}
