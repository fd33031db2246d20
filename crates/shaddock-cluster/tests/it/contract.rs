//! The contract, for the memory engine: as it is, and with delays.

use std::sync::{Arc, LazyLock};

use shaddock_cluster::Engine;
use shaddock_cluster::memory::{Chaos, Memory};
use tokio::time::Duration;

mod calm {
    use super::*;

    static MEMORY: LazyLock<Arc<Memory>> = LazyLock::new(Memory::new);

    async fn connect() -> Arc<dyn Engine> {
        MEMORY.connect()
    }

    shaddock_cluster::contract_tests!(#[tokio::test(start_paused = true)], connect);
}

mod delayed {
    use super::*;

    thread_local! {
        // One for each test: their clocks differ.
        static MEMORY: Arc<Memory> =
            Memory::chaotic(7, Chaos { delay: Duration::from_millis(1)..Duration::from_millis(40), ..Chaos::default() });
    }

    async fn connect() -> Arc<dyn Engine> {
        MEMORY.with(|memory| memory.connect())
    }

    shaddock_cluster::contract_tests!(#[tokio::test(start_paused = true)], connect);
}
