//! What only the server behind the front-ends can tell.

use serde::Serialize;
use shaddock::{Result, ServerHandle, Session};

/// Who asks whom, and through which front-end.
#[derive(Serialize)]
pub(crate) struct Who {
    code: u16,
    uid: Option<String>,
    sid: String,
    server: String,
}

pub(crate) async fn who(server: ServerHandle, session: Session) -> Result<Who> {
    Ok(Who {
        code: 200,
        uid: session.find_uid().map(|uid| uid.to_string()),
        sid: session.frontend().to_string(),
        server: server.id().to_string(),
    })
}
