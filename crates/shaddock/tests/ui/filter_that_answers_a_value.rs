//! A filter gives the reply on, not what is in it.

use shaddock::{Next, Request, Result, Server};

async fn count(request: Request, next: Next) -> Result<usize> {
    Ok(next.run(request).await?.body().len())
}

fn main() {
    let _ = Server::frontend("connector").filter(count);
}
