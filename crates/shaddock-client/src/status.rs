//! How it stands with the server.

use crate::CloseReason;

/// How it stands with the server, for [`Client::status`](crate::Client::status).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Status {
    /// Connected, and logged in if there is a way to.
    Connected {
        /// How many connections there have been with this one.
        connections: u64,
    },
    /// The connection is lost, and is to be made anew.
    Reconnecting {
        /// Which attempt is next, or under way: 1 for the first.
        attempt: u32,
        /// Why it was lost.
        reason: CloseReason,
    },
    /// There is no connection, and there will be none.
    Closed(CloseReason),
}

impl Status {
    pub(crate) fn reason(&self) -> Option<&CloseReason> {
        match self {
            Status::Closed(reason) => Some(reason),
            Status::Connected { .. } | Status::Reconnecting { .. } => None,
        }
    }
}
