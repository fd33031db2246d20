//! What is sent to another server can be written and read.

use shaddock::Result;

struct Local;

#[shaddock::remote("chat")]
trait Rooms {
    async fn enter(&self, who: Local) -> Result<()>;
}

fn main() {}
