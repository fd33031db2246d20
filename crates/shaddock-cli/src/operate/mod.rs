//! Looking after servers that run, over the cluster's engine.

pub(crate) mod arguments;
mod change;
mod look;
mod password;
mod table;
mod top;

#[cfg(test)]
mod tests;

use std::io::Write;
use std::time::Duration;

use anyhow::{Context as _, bail};
use shaddock::ServerId;
use shaddock::admin::Operator;
use shaddock::config::Cluster;
use tokio::time::timeout;

use crate::cluster;
use crate::output::say;
use crate::signals::Signals;
use password::credentials;

use arguments::{Login, Operate, Show};
pub(crate) use password::hash;

/// Joins the cluster, does what was said, and says whether all of it was done.
pub(crate) async fn connect(
    mut cluster: Cluster,
    login: &Login,
    command: Operate,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    if cluster.urls.is_empty() {
        bail!(
            "there is nothing to reach: no broker is named, and servers without one are alone in their process; start them with \
             --cluster nats://HOST:4222, or with [cluster] urls in shaddock.toml, and say the same here"
        );
    }
    let credentials = credentials(login)?;
    // Whoever waits for an answer would rather hear that there is no broker.
    cluster.wait = Duration::ZERO;
    let engine = cluster::engine(&cluster, "operator").await?;
    let engine = engine.context("no broker is named")?;
    let mut signals = Signals::listen().context("the system does not let us hear its signals")?;
    let operator = Operator::join(engine, &cluster.name, credentials).await?;
    let done = tokio::select! {
        done = operate(&operator, command, out) => done,
        _ = signals.next() => Ok(false),
    };
    operator.leave().await;
    done
}

/// Does what was said, and says whether all of it was done.
pub(crate) async fn operate(
    operator: &Operator,
    command: Operate,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    match command {
        Operate::List | Operate::Show { what: Show::Servers } => look::servers(operator, out).await,
        Operate::Show { what } => look::show(operator, what, out).await,
        Operate::Top { once, every } => top::top(operator, once, every, out).await,
        Operate::Stop(chosen) => change::stop(operator, chosen, out).await,
        Operate::Restart(chosen) => change::restart(operator, chosen, out).await,
        Operate::Kill(chosen) => change::kill(operator, chosen, out).await,
        Operate::Add { entry, beside } => change::add(operator, entry, beside, out).await,
        Operate::Broadcast { route, message, kind, unbound } => {
            let to = change::Audience { kind, unbound };
            change::broadcast(operator, &route, message, to, out).await
        }
        Operate::Kick { uid, reason } => change::kick(operator, &uid, reason.as_deref(), out).await,
        Operate::Blacklist { what } => change::blacklist(operator, what, out).await,
        Operate::Call { server, method, args } => {
            let Some((remote, method)) = method.split_once('.') else {
                bail!("{method}: a remote and its method are needed, such as ChatRemote.kick");
            };
            let server = find(operator, &server).await?;
            let result = operator.call(&server, remote, method, args).await?;
            say(out, &serde_json::to_string_pretty(&result)?);
            Ok(true)
        }
    }
}

/// How long a server may take to be heard of. Each says every second that it lives.
const HEARD: Duration = Duration::from_secs(3);

/// The server of this name, which runs.
async fn find(operator: &Operator, name: &str) -> anyhow::Result<ServerId> {
    if let Ok(id) = name.parse()
        && timeout(HEARD, operator.appears(&id)).await.is_ok()
    {
        return Ok(id);
    }
    let servers = operator.servers();
    let there: Vec<_> = servers.iter().map(|server| server.id.as_str()).collect();
    Err(nobody(&there)).with_context(|| format!("no server {name} runs"))
}

fn nobody(there: &[&str]) -> anyhow::Error {
    match there {
        [] => anyhow::anyhow!("no server runs in this cluster: do its name and its brokers fit?"),
        there => anyhow::anyhow!("those that do: {}", there.join(", ")),
    }
}

/// The front-ends that run.
fn frontends(operator: &Operator) -> anyhow::Result<Vec<ServerId>> {
    let servers = operator.servers();
    let frontends: Vec<_> =
        servers.iter().filter(|server| server.frontend).map(|server| server.id.clone()).collect();
    if frontends.is_empty() {
        let there: Vec<_> = servers.iter().map(|server| server.id.as_str()).collect();
        return Err(nobody(&there).context("no front-end runs"));
    }
    Ok(frontends)
}
