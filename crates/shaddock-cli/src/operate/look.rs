//! `list` and `show`.

use std::collections::HashSet;
use std::io::Write;

use anyhow::bail;
use futures_util::future::join_all;
use shaddock::ServerId;
use shaddock::admin::{Found, Mailboxes, Memory, Operator, OrderError, Queues, Status, User};

use super::arguments::Show;
use super::table::{NOTHING, bytes, table, time};
use super::{find, frontends, nobody};
use crate::output::say;

/// What each server answered to one question, in the order asked.
pub(super) async fn ask<'a, T>(
    servers: &'a [ServerId],
    question: impl AsyncFn(&'a ServerId) -> Result<T, OrderError>,
) -> anyhow::Result<Vec<(&'a ServerId, Result<T, OrderError>)>> {
    let answers = servers.iter().map(async |server| (server, question(server).await));
    let answers = join_all(answers).await;
    // What holds for all of them is said once.
    let mut reasons = answers.iter().map(|(_, answer)| turned_away(answer));
    if let Some(Some(first)) = reasons.next()
        && reasons.all(|reason| reason == Some(first))
    {
        bail!("{first}");
    }
    Ok(answers)
}

/// Why whoever asks was not let in.
fn turned_away<T>(answer: &Result<T, OrderError>) -> Option<&str> {
    match answer {
        Err(OrderError::Refused { code: 401 | 403 | 429, reason, .. }) => Some(reason),
        _ => None,
    }
}

/// Says what went wrong, of those that did not answer, and whether all did.
fn complete<T>(answers: &[(&ServerId, Result<T, OrderError>)], out: &mut impl Write) -> bool {
    let mut complete = true;
    for (_, answer) in answers {
        if let Err(error) = answer {
            say(out, &told(error));
            complete = false;
        }
    }
    complete
}

/// An error with its cause, in one line.
fn told(error: &OrderError) -> String {
    match std::error::Error::source(error) {
        Some(cause) => format!("{error}: {cause}"),
        None => error.to_string(),
    }
}

/// The columns of `list`.
const HEAD: [&str; 11] = [
    "SERVER", "KIND", "STATE", "LOAD", "SESSIONS", "USERS", "UPTIME", "MEMORY", "PID", "VERSION",
    "RUN",
];

/// `list`: all servers, those too that do not answer.
pub(super) async fn servers(operator: &Operator, out: &mut impl Write) -> anyhow::Result<bool> {
    let members = operator.servers();
    if members.is_empty() {
        return Err(nobody(&[]));
    }
    let ids: Vec<ServerId> = members.iter().map(|member| member.id.clone()).collect();
    let answers = ask(&ids, async |id| operator.status(id).await).await?;
    let row = |(member, (_, answer)): (&Found, &(_, Result<Status, _>))| {
        let mut row = vec![
            member.id.to_string(),
            member.kind.to_string(),
            format!("{:?}", member.state).to_lowercase(),
        ];
        match answer {
            Ok(status) => row.extend([
                status.load.map_or(NOTHING.to_owned(), |load| load.to_string()),
                if member.frontend { status.sessions.to_string() } else { NOTHING.to_owned() },
                if member.frontend { status.users.to_string() } else { NOTHING.to_owned() },
                time(status.uptime),
                status.memory.map_or(NOTHING.to_owned(), bytes),
                status.pid.to_string(),
                status.version.clone(),
            ]),
            Err(_) => row.extend([NOTHING; 7].map(str::to_owned)),
        }
        row.push(member.boot.to_string());
        row
    };
    let rows: Vec<_> = members.iter().zip(&answers).map(row).collect();
    for line in table(&HEAD, &rows) {
        say(out, &line);
    }
    Ok(complete(&answers, out))
}

/// `show`, all but its servers.
pub(super) async fn show(
    operator: &Operator,
    what: Show,
    out: &mut impl Write,
) -> anyhow::Result<bool> {
    match what {
        Show::Servers => servers(operator, out).await,
        Show::Connections => {
            let frontends = frontends(operator)?;
            let answers = ask(&frontends, async |id| operator.status(id).await).await?;
            let row = |id: &ServerId, status: &Status| {
                let connected = status.connected();
                vec![
                    id.to_string(),
                    status.sessions.to_string(),
                    status.users.to_string(),
                    connected.accepted.to_string(),
                    connected.refused.to_string(),
                    connected.closed.to_string(),
                    bytes(connected.received),
                    bytes(connected.sent),
                ]
            };
            let head = [
                "SERVER", "SESSIONS", "USERS", "ACCEPTED", "REFUSED", "CLOSED", "RECEIVED", "SENT",
            ];
            Ok(shown(&head, &answers, |id, status| vec![row(id, status)], out))
        }
        Show::Users { limit } => {
            let frontends = frontends(operator)?;
            let answers = ask(&frontends, async |id| operator.users(id, limit).await).await?;
            let all_shown = shown(
                &["UID", "SERVER", "SESSION", "ADDRESS"],
                &answers,
                |id, users| {
                    let row = |user: &User| {
                        [
                            user.uid.to_string(),
                            id.to_string(),
                            user.session.to_string(),
                            user.address.to_string(),
                        ]
                        .to_vec()
                    };
                    users.users.iter().map(row).collect()
                },
                out,
            );
            let users = answers.iter().filter_map(|(_, users)| users.as_ref().ok());
            let (bound, listed) = users.fold((0, 0), |(bound, listed), users| {
                (bound + users.bound, listed + users.users.len())
            });
            if listed < bound {
                say(out, &format!("{listed} of {bound}: --limit shows more"));
            }
            Ok(all_shown)
        }
        Show::Session { name } => {
            let frontends = frontends(operator)?;
            let answers = ask(&frontends, async |id| operator.sessions(id, &name).await).await?;
            let mut found = 0;
            for (id, sessions) in &answers {
                for session in sessions.iter().flatten() {
                    found += 1;
                    say(out, &format!("session {} on {id}", session.session));
                    say(out, &serde_json::to_string_pretty(session)?);
                }
            }
            let complete = complete(&answers, out);
            if found == 0 {
                say(out, &format!("nobody is logged in as {name}, and no session has this id"));
            }
            Ok(complete && found != 0)
        }
        Show::Config { server } => {
            let server = find(operator, &server).await?;
            let config = operator.config(&server).await?;
            say(out, &serde_json::to_string_pretty(&config)?);
            Ok(true)
        }
        Show::Memory => {
            let servers: Vec<_> = operator.servers().into_iter().map(|server| server.id).collect();
            let answers = ask(&servers, async |id| operator.memory(id).await).await?;
            let row = |id: &ServerId, memory: &Memory| {
                vec![
                    id.to_string(),
                    memory.pid.to_string(),
                    bytes(memory.resident),
                    bytes(memory.peak),
                    memory.threads.to_string(),
                ]
            };
            let head = ["SERVER", "PID", "MEMORY", "AT MOST", "THREADS"];
            let done = shown(&head, &answers, |id, memory| vec![row(id, memory)], out);
            let pids: HashSet<u32> =
                answers.iter().flat_map(|(_, memory)| memory).map(|memory| memory.pid).collect();
            if pids.len() < answers.len() {
                say(out, "servers of one PID share its memory");
            }
            Ok(done)
        }
        Show::Queues => {
            let servers: Vec<_> = operator.servers().into_iter().map(|server| server.id).collect();
            let answers = ask(&servers, async |id| operator.queues(id).await).await?;
            let row = |id: &ServerId, queues: &Queues| {
                let clients = |count: fn(&Mailboxes) -> String| {
                    queues.mailboxes.as_ref().map_or(NOTHING.to_owned(), count)
                };
                vec![
                    id.to_string(),
                    queues.calls_waiting.to_string(),
                    queues.lanes.waiting.to_string(),
                    queues.one_way_calls.waiting.to_string(),
                    clients(|all| all.clients.to_string()),
                    clients(|all| all.frames.to_string()),
                    clients(|all| bytes(all.bytes as u64)),
                    clients(|all| bytes(all.slowest as u64)),
                ]
            };
            let head = [
                "SERVER",
                "CALLS",
                "LANES",
                "ONE-WAY",
                "SLOW CLIENTS",
                "MESSAGES",
                "BYTES",
                "SLOWEST",
            ];
            Ok(shown(&head, &answers, |id, queues| vec![row(id, queues)], out))
        }
    }
}

/// A table of what was answered, and what went wrong. Says whether nothing did.
fn shown<T>(
    head: &[&str],
    answers: &[(&ServerId, Result<T, OrderError>)],
    rows: impl Fn(&ServerId, &T) -> Vec<Vec<String>>,
    out: &mut impl Write,
) -> bool {
    let answered = answers.iter().filter_map(|(id, answer)| Some((id, answer.as_ref().ok()?)));
    let rows: Vec<_> = answered.flat_map(|(id, answer)| rows(id, answer)).collect();
    for line in table(head, &rows) {
        say(out, &line);
    }
    complete(answers, out)
}
