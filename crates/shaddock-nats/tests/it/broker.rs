//! A `nats-server` of a test's own: the one that `NATS_SERVER` names, else the one that is installed.

use std::env;
use std::fs;
use std::io::{self, Write as _};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use shaddock_nats::Options;

/// How long one may take until it listens.
const READY: Duration = Duration::from_secs(20);

/// Whether there is a broker to test with. If not, that is told on a desk, and a failure in CI.
pub(crate) fn is_there() -> bool {
    if program().is_some() {
        return true;
    }
    let message = "NOT TESTED without nats-server: set NATS_SERVER, or apt-get install nats-server";
    assert!(env::var_os("CI").is_none_or(|value| value.is_empty()), "{message}");
    // Not by a macro, whose text is shown of failed tests alone.
    let _ = writeln!(io::stderr(), "{message}");
    false
}

fn program() -> Option<PathBuf> {
    if let Some(named) = env::var_os("NATS_SERVER").filter(|named| !named.is_empty()) {
        return Some(named.into());
    }
    let path = env::var_os("PATH").unwrap_or_default();
    // Where Debian puts it, which is not in everybody's path.
    let folders = env::split_paths(&path).chain([PathBuf::from("/usr/sbin")]);
    folders.map(|folder| folder.join("nats-server")).find(|program| program.is_file())
}

/// A broker that ends with this.
#[derive(Debug)]
pub(crate) struct Broker {
    process: Child,
    folder: Folder,
    port: u16,
}

/// A folder that is gone with this.
#[derive(Debug)]
pub(crate) struct Folder(pub(crate) PathBuf);

impl Broker {
    /// One with JetStream, that lets everyone in.
    pub(crate) fn start() -> Broker {
        Broker::with("jetstream { store_dir: STORE }")
    }

    /// One with this in its configuration, where STORE is a folder.
    pub(crate) fn with(settings: &str) -> Broker {
        let folder = Folder::new();
        let settings = settings.replace("STORE", &format!("{:?}", folder.0.join("store")));
        fs::write(folder.0.join("nats.conf"), settings).unwrap();
        let process = spawn(&folder, -1);
        let mut broker = Broker { process, folder, port: 0 };
        broker.port = broker.ports("nats");
        broker
    }

    pub(crate) fn url(&self) -> String {
        format!("nats://127.0.0.1:{}", self.port)
    }

    pub(crate) fn options(&self) -> Options {
        Options { wait: Duration::ZERO, ..Options::new([self.url()]) }
    }

    /// Where it keeps what JetStream stores.
    pub(crate) fn store(&self) -> PathBuf {
        self.folder.0.join("store")
    }

    /// The port on which it hears other brokers.
    pub(crate) fn cluster_port(&mut self) -> u16 {
        self.ports("cluster")
    }

    /// Ends it as a crash would.
    pub(crate) fn kill(&mut self) {
        self.process.kill().unwrap();
        self.process.wait().unwrap();
    }

    /// Starts it again, on the port it had.
    pub(crate) fn revive(&mut self) {
        self.process = spawn(&self.folder, self.port.into());
        self.ports("nats");
    }

    /// Waits until it has written down where it listens. It does so when it is ready.
    fn ports(&mut self, what: &str) -> u16 {
        let file = self.folder.0.join(format!("nats-server_{}.ports", self.process.id()));
        let begun = Instant::now();
        loop {
            let text = fs::read_to_string(&file).unwrap_or_default();
            // {"nats": ["nats://127.0.0.1:4222"], "cluster": ["nats://127.0.0.1:6222"]}
            let after = text.split(&format!("\"{what}\"")).nth(1).and_then(|rest| {
                let (place, _) = rest.split_once("\"]").or_else(|| rest.split_once("\",\n"))?;
                place.rsplit(':').next()?.parse().ok()
            });
            if let Some(port) = after.filter(|_| text.trim_end().ends_with('}')) {
                return port;
            }
            if let Some(status) = self.process.try_wait().unwrap() {
                panic!("nats-server ended: {status}");
            }
            assert!(begun.elapsed() < READY, "nats-server is not ready: {text:?}");
            std::thread::yield_now();
        }
    }
}

fn spawn(folder: &Folder, port: i32) -> Child {
    let program = program().expect("is_there was asked");
    Command::new(program)
        .args(["-a", "127.0.0.1", "-p", &port.to_string(), "-c"])
        .arg(folder.0.join("nats.conf"))
        .arg("--ports_file_dir")
        .arg(&folder.0)
        .stdout(Stdio::null())
        .stderr(fs::File::create(folder.0.join("log")).unwrap())
        .spawn()
        .unwrap()
}

impl Folder {
    pub(crate) fn new() -> Folder {
        static LAST: AtomicU32 = AtomicU32::new(0);
        let number = LAST.fetch_add(1, Ordering::Relaxed);
        let name = format!("shaddock-nats-{}-{number}", std::process::id());
        let path = env::temp_dir().join(name);
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}
