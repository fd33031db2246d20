//! The chat on its hosts: brokers, servers, and a look at who they say is alive.

use std::fs;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use anyhow::Context as _;
use bytes::Bytes;
use serde_json::{Value, json};
use shaddock_cluster::{Answer, Config, Node, Peer, Receive, State};
use shaddock_nats::{Nats, Options};
use tokio::task::JoinSet;
use tokio::time::sleep;

use crate::crowd::{DEADLINE, name_of};
use crate::hosts::Host;
use crate::plan::{CLIENT_PORT, Fault, HOSTS, Kind, PLACES, Place, What, address};
use crate::program::Program;

/// All that runs. It ends when this is dropped.
#[derive(Debug)]
pub(crate) struct Town {
    // Before the hosts that they are on.
    programs: Vec<Program>,
    hosts: Vec<Host>,
    node: Node,
    _tasks: JoinSet<()>,
}

impl Town {
    /// Starts brokers and servers. What they need and say is in `folder`.
    pub(crate) async fn start(chat: &Path, broker: &Path, folder: &Path) -> anyhow::Result<Town> {
        let hosts = Host::make(HOSTS)?;
        let urls: Vec<_> =
            (0..HOSTS).map(|host| format!("nats://{}:4222", address(host))).collect();
        let config = write_config(folder)?;
        let mut programs = Vec::new();
        for place in &PLACES {
            let host = &hosts[place.host];
            let command = match place.kind {
                Kind::Broker => {
                    let mut command = host.command(broker);
                    command.arg("-c").arg(write_broker(place, folder)?);
                    command
                }
                _ => {
                    let mut command = host.command(chat);
                    command
                        .args(["start", place.name, "--cluster", &urls.join(","), "--config"])
                        .arg(&config);
                    command.env("RUST_LOG", "info");
                    command
                }
            };
            programs.push(Program::start(place.name, command, folder)?);
        }
        let engine = Nats::connect(Options::new(&urls)).await?;
        let config = Config::new("checker-1".parse()?, "checker".parse()?);
        let mut tasks = JoinSet::new();
        let node =
            Node::join(engine, config, Arc::new(Deaf), |task| drop(tasks.spawn(task))).await?;
        Ok(Town { programs, hosts, node, _tasks: tasks })
    }

    /// The chat server that has `room` when all are there.
    pub(crate) fn home(&self, room: usize) -> anyhow::Result<String> {
        let chat = self.node.pick(&"chat".parse()?, name_of(room).as_bytes());
        Ok(chat.context("no chat server")?.id.to_string())
    }

    /// Servers that are not known to be alive.
    pub(crate) fn absent(&self) -> Vec<&'static str> {
        let is_there = |place: &&Place| {
            let id = place.name.parse().expect("a name");
            place.kind == Kind::Broker
                || self.node.members().get(&id).is_some_and(|member| member.state == State::Alive)
        };
        PLACES.iter().filter(|place| !is_there(place)).map(|place| place.name).collect()
    }

    /// Lets it happen, and end.
    pub(crate) async fn suffer(&mut self, fault: &Fault) -> anyhow::Result<()> {
        match fault.what {
            What::Kill(place) => {
                self.program(place).kill()?;
                sleep(fault.lasts).await;
                self.program(place).restart()
            }
            What::Freeze(place) => {
                self.program(place).freeze()?;
                sleep(fault.lasts).await;
                self.program(place).thaw()
            }
            What::Cut(host) => {
                self.hosts[host].cut()?;
                sleep(fault.lasts).await;
                self.hosts[host].heal()
            }
        }
    }

    /// # Errors
    ///
    /// When a program has ended that nobody killed.
    pub(crate) fn check_running(&mut self) -> anyhow::Result<()> {
        self.programs.iter_mut().try_for_each(Program::check_running)
    }

    /// MiB of memory that each program holds.
    pub(crate) fn memory(&self) -> anyhow::Result<Vec<u64>> {
        self.programs.iter().map(Program::memory).collect()
    }

    fn program(&mut self, place: &'static Place) -> &mut Program {
        let index = PLACES.iter().position(|one| one == place).expect("it is one of them");
        &mut self.programs[index]
    }
}

/// The chat's own configuration, but for where its servers are.
fn write_config(folder: &Path) -> anyhow::Result<PathBuf> {
    let config = folder.join("config");
    fs::create_dir_all(&config)?;
    for (name, text) in chat::CONFIG {
        fs::write(config.join(name), text)?;
    }
    let of_kind = |kind| {
        let places = PLACES.iter().filter(|place| place.kind == kind);
        let entry = |place: &Place| match place.kind {
            Kind::Chat => json!({ "id": place.name, "host": place.address(), "port": 6050 }),
            _ => {
                json!({ "id": place.name, "host": place.address(), "clientPort": CLIENT_PORT, "frontend": true })
            }
        };
        places.map(entry).collect::<Value>()
    };
    let servers = json!({
        "gate": of_kind(Kind::Gate),
        "connector": of_kind(Kind::Connector),
        "chat": of_kind(Kind::Chat),
    });
    fs::write(config.join("servers.json"), json!({ "development": servers }).to_string())?;
    let (_, toml) = chat::CONFIG
        .iter()
        .find(|(name, _)| *name == "shaddock.toml")
        .context("the chat's shaddock.toml")?;
    fs::write(
        config.join("shaddock.toml"),
        // Brokers of 2.9 may take most of a minute to agree on where they keep things.
        format!("{toml}\n[cluster]\nreplicas = 3\nwait = 90\n[requests]\ndeadline = {DEADLINE}\n"),
    )?;
    Ok(config)
}

fn write_broker(place: &Place, folder: &Path) -> anyhow::Result<PathBuf> {
    let address = place.address();
    let others = (0..HOSTS).filter(|host| *host != place.host);
    let routes: Vec<_> =
        others.map(|host| format!("nats-route://{}:6222", self::address(host))).collect();
    let text = format!(
        "server_name: {name}
listen: \"{address}:4222\"
jetstream {{ store_dir: {store:?} }}
cluster {{ name: faults, listen: \"{address}:6222\", routes: {routes:?} }}
ping_interval: \"5s\"
ping_max: 2
write_deadline: \"2s\"
max_pending: 16MB
",
        name = place.name,
        store = folder.join(place.name).display().to_string(),
    );
    let file = folder.join(format!("{}.conf", place.name));
    fs::write(&file, text)?;
    Ok(file)
}

/// It only watches.
struct Deaf;

impl Receive for Deaf {
    fn call(&self, _from: &Peer, _payload: Bytes, _answer: Answer) {}
    fn cast(&self, _from: &Peer, _payload: Bytes) {}
}
