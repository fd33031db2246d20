//! Several processes: the chat as the README and `deploy/` have it, and groups.

mod changes;
mod deploy;
mod groups;
mod readme;

use std::collections::HashMap;
use std::fs;
use std::io::{self, BufRead as _, BufReader, Write as _};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use shaddock::testing::client::Client;
use tokio::time::timeout;

/// How long anything may take. Nothing takes as long, but a machine may be busy.
const PATIENCE: Duration = Duration::from_secs(120);

/// A folder, and the processes that a test has started, which end with it.
struct Place {
    folder: PathBuf,
    processes: Vec<Child>,
    /// Where the gate listens.
    gate: String,
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

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The text of a file of the project.
fn text(file: &str) -> String {
    fs::read_to_string(root().join(file)).unwrap_or_else(|error| panic!("{file}: {error}"))
}

/// A port that nobody has, and that the system gives to nobody who asks for any.
fn port() -> u16 {
    static NEXT: AtomicU32 = AtomicU32::new(0);
    loop {
        let next = 37 * std::process::id() + NEXT.fetch_add(1, Ordering::Relaxed);
        let port = u16::try_from(10_000 + next % 20_000).unwrap();
        if TcpListener::bind(("127.0.0.1", port)).is_ok() {
            return port;
        }
    }
}

/// What was in `text` once, or more often, is something else.
fn change(text: &str, from: &str, to: &str) -> String {
    assert!(text.contains(from), "{from:?} is not in {text}");
    text.replace(from, to)
}

fn broker() -> Option<PathBuf> {
    let named = std::env::var_os("NATS_SERVER").filter(|named| !named.is_empty());
    let path = std::env::var_os("PATH").unwrap_or_default();
    let folders = std::env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    let mut installed = folders.map(|folder| folder.join("nats-server"));
    let found = named.map(PathBuf::from).or_else(|| installed.find(|program| program.is_file()));
    if found.is_none() {
        lack("nats-server: set NATS_SERVER, or apt-get install nats-server");
    }
    found
}

/// Something that is missing is told on a desk, and a failure in CI.
fn lack(what: &str) {
    let message = format!("NOT TESTED without {what}");
    assert!(std::env::var_os("CI").is_none_or(|value| value.is_empty()), "{message}");
    // Not by a macro, whose text is shown of failed tests alone.
    let _ = writeln!(io::stderr(), "{message}");
}

impl Place {
    /// A place where the chat has the configuration of the demo, and these servers on this machine, on ports that are free.
    fn new(name: &str, servers: &str) -> Place {
        let folder =
            std::env::temp_dir().join(format!("shaddock-several-{}-{name}", std::process::id()));
        let config = folder.join("config");
        fs::create_dir_all(&config).unwrap();
        for (file, text) in chat::CONFIG {
            fs::write(config.join(file), text).unwrap();
        }
        let _ = fs::remove_file(config.join("master.json"));
        let mut servers: HashMap<String, Vec<Value>> = serde_json::from_str(servers).unwrap();
        for server in servers.values_mut().flatten() {
            server["host"] = json!("127.0.0.1");
            server["clientHost"] = json!("127.0.0.1");
            if server.get("clientPort").is_some() {
                server["clientPort"] = json!(port());
            }
        }
        fs::write(config.join("servers.json"), json!(servers).to_string()).unwrap();
        let gate = format!("ws://127.0.0.1:{}", servers["gate"][0]["clientPort"]);
        Place { folder, processes: Vec::new(), gate }
    }

    fn chat(&self, line: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_chat"));
        command
            .args(line)
            .args(["--config", "config", "--set", "app.page=127.0.0.1:0"])
            .current_dir(&self.folder)
            .env("RUST_LOG", "warn")
            .env("SHADDOCK_ENV", "production")
            .stdout(Stdio::piped());
        command
    }

    /// Starts a broker with these options, and says where it is. It may take a moment until it listens.
    fn start_broker(&mut self, program: &Path, options: &str) -> String {
        let number = port();
        let process = Command::new(program)
            .args(options.split(' '))
            .args(["-a", "127.0.0.1", "-p", &number.to_string(), "-sd", "store"])
            .current_dir(&self.folder)
            .stderr(Stdio::null())
            .spawn();
        self.processes.push(process.unwrap());
        format!("nats://127.0.0.1:{number}")
    }

    /// Waits until it says that it is ready.
    fn start(&mut self, command: Command) {
        self.processes.push(started(command));
    }

    /// Enters as the page does, where the gate says; nothing, if it is not let in.
    async fn login(&self, name: &str, room: &str) -> Option<Client> {
        let gate = Client::connect(&self.gate).await.ok()?;
        let query = json!({ "uid": name });
        let entry: Value = gate.request("gate.gateHandler.queryEntry", query).await.ok()?;
        let connector = format!("ws://127.0.0.1:{}", entry.get("port")?);
        let client = Client::connect(&connector).await.ok()?;
        let visitor = json!({ "username": name, "rid": room });
        let users: Value = client.request("connector.entryHandler.enter", visitor).await.ok()?;
        users.get("users").map(|_| client)
    }

    /// Waits until two come in and one hears the other, through whichever processes that takes. Servers find each other in a
    /// moment, at their start and after a broker has died; until then some calls fail.
    async fn two_talk(&self) {
        let begun = Instant::now();
        for number in 0.. {
            // Whoever was cut off may be in there still, and what they said may come yet.
            if self.do_talk(&format!("room{number}")).await.is_some() {
                return;
            }
            assert!(begun.elapsed() < PATIENCE, "nobody can talk");
        }
    }

    async fn do_talk(&self, room: &str) -> Option<()> {
        let (py, al) = (self.login("py", room).await?, self.login("al", room).await?);
        let mut heard = al.pushes("onChat");
        let say = json!({ "content": "hello", "target": "*" });
        let answer: Value = py.request("chat.chatHandler.send", say).await.ok()?;
        if answer != json!({}) {
            return None;
        }
        // Said to those whom the room's server knows: to neither, if it is a new one.
        let push = timeout(Duration::from_secs(5), heard.next()).await.ok()??;
        let said: Value = push.json().unwrap();
        assert_eq!(said, json!({ "msg": "hello", "from": "py", "target": "*" }));
        Some(())
    }
}

/// A process that has said that it is ready.
fn started(mut command: Command) -> Child {
    let mut process = command.spawn().unwrap();
    let out = BufReader::new(process.stdout.take().unwrap());
    let mut said = Vec::new();
    let is_ready = out.lines().map(Result::unwrap).any(|line| {
        said.push(line);
        said.last().is_some_and(|line| line.starts_with("ready in "))
    });
    if !is_ready {
        let status = process.wait();
        panic!("{command:?} ended with {status:?}: {said:?}");
    }
    process
}

/// Asks it to stop, and says whether it did in order.
fn terminate(process: &mut Child) -> bool {
    assert!(Command::new("kill").arg(process.id().to_string()).status().unwrap().success());
    process.wait().unwrap().success()
}
