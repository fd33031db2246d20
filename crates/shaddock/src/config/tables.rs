//! What clients are given in the handshake: codes of routes, and schemas of bodies.

use std::collections::HashMap;
use std::sync::Arc;

use serde_json::Value;
use serde_json::value::RawValue;
use shaddock_protocol::Route;
use shaddock_protocol::pomelo::Protos;

use super::ConfigError;
use super::files::{Json, Sources};

/// What `dictionary.json`, `clientProtos.json` and `serverProtos.json` say.
#[derive(Debug, Clone)]
pub struct Tables {
    /// Routes to number after those of the handlers.
    pub dictionary: Vec<String>,
    /// Schemas of what clients send, and of what servers send.
    pub protos: Arc<Protos>,
    /// The names of those of the files that are there.
    pub files: Vec<String>,
}

pub(super) fn read(sources: &mut Sources<'_>) -> Result<Tables, ConfigError> {
    let mut files = Vec::new();
    let dictionary = match sources.optional_json("dictionary.json")? {
        Some(json) => {
            files.push(json.file.clone());
            routes(json, sources)?
        }
        None => Vec::new(),
    };
    let mut texts = ["serverProtos.json", "clientProtos.json"].map(|name| (name, "{}".to_owned()));
    for (name, text) in &mut texts {
        if let Some(file) = sources.find(name)? {
            check(&file.name, &file.text, sources)?;
            files.push(file.name);
            *text = file.text;
        }
    }
    let [(_, server), (_, client)] = texts;
    let protos = Protos::parse(&server, &client).expect("each of them was checked");
    Ok(Tables { dictionary, protos: Arc::new(protos), files })
}

/// The routes of `dictionary.json`. A file that is no list, such as `{}`, adds none.
fn routes(json: Json, sources: &mut Sources<'_>) -> Result<Vec<String>, ConfigError> {
    let Json { file, text, value } = json;
    let entries = match value {
        Value::Object(map) if map.is_empty() => return Ok(Vec::new()),
        Value::Array(entries) => entries,
        _ => {
            let reason = "should be a list of routes, such as [\"onChat\", \"onLeave\"]";
            return Err(ConfigError::invalid(file, reason));
        }
    };
    let place = |index| match line_of(&text, sources.environment, index) {
        Some(line) => format!("{file}:{line}"),
        None => file.clone(),
    };
    let mut routes: Vec<String> = Vec::with_capacity(entries.len());
    let mut warnings = Vec::new();
    let mut seen = HashMap::new();
    for (index, entry) in entries.into_iter().enumerate() {
        let wrong = |reason| Err(ConfigError::invalid(place(index), reason));
        let route = match entry {
            Value::String(route) if !route.is_empty() => route,
            other => {
                return wrong(format!("{other} is no route, which is a text such as \"onChat\""));
            }
        };
        if Route::MAX < route.len() {
            return wrong(format!(
                "a route of {} bytes, where {} are allowed: {route}",
                route.len(),
                Route::MAX
            ));
        }
        if seen.insert(route.clone(), index).is_some() {
            warnings.push(format!(
                "{}: {route} is in the list twice: clients may use either code, and it is pushed with the later",
                place(index)
            ));
        }
        routes.push(route);
    }
    sources.warnings.extend(warnings);
    Ok(routes)
}

/// The line on which an entry of the list for `environment` begins, counted from 1.
fn line_of(text: &str, environment: &str, index: usize) -> Option<usize> {
    let mut list: &RawValue = serde_json::from_str(text).ok()?;
    if let Ok(mut parts) = serde_json::from_str::<HashMap<String, &RawValue>>(list.get()) {
        list = parts.remove(environment)?;
    }
    let entries: Vec<&RawValue> = serde_json::from_str(list.get()).ok()?;
    let start = entries.get(index)?.get().as_ptr().addr().checked_sub(text.as_ptr().addr())?;
    Some(1 + text.get(..start)?.matches('\n').count())
}

/// Whether a file of schemas can be used. Both directions have the same form.
fn check(file: &str, text: &str, sources: &mut Sources<'_>) -> Result<(), ConfigError> {
    let place = |line: Option<usize>| match line {
        Some(line) => format!("{file}:{line}"),
        None => file.to_owned(),
    };
    let protos = Protos::parse(text, "{}")
        .map_err(|error| ConfigError::invalid(place(error.line), error.to_string()))?;
    let ignored = protos.ignored().iter();
    sources
        .warnings
        .extend(ignored.map(|error| format!("{}: not used: {error}", place(error.line))));
    Ok(())
}
