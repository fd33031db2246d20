//! Limits: what one client may use up, and that nobody else notices when it tries.

use serde_json::{Value, json};
use shaddock::config::{Config, Overrides};
use shaddock::testing::client::Client;
use shaddock::testing::{self, TestApp};
use shaddock::{App, Channels, Fault, Handler as _, Msg, Result, Server, Session};
use shaddock_protocol::pomelo::{Kind, Package};
use tokio::time::{Duration, Instant, sleep};

use crate::raw::{HANDSHAKE, Raw, notify, package, request};
use crate::waits::{Log, log, logged, wait};

async fn echo(Msg(message): Msg<Value>) -> Result<Value> {
    Ok(message)
}

async fn join(session: Session, channels: Channels, Msg(uid): Msg<String>) -> Result<()> {
    session.bind(uid).await?;
    channels.open("lobby").join(session.member()?);
    Ok(())
}

fn all(server: Server) -> Server {
    server
        .on("a.echo", echo)
        .on("a.wait", wait)
        .on("a.log", log)
        .on("a.overtake", wait.concurrent(1_000))
        .on("a.join", join)
}

async fn start(toml: &str) -> TestApp {
    let app = testing::app_with(&["connector"], &["chat"], toml).state(Log::default());
    TestApp::start(
        app.server(all(Server::frontend("connector"))).server(all(Server::backend("chat"))),
    )
    .await
}

/// The head of a package that claims `len` bytes.
fn head(kind: Kind, len: usize) -> Vec<u8> {
    let mut head = vec![kind as u8];
    head.extend(&u32::try_from(len).unwrap().to_be_bytes()[1..]);
    head
}

#[tokio::test(start_paused = true)]
async fn before_the_handshake_packages_are_short() {
    let app = start("").await;
    let mut client = Raw::connect(&app).await;
    let long = format!(r#"{{"sys":{{}},"user":"{}"}}"#, "x".repeat(4096));
    client.say(Kind::Handshake, &long).await;
    client.closed().await;
    // A head is enough: nothing is waited for that can't be taken.
    let mut client = Raw::connect(&app).await;
    client.send(head(Kind::Handshake, 4097)).await;
    client.closed().await;
    let mut client = Raw::connect(&app).await;
    let longest = format!("{HANDSHAKE:4096}");
    client.say(Kind::Handshake, &longest).await;
    assert_eq!(client.package().await.map(|answer| answer.kind), Some(Kind::Handshake));
}

#[tokio::test(start_paused = true)]
async fn after_the_handshake_packages_are_longer() {
    let app = start("").await;
    let client = app.connect("connector-1").await;
    let long = "x".repeat(60_000);
    assert_eq!(client.request("connector.a.echo", &long).await, json!(long));
    for len in [65_537, Package::MAX_BODY] {
        let mut client = Raw::enter(&app).await;
        client.send(head(Kind::Data, len)).await;
        client.closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn the_limits_of_packages_are_settings() {
    let app = start("[frontend.limits]\npackage = 200\nhandshake-package = 100").await;
    let mut client = Raw::connect(&app).await;
    client.send(head(Kind::Handshake, 101)).await;
    client.closed().await;
    let mut client = Raw::enter(&app).await;
    client.send(head(Kind::Data, 201)).await;
    client.closed().await;
}

#[tokio::test(start_paused = true)]
async fn handshake_and_ack_together_have_a_deadline() {
    let app = start("[frontend]\nhandshake-timeout = 3").await;
    for words in [&[][..], &[(Kind::Handshake, HANDSHAKE)]] {
        let begun = Instant::now();
        let mut client = Raw::connect(&app).await;
        for (kind, body) in words {
            sleep(Duration::from_secs(1)).await;
            client.say(*kind, body).await;
            assert_eq!(client.package().await.map(|answer| answer.kind), Some(Kind::Handshake));
        }
        client.closed().await;
        assert!((3_000..3_100).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
    }
    // Who is through has no such deadline.
    let client = app.connect("connector-1").await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(client.request("connector.a.echo", 1).await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_server_has_so_many_connections() {
    let servers = json!({ "development": { "connector": [{
        "id": "connector-1", "host": "127.0.0.1", "clientPort": 3050, "frontend": true, "max-connections": 3,
    }] } });
    let files = [("servers.json", servers.to_string())];
    let files = files.each_ref().map(|(name, text)| (*name, text.as_str()));
    let config = Config::embedded(&files, Some("development"), &Overrides::default()).unwrap();
    let app = TestApp::start(
        App::new(config).state(Log::default()).server(all(Server::frontend("connector"))),
    )
    .await;
    let mut inside = Vec::new();
    for _ in 0..3 {
        inside.push(app.connect("connector-1").await);
    }
    for _ in 0..10 {
        let refused = Client::builder().over(app.wire("connector-1").await).await;
        assert!(refused.is_err(), "a fourth one came in");
    }
    // Those inside notice nothing, and a place that is free is given away.
    assert_eq!(inside[0].request("connector.a.echo", 1).await, 1);
    inside.remove(0).leave().await;
    sleep(Duration::from_millis(10)).await;
    let client = app.connect("connector-1").await;
    assert_eq!(client.request("connector.a.echo", 2).await, 2);
}

/// A room with one who never reads, and two who do.
async fn flood(toml: &str, body: &str) {
    const PUSHES: usize = 3_000;
    let app = start(toml).await;
    let mut readers = Vec::new();
    for uid in ["py", "al"] {
        let client = app.connect("connector-1").await;
        assert_eq!(client.request("chat.a.join", uid).await, json!({}));
        readers.push(client);
    }
    let mut deaf = Raw::enter(&app).await;
    deaf.ask(1, "chat.a.join", r#""deaf""#).await;
    assert_eq!(deaf.answer().await, (1, "{}".to_owned()));
    assert_eq!(app.server("connector-1").session_count(), 3);

    let lobby = app.server("chat-1").channels().open("lobby");
    for number in 0..PUSHES {
        lobby.push("onChat", &json!([number, body])).unwrap();
        for reader in &mut readers {
            assert_eq!(reader.pushed("onChat").await[0], number);
        }
    }
    sleep(Duration::from_secs(5)).await;
    assert_eq!(app.server("connector-1").session_count(), 2);
    for reader in &mut readers {
        assert_eq!(reader.pushes(), []);
        assert_eq!(reader.request("chat.a.echo", 1).await, 1);
    }
    // What reached it is what was under way when it was cut off, and no more than the bound allows.
    let mut reached = 0;
    while let Some(package) = deaf.said().await {
        assert_eq!(package.kind, Kind::Data);
        reached += 1;
    }
    assert!((1..PUSHES / 2).contains(&reached), "{reached}");
}

#[tokio::test(start_paused = true)]
async fn a_member_that_never_reads_is_cut_off_by_count() {
    flood("[frontend.limits]\noutbound-messages = 100", &"x".repeat(500)).await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_never_reads_is_cut_off_by_bytes() {
    flood("[frontend.limits]\noutbound-bytes = 65536", &"x".repeat(500)).await;
}

#[tokio::test(start_paused = true)]
async fn a_member_that_reads_late_loses_nothing() {
    let app = start("").await;
    let mut slow = Raw::enter(&app).await;
    slow.ask(1, "chat.a.join", r#""slow""#).await;
    slow.answer().await;
    let lobby = app.server("chat-1").channels().open("lobby");
    for number in 0..1_000 {
        lobby.push("onChat", &json!([number, "x".repeat(500)])).unwrap();
    }
    sleep(Duration::from_secs(20)).await;
    for number in 0..1_000 {
        let push = slow.said().await.unwrap_or_else(|| panic!("closed after {number}"));
        let text = format!("[{number},");
        assert!(push.body.windows(text.len()).any(|part| part == text.as_bytes()), "{number}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_client_that_asks_and_never_reads_is_closed() {
    let app = start("").await;
    let mut deaf = Raw::enter(&app).await;
    let begun = Instant::now();
    // More answers than the wire holds, and fewer than may wait for a client.
    for id in 1..=300 {
        deaf.send(request(
            id,
            "chat.a.echo",
            Box::leak(json!("x".repeat(1_000)).to_string().into_boxed_str()),
        ))
        .await;
    }
    while app.server("connector-1").session_count() == 1 {
        assert!(begun.elapsed() < Duration::from_secs(60), "it is still there");
        sleep(Duration::from_secs(1)).await;
    }
    assert!(Duration::from_secs(20) < begun.elapsed(), "it had no time");
}

#[tokio::test(start_paused = true)]
async fn a_full_lane_stops_reading_and_the_heartbeat_waits() {
    for kind in ["connector", "chat"] {
        let app =
            start("[frontend]\nheartbeat = 1\ntimeout = 20\n[requests]\nlane = 4\ndeadline = 60")
                .await;
        let mut client = Raw::enter(&app).await;
        let route = if kind == "chat" { "chat.a.log" } else { "connector.a.log" };
        for id in 1..=20 {
            client.ask(id, route, "3000").await;
            // Far more than the lane holds: a minute of work, and most of it not read for long.
        }
        for id in 1..=20 {
            assert_eq!(client.answer().await, (id, "3000".to_owned()), "{kind}");
        }
        assert_eq!(logged(&app).len(), 20);
        // What it said last was a while ago: now the heartbeat counts again.
        client.closed().await;
    }
}

#[tokio::test(start_paused = true)]
async fn requests_beside_each_other_count_too() {
    let app = start("[requests]\nlane = 4\ndeadline = 60").await;
    for route in ["connector.a.overtake", "chat.a.overtake"] {
        let client = app.connect("connector-1").await;
        let begun = Instant::now();
        let asked = (0..12).map(|_| client.request(route, 1_000));
        futures_util::future::join_all(asked).await;
        // Four at once, three times.
        assert!(
            (3_000..3_500).contains(&begun.elapsed().as_millis()),
            "{route}: {:?}",
            begun.elapsed()
        );
    }
}

#[tokio::test(start_paused = true)]
async fn a_rate_at_the_door_holds_for_all_messages_of_a_session() {
    let app = start("[frontend.rate]\nper-second = 2\nburst = 4").await;
    let mut client = Raw::enter(&app).await;
    let mut batch = notify("chat.a.log", "0").to_vec();
    for id in 1..=5 {
        batch.extend(request(
            id,
            if id % 2 == 0 { "chat.a.echo" } else { "connector.a.echo" },
            "1",
        ));
    }
    client.send(batch).await;
    let mut answers = Vec::new();
    for _ in 1..=5 {
        answers.push(client.answer().await);
    }
    answers.sort();
    let [fine, refused] = ["1", r#"{"code":429}"#].map(str::to_owned);
    let expected = [(1, &fine), (2, &fine), (3, &fine), (4, &refused), (5, &refused)];
    assert_eq!(answers.iter().map(|(id, body)| (*id, body)).collect::<Vec<_>>(), expected);
    sleep(Duration::from_millis(500)).await;
    client.ask(6, "connector.a.echo", "1").await;
    assert_eq!(client.answer().await, (6, fine));
    // Others have a rate of their own.
    let other = app.connect("connector-1").await;
    assert_eq!(other.request("connector.a.echo", 1).await, 1);
}

#[tokio::test(start_paused = true)]
async fn ids_go_to_the_end_of_32_bits() {
    let app = start("").await;
    let mut client = Raw::enter(&app).await;
    for id in [1, 127, 128, 16_383, 16_384, 2_097_152, 0x7fff_ffff, 0x8000_0000, u32::MAX] {
        for route in ["connector.a.echo", "chat.a.echo"] {
            client.ask(id, route, r#""here""#).await;
            assert_eq!(client.answer().await, (id, r#""here""#.to_owned()));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn hundreds_of_requests_may_be_outstanding() {
    let app = start("").await;
    let client = app.connect("connector-1").await;
    for route in ["connector.a.echo", "chat.a.echo"] {
        let asked = (0..700).map(|number| client.request(route, number));
        let answers = futures_util::future::join_all(asked).await;
        assert_eq!(answers, (0..700).map(Value::from).collect::<Vec<_>>());
    }
}

#[tokio::test(start_paused = true)]
async fn many_packages_may_come_in_one_chunk() {
    let app = start("").await;
    let mut client = Raw::connect(&app).await;
    let mut chunk = package(Kind::Handshake, HANDSHAKE).to_vec();
    chunk.extend(package(Kind::Ack, ""));
    for id in 1..=50 {
        chunk.extend(request(id, "connector.a.echo", "[1]"));
        chunk.extend(package(Kind::Heartbeat, ""));
    }
    client.send(chunk).await;
    assert_eq!(client.said().await.map(|answer| answer.kind), Some(Kind::Handshake));
    for id in 1..=50 {
        assert_eq!(client.answer().await, (id, "[1]".to_owned()));
    }
}

#[tokio::test(start_paused = true)]
async fn one_package_may_come_in_many_chunks() {
    let app = start("").await;
    let mut client = Raw::connect(&app).await;
    let mut bytes = package(Kind::Handshake, HANDSHAKE).to_vec();
    bytes.extend(package(Kind::Ack, ""));
    bytes.extend(request(1, "connector.a.echo", "[1]"));
    for byte in bytes {
        client.send(vec![byte]).await;
        sleep(Duration::from_millis(1)).await;
    }
    assert_eq!(client.said().await.map(|answer| answer.kind), Some(Kind::Handshake));
    assert_eq!(client.answer().await, (1, "[1]".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_too_long_for_a_package_is_a_fault() {
    async fn huge() -> Result<String> {
        Ok("x".repeat(Package::MAX_BODY))
    }
    async fn fine() -> Result<(), Fault> {
        Ok(())
    }
    let app = testing::app(&["connector"], &[]);
    let connector = Server::frontend("connector").on("a.huge", huge).on("a.fine", fine);
    let app = TestApp::start(app.server(connector)).await;
    let client = app.connect("connector-1").await;
    assert_eq!(client.request("connector.a.huge", json!({})).await, json!({ "code": 500 }));
    assert_eq!(client.request("connector.a.fine", json!({})).await, json!({}));
}
