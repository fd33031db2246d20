//! Connections that are lost, and made anew.

use std::{io, sync::Arc};

use shaddock_client::{Reconnect, Status};
use shaddock_protocol::pomelo::{Dictionary, Kind, Package, Packages, Protos, Tables};
use shaddock_transport::{
    Incoming, Listener,
    memory::{MemoryConnector, MemoryListener, MemoryWire},
};
use tokio::time::{Instant, sleep};

use super::*;

const ECHO: &str = "connector.entryHandler.echo";

/// In the room that most tests have for chance.
const SEED: Option<u64> = Some(1);

fn plan() -> Reconnect {
    Reconnect { seed: SEED, ..Reconnect::default() }
}

/// Connects the client to a listener in memory.
async fn connect(builder: Builder, to: &MemoryConnector) -> Result<Client, ConnectError> {
    let to = to.clone();
    let dial = move || {
        let to = to.clone();
        async move { to.connect().await }
    };
    builder.connect_with(dial).await
}

/// The server of the next connection, before the handshake.
async fn accept(listener: &mut MemoryListener, config: &Config) -> TestServer<MemoryWire> {
    TestServer::new(listener.accept().await.unwrap().open().await.unwrap(), config.clone())
}

/// The server of the next connection, after the handshake.
async fn accept_in(listener: &mut MemoryListener) -> TestServer<MemoryWire> {
    let mut server = accept(listener, &Config::default()).await;
    server.let_in(None).await;
    server
}

/// A client that comes back, its server, and where its next server listens.
async fn returning(builder: Builder) -> (Client, TestServer<MemoryWire>, MemoryListener) {
    let (mut listener, connector) = memory::listen(memory::CAPACITY);
    let (client, server) = tokio::join!(connect(builder, &connector), accept_in(&mut listener));
    (client.unwrap(), server, listener)
}

/// Answers the next message, which must be a request, with what it said.
async fn echo(server: &mut TestServer<MemoryWire>) -> Value {
    let (message, body) = asked(server.event().await.unwrap());
    server.answer(&message, body.clone()).await;
    body
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_is_made_anew_and_pushes_go_on() {
    let (client, mut server, mut listener) = returning(Client::builder().reconnect(plan())).await;
    let mut status = client.status();
    assert_eq!(*status.borrow_and_update(), Status::Connected { connections: 1 });
    let mut pushes = client.pushes("onChat");
    server.push("onChat", json!(1)).await;

    let lose = async {
        asked(server.event().await.unwrap());
        server.close().await;
    };
    let (error, ()) = tokio::join!(client.request::<Value>(ECHO, json!({})), lose);
    let lost = CloseReason::Ended;
    assert!(matches!(error.unwrap_err(), RequestError::Closed(reason) if reason == lost));
    assert_eq!(*status.borrow_and_update(), Status::Reconnecting { attempt: 1, reason: lost });

    let mut server = accept_in(&mut listener).await;
    status.changed().await.unwrap();
    assert_eq!(*status.borrow_and_update(), Status::Connected { connections: 2 });
    let (answer, _) =
        tokio::join!(client.request::<Value>(ECHO, json!({ "n": 1 })), echo(&mut server));
    assert_eq!(answer.unwrap(), json!({ "n": 1 }));
    server.push("onChat", json!(2)).await;
    for n in 1..=2 {
        assert_eq!(pushes.next().await.unwrap().json::<u8>().unwrap(), n);
    }
    client.disconnect().await;
    assert_eq!(*status.borrow(), Status::Closed(CloseReason::Disconnected));
}

#[tokio::test(start_paused = true)]
async fn attempts_are_further_and_further_apart_until_it_is_given_up() {
    let plan = Reconnect { attempts: Some(5), longest: Duration::from_secs(3), ..plan() };
    let (client, mut server, listener) = returning(Client::builder().reconnect(plan)).await;
    let mut status = client.status();
    status.mark_unchanged();
    drop(listener);
    server.close().await;

    let mut begun = Instant::now();
    status.changed().await.unwrap();
    for (attempt, whole) in [(1, 500), (2, 1000), (3, 2000), (4, 3000), (5, 3000)] {
        let whole = Duration::from_millis(whole);
        let expected = Status::Reconnecting { attempt, reason: CloseReason::Ended };
        assert_eq!(*status.borrow_and_update(), expected);
        status.changed().await.unwrap();
        let waited = begun.elapsed();
        assert!(whole / 2 <= waited && waited <= whole + TICK, "{attempt}: {waited:?}");
        begun = Instant::now();
    }
    let last = "could not connect: connection refused".to_owned();
    assert_eq!(client.closed().await, CloseReason::GaveUp { attempts: 5, last });
}

/// The least that tokio's clock can tell.
const TICK: Duration = Duration::from_millis(1);

#[tokio::test(start_paused = true)]
async fn whoever_is_kicked_stays_away() {
    let (client, mut server, listener) = returning(Client::builder().reconnect(plan())).await;
    server.kick(Some("bye")).await;
    assert_eq!(client.closed().await, CloseReason::Kicked(Some("bye".to_owned())));
    nobody_comes(listener).await;
}

#[tokio::test(start_paused = true)]
async fn whoever_is_refused_when_coming_back_stays_away() {
    let (client, mut server, mut listener) = returning(Client::builder().reconnect(plan())).await;
    server.close().await;
    accept(&mut listener, &Config::default()).await.refuse(501).await;
    let answer = json!({ "code": 501, "msg": "go away" });
    assert_eq!(client.closed().await, CloseReason::Refused { code: 501, answer });
    nobody_comes(listener).await;
}

async fn nobody_comes(mut listener: MemoryListener) {
    let come = tokio::time::timeout(Duration::from_secs(600), listener.accept()).await;
    assert!(come.is_err(), "{come:?}");
}

#[tokio::test(start_paused = true)]
async fn a_first_connection_is_not_tried_twice() {
    let (listener, connector) = memory::listen(memory::CAPACITY);
    drop(listener);
    let builder = Client::builder().reconnect(plan());
    let mut pushes = builder.pushes_all();
    let error = connect(builder, &connector).await.unwrap_err();
    let ConnectError::Dial(cause) = error else { panic!("{error:?}") };
    assert_eq!(cause.downcast::<io::Error>().unwrap().kind(), io::ErrorKind::ConnectionRefused);
    assert_eq!(pushes.next().await, None);
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_left_and_come_back_to() {
    let (mut listener, connector) = memory::listen(memory::CAPACITY);
    let config = Config { heartbeat: Some(Duration::from_secs(3)), ..Config::default() };
    let serve = async {
        let mut server = accept(&mut listener, &config).await;
        server.let_in(None).await;
        server
    };
    let builder = Client::builder().reconnect(plan());
    let (client, _silent) = tokio::join!(connect(builder, &connector), serve);
    let client = client.unwrap();
    let mut status = client.status();
    status.changed().await.unwrap();
    let reason = CloseReason::HeartbeatTimeout;
    assert_eq!(*status.borrow(), Status::Reconnecting { attempt: 1, reason });
    let mut server = accept_in(&mut listener).await;
    let asking = client.request::<Value>(ECHO, json!({ "n": 1 }));
    let (answer, _) = tokio::join!(asking, echo(&mut server));
    assert_eq!(answer.unwrap(), json!({ "n": 1 }));
    assert_eq!(client.heartbeat(), None, "the second server wants none");
}

#[tokio::test(start_paused = true)]
async fn a_server_that_accepts_and_does_not_answer_is_left_in_time() {
    let builder = Client::builder().reconnect(plan()).connect_timeout(Duration::from_secs(2));
    let (client, mut server, mut listener) = returning(builder).await;
    server.close().await;
    let mut silent = accept(&mut listener, &Config::default()).await;
    assert!(matches!(silent.event().await, Some(Event::Handshake(_))));
    let begun = Instant::now();
    assert!(silent.event().await.is_none());
    assert_eq!(begun.elapsed(), Duration::from_secs(2));
    accept_in(&mut listener).await;
    drop(client);
}

#[tokio::test(start_paused = true)]
async fn logging_in_comes_before_all_else_each_time() {
    let builder =
        Client::builder().reconnect(Reconnect { queue: 2, ..plan() }).log_in(async |client| {
            Ok(client.request_raw(ECHO, r#""log in""#.into()).await.map(drop)?)
        });
    let (mut listener, connector) = memory::listen(memory::CAPACITY);
    let serve = async {
        let mut server = accept_in(&mut listener).await;
        assert_eq!(echo(&mut server).await, "log in");
        server
    };
    let (client, mut server) = tokio::join!(connect(builder, &connector), serve);
    let client = client.unwrap();
    server.close().await;
    client.status().changed().await.unwrap();

    let ask = client.request::<Value>(ECHO, json!("me too"));
    let tell = client.notify(ECHO, json!("and this"));
    let serve = async {
        let mut server = accept_in(&mut listener).await;
        let (log_in, body) = asked(server.event().await.unwrap());
        assert_eq!(body, "log in");
        let early = tokio::time::timeout(Duration::from_secs(1), server.event()).await;
        assert!(early.is_err(), "{early:?}");
        server.answer(&log_in, json!(null)).await;
        assert_eq!(echo(&mut server).await, "me too");
        let (_, body) = asked(server.event().await.unwrap());
        assert_eq!(body, "and this");
    };
    let (asked, told, ()) = tokio::join!(biased; ask, tell, serve);
    asked.unwrap();
    told.unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_login_without_an_answer_is_tried_again_and_one_that_fails_is_the_end() {
    let builder = Client::builder().reconnect(plan()).log_in(async |client| {
        let answer: Value = client.request(ECHO, json!("log in")).await?;
        match answer["code"].as_u64() {
            Some(200) => Ok(()),
            code => Err(format!("the server says {code:?}").into()),
        }
    });
    let (mut listener, connector) = memory::listen(memory::CAPACITY);
    let mut serve = async |code: Option<u16>| {
        let mut server = accept_in(&mut listener).await;
        let (message, _) = asked(server.event().await.unwrap());
        if let Some(code) = code {
            server.answer(&message, json!({ "code": code })).await;
        }
        server
    };
    let (client, mut server) = tokio::join!(connect(builder, &connector), serve(Some(200)));
    let client = client.unwrap();
    for code in [None, None, Some(403)] {
        server.close().await;
        server = serve(code).await;
    }
    // A close at once must not hide what was said before.
    server.close().await;
    let said = "the server says Some(403)".to_owned();
    assert_eq!(client.closed().await, CloseReason::LogIn(said));
    nobody_comes(listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_first_login_that_fails_is_an_error() {
    let (ours, theirs) = memory::pair();
    let mut server = TestServer::new(theirs, Config::default());
    let builder = Client::builder().log_in(async |_| Err("nobody told me the password".into()));
    let (client, _) = tokio::join!(builder.over(ours), server.accept(None));
    let error = client.unwrap_err();
    let ConnectError::LogIn(cause) = error else { panic!("{error:?}") };
    assert_eq!(cause.to_string(), "nobody told me the password");
}

#[tokio::test(start_paused = true)]
async fn what_is_said_meanwhile_is_refused_unless_there_is_room() {
    for queue in [0, 2] {
        let plan = Reconnect { queue, ..plan() };
        let (client, mut server, mut listener) = returning(Client::builder().reconnect(plan)).await;
        server.close().await;
        client.status().changed().await.unwrap();

        let say = async |n: usize| client.notify(ECHO, json!(n)).await;
        let serve = async {
            let mut server = accept_in(&mut listener).await;
            for n in 0..queue {
                let (_, body) = asked(server.event().await.unwrap());
                assert_eq!(body, n);
            }
            server
        };
        let (one, two, three, mut server) = tokio::join!(biased; say(0), say(1), say(2), serve);
        for (n, said) in [one, two, three].into_iter().enumerate() {
            match said {
                Ok(()) => assert!(n < queue, "{n} of {queue} went"),
                Err(RequestError::Reconnecting) => {
                    assert!(queue <= n, "{n} of {queue} was refused")
                }
                Err(other) => panic!("{other:?}"),
            }
        }
        let (answer, _) =
            tokio::join!(client.request::<Value>(ECHO, json!("now")), echo(&mut server));
        assert_eq!(answer.unwrap(), "now");
    }
}

#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_any_more_is_not_said_late_and_leaves_its_room() {
    let plan = Reconnect { queue: 1, ..plan() };
    let builder = Client::builder().reconnect(plan).request_timeout(Duration::from_millis(10));
    let (client, mut server, mut listener) = returning(builder).await;
    server.close().await;
    client.status().changed().await.unwrap();
    for n in 0..3 {
        let error = client.request::<Value>(ECHO, json!(n)).await.unwrap_err();
        assert!(matches!(error, RequestError::TimedOut(_)), "{error:?}");
    }
    let serve = async {
        let mut server = accept_in(&mut listener).await;
        let (_, body) = asked(server.event().await.unwrap());
        assert_eq!(body, "now");
    };
    let (told, ()) = tokio::join!(client.notify(ECHO, json!("now")), serve);
    told.unwrap();
}

#[tokio::test(start_paused = true)]
async fn who_disconnects_meanwhile_does_not_come_back() {
    let plan = Reconnect { queue: 1, ..plan() };
    let (client, mut server, listener) = returning(Client::builder().reconnect(plan)).await;
    server.close().await;
    client.status().changed().await.unwrap();
    let (waits, ()) = tokio::join!(biased; client.notify(ECHO, json!({})), client.disconnect());
    let over = CloseReason::Disconnected;
    assert!(matches!(waits.unwrap_err(), RequestError::Closed(reason) if reason == over));
    assert_eq!(client.closed().await, over);
    nobody_comes(listener).await;
}

#[tokio::test(start_paused = true)]
async fn without_handles_nobody_comes_back() {
    let (client, mut server, listener) = returning(Client::builder().reconnect(plan())).await;
    let mut pushes = client.pushes_all();
    server.close().await;
    client.status().changed().await.unwrap();
    drop(client);
    assert_eq!(pushes.next().await, None);
    nobody_comes(listener).await;
}

#[tokio::test(start_paused = true)]
async fn a_connection_that_lasts_starts_the_waits_over() {
    let plan = Reconnect { attempts: Some(1), longest: Duration::from_secs(5), ..plan() };
    let (client, mut server, mut listener) = returning(Client::builder().reconnect(plan)).await;
    for _ in 0..3 {
        sleep(Duration::from_secs(5)).await;
        server.close().await;
        server = accept_in(&mut listener).await;
    }
    server.close().await;
    let last = "closed by the server".to_owned();
    assert_eq!(client.closed().await, CloseReason::GaveUp { attempts: 1, last });
}

#[tokio::test(start_paused = true)]
async fn tables_are_not_sent_again() {
    const MOVE: &str = "area.playerHandler.move";
    let schema = r#"{ "area.playerHandler.move": { "required uInt32 x": 1 } }"#;
    let protos = Protos::parse(schema, schema).unwrap();
    let dictionary = Dictionary::build([MOVE], ["onMove"]).unwrap();
    let versions = [dictionary.version().to_owned(), protos.version().to_owned()];
    let tables = Tables { dictionary: Some(Arc::new(dictionary)), protos: Some(Arc::new(protos)) };
    let config = Config { tables: tables.into(), ..Config::default() };
    let (mut listener, connector) = memory::listen(memory::CAPACITY);
    let serve = async {
        let mut server = accept(&mut listener, &config).await;
        server.let_in(None).await;
        server
    };
    let builder = Client::builder().reconnect(plan());
    let (client, mut server) = tokio::join!(connect(builder, &connector), serve);
    let client = client.unwrap();
    server.close().await;

    let mut wire = listener.accept().await.unwrap().open().await.unwrap();
    let mut packages = Packages::default();
    let hello: Value =
        serde_json::from_slice(&next_package(&mut wire, &mut packages).await).unwrap();
    assert_eq!(
        versions.map(Value::from),
        [&hello["sys"]["dictVersion"], &hello["sys"]["protoVersion"]].map(Value::clone)
    );
    let answer = json!({ "code": 200, "sys": { "useDict": true, "useProto": true } }).to_string();
    wire.send(&Package { kind: Kind::Handshake, body: answer.into() }.encode().unwrap());
    wire.flush().await.unwrap();
    assert!(next_package(&mut wire, &mut packages).await.is_empty());
    // The code of the route, and a varint of 300.
    client.status().wait_for(|status| matches!(status, Status::Connected { .. })).await.unwrap();
    client.notify(MOVE, json!({ "x": 300 })).await.unwrap();
    assert_eq!(next_package(&mut wire, &mut packages).await, &b"\x03\0\x01\x08\xac\x02"[..]);
}

async fn next_package(wire: &mut MemoryWire, packages: &mut Packages) -> bytes::Bytes {
    loop {
        if let Some(package) = packages.next(1 << 20).unwrap() {
            return package.body;
        }
        packages.push(wire.receive().await.unwrap().unwrap());
    }
}
