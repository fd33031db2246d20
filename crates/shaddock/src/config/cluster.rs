//! `[cluster]`: how servers in different processes find each other.

use std::fmt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::Deserialize;
use serde::de::{self, Deserializer, SeqAccess, Visitor};

use super::files::{Files, Sources};
use super::options::seconds_or_none;
use super::{ConfigError, Overrides, Secret};

/// `[cluster]`: how servers in different processes find each other.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default, rename_all = "kebab-case")]
pub struct Cluster {
    /// Clusters of different names may share a broker.
    pub name: String,
    /// The brokers; none if all servers are in one process.
    #[serde(deserialize_with = "list")]
    pub urls: Vec<String>,
    /// Whom the brokers know us as, with a password.
    pub user: Option<String>,
    /// The user's password.
    pub password: Option<Secret>,
    /// What the brokers let in whoever has it.
    pub token: Option<Secret>,
    /// A file with the seed of an nkey.
    pub nkey: Option<PathBuf>,
    /// A credentials file.
    pub credentials: Option<PathBuf>,
    /// Who signs the brokers' certificates, in PEM.
    pub ca: Option<PathBuf>,
    /// What to show the brokers, in PEM.
    pub certificate: Option<PathBuf>,
    /// The certificate's key, in PEM.
    pub key: Option<PathBuf>,
    /// How long to wait at the start for a broker that can't be reached; zero is not at all.
    #[serde(deserialize_with = "seconds_or_none")]
    pub wait: Duration,
    /// On how many brokers of a cluster of them shared values are kept.
    pub replicas: usize,
    /// What happens when pushes of another server to clients of this one got lost.
    pub gaps: Gaps,
}

/// What happens when messages of another server got lost, which is counted and logged in any case.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
#[non_exhaustive]
pub enum Gaps {
    /// Nothing: whoever was to hear them has not heard them.
    #[default]
    Ignore,
    /// The sessions whose messages go to that server are closed. Their clients come back and begin anew.
    Close,
}

impl Default for Cluster {
    fn default() -> Self {
        Self {
            name: "shaddock".into(),
            urls: Vec::new(),
            user: None,
            password: None,
            token: None,
            nkey: None,
            credentials: None,
            ca: None,
            certificate: None,
            key: None,
            wait: Duration::from_secs(30),
            replicas: 1,
            gaps: Gaps::default(),
        }
    }
}

impl Cluster {
    /// Reads `[cluster]` alone, of the shaddock.toml in `folder` if there is one: for programs that run no
    /// servers. The environment is chosen as by [`Config::load`](super::Config::load).
    ///
    /// # Errors
    ///
    /// If anything in that file or the overrides is wrong.
    pub fn load(
        folder: impl AsRef<Path>,
        environment: Option<&str>,
        overrides: &Overrides,
    ) -> Result<Cluster, ConfigError> {
        let (folder, environment) = (folder.as_ref(), super::environment(environment));
        let files = Files::Folder(folder);
        let sources = Sources { files, environment: &environment, warnings: Vec::new() };
        let (_, options) = super::options(&sources, overrides)?;
        options.cluster.resolve(folder)
    }

    /// Checks what belongs together; paths are relative to `folder`.
    pub(super) fn resolve(mut self, folder: &Path) -> Result<Cluster, ConfigError> {
        let error = |reason: &str| {
            Err(ConfigError::invalid("shaddock.toml", format!("[cluster] {reason}")))
        };
        let logins = [
            self.user.is_some() || self.password.is_some(),
            self.token.is_some(),
            self.nkey.is_some(),
            self.credentials.is_some(),
        ];
        if 1 < logins.iter().filter(|login| **login).count() {
            return error("of `user`, `token`, `nkey` and `credentials` one will do");
        }
        if self.user.is_some() != self.password.is_some() {
            return error("`user` and `password` belong together, and only one of them is there");
        }
        if self.certificate.is_some() != self.key.is_some() {
            return error("`certificate` and `key` belong together, and only one of them is there");
        }
        if !matches!(self.replicas, 1 | 3 | 5) {
            return error(
                "`replicas` should be 1, 3 or 5: most of them have to be there, so even numbers do not help",
            );
        }
        let Cluster { nkey, credentials, ca, certificate, key, .. } = &mut self;
        for file in [nkey, credentials, ca, certificate, key].into_iter().flatten() {
            *file = folder.join(&*file);
        }
        Ok(self)
    }
}

/// A list of texts, or one text with commas in between, as the environment has it.
fn list<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<String>, D::Error> {
    struct List;

    impl<'de> Visitor<'de> for List {
        type Value = Vec<String>;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a list of texts")
        }

        fn visit_str<E: de::Error>(self, text: &str) -> Result<Vec<String>, E> {
            let parts = text.split(',').map(str::trim).filter(|part| !part.is_empty());
            Ok(parts.map(str::to_owned).collect())
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Vec<String>, A::Error> {
            let mut texts = Vec::new();
            while let Some(text) = seq.next_element()? {
                texts.push(text);
            }
            Ok(texts)
        }
    }

    deserializer.deserialize_any(List)
}
