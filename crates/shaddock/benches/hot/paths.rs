//! The ways that most messages go, each ready to be gone any number of times.
//!
//! All of it in memory, in one thread and with paused time, so that every run does the same.

use std::hint::black_box;
use std::sync::Arc;
use std::time::Instant;

use bytes::Bytes;
use serde::{Deserialize, Serialize};
use shaddock::testing::{self, TestApp};
use shaddock::{Channels, Msg, Result, Server, Session};
use shaddock_protocol::pomelo::{
    self, Config, Connector, Dictionary, Kind, Message, Package, Protos, Tables, WireRoute,
};
use shaddock_protocol::{Dialect, Event};
use shaddock_transport::Wire;
use shaddock_transport::memory::MemoryWire;
use tokio::runtime::{Builder, Runtime};

/// A way that messages go.
pub(crate) struct Path {
    pub(crate) name: &'static str,
    /// What happens in one round, as often as this.
    pub(crate) each: u64,
    /// How many rounds are enough to count instructions.
    pub(crate) rounds: u64,
    /// Makes all that is needed, and gives what goes that many rounds.
    pub(crate) ready: fn() -> Go,
}

/// Goes that many rounds.
pub(crate) type Go = Box<dyn FnMut(u64)>;

pub(crate) const PATHS: &[Path] = &[
    Path {
        name: "codec, JSON",
        each: 1,
        rounds: 2_000,
        ready: || codec("connector.entryHandler.echo"),
    },
    Path {
        name: "codec, protobuf",
        each: 1,
        rounds: 2_000,
        ready: || codec("chat.chatHandler.echo"),
    },
    Path {
        name: "dispatch, on the front-end",
        each: 1,
        rounds: 1_000,
        ready: || dispatch("connector.entryHandler.echo"),
    },
    Path {
        name: "dispatch, to a back-end",
        each: 1,
        rounds: 1_000,
        ready: || dispatch("chat.chatHandler.echo"),
    },
    Path { name: "fan-out, a copy of 1,000", each: MEMBERS, rounds: 10, ready: fan_out },
];

/// How many hear a push.
const MEMBERS: u64 = 1_000;

/// What somebody says, and hears again.
#[derive(Serialize, Deserialize)]
struct Say {
    content: String,
    from: String,
    target: String,
}

/// The same as JSON.
const SAY: &[u8] = br#"{"content":"hello, everyone in here","from":"py","target":"*"}"#;

/// A request is decoded, and an answer that says the same is encoded. Routes are numbers, and what goes to the chat
/// and comes from it is protobuf.
fn codec(route: &str) -> Go {
    let schema = r#"{ "chat.chatHandler.echo": {
        "required string content": 1, "required string from": 2, "required string target": 3
    } }"#;
    let routes = ["chat.chatHandler.echo", "connector.entryHandler.echo"];
    let tables = Arc::new(Tables {
        dictionary: Some(Arc::new(Dictionary::build(routes, ["onChat"]).unwrap())),
        protos: Some(Arc::new(Protos::parse(schema, schema).unwrap())),
    });
    let connector = Connector::new(Config { tables, ..Config::default() }).unwrap();

    let now = Instant::now();
    let mut server = pomelo::Server::new(&connector, now);
    let mut client = pomelo::Client::new(pomelo::ClientOptions::default(), now);
    server.receive(client.poll_transmit().unwrap(), now);
    assert!(matches!(server.poll_event(now), Some(Event::Handshake(_))));
    server.accept(None, now);
    client.receive(server.poll_transmit().unwrap(), now);
    client.poll_event(now).unwrap();
    server.receive(client.poll_transmit().unwrap(), now);
    assert!(matches!(server.poll_event(now), Some(Event::Ready)));

    let request = client.request(1.try_into().unwrap(), route, &Bytes::from_static(SAY)).unwrap();
    Box::new(move |rounds| {
        for _ in 0..rounds {
            server.receive(black_box(request.clone()), now);
            let Some(Event::Message(message)) = server.poll_event(now) else {
                panic!("no message")
            };
            assert_eq!(message.body, SAY);
            let id = message.id.unwrap();
            black_box(server.voice().response(id, &message.route, &message.body).unwrap());
        }
    })
}

/// A request goes to its handler, and the answer comes back.
fn dispatch(route: &str) -> Go {
    let runtime = runtime();
    let (app, mut wire) = runtime.block_on(async {
        let app = start().await;
        let wire = enter(&app, 0).await;
        (app, wire)
    });
    let request = request(route, SAY);
    Box::new(move |rounds| {
        let _running = &app;
        runtime.block_on(async {
            for _ in 0..rounds {
                let answer = ask(&mut wire, &request).await;
                assert!(answer.ends_with(SAY), "{answer:?}");
            }
        });
    })
}

/// A back-end pushes to a channel, and all of its members, on one front-end, hear it.
fn fan_out() -> Go {
    let runtime = runtime();
    let (app, mut wires) = runtime.block_on(async {
        let app = start().await;
        let mut wires = Vec::new();
        for number in 0..MEMBERS {
            wires.push(enter(&app, number).await);
        }
        (app, wires)
    });
    let room = app.server("chat-1").channels().get("room").expect("all have entered it");
    let say: Say = serde_json::from_slice(SAY).unwrap();
    Box::new(move |rounds| {
        let _running = &app;
        runtime.block_on(async {
            for _ in 0..rounds {
                room.push("onChat", &say).unwrap();
                for wire in &mut wires {
                    let heard = wire.receive().await.unwrap().unwrap();
                    assert!(heard.ends_with(SAY), "{heard:?}");
                }
            }
        });
    })
}

/// A runtime of one thread, whose clock stands still while there is anything to do.
fn runtime() -> Runtime {
    Builder::new_current_thread().enable_time().start_paused(true).build().unwrap()
}

async fn echo(Msg(say): Msg<Say>) -> Result<Say> {
    Ok(say)
}

async fn log_in(session: Session, Msg(uid): Msg<String>) -> Result<()> {
    Ok(session.bind_unique(uid).await?)
}

async fn join(session: Session, channels: Channels) -> Result<()> {
    channels.open("room").join(session.member()?);
    Ok(())
}

/// A front-end and a back-end.
async fn start() -> TestApp {
    let connector = Server::frontend("connector")
        .on("entryHandler.echo", echo)
        .on("entryHandler.logIn", log_in);
    let chat = Server::backend("chat").on("chatHandler.echo", echo).on("chatHandler.join", join);
    TestApp::start(testing::app(&["connector"], &["chat"]).server(connector).server(chat)).await
}

/// A client that has logged in and is in the room.
async fn enter(app: &TestApp, number: u64) -> MemoryWire {
    let mut wire = app.wire("connector-1").await;
    let hello = Package { kind: Kind::Handshake, body: Bytes::from_static(br#"{"sys":{}}"#) };
    ask(&mut wire, &hello.encode().unwrap()).await;
    wire.send(&Package { kind: Kind::Ack, body: Bytes::new() }.encode().unwrap());

    let uid = format!(r#""user {number}""#);
    for (route, body) in
        [("connector.entryHandler.logIn", uid.as_bytes()), ("chat.chatHandler.join", b"{}")]
    {
        let answer = ask(&mut wire, &request(route, body)).await;
        assert!(answer.ends_with(b"{}"), "{answer:?}");
    }
    wire
}

/// A request, as a client sends it.
fn request(route: &str, body: &[u8]) -> Bytes {
    let (route, body) = (WireRoute::Text(route.into()), Bytes::copy_from_slice(body));
    Message::Request { id: 1, route, body }.package().unwrap()
}

/// Sends what is answered by one package.
async fn ask(wire: &mut MemoryWire, question: &Bytes) -> Bytes {
    wire.send(question);
    wire.flush().await.unwrap();
    wire.receive().await.unwrap().unwrap()
}
