//! An argument that can't be taken from a request.

use shaddock::{Result, Server, Session};

struct Room;

async fn enter(_: Session, _: Room) -> Result<()> {
    Ok(())
}

fn main() {
    let _ = Server::frontend("connector").on("a.enter", enter);
}
