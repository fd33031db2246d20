//! One port: what is told apart, and raw TCP.

use futures_util::FutureExt;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::*;

#[tokio::test]
async fn the_first_byte_of_a_package_makes_it_tcp() {
    for kind in 1..=5 {
        let (incoming, mut client) = dial().await;
        client.write_all(&[kind]).await.unwrap();
        let mut wire = incoming.open().await.unwrap();
        assert_eq!(wire.kind(), "tcp");
        assert_eq!(wire.peer(), client.local_addr().unwrap());
        assert_eq!(receive_exact(&mut wire, 1).await, [kind]);
        client.write_all(b"more").await.unwrap();
        assert_eq!(receive_exact(&mut wire, 4).await, b"more");
        client.shutdown().await.unwrap();
        assert!(wire.receive().await.is_none());
        assert!(wire.receive().await.is_none(), "an end stays an end");
    }
}

#[tokio::test]
async fn what_begins_no_protocol_is_closed() {
    for first in [0, 6, 22, b'a', b' ', 99, 255] {
        let (incoming, mut client) = dial().await;
        client.write_all(&[first]).await.unwrap();
        let error = incoming.open().await.unwrap_err();
        assert!(matches!(error, OpenError::Unknown(byte) if byte == first), "{error}");
        assert_eq!(client.read(&mut [0]).await.unwrap(), 0);
    }
}

#[tokio::test]
async fn a_client_that_leaves_without_a_word_has_left() {
    let (incoming, client) = dial().await;
    drop(client);
    assert!(matches!(incoming.open().await, Err(OpenError::Left)));
}

#[tokio::test]
async fn a_silent_client_keeps_nobody_from_being_accepted() {
    let (mut hybrid, addr) = listen(HybridConfig::default()).await;
    let _silent = TcpStream::connect(&addr).await.unwrap();
    let silent = hybrid.accept().await.unwrap();
    let mut client = TcpStream::connect(&addr).await.unwrap();
    client.write_all(&[1]).await.unwrap();
    assert!(hybrid.accept().await.unwrap().open().await.is_ok());
    assert!(silent.open().now_or_never().is_none(), "it is waited for until the caller has enough");
}

#[cfg(target_os = "linux")]
#[tokio::test]
async fn the_kernel_holds_little_for_a_client_that_does_not_read() {
    let (incoming, mut client) = dial().await;
    client.write_all(&[4]).await.unwrap();
    let mut wire = incoming.open().await.unwrap();
    let (chunk, mut sent) = (Bytes::from(vec![0; 16 * 1024]), 0);
    while wire.unsent() == 0 {
        assert!(sent < 768 * 1024, "{sent} bytes are in the kernel");
        wire.send(&chunk);
        sent += chunk.len();
        let _ = wire.flush().now_or_never();
    }
}

#[tokio::test]
async fn many_chunks_leave_in_order_and_leave_no_buffer() {
    let (incoming, mut client) = dial().await;
    client.write_all(&[4]).await.unwrap();
    let mut wire = incoming.open().await.unwrap();
    let mut expected = Vec::new();
    for number in 0..2_000_u32 {
        let chunk = Bytes::from(number.to_be_bytes().repeat(50));
        expected.extend_from_slice(&chunk);
        wire.send(&chunk);
    }
    assert_eq!(wire.unsent(), expected.len());
    let mut got = vec![0; expected.len()];
    let (flushed, read) = tokio::join!(wire.flush(), client.read_exact(&mut got));
    flushed.unwrap();
    read.unwrap();
    assert_eq!(got, expected);
    assert_eq!(wire.unsent(), 0);
}

#[tokio::test]
async fn closing_sends_what_was_queued_even_if_more_came_in() {
    let (incoming, mut client) = dial().await;
    client.write_all(&[4]).await.unwrap();
    let mut wire = incoming.open().await.unwrap();
    client.write_all(b"never read").await.unwrap();
    wire.send(&Bytes::from_static(b"last words"));
    wire.close().await.unwrap();
    wire.close().await.unwrap();
    drop(wire);
    let mut got = Vec::new();
    client.read_to_end(&mut got).await.unwrap();
    assert_eq!(got, b"last words");
}

#[tokio::test]
async fn the_clients_side_speaks_tcp() {
    let (mut hybrid, addr) = listen(HybridConfig::default()).await;
    let mut client = shaddock_transport::connect_tcp(&addr).await.unwrap();
    client.send(&Bytes::from_static(&[1, 0, 0, 0]));
    client.flush().await.unwrap();
    let mut wire = hybrid.accept().await.unwrap().open().await.unwrap();
    assert_eq!(receive_exact(&mut wire, 4).await, [1, 0, 0, 0]);
    drop(hybrid);
    assert!(shaddock_transport::connect_tcp(&addr).await.is_err(), "nobody listens any more");
}

#[test]
fn an_idle_wire_is_small() {
    // A socket of tokio's is larger by one word with some of its features.
    assert!(size_of::<HybridWire>() <= 264, "{} bytes", size_of::<HybridWire>());
}
