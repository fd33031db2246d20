//! Opens every configuration of a front-end on its own port.

use std::process::ExitCode;

fn main() -> ExitCode {
    shaddock_cli::run(wirelab::CONFIG, wirelab::app)
}
