//! Where the texts are found, and which of them count in an environment.

use std::io::ErrorKind;
use std::path::Path;

use serde_json::Value;

use super::{ConfigError, suggest};

/// Where the texts come from.
#[derive(Clone, Copy)]
pub(super) enum Files<'a> {
    /// A folder.
    Folder(&'a Path),
    /// Built into the program: names relative to the folder they were copied from.
    Embedded(&'a [(&'a str, &'a str)]),
}

/// The files of one environment, and what there is to say about them.
pub(super) struct Sources<'a> {
    pub(super) files: Files<'a>,
    pub(super) environment: &'a str,
    pub(super) warnings: Vec<String>,
}

/// A file's text and the name to call it by.
pub(super) struct File {
    pub(super) name: String,
    pub(super) text: String,
}

/// A file's part for one environment.
pub(super) struct Json {
    pub(super) file: String,
    /// The whole file.
    pub(super) text: String,
    pub(super) value: Value,
}

impl Sources<'_> {
    /// Finds `name`, else the one in the environment's own folder: pomelo's order.
    pub(super) fn find(&self, name: &str) -> Result<Option<File>, ConfigError> {
        match self.read(name)? {
            Some(file) => Ok(Some(file)),
            None => self.read(&self.own(name)),
        }
    }

    /// The path of `name` in the environment's own folder.
    pub(super) fn own(&self, name: &str) -> String {
        format!("{}/{name}", self.environment)
    }

    pub(super) fn read(&self, path: &str) -> Result<Option<File>, ConfigError> {
        let text = match self.files {
            Files::Embedded(files) => match files.iter().find(|(name, _)| *name == path) {
                Some((_, text)) => (*text).to_owned(),
                None => return Ok(None),
            },
            Files::Folder(folder) => match std::fs::read_to_string(folder.join(path)) {
                Ok(text) => text,
                Err(error)
                    if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) =>
                {
                    return Ok(None);
                }
                Err(source) => {
                    return Err(ConfigError::Unreadable { file: folder.join(path), source });
                }
            },
        };
        // Editors on Windows put a byte order mark in front, which no parser here likes.
        let text = text.strip_prefix('\u{feff}').unwrap_or(&text).to_owned();
        Ok(Some(File { name: self.shown(path), text }))
    }

    /// How a person would name the file at `path`.
    pub(super) fn shown(&self, path: &str) -> String {
        match self.files {
            Files::Folder(folder) => folder.join(path).display().to_string(),
            Files::Embedded(_) => format!("built-in {path}"),
        }
    }

    /// The part of a JSON file that is for this environment; the whole file if it has no environments.
    ///
    /// # Errors
    ///
    /// If the file can't be read, is no JSON, or has environments and this is none of them.
    pub(super) fn json(&self, name: &str) -> Result<Option<Json>, ConfigError> {
        let Some(File { name: file, text }) = self.find(name)? else {
            return Ok(None);
        };
        let mut value: Value =
            serde_json::from_str(&text).map_err(|error| ConfigError::json(&file, &error))?;

        if let Value::Object(environments) = &mut value {
            if let Some(ours) = environments.remove(self.environment) {
                return Ok(Some(Json { file, text, value: ours }));
            }
            if ["development", "production"].iter().any(|usual| environments.contains_key(*usual)) {
                return Err(ConfigError::NoEnvironment {
                    file,
                    environment: self.environment.into(),
                    has: suggest::list(environments.keys().map(String::as_str)),
                });
            }
        }
        Ok(Some(Json { file, text, value }))
    }

    /// As [`json`](Self::json), for a file that an environment may do without.
    pub(super) fn optional_json(&mut self, name: &str) -> Result<Option<Json>, ConfigError> {
        match self.json(name) {
            Err(error @ ConfigError::NoEnvironment { .. }) => {
                self.warnings.push(error.to_string());
                Ok(None)
            }
            result => result,
        }
    }
}
