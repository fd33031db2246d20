//! The names of things: sessions, users, members. Those of servers come from the cluster.

use std::borrow::Borrow;
use std::fmt;
use std::ops::Deref;
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
pub use shaddock_cluster::{Kind, ServerId};

/// One client connection. Unique on its front-end, also across restarts of it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct SessionId(pub(crate) u64);

impl SessionId {
    /// The id as a number.
    pub fn get(self) -> u64 {
        self.0
    }
}

impl fmt::Display for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:x}", self.0)
    }
}

impl fmt::Debug for SessionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// The user bound to a session: any text the application chooses. Cheap to clone.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Uid(Arc<str>);

impl Deref for Uid {
    type Target = str;

    fn deref(&self) -> &str {
        &self.0
    }
}

impl Borrow<str> for Uid {
    fn borrow(&self) -> &str {
        &self.0
    }
}

impl From<&str> for Uid {
    fn from(text: &str) -> Uid {
        Uid(text.into())
    }
}

impl From<String> for Uid {
    fn from(text: String) -> Uid {
        Uid(text.into())
    }
}

impl fmt::Display for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Debug for Uid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&*self.0, f)
    }
}

/// Someone who can be in a channel: a user, on one connection, at one front-end.
///
/// A member names its session, so one that left late can't take out another that came since.
#[derive(Clone, PartialEq, Eq, Hash, Debug, Serialize, Deserialize)]
pub struct Member {
    /// Who it is.
    pub uid: Uid,
    /// Which server holds the connection.
    pub frontend: ServerId,
    /// Which connection it is.
    pub session: SessionId,
    /// The fencing token of the connection's claim on the uid: of two, the greater is the newer. 0 if there may
    /// be many connections of this uid.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub revision: u64,
}

pub(crate) fn is_zero<N: Default + PartialEq>(number: &N) -> bool {
    *number == N::default()
}

/// Why a text is not a member.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("a member is written `uid@front-end` or `uid@front-end/session`, not `{0}`")]
pub struct MemberError(String);

impl FromStr for Member {
    type Err = MemberError;

    /// Reads `uid@front-end/session`, the session in hexadecimal; without a session it is 0.
    fn from_str(text: &str) -> Result<Member, MemberError> {
        let bad = || MemberError(text.to_owned());
        let (uid, place) = text.rsplit_once('@').ok_or_else(bad)?;
        let (frontend, session) = place.split_once('/').unwrap_or((place, "0"));
        Ok(Member {
            uid: Uid::from(uid),
            frontend: frontend.parse().map_err(|_| bad())?,
            session: SessionId(u64::from_str_radix(session, 16).map_err(|_| bad())?),
            revision: 0,
        })
    }
}

impl fmt::Display for Member {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}/{}", self.uid, self.frontend, self.session)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_member_is_read_as_it_is_written() {
        let member: Member = "py@home@connector-1/2a".parse().unwrap();
        assert_eq!((&*member.uid, member.session), ("py@home", SessionId(42)));
        assert_eq!(member.to_string().parse(), Ok(member));
        assert!("nobody".parse::<Member>().is_err());
    }
}
