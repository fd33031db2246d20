//! Load for Shaddock and pomelo servers.

use std::process::ExitCode;

fn main() -> ExitCode {
    shaddock_robot::command::run()
}
