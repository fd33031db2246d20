//! What a server does with what operators say.

use std::cmp::Reverse;
use std::sync::Arc;

use bytes::Bytes;
use serde_json::{Value, json};
use shaddock_cluster::Peer;
use tokio::sync::oneshot;

use super::order::{Credentials, NewServer, Order};
use super::report::{Lanes, Mailboxes, Memory, Queues, SessionReport, Status, User, Users};
use crate::app::{AppHandle, StartError};
use crate::channel::push::Deliver as _;
use crate::config;
use crate::error::{Fault, Result};
use crate::ids::ServerId;
use crate::rpc::envelope::{self, To};
use crate::rpc::{decode_args, encode_result};
use crate::running::Core;
use crate::server::ServerHandle;
use crate::session::Change;
use crate::session::record::{Frontend, Record};

/// Carries out an order, if whoever gives it may.
pub(crate) async fn serve(core: Arc<Core>, from: Peer, args: Bytes) -> Result<Bytes> {
    let (credentials, order): (Credentials, Order) = decode_args(&args)?;
    core.app.operators().admit(&from.id, &credentials, &order).await?;
    if order.changes() {
        tracing::info!(server = %core.id, from = %from.id, user = credentials.username, %order, "an operator's order");
    }
    match order {
        Order::Status => encode_result(&status(&core)),
        Order::Users { limit } => encode_result(&users(frontend(&core)?, limit)),
        Order::Sessions { name } => encode_result(&sessions(frontend(&core)?, &name)),
        Order::Config => encode_result(&configured(&core)?),
        Order::Memory => encode_result(&memory()?),
        Order::Queues => encode_result(&queues(&core)),
        Order::Blacklist => encode_result(&blacklist(frontend(&core)?)),
        Order::Stop => {
            let (app, id) = (core.app.clone(), core.id.clone());
            core.app.tasks().run("stop of a server", async move {
                if let Err(error) = app.stop_server(&id).await {
                    tracing::warn!(server = %id, error = Fault::from(error).reason(), "a server was not stopped");
                }
            });
            encode_result(&())
        }
        Order::Restart => {
            let (app, id) = (core.app.clone(), core.id.clone());
            core.app.tasks().run("restart of a server", async move {
                if let Err(error) = app.restart_server(&id).await {
                    tracing::error!(server = %id, error = Fault::from(error).reason(), "a server was not started again");
                }
            });
            encode_result(&())
        }
        Order::Kill { servers } => {
            let here = ids(&core.app);
            let spared: Vec<_> =
                here.iter().filter(|id| !servers.contains(id)).map(ServerId::as_str).collect();
            if !spared.is_empty() {
                let spared = spared.join(", ");
                return Err(Fault::new(
                    409,
                    format!("its process runs {spared}, too: name all of them, or `stop` this one"),
                ));
            }
            core.app.kill();
            encode_result(&())
        }
        Order::Add(server) => encode_result(&add(&core.app, server).await?),
        Order::Broadcast { route, body, unbound } => {
            let frontend = frontend(&core)?;
            let body = core.pusher.encode(&route, &body)?;
            frontend.deliver(&route, &body, &To::All { with: serde_json::Map::new(), unbound });
            encode_result(&())
        }
        Order::Kick { uid, reason } => {
            let mut kicked = 0_usize;
            for record in frontend(&core)?.table.of_uid(&uid) {
                let change = Change::Kick { reason: reason.clone() };
                kicked += usize::from(record.apply(change).await.is_ok());
            }
            encode_result(&kicked)
        }
        Order::Deny { network } => {
            frontend(&core)?.access.deny(self::network(&network)?);
            encode_result(&())
        }
        Order::Pardon { network } => {
            encode_result(&frontend(&core)?.access.pardon(self::network(&network)?))
        }
        Order::Call { remote, method, args } => {
            // Those of the framework are for servers.
            if remote.starts_with('@') {
                return Err(Fault::new(400, format!("{remote} is no remote of the application")));
            }
            let args = envelope::pack(&args)?;
            let result = core.call_remote(&from, &remote, &method, args).await?;
            let value: Value = envelope::unpack(&result).map_err(|error| {
                Fault::internal(format!(
                    "it was called, and what it returned can't be shown: {error}"
                ))
            })?;
            encode_result(&value)
        }
    }
}

fn frontend(core: &Core) -> Result<&Arc<Frontend>> {
    core.frontend.as_ref().ok_or_else(|| {
        Fault::new(400, format!("{} is no front-end: no client connects to it", core.id))
    })
}

fn network(text: &str) -> Result<shaddock_transport::Network> {
    text.parse().map_err(|error| Fault::new(400, format!("{error}")))
}

fn ids(app: &AppHandle) -> Vec<ServerId> {
    app.servers().iter().map(|server| server.id().clone()).collect()
}

fn status(core: &Arc<Core>) -> Status {
    let table = core.frontend.as_ref().map(|frontend| &frontend.table);
    Status {
        version: env!("CARGO_PKG_VERSION").to_owned(),
        pid: std::process::id(),
        process: ids(&core.app),
        uptime: core.began.elapsed(),
        memory: memory().ok().map(|memory| memory.resident),
        sessions: table.map_or(0, |table| table.len()),
        users: table.map_or(0, |table| table.count_uids()),
        load: core.load(),
        channels: core.channels.count(),
        calls_waiting: ServerHandle(core.clone()).node().stats().waiting,
        counters: core.app.telemetry().counters(&core.id),
    }
}

fn users(frontend: &Frontend, limit: usize) -> Users {
    let user = |record: &Arc<Record>| {
        let uid = record.identity(|identity| identity.uid.clone())?;
        Some(User { uid, session: record.id, address: record.peer.ip() })
    };
    let mut users: Vec<User> = frontend.table.all().iter().filter_map(user).collect();
    users.sort_unstable_by_key(|user| Reverse(user.session));
    let bound = users.len();
    users.truncate(limit);
    Users { bound, users }
}

/// The sessions of this uid, or the one of this id.
fn sessions(frontend: &Frontend, name: &str) -> Vec<SessionReport> {
    let by_id = u64::from_str_radix(name, 16)
        .ok()
        .and_then(|id| frontend.table.get(crate::ids::SessionId(id)));
    let mut records = frontend.table.of_uid(name);
    records.extend(by_id);
    let report = |record: &Arc<Record>| {
        let identity = record.identity(Clone::clone);
        let (frames_waiting, bytes_waiting) = record.mailbox.load();
        SessionReport {
            session: record.id,
            peer: record.peer,
            uid: identity.uid,
            settings: identity.settings.read().clone(),
            frames_waiting,
            bytes_waiting,
            forwarded: record.forwarded(),
        }
    };
    records.iter().map(report).collect()
}

/// What holds for the server. Nothing of what the application reads itself, which may be secret.
fn configured(core: &Core) -> Result<Value> {
    let (config, entry) = (core.app.config(), &core.entry);
    let seconds = |time: std::time::Duration| time.as_secs_f64();
    let mut shown = json!({
        "environment": config.environment,
        "cluster": config.cluster.name,
        "kind": entry.kind,
        "host": entry.host,
        "auto-restart": entry.auto_restart,
        "restart-force": entry.restart_force,
        "requests.deadline": seconds(config.requests.deadline),
        "requests.lane": config.requests.lane,
        "remotes.deadline": seconds(config.remotes.deadline),
        "stop.deadline": seconds(config.stop.deadline),
        "metrics": config.metrics,
        "log.filter": config.log.filter,
    });
    if core.frontend.is_some() {
        let options = config.frontend(entry)?;
        let limits = &options.limits;
        let more = json!({
            "clientHost": entry.public_host(),
            "clientPort": entry.client_port,
            "listen": options.listen,
            "heartbeat": options.heartbeat.map(|heartbeat| seconds(heartbeat.interval)),
            "timeout": options.heartbeat.map(|heartbeat| seconds(heartbeat.timeout)),
            "handshake-timeout": seconds(options.handshake_timeout),
            "use-dict": options.use_dict,
            "use-protobuf": options.use_protobuf,
            "limits.connections": limits.connections,
            "limits.connections-per-address": limits.connections_per_address,
            "limits.package": limits.package,
            "limits.handshake-package": limits.handshake_package,
            "limits.outbound-messages": limits.outbound_messages,
            "limits.outbound-bytes": limits.outbound_bytes,
        });
        if let (Value::Object(shown), Value::Object(more)) = (&mut shown, more) {
            shown.extend(more);
        }
    }
    Ok(shown)
}

/// What the system says of this process.
fn memory() -> Result<Memory> {
    let told = std::fs::read_to_string("/proc/self/status");
    let told = told.map_err(|error| {
        Fault::new(501, format!("this system does not tell the memory of a process: {error}"))
    })?;
    // `VmRSS:     1234 kB`
    let number = |name: &str| {
        let line = told.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim_start_matches(':').split_whitespace().next()?.parse::<u64>().ok()
    };
    let bytes = |name| number(name).unwrap_or_default().saturating_mul(1024);
    Ok(Memory {
        pid: std::process::id(),
        resident: bytes("VmRSS"),
        peak: bytes("VmHWM"),
        threads: number("Threads").unwrap_or_default(),
    })
}

fn queues(core: &Arc<Core>) -> Queues {
    let lanes = |(busy, waiting)| Lanes { busy, waiting };
    let mailboxes = core.frontend.as_ref().map(|frontend| {
        let mut all = Mailboxes { clients: 0, frames: 0, bytes: 0, slowest: 0 };
        for record in frontend.table.all() {
            let (frames, bytes) = record.mailbox.load();
            all.clients += usize::from(frames != 0);
            all.frames += frames;
            all.bytes += bytes;
            all.slowest = all.slowest.max(bytes);
        }
        all
    });
    Queues {
        calls_waiting: ServerHandle(core.clone()).node().stats().waiting,
        lanes: lanes(core.lanes.load()),
        one_way_calls: lanes(core.oneways.load()),
        mailboxes,
    }
}

fn blacklist(frontend: &Frontend) -> Vec<String> {
    frontend.access.denied().iter().map(ToString::to_string).collect()
}

/// Starts a server, and says which. It goes on if whoever ordered it does not wait.
async fn add(app: &AppHandle, server: NewServer) -> Result<String> {
    let wrong = |error: StartError| Fault::new(400, Fault::from(error).reason().to_owned());
    let entry = match server {
        NewServer::Configured(id) => app.config().server(id.as_str()).cloned().ok_or_else(|| {
            Fault::new(404, format!("the servers.json of this process has no {id}: say what it is, as kind=chat id={id} host=127.0.0.1"))
        })?,
        NewServer::Entry { kind, entry } => {
            config::Server::from_json(&kind, entry).map_err(|error| wrong(error.into()))?
        }
    };
    let (id, own) = (entry.id.clone(), app.clone());
    let (done, added) = oneshot::channel();
    app.tasks().run("addition of a server", async move {
        let _ = done.send(own.add_server(entry).await);
    });
    match added.await {
        Ok(Ok(())) => Ok(id),
        Ok(Err(error)) => Err(wrong(error)),
        Err(_) => Err(Fault::internal("the start of the server panicked")),
    }
}
