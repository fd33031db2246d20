//! How long a server takes to decode a request and to encode an answer: `cargo bench -p shaddock-protocol`.

use std::hint::black_box;
use std::num::NonZeroU32;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use shaddock_protocol::pomelo::{
    Client, ClientOptions, Config, Connector, Dictionary, Protos, Server, Tables,
};
use shaddock_protocol::{Dialect, Event};

const ROUTE: &str = "chat.chatHandler.send";

const BODY: &[u8] = br#"{"content":"hello, everyone in here","from":"py","target":"*"}"#;

const SCHEMA: &str = r#"{ "chat.chatHandler.send": {
    "required string content": 1, "required string from": 2, "required string target": 3
} }"#;

fn codecs(criterion: &mut Criterion) {
    let dictionary = Some(Arc::new(Dictionary::build([ROUTE], [""; 0]).unwrap()));
    let protos = Some(Arc::new(Protos::parse(SCHEMA, SCHEMA).unwrap()));
    for (name, tables) in [
        ("JSON", Tables::default()),
        ("JSON, with a dictionary", Tables { dictionary: dictionary.clone(), protos: None }),
        ("protobuf, with a dictionary", Tables { dictionary, protos }),
    ] {
        codec(criterion, name, tables);
    }
}

fn codec(criterion: &mut Criterion, name: &str, tables: Tables) {
    let config = Config { tables: Arc::new(tables), ..Config::default() };
    let (mut server, mut client) = connected(&Connector::new(config).unwrap());
    let (id, body) = (NonZeroU32::MIN, Bytes::from_static(BODY));
    let request = client.request(id, ROUTE, &body).unwrap();

    let now = Instant::now();
    let mut decode = || {
        server.receive(black_box(request.clone()), now);
        match server.poll_event(now) {
            Some(Event::Message(message)) => message,
            other => panic!("no message: {other:?}"),
        }
    };
    let message = decode();
    assert_eq!(message.body, body);
    let mut group = criterion.benchmark_group(name);
    group.throughput(Throughput::Elements(1));
    group.bench_function("a request decoded", |bencher| bencher.iter(&mut decode));
    let voice = server.voice();
    group.bench_function("an answer encoded", |bencher| {
        bencher.iter(|| voice.response(id, &message.route, black_box(&body)).unwrap());
    });
}

/// Both ends of a connection, through the handshake.
fn connected(connector: &Connector) -> (Server, Client) {
    let now = Instant::now();
    let mut server = Server::new(connector, now);
    let mut client = Client::new(ClientOptions::default(), now);
    server.receive(client.poll_transmit().expect("a client shakes hands first"), now);
    assert!(matches!(server.poll_event(now), Some(Event::Handshake(_))));
    server.accept(None, now);
    client.receive(server.poll_transmit().expect("the answer"), now);
    assert!(client.poll_event(now).is_some());
    server.receive(client.poll_transmit().expect("the ack"), now);
    assert!(matches!(server.poll_event(now), Some(Event::Ready)));
    (server, client)
}

criterion_group!(benches, codecs);
criterion_main!(benches);
