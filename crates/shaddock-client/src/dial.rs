//! From an address to a wire.

use shaddock_transport::{HybridWire, connect_tcp, connect_websocket};
#[cfg(feature = "tls")]
use shaddock_transport::{Trust, connect_tls};

use crate::ConnectError;

/// An address, and whom to believe there.
#[derive(Clone, Debug)]
pub(crate) struct Dial {
    address: String,
    #[cfg(feature = "tls")]
    trust: Option<Trust>,
}

impl Dial {
    /// Without `trust` the authorities of this machine are asked, if the address is one for TLS.
    pub(crate) async fn new(
        address: &str,
        #[cfg(feature = "tls")] trust: Option<Trust>,
    ) -> Result<Dial, ConnectError> {
        #[cfg(feature = "tls")]
        let trust = match trust {
            None if is_for_tls(address) => {
                let reading = tokio::task::spawn_blocking(Trust::system);
                Some(reading.await.expect("reading certificates does not panic")?)
            }
            trust => trust,
        };
        Ok(Dial {
            address: address.to_owned(),
            #[cfg(feature = "tls")]
            trust,
        })
    }

    pub(crate) async fn connect(self) -> Result<HybridWire, ConnectError> {
        let address = &self.address;
        if let Some(host) = address.strip_prefix("tcp://") {
            return Ok(connect_tcp(host).await?);
        }
        if address.starts_with("ws://") {
            return Ok(connect_websocket(address).await?);
        }
        #[cfg(feature = "tls")]
        if let (true, Some(trust)) = (is_for_tls(address), &self.trust) {
            return Ok(connect_tls(address, trust).await?);
        }
        match is_for_tls(address) {
            true => Err(ConnectError::NoTls),
            false => Err(ConnectError::Address),
        }
    }
}

fn is_for_tls(address: &str) -> bool {
    address.starts_with("wss://") || address.starts_with("tls://")
}
