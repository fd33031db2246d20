//! What changes something: `stop`, `restart`, `kill`, `add`, `broadcast`, `kick`, `blacklist`.

use std::io::Write;
use std::time::Duration;

use anyhow::{Context as _, bail};
use futures_util::future::join_all;
use serde_json::{Map, Value};
use shaddock::ServerId;
use shaddock::admin::{Found, NewServer, Operator};
use tokio::time::timeout;

use super::arguments::{Blacklist, Chosen};
use super::look::ask;
use super::table::table;
use super::{find, frontends, nobody};
use crate::output::say;

/// How long a server may take to stop, however long its own deadline is.
const PATIENCE: Duration = Duration::from_secs(120);

/// The servers that were named, each once, front-ends first.
async fn chosen(
    operator: &Operator,
    Chosen { servers, all }: Chosen,
) -> anyhow::Result<Vec<Found>> {
    if all && operator.servers().is_empty() {
        return Err(nobody(&[]));
    }
    for name in &servers {
        find(operator, name).await?;
    }
    let mut there = operator.servers();
    there.retain(|server| all || servers.iter().any(|name| name == server.id.as_str()));
    there.sort_by_key(|server| !server.frontend);
    Ok(there)
}

/// `stop`: front-ends first, those of one side at once.
pub(super) async fn stop(
    operator: &Operator,
    servers: Chosen,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let servers = chosen(operator, servers).await?;
    let mut all_stopped = true;
    for side in servers.chunk_by(|one, next| one.frontend == next.frontend) {
        let ids: Vec<ServerId> = side.iter().map(|server| server.id.clone()).collect();
        let told = ask(&ids, async |id| operator.stop(id).await).await?;
        let gone = told.into_iter().map(async |(id, told)| {
            told?;
            let gone = timeout(PATIENCE, operator.gone(id)).await;
            gone.with_context(|| format!("{id} has not stopped yet"))?;
            anyhow::Ok(())
        });
        for (id, stopped) in ids.iter().zip(join_all(gone).await) {
            all_stopped &= done(id, "stopped", stopped, out);
        }
    }
    Ok(all_stopped)
}

/// `restart`: one after another, so that the others of a kind can do its work meanwhile.
pub(super) async fn restart(
    operator: &Operator,
    servers: Chosen,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let servers = chosen(operator, servers).await?;
    for server in &servers {
        let again = async {
            operator.restart(&server.id).await?;
            let replaced = timeout(PATIENCE, operator.replaced(server)).await;
            replaced.with_context(|| format!("{} has not started again yet", server.id))?;
            anyhow::Ok(())
        };
        // The next one may be all that is left of its kind.
        if !done(&server.id, "started again", again.await, out) {
            return Ok(false);
        }
    }
    Ok(true)
}

/// `kill`: each process once.
pub(super) async fn kill(
    operator: &Operator,
    servers: Chosen,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let chosen = chosen(operator, servers).await?;
    let ids: Vec<ServerId> = chosen.into_iter().map(|server| server.id).collect();
    // Nobody is left to answer for a process that was killed.
    let told = ask(&ids, async |id| operator.status(id).await).await?;
    let mut all_killed = true;
    // Whoever comes first in a process, and those who end with it.
    let mut processes: Vec<(ServerId, Vec<&ServerId>)> = Vec::new();
    for (id, status) in told {
        let first = match status {
            Ok(status) => ids.iter().find(|id| status.process.contains(id)).unwrap_or(id),
            Err(error) => {
                all_killed &= done(id, "", Err(error.into()), out);
                continue;
            }
        };
        match processes.iter_mut().find(|(known, _)| known == first) {
            Some((_, ending)) => ending.push(id),
            None => processes.push((first.clone(), vec![id])),
        }
    }
    let (firsts, ending): (Vec<ServerId>, Vec<_>) = processes.into_iter().unzip();
    let told = ask(&firsts, async |id| operator.kill(id, &ids).await).await?;
    for ((first, killed), ending) in told.into_iter().zip(ending) {
        match killed {
            Ok(()) => ending.into_iter().for_each(|id| {
                done(id, "killed", Ok(()), out);
            }),
            Err(error) => all_killed &= done(first, "", Err(error.into()), out),
        }
    }
    Ok(all_killed)
}

/// `add`: one of servers.json, or one that is described as pomelo does.
pub(super) async fn add(
    operator: &Operator,
    entry: Vec<String>,
    beside: Option<String>,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let new = described(&entry)?;
    let servers = operator.servers();
    let beside = match (beside, &new) {
        (Some(name), _) => find(operator, &name).await?,
        (None, new) => {
            let alike = |server: &&Found| match new {
                NewServer::Entry { kind, .. } => server.kind.as_str() == kind,
                NewServer::Configured(_) => false,
            };
            let some = servers.iter().find(alike).or(servers.first());
            some.ok_or_else(|| nobody(&[]))?.id.clone()
        }
    };
    let id = operator.add(&beside, new).await?;
    say(out, &format!("{id} runs in the process of {beside}"));
    Ok(true)
}

/// A server as it stands on the command line.
fn described(words: &[String]) -> anyhow::Result<NewServer> {
    if let [id] = words
        && !id.contains('=')
    {
        return Ok(NewServer::Configured(id.parse().with_context(|| format!("{id:?}"))?));
    }
    let (mut kind, mut entry) = (None, Map::new());
    for word in words {
        let Some((key, value)) = word.split_once('=') else {
            bail!(
                "{word:?}: one id is needed, or keys with values, such as kind=chat id=chat-9 host=127.0.0.1"
            );
        };
        // pomelo calls a kind so.
        if matches!(key, "kind" | "serverType") {
            kind = Some(value.to_owned());
        } else {
            entry.insert(key.to_owned(), Value::from(value));
        }
    }
    let kind = kind.context("the kind of the server is missing: kind=chat")?;
    Ok(NewServer::Entry { kind, entry })
}

/// Whom a broadcast is for.
pub(super) struct Audience {
    pub(super) kind: Option<String>,
    pub(super) unbound: bool,
}

/// `broadcast`: to each front-end.
pub(super) async fn broadcast(
    operator: &Operator,
    route: &str,
    message: Value,
    Audience { kind, unbound }: Audience,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let servers = operator.servers().into_iter().filter(|server| server.frontend);
    let wanted =
        servers.filter(|server| kind.as_deref().is_none_or(|kind| server.kind.as_str() == kind));
    let ids: Vec<ServerId> = wanted.map(|server| server.id).collect();
    if ids.is_empty() {
        bail!("no front-end {}runs", kind.map_or(String::new(), |kind| format!("of kind {kind} ")));
    }
    let told = ask(&ids, async |id| operator.broadcast(id, route, message.clone(), unbound).await);
    let mut all_told = true;
    for (id, told) in told.await? {
        all_told &= done(id, "told its clients", told.map_err(anyhow::Error::from), out);
    }
    Ok(all_told)
}

/// `kick`: on every front-end.
pub(super) async fn kick(
    operator: &Operator,
    uid: &str,
    reason: Option<&str>,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let frontends = frontends(operator)?;
    let (mut kicked, mut all_asked) = (0, true);
    for (id, count) in ask(&frontends, async |id| operator.kick(id, uid, reason).await).await? {
        match count {
            Ok(0) => {}
            Ok(count) => {
                kicked += count;
                say(out, &format!("{id}: sessions closed: {count}"));
            }
            Err(error) => all_asked &= done(id, "", Err(error.into()), out),
        }
    }
    if kicked == 0 {
        say(out, &format!("nobody is logged in as {uid}"));
    }
    Ok(all_asked && kicked != 0)
}

/// `blacklist`: on every front-end.
pub(super) async fn blacklist(
    operator: &Operator,
    what: Option<Blacklist>,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    let frontends = frontends(operator)?;
    let (networks, denies) = match what.unwrap_or(Blacklist::List) {
        Blacklist::List => {
            let mut rows = Vec::new();
            let mut all_told = true;
            for (id, networks) in ask(&frontends, async |id| operator.blacklist(id).await).await? {
                match networks {
                    Ok(networks) => rows
                        .extend(networks.into_iter().map(|network| vec![network, id.to_string()])),
                    Err(error) => all_told &= done(id, "", Err(error.into()), out),
                }
            }
            rows.sort();
            for line in table(&["NETWORK", "SERVER"], &rows) {
                say(out, &line);
            }
            return Ok(all_told);
        }
        Blacklist::Add { networks } => (networks, true),
        Blacklist::Remove { networks } => (networks, false),
    };
    let mut all_done = true;
    for network in networks {
        let told = ask(&frontends, async |id| match denies {
            true => operator.deny(id, &network).await.map(|()| true),
            false => operator.pardon(id, &network).await,
        });
        for (id, told) in told.await? {
            all_done &= match told {
                Ok(true) if denies => {
                    done(id, &format!("lets in nobody from {network}"), Ok(()), out)
                }
                Ok(true) => done(id, &format!("has {network} on its list no longer"), Ok(()), out),
                Ok(false) => done(id, &format!("had no {network} on its list"), Ok(()), out),
                Err(error) => done(id, "", Err(error.into()), out),
            };
        }
    }
    Ok(all_done)
}

/// Says what became of a server, and whether it is what was wanted.
fn done(id: &ServerId, what: &str, result: anyhow::Result<()>, out: &mut impl Write) -> bool {
    match &result {
        Ok(()) => say(out, &format!("{id}: {what}")),
        // An order's error begins with the server by itself.
        Err(error) => say(out, &format!("{error:#}")),
    }
    result.is_ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_is_named_or_described() {
        let described = |line: &str| {
            described(&line.split(' ').map(str::to_owned).collect::<Vec<_>>())
                .map_err(|error| error.to_string())
        };
        assert!(
            matches!(described("chat-1"), Ok(NewServer::Configured(id)) if id.as_str() == "chat-1")
        );
        let Ok(NewServer::Entry { kind, entry }) = described("serverType=chat id=chat-9 host=::1")
        else {
            panic!("no entry");
        };
        assert_eq!(
            (kind.as_str(), &entry["id"], &entry["host"]),
            ("chat", &Value::from("chat-9"), &Value::from("::1"))
        );
        assert_eq!(
            described("id=chat-9 host=h").unwrap_err(),
            "the kind of the server is missing: kind=chat"
        );
        assert!(
            described("chat-1 chat-2").unwrap_err().starts_with("\"chat-1\": one id is needed")
        );
        assert!(described("no/name").is_err());
    }
}
