//! What a client does against a server, in memory and over sockets.

mod connecting;
mod ending;
mod returning;
mod secure;
mod server;
mod talking;

use std::time::Duration;

use serde_json::{Value, json};
use shaddock_client::{Builder, Client, CloseReason, ConnectError, RequestError};
use shaddock_protocol::{Event, Hello, pomelo::Config};
use shaddock_transport::{Wire, memory};

use self::server::{TestServer, asked};

/// A client and its server, with hands shaken.
async fn joined(config: Config, builder: Builder) -> (Client, TestServer<memory::MemoryWire>) {
    let (ours, theirs) = memory::pair();
    let mut server = TestServer::new(theirs, config);
    let (client, _) = tokio::join!(builder.over(ours), server.let_in(None));
    (client.unwrap(), server)
}

/// A client and its server that want nothing special.
async fn plain() -> (Client, TestServer<memory::MemoryWire>) {
    joined(Config::default(), Client::builder()).await
}
