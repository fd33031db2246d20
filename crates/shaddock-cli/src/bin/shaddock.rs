//! Looks after the servers of a Shaddock cluster, whatever their application.

use std::process::ExitCode;

fn main() -> ExitCode {
    shaddock_cli::tool()
}
