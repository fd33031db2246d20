//! What can be wrong with a configuration.

use std::path::PathBuf;

use super::suggest;

/// Why a configuration can't be used. Each is one sentence for the person who wrote it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ConfigError {
    /// There is no `servers.json`, the one file that must be there.
    #[error(
        "no servers.json: looked for {looked}; write one there, or name the folder that has it with --config DIR"
    )]
    NoServers {
        /// The places looked at.
        looked: String,
    },

    /// A file is there and can't be read.
    #[error("{} can't be read", file.display())]
    Unreadable {
        /// The file.
        file: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },

    /// A file is no JSON or no TOML.
    #[error("{file}:{line}:{column}: {reason}")]
    Syntax {
        /// The file, as the reader would name it.
        file: String,
        /// Counted from 1.
        line: usize,
        /// Counted from 1.
        column: usize,
        /// What was expected.
        reason: String,
    },

    /// `servers.json` has other environments than the one asked for.
    #[error("{file} has no environment `{environment}` (it has {has})")]
    NoEnvironment {
        /// The file.
        file: String,
        /// The environment asked for.
        environment: String,
        /// Those it has.
        has: String,
    },

    /// A value is not what it should be.
    #[error("{place}: {reason}")]
    Invalid {
        /// The file and the entry in it, or the source of an override.
        place: String,
        /// What is wrong with it.
        reason: String,
    },
}

impl ConfigError {
    pub(super) fn invalid(place: impl Into<String>, reason: impl Into<String>) -> Self {
        ConfigError::Invalid { place: place.into(), reason: reason.into() }
    }

    pub(super) fn json(file: &str, error: &serde_json::Error) -> Self {
        let (line, column) = (error.line(), error.column());
        let text = error.to_string();
        let reason =
            text.strip_suffix(&format!(" at line {line} column {column}")).unwrap_or(&text);
        ConfigError::Syntax { file: file.into(), line, column, reason: reason.into() }
    }

    pub(super) fn toml(file: &str, text: &str, error: &toml::de::Error) -> Self {
        let start = error.span().map_or(0, |span| span.start);
        let before = text.get(..start).unwrap_or(text);
        ConfigError::Syntax {
            file: file.into(),
            line: before.matches('\n').count() + 1,
            column: before.chars().rev().take_while(|&c| c != '\n').count() + 1,
            reason: suggest::explain(error.message()),
        }
    }
}
