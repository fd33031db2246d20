//! Datagrams.

use futures_util::FutureExt;
use shaddock_transport::{UdpConfig, UdpListener, UdpWire};
use tokio::net::UdpSocket;

use super::*;

/// A port for datagrams, and the address of it.
async fn bind(unproven: usize) -> (UdpListener, String) {
    let listener = UdpListener::bind("127.0.0.1:0", UdpConfig { unproven }).await.unwrap();
    let addr = listener.local_addr().unwrap().to_string();
    (listener, addr)
}

/// A client that said `first`.
async fn client(addr: &str, first: &[u8]) -> UdpSocket {
    let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
    socket.connect(addr).await.unwrap();
    socket.send(first).await.unwrap();
    socket
}

/// The wire of somebody new. What came before it is in the inboxes then.
async fn accept(listener: &mut UdpListener) -> UdpWire {
    listener.accept().await.unwrap().open().await.unwrap()
}

/// A client and its wire, from which the first datagram was received.
async fn connected(listener: &mut UdpListener, addr: &str) -> (UdpSocket, UdpWire) {
    let socket = client(addr, b"hello").await;
    let mut wire = accept(listener).await;
    assert_eq!(receive(&mut wire).await, b"hello"[..]);
    (socket, wire)
}

async fn receive(wire: &mut UdpWire) -> Bytes {
    wire.receive().await.expect("the wire ended").expect("the wire broke")
}

async fn read(socket: &UdpSocket) -> Vec<u8> {
    let mut datagram = vec![0; 65_536];
    let len = socket.recv(&mut datagram).await.unwrap();
    datagram.truncate(len);
    datagram
}

/// Lets everything that was sent by now reach its inbox.
async fn settle(listener: &mut UdpListener, addr: &str) {
    let socket = client(addr, b"last").await;
    let wire = accept(listener).await;
    assert_eq!(wire.peer(), socket.local_addr().unwrap());
}

#[tokio::test]
async fn each_address_has_a_wire_and_each_datagram_is_a_chunk() {
    let (mut listener, addr) = bind(9).await;
    let one = client(&addr, b"one").await;
    let mut to_one = accept(&mut listener).await;
    let other = client(&addr, b"other").await;
    let mut to_other = accept(&mut listener).await;
    assert_eq!(to_one.kind(), "udp");
    assert_eq!(to_one.peer(), one.local_addr().unwrap());
    assert_eq!(to_other.peer(), other.local_addr().unwrap());

    one.send(b"more").await.unwrap();
    one.send(b"").await.unwrap();
    one.send(b"and more").await.unwrap();
    settle(&mut listener, &addr).await;
    for expected in ["one", "more", "and more"] {
        assert_eq!(receive(&mut to_one).await, expected);
    }
    assert_eq!(receive(&mut to_other).await, "other");
    assert!(to_one.receive().now_or_never().is_none());

    for chunk in ["to", "", "other"] {
        to_other.send(&Bytes::from_static(chunk.as_bytes()));
    }
    to_one.send(&Bytes::from_static(b"to one"));
    assert_eq!(to_other.unsent(), 7, "an empty chunk is nothing");
    to_other.flush().await.unwrap();
    to_one.flush().await.unwrap();
    assert_eq!(to_other.unsent(), 0);
    assert_eq!(read(&one).await, b"to one");
    assert_eq!(read(&other).await, b"to");
    assert_eq!(read(&other).await, b"other");
}

#[tokio::test]
async fn a_wire_that_waits_is_woken() {
    let (mut listener, addr) = bind(9).await;
    let (socket, mut wire) = connected(&mut listener, &addr).await;
    let talk = async {
        tokio::task::yield_now().await;
        socket.send(b"at last").await.unwrap();
    };
    let received = async {
        tokio::select! {
            chunk = receive(&mut wire) => chunk,
            _ = listener.accept() => panic!("nobody new came"),
        }
    };
    let (received, ()) = tokio::join!(received, talk);
    assert_eq!(received, "at last");
}

#[tokio::test]
async fn a_dropped_wire_forgets_its_address() {
    let (mut listener, addr) = bind(9).await;
    let (socket, mut wire) = connected(&mut listener, &addr).await;
    wire.send(&Bytes::from_static(b"kick"));
    wire.close().await.unwrap();
    wire.send(&Bytes::from_static(b"after the end"));
    assert_eq!(wire.unsent(), 0);
    drop(wire);
    socket.send(b"again").await.unwrap();
    let mut wire = accept(&mut listener).await;
    assert_eq!(receive(&mut wire).await, "again");
    assert_eq!(read(&socket).await, b"kick");

    // One that was never opened, too.
    let socket = client(&addr, b"first").await;
    drop(listener.accept().await.unwrap());
    socket.send(b"second").await.unwrap();
    assert_eq!(receive(&mut accept(&mut listener).await).await, "second");
}

#[tokio::test]
async fn of_those_who_did_not_answer_yet_the_oldest_is_forgotten() {
    let (mut listener, addr) = bind(2).await;
    // This one answers what it was sent, and stays.
    let (socket, mut proven) = connected(&mut listener, &addr).await;
    proven.send(&Bytes::from_static(b"handshake"));
    proven.flush().await.unwrap();
    assert_eq!(read(&socket).await, b"handshake");
    socket.send(b"ack").await.unwrap();

    // This one talks on without having been answered, which anybody can who forges an address.
    let (oldest, mut to_oldest) = connected(&mut listener, &addr).await;
    oldest.send(b"still here").await.unwrap();
    let (_second, mut to_second) = connected(&mut listener, &addr).await;
    let (_third, mut to_third) = connected(&mut listener, &addr).await;

    assert_eq!(receive(&mut to_oldest).await, "still here", "what came is told");
    let error = to_oldest.receive().await.unwrap().unwrap_err();
    assert!(matches!(error, WireError::Io(_)), "{error:?}");
    assert!(to_oldest.receive().await.is_none());
    assert_eq!(receive(&mut proven).await, "ack");
    for wire in [&mut proven, &mut to_second, &mut to_third] {
        assert!(wire.receive().now_or_never().is_none());
    }

    // It comes again, and the end of its first wire does not end the second one.
    oldest.send(b"back").await.unwrap();
    let mut again = accept(&mut listener).await;
    drop(to_oldest);
    oldest.send(b"and on").await.unwrap();
    settle(&mut listener, &addr).await;
    assert_eq!(receive(&mut again).await, "back");
    assert_eq!(receive(&mut again).await, "and on");
}

#[tokio::test]
async fn those_who_leave_make_room_among_the_unproven() {
    let (mut listener, addr) = bind(2).await;
    let (_first, mut to_first) = connected(&mut listener, &addr).await;
    for _ in 0..5 {
        drop(connected(&mut listener, &addr).await);
    }
    assert!(to_first.receive().now_or_never().is_none());
}

#[tokio::test]
async fn a_full_inbox_loses_what_comes_next_and_no_other_does() {
    let (mut listener, addr) = bind(9).await;
    let (flood, mut flooded) = connected(&mut listener, &addr).await;
    let (other, mut to_other) = connected(&mut listener, &addr).await;
    let losses = listener.losses();
    let mut sent = 0;
    while losses.unread() == 0 {
        flood.send(&[7; 1000]).await.unwrap();
        sent += 1;
        settle(&mut listener, &addr).await;
    }
    other.send(b"not me").await.unwrap();
    settle(&mut listener, &addr).await;
    assert_eq!(receive(&mut to_other).await, "not me");

    for _ in 0..sent - 1 {
        assert_eq!(receive(&mut flooded).await.len(), 1000);
    }
    assert!(flooded.receive().now_or_never().is_none());
    flood.send(b"room again").await.unwrap();
    settle(&mut listener, &addr).await;
    assert_eq!(receive(&mut flooded).await, "room again");
    assert_eq!(losses.unread(), 1);
}

#[tokio::test]
async fn what_is_longer_than_a_datagram_is_dropped_and_counted() {
    let (mut listener, addr) = bind(9).await;
    let (socket, mut wire) = connected(&mut listener, &addr).await;
    wire.send(&Bytes::from(vec![1; 65_508]));
    wire.send(&Bytes::from(vec![2; 65_507]));
    assert_eq!(wire.unsent(), 65_507);
    wire.flush().await.unwrap();
    assert_eq!(read(&socket).await, vec![2; 65_507]);
    assert_eq!(listener.losses().too_long(), 1);

    socket.send(&vec![3; 65_507]).await.unwrap();
    settle(&mut listener, &addr).await;
    assert_eq!(receive(&mut wire).await, vec![3; 65_507]);
}

#[tokio::test]
async fn a_client_that_is_gone_breaks_nothing() {
    let (mut listener, addr) = bind(9).await;
    let (socket, mut wire) = connected(&mut listener, &addr).await;
    drop(socket);
    for _ in 0..3 {
        wire.send(&Bytes::from_static(b"anyone?"));
        wire.flush().await.unwrap();
    }
    let (_other, _wire) = connected(&mut listener, &addr).await;
}

#[tokio::test]
async fn wires_can_speak_after_their_listener() {
    let (mut listener, addr) = bind(9).await;
    let (socket, mut wire) = connected(&mut listener, &addr).await;
    drop(listener);
    wire.send(&Bytes::from_static(b"last words"));
    wire.close().await.unwrap();
    assert_eq!(read(&socket).await, b"last words");
    assert!(wire.receive().now_or_never().is_none());
}

#[tokio::test]
async fn one_that_said_nothing_since_the_last_ping_shows_no_sign_of_life() {
    let (mut listener, addr) = bind(9).await;
    let (socket, mut wire) = connected(&mut listener, &addr).await;
    assert!(wire.ping(), "it just came");
    assert!(!wire.ping(), "nothing came since");
    socket.send(b"here").await.unwrap();
    settle(&mut listener, &addr).await;
    assert_eq!(receive(&mut wire).await, "here");
    assert!(wire.ping());
}

#[test]
fn an_idle_wire_is_small() {
    assert!(size_of::<UdpWire>() <= 128, "{} bytes", size_of::<UdpWire>());
}
