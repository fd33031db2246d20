//! A handler is async.

use shaddock::{Result, Server};

fn now() -> Result<u64> {
    Ok(1)
}

fn main() {
    let _ = Server::frontend("connector").on("a.now", now);
}
