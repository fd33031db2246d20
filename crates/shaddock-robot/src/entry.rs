//! Coming in, as the chat's page does.

use serde_json::{Value, json};
use shaddock_transport::HybridWire;

use crate::link::{Link, LinkError};
use crate::{Address, Entrance, Speech};

/// Who comes in, and to which room.
#[derive(Debug, Clone)]
pub(crate) struct User {
    pub(crate) name: String,
    pub(crate) room: String,
}

/// Why somebody did not come in.
#[derive(Debug, thiserror::Error)]
pub(crate) enum EntryError {
    #[error("{0}: {1}")]
    Link(&'static str, LinkError),
    #[error("{0} answered {1}")]
    Refused(&'static str, Value),
}

const QUERY: &str = "gate.gateHandler.queryEntry";
const ENTER: &str = "connector.entryHandler.enter";

/// Asks the gate for a connector, if there is a gate, and enters there.
pub(crate) async fn log_in(
    entrance: &Entrance,
    speech: Speech,
    user: &User,
) -> Result<Link<HybridWire>, EntryError> {
    let connector = match entrance {
        Entrance::Gate(gate) => query(gate, speech, user).await?,
        Entrance::Connector(connector) => connector.clone(),
    };
    let failed = |error| EntryError::Link("entering", error);
    let mut link = Link::open(&connector, speech).await.map_err(failed)?;
    let who = json!({ "username": user.name, "rid": user.room });
    let answer = link.ask(ENTER, &who).await.map_err(failed)?;
    match answer.get("users") {
        Some(Value::Array(_)) => Ok(link),
        _ => Err(EntryError::Refused(ENTER, answer)),
    }
}

async fn query(gate: &Address, speech: Speech, user: &User) -> Result<Address, EntryError> {
    let failed = |error| EntryError::Link("asking the gate", error);
    let mut link = Link::open(gate, speech).await.map_err(failed)?;
    let answer = link.ask(QUERY, &json!({ "uid": user.name })).await.map_err(failed)?;
    link.leave().await;
    let host = answer.get("host").and_then(Value::as_str);
    let port = answer.get("port").and_then(Value::as_u64).and_then(|port| port.try_into().ok());
    match (host, port) {
        (Some(host), Some(port)) => Ok(Address { host: host.to_owned(), port }),
        _ => Err(EntryError::Refused(QUERY, answer)),
    }
}
