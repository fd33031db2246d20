//! What must hold for any bytes to the dialects that are features.

use std::time::Instant;

use bytes::Bytes;
use serde_json::Value;
use shaddock_protocol::{CloseReason, Dialect, Event, mqtt, socketio, text};

/// Whatever an MQTT client sends does the same however it is cut, and bodies are JSON.
pub(crate) fn mqtt(data: &[u8]) {
    let route = |text: &str| text.parse().expect("it is a route");
    let connector =
        mqtt::Connector::new(mqtt::Config::new(route("a.b.publish"), route("a.b.subscribe")));
    let now = Instant::now();
    let run = |first: &[u8], piece: usize| {
        let mut server = mqtt::Server::new(&connector, now);
        let (mut events, mut sent) = (Vec::new(), Vec::new());
        for chunk in first.chunks(first.len().max(1)).chain(data.chunks(piece)) {
            server.receive(Bytes::copy_from_slice(chunk), now);
            while let Some(event) = server.poll_event(now) {
                match &event {
                    Event::Handshake(_) => server.accept(None, now),
                    Event::Message(message) => {
                        text::read::<Value>(&message.body)
                            .expect("a body is JSON, or counts as such");
                        if let Some(id) = message.id {
                            sent.extend(server.voice().fault(id, Some(&message.route)));
                        }
                    }
                    _ => {}
                }
                events.push(format!("{event:?}"));
            }
            sent.extend(std::iter::from_fn(|| server.poll_transmit()).flatten());
        }
        (events, sent)
    };
    for first in [&b""[..], b"\x10\x0e\0\x04MQTT\x04\x02\0\0\0\x02me"] {
        let (whole, bytes) = (run(first, data.len().max(1)), run(first, 1));
        assert_eq!(whole.0, bytes.0);
        // Answers that wait for a handler may come before or after those that don't.
        assert_eq!(whole.1.len(), bytes.1.len());
    }
}

/// Any text over Socket.IO is a message or refused, and the connection goes on unless it attacks.
pub(crate) fn socketio(data: &[u8]) {
    let now = Instant::now();
    let connector = socketio::Connector::new(socketio::Limits::default());
    let mut server = socketio::Server::new(&connector);
    server.poll_event(now);
    server.accept(None, now);
    server.poll_event(now);
    server.receive(Bytes::copy_from_slice(data), now);
    match server.poll_event(now) {
        Some(Event::Message(message)) => {
            text::read::<Value>(&message.body).expect("a body is JSON, or counts as such");
        }
        Some(
            Event::Refused { .. } | Event::Close(CloseReason::Attack | CloseReason::TooLong { .. }),
        ) => {}
        other => panic!("{other:?}"),
    }
}
