//! A message of a type that serde can't read.

use shaddock::{Msg, Result, Server};

struct Say {
    _content: String,
}

async fn send(Msg(_): Msg<Say>) -> Result<()> {
    Ok(())
}

fn main() {
    let _ = Server::frontend("connector").on("a.send", send);
}
