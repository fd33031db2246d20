//! Rude clients: whatever they send, they get an answer or a close, and others notice nothing.

use bytes::Bytes;
use serde_json::json;
use shaddock::testing::{self, TestApp};
use shaddock::{Msg, Result, Server, Session};
use shaddock_protocol::pomelo::{Kind, Message, WireRoute};
use tokio::time::{Duration, sleep};

use crate::raw::{HANDSHAKE, Raw, notify, request};
use serde_json::value::RawValue;

async fn echo(Msg(message): Msg<Box<RawValue>>) -> Result<Box<RawValue>> {
    Ok(message)
}

async fn who(session: Session) -> Result<()> {
    session.uid()?;
    Ok(())
}

async fn start(toml: &str) -> TestApp {
    let app = testing::app_with(&["connector", "gate"], &["chat"], toml);
    let both = |server: Server| server.on("a.echo", echo).on("a.who", who);
    let app =
        app.server(both(Server::frontend("connector"))).server(both(Server::frontend("gate")));
    TestApp::start(app.server(both(Server::backend("chat")))).await
}

/// That a connection still works.
async fn works(client: &mut Raw) {
    client.ask(4_242, "connector.a.echo", "1").await;
    assert_eq!(client.answer().await, (4_242, "1".to_owned()));
}

const FAILED: &str = r#"{"code":500}"#;

#[tokio::test(start_paused = true)]
async fn a_body_that_is_no_json_comes_in_as_an_empty_object() {
    let app = start("").await;
    let mut client = Raw::enter(&app).await;
    for (id, body) in (1..).zip([&b""[..], b"{", b"nonsense", b"\xff\xfe", b"{\"a\":\"\xff\"}"]) {
        for route in ["connector.a.echo", "chat.a.echo"] {
            let route = WireRoute::Text(route.into());
            let request = Message::Request { id, route, body: Bytes::from_static(body) };
            client.send(request.package().unwrap()).await;
            let (answered, reply) = client.answer().await;
            assert_eq!(answered, id);
            assert!(reply == "{}" || reply.contains('\u{fffd}'), "{body:?}: {reply}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn json_of_any_shape_is_a_body() {
    let app = start("").await;
    let mut client = Raw::enter(&app).await;
    for (id, body) in
        (1..).zip(["[]", "[1,[2]]", "null", "true", "0", r#""text""#, r#"{"__proto__":1}"#])
    {
        for route in ["connector.a.echo", "chat.a.echo"] {
            client.ask(id, route, body).await;
            let expected = if body == "null" { "{}" } else { body };
            assert_eq!(client.answer().await, (id, expected.to_owned()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_route_that_leads_nowhere_is_answered() {
    let app = start("").await;
    let mut client = Raw::enter(&app).await;
    let routes = [
        "connector.a.nobody",
        "connector.b.echo",
        "area.a.echo",
        "chat.a.nobody",
        "gate.a.nobody",
        "a.b",
        "__proto__",
        "__proto__.a.b",
        "connector.__proto__.toString",
        "nodot",
        "",
        "...",
        "connector..echo",
        "a.b.c.d",
        "connector.a.ECHO",
        " ",
    ];
    for (id, route) in (1..).zip(routes) {
        client.ask(id, route, "{}").await;
        assert_eq!(client.answer().await, (id, FAILED.to_owned()), "{route:?}");
    }
    for (id, code) in (100..).zip([0, 1, 65_535]) {
        let request = Message::Request { id, route: WireRoute::Code(code), body: "{}".into() };
        client.send(request.package().unwrap()).await;
        assert_eq!(client.answer().await, (id, FAILED.to_owned()), "{code}");
    }
    works(&mut client).await;
}

#[tokio::test(start_paused = true)]
async fn messages_that_are_none_are_not_the_end() {
    let app = start("").await;
    let mut client = Raw::enter(&app).await;
    let messages: [&[u8]; 8] = [
        // No message at all, which killed pomelo's process.
        b"",
        // Half a flag, a response, a push, an id without an end, a route that is cut off.
        b"\x0e",
        b"\x04\x01{}",
        b"\x06\x05onAdd{}",
        b"\x00\xff\xff\xff\xff\xff\xff",
        b"\x00",
        b"\x02\xffab",
        b"\xff\xff\xff\xff",
    ];
    for message in messages {
        let mut package = vec![4, 0, 0, u8::try_from(message.len()).unwrap()];
        package.extend(message);
        client.send(package).await;
    }
    works(&mut client).await;
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_cut_off_after_its_id_is_answered() {
    let app = start("").await;
    let mut client = Raw::enter(&app).await;
    for message in [&b"\x00\x07"[..], b"\x00\x07\x09conn", b"\x01\x07\x00"] {
        let mut package = vec![4, 0, 0, u8::try_from(message.len()).unwrap()];
        package.extend(message);
        client.send(package).await;
        assert_eq!(client.answer().await, (7, FAILED.to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn a_chat_before_the_login_is_answered() {
    let app = start("").await;
    let mut client = Raw::enter(&app).await;
    client.ask(1, "chat.a.who", "{}").await;
    assert_eq!(client.answer().await, (1, FAILED.to_owned()));
}

#[tokio::test(start_paused = true)]
async fn what_comes_before_the_handshake_is_answered_after_it() {
    let app = start("").await;
    let mut client = Raw::connect(&app).await;
    client.ask(1, "connector.a.echo", "1").await;
    client.say(Kind::Handshake, HANDSHAKE).await;
    client.ask(2, "chat.a.echo", "2").await;
    assert_eq!(client.said().await.map(|package| package.kind), Some(Kind::Handshake));
    client.say(Kind::Ack, "").await;
    assert_eq!(client.answer().await, (1, "1".to_owned()));
    assert_eq!(client.answer().await, (2, "2".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn too_much_before_the_handshake_is_the_end() {
    let app = start("").await;
    let mut client = Raw::connect(&app).await;
    for id in 1..2_000 {
        client.ask(id, "connector.a.echo", "1").await;
    }
    client.closed().await;
}

#[tokio::test(start_paused = true)]
async fn a_bad_handshake_is_refused_and_closed() {
    let app = start("").await;
    for handshake in ["", "nonsense", "[]", "{}", "null", "\u{fffd}"] {
        let mut client = Raw::connect(&app).await;
        client.say(Kind::Handshake, handshake).await;
        let answer = client.package().await.expect("an answer");
        assert_eq!(
            (answer.kind, &answer.body[..]),
            (Kind::Handshake, FAILED.as_bytes()),
            "{handshake:?}"
        );
        client.closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_second_handshake_changes_nothing() {
    let app = start("").await;
    let mut client = Raw::enter(&app).await;
    client.say(Kind::Handshake, HANDSHAKE).await;
    client.say(Kind::Handshake, "nonsense").await;
    client.say(Kind::Ack, "").await;
    works(&mut client).await;
}

#[tokio::test(start_paused = true)]
async fn bytes_that_are_no_package_are_the_end() {
    let app = start("").await;
    let hello: [&[u8]; 6] = [
        b"\0\0\0\0",
        b"\x63\0\0\0",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc",
        b"\x09\0\0\0",
        b"\x05\0\0\0",
        b"\xde\xad\xbe\xef\xde\xad\xbe\xef",
    ];
    for bytes in hello {
        let mut client = Raw::connect(&app).await;
        client.send(Bytes::from_static(bytes)).await;
        client.closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn heads_that_claim_everything_cost_nothing() {
    let app = start("").await;
    let honest = app.connect("connector-1").await;
    let mut clients = Vec::new();
    for _ in 0..500 {
        let mut client = Raw::connect(&app).await;
        client.send(Bytes::from_static(b"\x04\xff\xff\xff")).await;
        clients.push(client);
    }
    for client in &mut clients {
        client.closed().await;
    }
    assert_eq!(honest.request("connector.a.echo", 1).await, 1);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(app.server("connector-1").session_count(), 1);
}

#[tokio::test(start_paused = true)]
async fn those_who_say_nothing_or_half_of_it_are_closed() {
    let app = start("").await;
    let mut clients = Vec::new();
    for bytes in [&b""[..], b"\x01", b"\x01\0\0", b"\x01\0\0\x20{\"sys\"", b"\x03\0\0\0"] {
        for _ in 0..20 {
            let mut client = Raw::connect(&app).await;
            client.send(Bytes::from_static(bytes)).await;
            clients.push(client);
        }
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(app.server("connector-1").session_count(), 100);
    for client in &mut clients {
        client.closed().await;
    }
    sleep(Duration::from_secs(1)).await;
    assert_eq!(app.server("connector-1").session_count(), 0);
}

#[tokio::test(start_paused = true)]
async fn who_never_answers_a_heartbeat_is_closed() {
    let app = start("[frontend]\nheartbeat = 3").await;
    let begun = tokio::time::Instant::now();
    let mut client = Raw::enter(&app).await;
    client.closed().await;
    assert!((6_000..6_100).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    // Whoever does answer stays, and any package is a sign of life.
    let honest = app.connect("connector-1").await;
    let mut chatty = Raw::enter(&app).await;
    for _ in 0..20 {
        sleep(Duration::from_secs(3)).await;
        chatty.send(notify("connector.a.echo", "1")).await;
    }
    works(&mut chatty).await;
    assert_eq!(honest.request("connector.a.echo", 1).await, 1);
}

#[tokio::test(start_paused = true)]
async fn where_there_is_no_heartbeat_nobody_is_missed() {
    let app = start("").await;
    let mut client = Raw::enter(&app).await;
    sleep(Duration::from_secs(10 * 60)).await;
    works(&mut client).await;
}

/// Bytes that look random and are the same in every run.
fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let byte = |_| {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[3]
    };
    (0..len).map(byte).collect()
}

#[tokio::test(start_paused = true)]
async fn noise_never_harms_another() {
    let app = start("").await;
    let honest = app.connect("connector-1").await;
    for seed in 0..200 {
        let noise = noise(seed, 64);
        // As it is, and as messages of a client that is inside.
        let mut client = Raw::connect(&app).await;
        client.send(noise.clone()).await;
        let mut client = Raw::enter(&app).await;
        let mut package = vec![4, 0, 0, 64];
        package.extend(&noise);
        client.send(package).await;
        let mut request = request(1, "chat.a.echo", "{}").to_vec();
        let at = usize::from(noise[0]) % (request.len() - 4);
        request[4 + at] ^= noise[1] | 1;
        client.send(request).await;
        assert_eq!(
            honest.request("chat.a.echo", json!([seed])).await,
            json!([seed]),
            "seed {seed}"
        );
    }
}
