//! What must hold for any bytes: the fuzzer calls these with its own, the test with its corpus.

use std::time::{Duration, Instant};

use bytes::Bytes;
use serde_json::Value;
use shaddock_protocol::pomelo::{
    Client, ClientOptions, Config, Connector, Kind, Message, Package, Packages, Protos, Server,
    Strings,
};
use shaddock_protocol::{Dialect, Event};

/// Packages come out the same however they are cut, and no memory is taken on a header's word.
pub(crate) fn package(data: &[u8]) {
    let read = |piece: usize| {
        let mut stream = Packages::default();
        let mut packages = Vec::new();
        for chunk in data.chunks(piece) {
            stream.push(Bytes::copy_from_slice(chunk));
            loop {
                match stream.next(1 << 16) {
                    Ok(Some(package)) => packages.push(package),
                    Ok(None) => break,
                    Err(error) => return (packages, Some(error)),
                }
            }
            assert!(stream.capacity() <= 2 * data.len() + 64);
        }
        (packages, None)
    };
    let whole = read(data.len().max(1));
    assert_eq!(read(1), whole);
    assert_eq!(read(7), whole);
    for package in whole.0 {
        assert!(package.encode().is_ok());
    }
}

/// What is decoded is encoded to what decodes the same.
pub(crate) fn message(data: &[u8]) {
    let Ok(message) = Message::decode(Bytes::copy_from_slice(data)) else {
        return;
    };
    // A route that had to be repaired may have grown too long.
    if let Ok(encoded) = message.encode() {
        assert_eq!(Message::decode(encoded), Ok(message));
    }
}

/// Both machines live through any first bytes.
pub(crate) fn handshake(data: &[u8]) {
    let now = Instant::now();
    let connector = Connector::new(Config::default()).expect("it has no tables");
    let mut server = Server::new(&connector, now);
    let body = Bytes::copy_from_slice(data);
    let Ok(framed) = (Package { kind: Kind::Handshake, body }).encode() else {
        return;
    };
    server.receive(framed.clone(), now);
    while let Some(event) = server.poll_event(now) {
        if let Event::Handshake(_) = event {
            server.accept(None, now);
            server.receive(Bytes::copy_from_slice(data), now);
        }
    }
    server.handle_timeout(now + Duration::from_secs(10));
    server.poll_event(now);
    while server.poll_transmit().is_some() {}
    assert!(server.poll_event(now).is_none());

    let mut client = Client::new(ClientOptions::default(), now);
    client.receive(framed, now);
    while client.poll_event(now).is_some() {}
}

/// What is decoded is JSON, and if it can be encoded, decodes the same.
pub(crate) fn protobuf(data: &[u8]) {
    let file = r#"{
        "message N": { "optional N n": 1, "repeated N ns": 2, "repeated double d": 3 },
        "on": {
            "optional uInt32 u": 1, "optional sInt32 i": 2, "optional float f": 3,
            "optional string s": 4, "repeated uInt32 us": 5, "repeated string ss": 6,
            "optional N n": 7, "repeated int32 is": 16
        }
    }"#;
    let protos = Protos::parse(file, "{}").expect("the schema is sound");
    let schema = protos.server("on").expect("it is in the file");
    let Ok(json) = schema.decode(data) else {
        return;
    };
    serde_json::from_slice::<Value>(&json).expect("what is decoded is JSON");
    for strings in [Strings::Utf8, Strings::Surrogates] {
        // An empty array leaves no trace, so the second time may be shorter, but not the third.
        if let Ok(body) = schema.encode(&json, strings) {
            let json = schema.decode(&body).expect("it was just encoded");
            let Ok(again) = schema.encode(&json, strings) else {
                return;
            };
            assert_eq!(schema.decode(&again), Ok(json));
        }
    }
}

#[cfg(test)]
#[test]
fn the_corpora_hold() {
    for (name, target) in [
        ("package", package as fn(&[u8])),
        ("message", message),
        ("handshake", handshake),
        ("protobuf", protobuf),
    ] {
        let corpus = concat!(env!("CARGO_MANIFEST_DIR"), "/../../fuzz/corpus/").to_owned() + name;
        let files = std::fs::read_dir(&corpus).expect("the corpus is checked in");
        let ran = files.map(|file| target(&std::fs::read(file.unwrap().path()).unwrap())).count();
        assert!(5 <= ran, "{corpus} has {ran} files");
    }
}
