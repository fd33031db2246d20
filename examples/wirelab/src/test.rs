//! What a server can do to a client.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use shaddock::{Cluster, Fault, Msg, Result, ServerHandle, Session};

/// How long a client has for its answer before it is kicked.
const KICKED_AFTER: Duration = Duration::from_millis(50);

/// The setting that notes are kept in.
const NOTES: &str = "notes";

#[derive(Serialize)]
pub(crate) struct Done {
    code: u16,
}

const DONE: Done = Done { code: 200 };

pub(crate) async fn echo(Msg(mut message): Msg<Map<String, Value>>) -> Result<Value> {
    let mut answer = Map::from_iter([("code".to_owned(), Value::from(200))]);
    answer.extend(message.remove_entry("body"));
    Ok(answer.into())
}

#[derive(Deserialize)]
pub(crate) struct Delay {
    ms: u64,
    n: Value,
}

pub(crate) async fn delay(Msg(delay): Msg<Delay>) -> Result<Value> {
    tokio::time::sleep(Duration::from_millis(delay.ms)).await;
    Ok(json!({ "code": 200, "n": delay.n }))
}

#[derive(Deserialize)]
pub(crate) struct Bind {
    uid: String,
}

pub(crate) async fn bind(session: Session, Msg(bind): Msg<Bind>) -> Result<Value> {
    if let Some(uid) = session.find_uid() {
        return Err(Fault::new(500, "bound already").with("uid", uid.to_string()));
    }
    session.bind(bind.uid.as_str()).await?;
    Ok(json!({ "code": 200, "uid": bind.uid }))
}

#[derive(Deserialize)]
pub(crate) struct Push {
    route: String,
    body: Value,
}

pub(crate) async fn push(session: Session, cluster: Cluster, Msg(push): Msg<Push>) -> Result<Done> {
    cluster.push(&session.uid()?, &push.route, &push.body)?;
    Ok(DONE)
}

#[derive(Deserialize)]
pub(crate) struct Kick {
    reason: Option<String>,
}

pub(crate) async fn kick(
    server: ServerHandle,
    session: Session,
    Msg(kick): Msg<Kick>,
) -> Result<Done> {
    let reason = kick.reason.unwrap_or_else(|| "kick".to_owned());
    server.tasks().spawn("kick", async move |stop| {
        if stop.run_until_cancelled(tokio::time::sleep(KICKED_AFTER)).await.is_some() {
            // A client that has gone meanwhile is no error.
            let _ = session.kick(Some(&reason)).await;
        }
    });
    Ok(DONE)
}

#[derive(Deserialize, Serialize)]
pub(crate) struct Note {
    n: Value,
}

pub(crate) async fn note(session: Session, cluster: Cluster, Msg(note): Msg<Note>) -> Result<()> {
    let mut notes: Vec<Value> = session.get(NOTES).unwrap_or_default();
    notes.push(note.n.clone());
    session.set(NOTES, notes).await?;
    match session.find_uid() {
        Some(uid) => cluster.push(&uid, "onNote", &note),
        None => Ok(()),
    }
}

pub(crate) async fn notes(session: Session) -> Result<Value> {
    let notes: Vec<Value> = session.get(NOTES).unwrap_or_default();
    Ok(json!({ "code": 200, "notes": notes }))
}

pub(crate) async fn fail() -> Result<()> {
    Err(Fault::new(500, "asked to fail"))
}

pub(crate) async fn fail_with() -> Result<()> {
    Err(Fault::new(501, "asked to fail").with("msg", "custom"))
}

pub(crate) async fn fail_body() -> Result<()> {
    let fields = Map::from_iter([("msg".to_owned(), Value::from("no code"))]);
    Err(Fault::with_fields(fields, "asked to fail"))
}

pub(crate) async fn empty() -> Result<()> {
    Ok(())
}
