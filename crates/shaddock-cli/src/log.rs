//! The log, on stderr.

use std::io::{self, IsTerminal as _};

use anyhow::Context as _;
use shaddock::Config;
use tracing_subscriber::EnvFilter;

/// What to log: as the flag `--log` says, else the variable `RUST_LOG`, else `[log]` of shaddock.toml.
pub(crate) fn filter(flag: Option<&str>, config: &Config) -> anyhow::Result<EnvFilter> {
    let variable = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    let (source, text) = choose(flag, variable.as_deref(), &config.log.filter);
    EnvFilter::try_new(text).with_context(|| format!("{source} is no filter for the log: {text:?}"))
}

fn choose<'a>(
    flag: Option<&'a str>,
    variable: Option<&'a str>,
    file: &'a str,
) -> (&'static str, &'a str) {
    match (flag, variable.filter(|text| !text.is_empty())) {
        (Some(text), _) => ("--log", text),
        (None, Some(text)) => ("RUST_LOG", text),
        (None, None) => ("[log] filter of shaddock.toml", file),
    }
}

pub(crate) fn write_to_stderr(filter: EnvFilter) {
    let is_plain = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .with_ansi(!is_plain && io::stderr().is_terminal())
        // To where? stderr is what failed, and saying so there would panic.
        .log_internal_errors(false)
        .finish();
    // An application that has set up a log of its own keeps it.
    let _ = tracing::subscriber::set_global_default(log);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config(filter: &str) -> Config {
        let files = [
            (
                "servers.json",
                r#"{"chat": [{"id": "chat-1", "host": "127.0.0.1"}]}"#,
            ),
            ("shaddock.toml", &format!("[log]\nfilter = {filter:?}\n")),
        ];
        Config::embedded(&files, Some("test"), &Default::default()).unwrap()
    }

    #[test]
    fn the_flag_comes_before_the_variable_and_that_before_the_file() {
        assert_eq!(choose(Some("trace"), Some("warn"), "info").1, "trace");
        assert_eq!(choose(None, Some("warn"), "info").1, "warn");
        assert_eq!(choose(None, Some(""), "info").1, "info");
        assert_eq!(choose(None, None, "info").1, "info");
    }

    #[test]
    fn a_filter_that_is_none_is_an_error_that_says_where_it_stands() {
        let error = filter(Some("shaddock=loud"), &config("info")).unwrap_err();
        assert_eq!(
            error.to_string(),
            "--log is no filter for the log: \"shaddock=loud\""
        );
        assert!(filter(Some("warn,shaddock=debug"), &config("info")).is_ok());
    }
}
