//! Who may come in.

use serde_json::{Value, json};
use shaddock::{Fault, Hello, Peer, Result, ServerHandle};

/// The front-end that has an opinion on its clients.
const PICKY: &str = "connector-plain";

pub(crate) async fn greet(
    server: ServerHandle,
    hello: Hello,
    _peer: Peer,
) -> Result<Option<Value>> {
    if server.id().as_str() != PICKY {
        return Ok(None);
    }
    if hello.client_type.as_deref() == Some("old-client") {
        return Err(Fault::new(501, "a client that is too old"));
    }
    if hello.user.as_ref().is_some_and(|user| user["reject"] == true) {
        return Err(Fault::new(500, "a client that asked for it"));
    }
    Ok(Some(json!({ "hello": "accept", "echo": hello.user })))
}
