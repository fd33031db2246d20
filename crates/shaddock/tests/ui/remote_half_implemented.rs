//! Every method of a remote is implemented.

use shaddock::{Result, Server};

#[shaddock::remote("chat")]
trait Rooms {
    async fn enter(&self, name: String) -> Result<()>;
    async fn leave(&self, name: String) -> Result<()>;
}

struct None;

impl Rooms for None {
    async fn enter(&self, _: String) -> Result<()> {
        Ok(())
    }
}

fn main() {
    let _ = Server::backend("chat").remote(Rooms::serve(|_| None));
}
