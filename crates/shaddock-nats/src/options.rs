//! Which brokers, and how to be let in.

use std::fmt;
use std::path::PathBuf;

use tokio::time::Duration;

/// How to reach the brokers of a cluster.
#[derive(Debug, Clone)]
pub struct Options {
    /// Their addresses, such as `nats://10.0.0.5:4222`, or `tls://nats.example` for TLS. One is enough:
    /// brokers name the others of their cluster. They hold no passwords, since they are shown in logs.
    pub urls: Vec<String>,
    /// What the brokers show this process as.
    pub name: String,
    /// How to be let in.
    pub login: Login,
    /// Whom to believe that it is a broker, and what to show it.
    pub tls: Tls,
    /// How long to try at the start when no broker can be reached or can keep a store. Zero is once.
    pub wait: Duration,
    /// On how many brokers of a cluster a store that is made anew is kept: 1, 3 or 5.
    pub replicas: usize,
}

impl Options {
    /// These brokers, without a login or certificates of our own, waited for half a minute.
    pub fn new(urls: impl IntoIterator<Item = impl Into<String>>) -> Options {
        Options {
            urls: urls.into_iter().map(Into::into).collect(),
            name: "shaddock".to_owned(),
            login: Login::Nobody,
            tls: Tls::default(),
            wait: Duration::from_secs(30),
            replicas: 1,
        }
    }
}

/// How to be let in by a broker. Secrets are not shown when this is formatted.
#[derive(Clone, PartialEq, Eq)]
pub enum Login {
    /// The broker lets everyone in.
    Nobody,
    /// A user and a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: String,
    },
    /// A token.
    Token(String),
    /// A file with the seed of an nkey, `SU..`.
    Nkey(PathBuf),
    /// A credentials file, as `nsc` writes it.
    Credentials(PathBuf),
}

impl fmt::Debug for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.to_string())
    }
}

/// As an error may name it.
impl fmt::Display for Login {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Login::Nobody => f.write_str("nobody"),
            Login::Password { user, .. } => write!(f, "the user {user:?}"),
            Login::Token(_) => f.write_str("whoever has the token"),
            Login::Nkey(file) => write!(f, "the nkey of {}", file.display()),
            Login::Credentials(file) => write!(f, "the user of {}", file.display()),
        }
    }
}

/// Files for TLS, in PEM. A broker that asks for TLS gets it, whatever is said here.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tls {
    /// Who signs the brokers' certificates; without it, whom the machine trusts. With it, only TLS will do.
    pub ca: Option<PathBuf>,
    /// A certificate to show, and its key.
    pub identity: Option<(PathBuf, PathBuf)>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_are_not_shown() {
        let logins = [
            Login::Password { user: "py".to_owned(), password: "hunter2".to_owned() },
            Login::Token("hunter2".to_owned()),
        ];
        for login in logins {
            let options = Options { login, ..Options::new(["nats://127.0.0.1:4222"]) };
            let shown = format!("{options:?} {}", options.login);
            assert!(!shown.contains("hunter2"), "{shown}");
        }
    }
}
