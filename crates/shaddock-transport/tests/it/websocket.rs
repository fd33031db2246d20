//! WebSocket against an independent implementation, and against rude clients.

use futures_util::{SinkExt, StreamExt};
use shaddock_transport::{Violation, connect_websocket};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio_tungstenite::{
    WebSocketStream, accept_async, client_async,
    tungstenite::{
        Message,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

use super::*;

/// Our server's wire and somebody else's client.
async fn served() -> (HybridWire, WebSocketStream<TcpStream>) {
    let (incoming, client) = dial().await;
    let (wire, client) = tokio::join!(incoming.open(), client_async("ws://game/path", client));
    (wire.unwrap(), client.unwrap().0)
}

/// Our server's wire and a client that can say anything.
async fn rude() -> (HybridWire, TcpStream) {
    let (wire, client) = served().await;
    (wire, client.into_inner())
}

/// A client's frame with a mask of zeros.
fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
    let len = u8::try_from(payload.len()).unwrap();
    [&[first, 0x80 | len, 0, 0, 0, 0], payload].concat()
}

/// Bytes that tell where they came from.
fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|at| (at * 31 % 251) as u8).collect()
}

#[tokio::test]
async fn messages_of_every_length_go_both_ways() {
    let (mut wire, mut client) = served().await;
    for len in [1, 2, 125, 126, 127, 65_535, 65_536, 300_000] {
        let message = pattern(len);
        let (sent, received) = tokio::join!(
            client.send(Message::binary(message.clone())),
            receive_exact(&mut wire, len)
        );
        sent.unwrap();
        assert_eq!(received, message);

        wire.send(&Bytes::from(message.clone()));
        let (flushed, received) = tokio::join!(wire.flush(), client.next());
        flushed.unwrap();
        assert_eq!(received.unwrap().unwrap(), Message::binary(message));
    }
}

#[tokio::test]
async fn our_client_is_understood_by_another_server() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/path", listener.local_addr().unwrap());
    let server = async {
        let (stream, _) = listener.accept().await.unwrap();
        accept_async(stream).await.unwrap()
    };
    let (mut server, client) = tokio::join!(server, connect_websocket(&url));
    let mut client = client.unwrap();
    for len in [1, 125, 126, 65_536] {
        let message = pattern(len);
        client.send(&Bytes::from(message.clone()));
        let (flushed, received) = tokio::join!(client.flush(), server.next());
        flushed.unwrap();
        assert_eq!(received.unwrap().unwrap(), Message::binary(message.clone()));
        let (sent, received) = tokio::join!(
            server.send(Message::binary(message.clone())),
            receive_exact(&mut client, len)
        );
        sent.unwrap();
        assert_eq!(received, message);
    }
    client.close().await.unwrap();
    let Message::Close(Some(close)) = server.next().await.unwrap().unwrap() else {
        panic!("no close")
    };
    assert_eq!(close.code, CloseCode::Normal);
}

#[tokio::test]
async fn each_chunk_is_one_message_though_all_leave_in_one_write() {
    let (mut wire, mut client) = served().await;
    for number in 0..100_u8 {
        wire.send(&Bytes::from(vec![number; 10]));
        wire.send(&Bytes::new());
    }
    assert_eq!(wire.unsent(), 100 * 12, "an empty chunk is nothing");
    wire.flush().await.unwrap();
    for number in 0..100_u8 {
        assert_eq!(client.next().await.unwrap().unwrap(), Message::binary(vec![number; 10]));
    }
}

#[tokio::test]
async fn text_and_fragments_and_empty_messages_are_bytes_like_any() {
    let (mut wire, mut client) = rude().await;
    let mut bytes = frame(0x81, "text 你好 ".as_bytes());
    bytes.extend(frame(0x82, b""));
    bytes.extend(frame(0x02, b"in "));
    bytes.extend(frame(0x89, b"ping between"));
    bytes.extend(frame(0x00, b"three "));
    bytes.extend(frame(0x80, b"parts"));
    client.write_all(&bytes).await.unwrap();
    let expected = "text 你好 in three parts".as_bytes();
    assert_eq!(receive_exact(&mut wire, expected.len()).await, expected);
}

#[tokio::test]
async fn a_ping_is_answered_without_the_callers_doing() {
    let (mut wire, mut client) = served().await;
    client.send(Message::Ping("are you there".into())).await.unwrap();
    let answer = tokio::select! {
        answer = client.next() => answer,
        received = wire.receive() => panic!("there was nothing to receive: {received:?}"),
    };
    assert_eq!(answer.unwrap().unwrap(), Message::Pong("are you there".into()));
}

#[tokio::test]
async fn a_flood_of_pings_fills_no_buffer() {
    let (mut wire, mut client) = rude().await;
    let pings = frame(0x89, &[b'p'; 125]).repeat(500);
    let flood = async {
        // The client never reads an answer.
        for _ in 0..300 {
            client.write_all(&pings).await.unwrap();
        }
        client.write_all(&frame(0x82, b"done")).await.unwrap();
    };
    let ((), received) = tokio::join!(flood, receive_exact(&mut wire, 4));
    assert_eq!(received, b"done");
    assert!(wire.unsent() <= 2 * 127, "{} bytes", wire.unsent());
}

#[tokio::test]
async fn a_ping_of_ours_asks_for_a_sign_of_life() {
    let (mut wire, mut client) = served().await;
    assert!(wire.ping(), "it was just opened");
    wire.flush().await.unwrap();
    assert!(!wire.ping(), "nothing came since");
    wire.flush().await.unwrap();
    // Another implementation answers while it reads.
    let answer = async {
        assert_eq!(client.next().await.unwrap().unwrap(), Message::Ping(Bytes::new()));
        client.flush().await.unwrap();
        client.send(Message::binary(vec![1])).await.unwrap();
    };
    tokio::join!(answer, receive_exact(&mut wire, 1));
    assert!(wire.ping());
}

#[tokio::test]
async fn a_close_is_answered_at_once_with_its_code() {
    for (sent, answered) in [
        (Some(CloseCode::Away), CloseCode::Away),
        (Some(CloseCode::Library(4321)), CloseCode::Library(4321)),
        (None, CloseCode::Normal),
    ] {
        let (mut wire, mut client) = served().await;
        client.send(Message::binary(vec![9])).await.unwrap();
        let close = sent.map(|code| CloseFrame { code, reason: "because".into() });
        client.close(close).await.unwrap();
        assert_eq!(receive_exact(&mut wire, 1).await, [9]);
        assert!(wire.receive().await.is_none());
        // Nothing but receiving was done.
        let Message::Close(Some(close)) = client.next().await.unwrap().unwrap() else {
            panic!("no close")
        };
        assert_eq!(close.code, answered);
        wire.close().await.unwrap();
        drop(wire);
        assert!(client.next().await.is_none(), "closed in order");
    }
}

#[tokio::test]
async fn our_close_comes_after_what_was_sent() {
    let (mut wire, mut client) = served().await;
    wire.send(&Bytes::from_static(b"kick"));
    wire.close().await.unwrap();
    assert_eq!(client.next().await.unwrap().unwrap(), Message::binary(&b"kick"[..]));
    let Message::Close(Some(close)) = client.next().await.unwrap().unwrap() else {
        panic!("no close")
    };
    assert_eq!((close.code, close.reason.as_str()), (CloseCode::Normal, ""));
}

#[tokio::test]
async fn rules_that_are_broken_close_with_1002() {
    let unmasked = vec![0x82, 1, 0];
    let endless = vec![0x82, 0xff, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    for (bytes, violation) in [
        (unmasked, Violation::Unmasked),
        (endless, Violation::Length),
        (frame(0xc2, b""), Violation::ReservedBits),
        (frame(0x83, b""), Violation::ReservedOpcode(3)),
        (frame(0x8b, b""), Violation::ReservedOpcode(11)),
        (vec![0x89, 0xfe, 0, 126, 0, 0, 0, 0], Violation::LongControl),
        (frame(0x09, b"half a ping"), Violation::FragmentedControl),
        (frame(0x80, b"of what?"), Violation::NothingToContinue),
        ([frame(0x02, b"begun"), frame(0x82, b"again")].concat(), Violation::Interleaved),
        (frame(0x88, &[3]), Violation::CloseCode),
        (frame(0x88, &1005_u16.to_be_bytes()), Violation::CloseCode),
    ] {
        let (mut wire, mut client) = rude().await;
        client.write_all(&[frame(0x82, b"well said"), bytes].concat()).await.unwrap();
        let mut before = Vec::new();
        let error = loop {
            match wire.receive().await.unwrap() {
                Ok(chunk) => before.extend_from_slice(&chunk),
                Err(error) => break error,
            }
        };
        assert!(before.starts_with(b"well said"), "what came before the fault is told");
        assert!(
            matches!(error, WireError::Protocol(found) if found == violation),
            "{violation}: {error:?}"
        );
        assert!(wire.receive().await.is_none());
        wire.close().await.unwrap();
        let mut answer = Vec::new();
        client.read_to_end(&mut answer).await.unwrap();
        assert_eq!(answer, [0x88, 2, 0x03, 0xea], "{violation}");
    }
}

#[tokio::test]
async fn a_huge_claim_costs_nothing() {
    let (mut wire, mut client) = rude().await;
    // 2^62 bytes, of which three come.
    client.write_all(&[0x82, 0xff, 0x40, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1, 2, 3]).await.unwrap();
    assert_eq!(receive_exact(&mut wire, 3).await, [1, 2, 3]);
    drop(client);
    let error = wire.receive().await.unwrap().unwrap_err();
    assert!(matches!(error, WireError::Io(_)), "it ended in the middle of a frame: {error:?}");
}

#[tokio::test]
async fn a_client_that_vanishes_between_messages_has_ended() {
    let (mut wire, client) = served().await;
    drop(client);
    assert!(wire.receive().await.is_none());
}
