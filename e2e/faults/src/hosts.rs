//! Hosts: network namespaces on one bridge.
//!
//! They have no names. Each lives as long as the process that holds it, and all end with the checker.

use std::ffi::OsStr;
use std::io::{BufRead as _, BufReader};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, ensure};

use crate::plan::address;

const BRIDGE: &str = "faults";

/// A host, reached from here and from the others.
#[derive(Debug)]
pub(crate) struct Host {
    /// The end of its cable that is here.
    port: String,
    holder: Child,
}

impl Host {
    /// This many hosts on a bridge in the namespace that this process is in, which is to have nothing else.
    pub(crate) fn make(count: usize) -> anyhow::Result<Vec<Host>> {
        ip("link set lo up")?;
        ip(&format!("link add {BRIDGE} type bridge"))?;
        ip(&format!("address add 10.77.0.254/24 dev {BRIDGE}"))?;
        ip(&format!("link set {BRIDGE} up"))?;
        (0..count).map(Host::new).collect()
    }

    fn new(number: usize) -> anyhow::Result<Host> {
        let mut holder = Command::new("unshare")
            .args(["--net", "sh", "-c", "echo here && exec sleep infinity"])
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .context("unshare")?;
        let mut said = String::new();
        let out = holder.stdout.take().context("a holder without a voice")?;
        BufReader::new(out).read_line(&mut said)?;
        ensure!(said == "here\n", "a network namespace can't be made");

        let port = format!("host{number}");
        ip(&format!("link add {port} type veth peer name uplink netns {}", holder.id()))?;
        ip(&format!("link set {port} master {BRIDGE} up"))?;
        let host = Host { port, holder };
        let addressed = format!("address add {}/24 dev uplink", address(number));
        for line in ["link set lo up", &addressed, "link set uplink up"] {
            done(host.command("ip").args(line.split(' ')))?;
        }
        Ok(host)
    }

    /// To run `program` on this host.
    pub(crate) fn command(&self, program: impl AsRef<OsStr>) -> Command {
        let mut command = Command::new("nsenter");
        command.arg(format!("--net=/proc/{}/ns/net", self.holder.id())).arg("--").arg(program);
        command
    }

    /// From now on nothing reaches it or leaves it, and nobody is told.
    pub(crate) fn cut(&self) -> anyhow::Result<()> {
        ip(&format!("link set {} nomaster", self.port))
    }

    /// Ends a cut.
    pub(crate) fn heal(&self) -> anyhow::Result<()> {
        ip(&format!("link set {} master {BRIDGE}", self.port))
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.holder.kill();
        let _ = self.holder.wait();
    }
}

fn ip(line: &str) -> anyhow::Result<()> {
    done(Command::new("ip").args(line.split(' ')))
}

fn done(command: &mut Command) -> anyhow::Result<()> {
    let status = command.stdin(Stdio::null()).status().with_context(|| format!("{command:?}"))?;
    ensure!(status.success(), "{command:?}: {status}");
    Ok(())
}
