//! The log, on stderr.

use std::io::{self, IsTerminal as _};

use anyhow::anyhow;
use tracing_subscriber::EnvFilter;

/// What to log: as the flag `--log` says, else the variable `RUST_LOG`, else as usual: by `[log]` of shaddock.toml.
pub(crate) fn filter(flag: Option<&str>, usual: &str) -> anyhow::Result<EnvFilter> {
    let variable = std::env::var(EnvFilter::DEFAULT_ENV).ok();
    parse(choose(flag, variable.as_deref(), usual))
}

fn parse((source, text): (&str, &str)) -> anyhow::Result<EnvFilter> {
    // NATS's client tells as news what the engine over it tells again. Who asks for it gets it all the same.
    EnvFilter::try_new(format!("async_nats=off,{text}"))
        .map_err(|error| anyhow!("{source}: {text:?} is no filter for the log: {error}"))
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

    #[test]
    fn the_flag_comes_before_the_variable_and_that_before_the_file() {
        assert_eq!(choose(Some("trace"), Some("warn"), "info"), ("--log", "trace"));
        assert_eq!(choose(None, Some("warn"), "info"), ("RUST_LOG", "warn"));
        assert_eq!(choose(None, Some(""), "info").1, "info");
        assert_eq!(choose(None, None, "info").1, "info");
    }

    #[test]
    fn a_filter_that_is_none_is_an_error_that_says_where_it_stands() {
        let error = parse(("--log", "shaddock=loud")).unwrap_err().to_string();
        assert!(error.starts_with(r#"--log: "shaddock=loud" is no filter"#), "{error}");
        assert!(parse(("--log", "warn,shaddock=debug")).is_ok());
    }
}
