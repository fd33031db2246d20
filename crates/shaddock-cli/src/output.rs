//! Lines for whoever started the program.

use std::io::{self, Write};

/// Writes a line to `out`, which is stdout.
///
/// That nobody reads it any more (`start | head -1`) is no reason to end, as `println!` would.
pub(crate) fn say(out: &mut impl Write, line: &str) {
    let _ = writeln!(out, "{line}");
}

/// Writes a line to stderr, as [`say`] does.
pub(crate) fn say_to_stderr(line: &str) {
    say(&mut io::stderr(), line);
}

/// Writes an error with its causes to stderr.
pub(crate) fn complain(error: &anyhow::Error) {
    let _ = write!(io::stderr(), "{}", explain(error));
}

fn explain(error: &anyhow::Error) -> String {
    let mut text = format!("error: {error}\n");
    for cause in error.chain().skip(1) {
        text.push_str(&format!("  because: {cause}\n"));
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_told_with_its_causes() {
        let error = anyhow::anyhow!("no such file").context("servers.json can't be read");
        assert_eq!(explain(&error), "error: servers.json can't be read\n  because: no such file\n",);
    }
}
