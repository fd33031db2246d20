//! A handler returns a `Result`.

use shaddock::{Server, Session};

async fn who(session: Session) -> u64 {
    session.id().get()
}

fn main() {
    let _ = Server::frontend("connector").on("a.who", who);
}
