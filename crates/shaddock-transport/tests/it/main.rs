//! What a server and a client see of the wires.

mod hybrid;
mod memory;
mod proxy;
#[cfg(feature = "socketio")]
mod socketio;
#[cfg(feature = "tls")]
mod tls;
#[cfg(feature = "udp")]
mod udp;
mod upgrade;
mod websocket;

use std::time::Duration;

use bytes::Bytes;
use shaddock_transport::{
    Hybrid, HybridConfig, HybridIncoming, HybridWire, Incoming, Listener, OpenError, Wire,
    WireError,
};
use tokio::net::TcpStream;

/// Receives until `len` bytes are there, however they are cut.
async fn receive_exact(wire: &mut impl Wire, len: usize) -> Vec<u8> {
    let mut all = Vec::new();
    while all.len() < len {
        all.extend_from_slice(
            &wire.receive().await.expect("the wire ended").expect("the wire broke"),
        );
    }
    all
}

/// A port of our own, and the address of it.
async fn listen(config: HybridConfig) -> (Hybrid, String) {
    let hybrid = Hybrid::bind("127.0.0.1:0", config).await.unwrap();
    let addr = hybrid.local_addr().unwrap().to_string();
    (hybrid, addr)
}

/// Both ends of a connection of which nothing was read.
async fn dial() -> (HybridIncoming, TcpStream) {
    let (mut hybrid, addr) = listen(HybridConfig::default()).await;
    let client = TcpStream::connect(addr).await.unwrap();
    (hybrid.accept().await.unwrap(), client)
}
