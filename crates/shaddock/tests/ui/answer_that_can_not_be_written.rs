//! An answer of a type that serde can't write.

use shaddock::{Result, Server};

struct Room;

async fn room() -> Result<Room> {
    Ok(Room)
}

fn main() {
    let _ = Server::frontend("connector").on("a.room", room);
}
