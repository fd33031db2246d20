//! The classic pomelo chat: a gate, connectors, chat servers and a page, in one binary.

use std::process::ExitCode;

fn main() -> ExitCode {
    shaddock_cli::run(chat::CONFIG, chat::app)
}
