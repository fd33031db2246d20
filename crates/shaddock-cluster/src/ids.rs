//! What servers, kinds and clusters are called, and how one run of a server is told from the next.

use std::borrow::Borrow;
use std::fmt;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::str::FromStr;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// The longest name, in bytes.
const LONGEST: usize = 64;

macro_rules! name {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        ///
        /// One to 64 of `A-Z a-z 0-9 _ -`: names are parts of subjects and keys. Cloning is cheap.
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(Arc<str>);

        impl $name {
            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl FromStr for $name {
            type Err = NameError;

            fn from_str(text: &str) -> Result<Self, NameError> {
                check_name(text)?;
                Ok(Self(text.into()))
            }
        }

        impl TryFrom<String> for $name {
            type Error = NameError;

            fn try_from(text: String) -> Result<Self, NameError> {
                text.parse()
            }
        }

        impl From<$name> for String {
            fn from(name: $name) -> String {
                name.as_str().to_owned()
            }
        }

        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name! {
    /// Which server: `chat-server-1`.
    ServerId
}

name! {
    /// What a server is for: `gate`, `connector`, `chat`.
    Kind
}

name! {
    /// Which cluster: servers of different clusters may share an engine and do not see each other.
    ClusterName
}

/// Why a text can't be a name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum NameError {
    /// Nothing in it.
    #[error("a name can't be empty")]
    Empty,
    /// More than 64 bytes.
    #[error("a name of {0} bytes, where 64 are allowed")]
    TooLong(usize),
    /// Something else than a letter, a digit, `_` or `-`.
    #[error("{0:?} can't be in a name: only A-Z, a-z, 0-9, _ and - can")]
    BadCharacter(char),
}

/// Holds for server ids, kinds, cluster names and each part of a subject.
pub(crate) fn check_name(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    if LONGEST < text.len() {
        return Err(NameError::TooLong(text.len()));
    }
    match text.chars().find(|&c| !(c.is_ascii_alphanumeric() || c == '_' || c == '-')) {
        Some(c) => Err(NameError::BadCharacter(c)),
        None => Ok(()),
    }
}

/// One run of a server: a server that comes back under its old id has a new one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Boot(u64);

impl Boot {
    /// A boot nobody had before.
    pub(crate) fn random() -> Boot {
        // The keys of the standard hasher are random, which saves a dependency.
        Boot(RandomState::new().build_hasher().finish())
    }

    pub(crate) const fn from_bits(bits: u64) -> Boot {
        Boot(bits)
    }

    /// Its bits, which are random.
    #[must_use]
    pub const fn bits(self) -> u64 {
        self.0
    }
}

impl fmt::Display for Boot {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// Who sent something: a server in one of its runs.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Peer {
    /// Its id.
    pub id: ServerId,
    /// What it is for.
    pub kind: Kind,
    /// Which run of it.
    pub boot: Boot,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_checked() {
        assert_eq!("chat-server_1".parse::<ServerId>().unwrap().as_str(), "chat-server_1");
        assert_eq!("".parse::<ServerId>(), Err(NameError::Empty));
        assert_eq!("a.b".parse::<Kind>(), Err(NameError::BadCharacter('.')));
        assert_eq!("é".parse::<Kind>(), Err(NameError::BadCharacter('é')));
        assert!("x".repeat(64).parse::<Kind>().is_ok());
        assert_eq!("x".repeat(65).parse::<Kind>(), Err(NameError::TooLong(65)));
        assert!(serde_json::from_str::<ServerId>(r#""a b""#).is_err());
    }

    #[test]
    fn boots_differ() {
        assert_ne!(Boot::random(), Boot::random());
    }
}
