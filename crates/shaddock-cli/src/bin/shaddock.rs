//! Makes a project that runs on Shaddock, and looks after the servers of a cluster, whatever their application.

use std::process::ExitCode;

fn main() -> ExitCode {
    shaddock_cli::tool()
}
