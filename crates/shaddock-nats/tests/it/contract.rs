//! The contract of engines.

use std::sync::Arc;

use shaddock_cluster::Engine;
use shaddock_nats::Nats;

use crate::broker::{self, Broker};

thread_local! {
    // One for each test, which has a thread of its own; it ends with that.
    static BROKER: Broker = Broker::start();
}

async fn connect() -> Arc<dyn Engine> {
    Nats::connect(BROKER.with(Broker::options)).await.unwrap()
}

shaddock_cluster::contract_tests!(#[tokio::test], connect, if broker::is_there);
