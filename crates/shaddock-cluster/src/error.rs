//! Why something could not be sent, or got no answer.

use crate::engine::{EngineError, PublishError};
use crate::ids::{NameError, ServerId};

/// A call that got no answer: which server, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{server} {failure}")]
pub struct CallError {
    /// The server that was called.
    pub server: ServerId,
    /// Why it did not answer.
    pub failure: CallFailure,
}

/// Why a call got no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CallFailure {
    /// No such server is known. Nothing was sent.
    #[error("is not in the cluster")]
    NoSuchServer,
    /// The server does not listen any more, or it is another run of it by now. Nothing was done.
    #[error("is not there any more")]
    NoResponders,
    /// The server died or left before it answered. It may have done what was asked.
    #[error("went away before it answered")]
    Gone,
    /// No answer came in time. It may have done what was asked, or do it yet.
    #[error("did not answer in time")]
    Timeout,
    /// Our link was down when we called: nothing was sent.
    #[error("can't be reached: the link to the cluster is down")]
    NoLink,
    /// Our link went down while we waited. It may have done what was asked.
    #[error("can't be reached any more: the link to the cluster went down")]
    Disconnected,
    /// The payload is larger than the engine carries. Nothing was sent.
    #[error("was not called: {len} bytes, where {limit} are allowed")]
    TooLarge {
        /// What it has.
        len: usize,
        /// What it may have.
        limit: usize,
    },
    /// A queue on the way is full. Nothing was sent.
    #[error("was not called: a queue on the way is full")]
    Full,
    /// The server did not want to answer, or could not.
    #[error("refused: {0}")]
    Refused(String),
    /// This server is not in the cluster, or left it while it waited: what was under way may have been done.
    #[error("was not waited for: this server is not in the cluster")]
    Closed,
}

impl CallFailure {
    /// Whether it is certain that nothing was done, so that the call may be made again, or elsewhere.
    #[must_use]
    pub fn never_ran(&self) -> bool {
        matches!(
            self,
            Self::NoSuchServer
                | Self::NoResponders
                | Self::NoLink
                | Self::TooLarge { .. }
                | Self::Full
        )
    }
}

impl From<CastFailure> for CallFailure {
    fn from(failure: CastFailure) -> CallFailure {
        match failure {
            CastFailure::NoSuchServer => CallFailure::NoSuchServer,
            CastFailure::NoLink => CallFailure::NoLink,
            CastFailure::TooLarge { len, limit } => CallFailure::TooLarge { len, limit },
            CastFailure::Full => CallFailure::Full,
            CastFailure::Closed => CallFailure::Closed,
        }
    }
}

/// A cast that was not sent: to which server, and why.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{server} {failure}")]
pub struct CastError {
    /// The server it was for.
    pub server: ServerId,
    /// Why it was not sent.
    pub failure: CastFailure,
}

/// Why a cast was not sent.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CastFailure {
    /// No such server is known.
    #[error("is not in the cluster")]
    NoSuchServer,
    /// Our link is down.
    #[error("can't be reached: the link to the cluster is down")]
    NoLink,
    /// The payload is larger than the engine carries.
    #[error("was sent nothing: {len} bytes, where {limit} are allowed")]
    TooLarge {
        /// What it has.
        len: usize,
        /// What it may have.
        limit: usize,
    },
    /// A queue on the way is full.
    #[error("was sent nothing: a queue on the way is full")]
    Full,
    /// This server is not in the cluster.
    #[error("was sent nothing: this server is not in the cluster")]
    Closed,
}

impl From<PublishError> for CastFailure {
    fn from(error: PublishError) -> CastFailure {
        match error {
            PublishError::Full => CastFailure::Full,
            PublishError::TooLarge { len, limit } => CastFailure::TooLarge { len, limit },
            PublishError::NoLink => CastFailure::NoLink,
        }
    }
}

/// Why a server could not join the cluster.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum JoinError {
    /// A server of this id is alive.
    #[error("a server called {id} is in the cluster already")]
    Taken {
        /// The id.
        id: ServerId,
    },
    /// No cluster can be called so.
    #[error("the name of the cluster")]
    Name(#[from] NameError),
    /// The cluster can't be reached.
    #[error("the cluster can't be reached")]
    Publish(#[from] PublishError),
    /// The engine does not work.
    #[error("the engine can't subscribe")]
    Engine(#[from] EngineError),
}
