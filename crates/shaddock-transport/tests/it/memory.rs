//! Wires without sockets.

use shaddock_transport::memory;
use tokio::time::{Instant, timeout};

use super::*;

#[tokio::test(start_paused = true)]
async fn a_peer_that_does_not_read_stalls_the_writer() {
    let (mut one, mut other) = memory::pair_with_capacity(100);
    one.send(&Bytes::from(vec![7; 250]));
    let before = Instant::now();
    assert!(timeout(Duration::from_secs(5), one.flush()).await.is_err());
    assert_eq!(before.elapsed(), Duration::from_secs(5));
    assert_eq!(one.unsent(), 150);

    let (flushed, read) = tokio::join!(one.flush(), receive_exact(&mut other, 250));
    flushed.unwrap();
    assert_eq!(read, vec![7; 250]);
    assert_eq!(one.unsent(), 0);
}

#[tokio::test(start_paused = true)]
async fn a_closed_end_is_read_to_its_last_byte() {
    let (mut one, mut other) = memory::pair();
    assert_eq!(one.kind(), "memory");
    one.send(&Bytes::from_static(b"bye"));
    one.close().await.unwrap();
    drop(one);
    assert_eq!(receive_exact(&mut other, 3).await, b"bye");
    assert!(other.receive().await.is_none());
    other.send(&Bytes::from_static(b"anyone?"));
    assert!(other.flush().await.is_err());
}

#[tokio::test(start_paused = true)]
async fn a_connector_reaches_its_listener() {
    let (mut listener, connector) = memory::listen(memory::CAPACITY);
    let elsewhere = "192.0.2.7:99".parse().unwrap();
    let mut client = connector.connect_from(elsewhere).await.unwrap();
    client.send(&Bytes::from_static(b"hello"));
    client.flush().await.unwrap();

    let incoming = listener.accept().await.unwrap();
    assert_eq!(incoming.peer(), elsewhere);
    let mut wire = incoming.open().await.unwrap();
    assert_eq!(wire.peer(), elsewhere);
    assert_eq!(receive_exact(&mut wire, 5).await, b"hello");

    drop(listener);
    assert!(connector.connect().await.is_err());
}
