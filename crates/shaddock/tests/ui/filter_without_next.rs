//! A filter takes the request and the rest of the way.

use shaddock::{Reply, Request, Result, Server};

async fn members_only(request: Request) -> Result<Reply> {
    request.session()?.uid()?;
    Reply::json(&())
}

fn main() {
    let _ = Server::frontend("connector").filter(members_only);
}
