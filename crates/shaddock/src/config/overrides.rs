//! What is set from outside the files.

use toml::{Table, Value};

use super::options::Options;
use super::{ConfigError, suggest};

/// Keys of `shaddock.toml` set from outside: by environment variables and by flags.
///
/// ```
/// use shaddock::config::Overrides;
///
/// let overrides = Overrides::from_env().set("frontend.heartbeat", "5");
/// ```
#[derive(Debug, Clone, Default)]
pub struct Overrides(Vec<Override>);

#[derive(Debug, Clone)]
struct Override {
    /// Who said it, for errors.
    source: String,
    path: Vec<String>,
    text: String,
}

impl Overrides {
    /// What this process's environment says: `SHADDOCK__FRONTEND__USE_DICT=true` is
    /// `frontend.use-dict`. Two underscores part the levels, one is a `-`, and all is lower case.
    /// (A key with a `_` or a capital is out of reach; [`set`](Self::set) reaches it.)
    pub fn from_env() -> Self {
        // A variable that is no text can't be one of ours.
        Self::from_vars(std::env::vars_os().filter_map(|(name, value)| {
            Some((name.into_string().ok()?, value.into_string().ok()?))
        }))
    }

    /// As [`from_env`](Self::from_env), from any variables.
    pub fn from_vars(vars: impl IntoIterator<Item = (String, String)>) -> Self {
        let mut overrides: Vec<Override> = vars
            .into_iter()
            .filter_map(|(name, text)| {
                let path = name.strip_prefix("SHADDOCK__")?;
                let path = path
                    .split("__")
                    .map(|key| key.to_ascii_lowercase().replace('_', "-"))
                    .collect();
                Some(Override { source: name, path, text })
            })
            .collect();
        // The environment has no order of its own; the same variables should give the same errors.
        overrides.sort_by(|a, b| a.source.cmp(&b.source));
        Overrides(overrides)
    }

    /// Sets `path`, such as `server.connector-server-1.heartbeat`. What is set later wins.
    ///
    /// `value` is written as in TOML; a text needs no quotes.
    #[must_use]
    pub fn set(mut self, path: &str, value: &str) -> Self {
        let source = format!("--set {path}");
        let path = path.split('.').map(str::to_owned).collect();
        self.0.push(Override { source, path, text: value.to_owned() });
        self
    }

    /// Puts these into `table`, one by one, so that each error has its source.
    pub(super) fn apply(&self, mut table: Table) -> Result<Table, ConfigError> {
        for Override { source, path, text } in &self.0 {
            let as_text = Value::String(text.clone());
            let as_toml = toml::from_str::<Table>(&format!("value = {text}"))
                .ok()
                .and_then(|mut table| table.remove("value"))
                .unwrap_or_else(|| as_text.clone());

            // `5` may be meant as a text, where a text is expected.
            let set = try_set(&table, path, as_toml)
                .or_else(|reason| try_set(&table, path, as_text).map_err(|_| reason));
            match set {
                Ok(changed) => table = changed,
                Err(reason) => return Err(ConfigError::invalid(source, reason)),
            }
        }
        Ok(table)
    }
}

fn try_set(table: &Table, path: &[String], value: Value) -> Result<Table, String> {
    let mut change = value;
    for key in path.iter().rev() {
        change = Table::from_iter([(key.clone(), change)]).into();
    }
    let mut changed = table.clone();
    if let Value::Table(change) = change {
        merge(&mut changed, change);
    }
    match changed.clone().try_into::<Options>() {
        Ok(_) => Ok(changed),
        Err(error) => Err(suggest::explain(error.message())),
    }
}

/// Lays `upper` over `table`, key by key; lists and values are replaced whole.
pub(super) fn merge(table: &mut Table, upper: Table) {
    for (key, value) in upper {
        match (table.get_mut(&key), value) {
            (Some(Value::Table(lower)), Value::Table(upper)) => merge(lower, upper),
            (_, value) => {
                table.insert(key, value);
            }
        }
    }
}
