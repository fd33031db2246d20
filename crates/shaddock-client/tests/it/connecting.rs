//! The handshake, over every wire.

use shaddock_protocol::pomelo::{Dictionary, Protos, Tables};
use shaddock_transport::{Hybrid, HybridConfig, Incoming, Listener};

use super::*;

#[tokio::test(start_paused = true)]
async fn both_sides_say_who_they_are() {
    let (ours, theirs) = memory::pair();
    let config = Config { heartbeat: Some(Duration::from_secs(3)), ..Config::default() };
    let mut server = TestServer::new(theirs, config);
    let builder =
        Client::builder().client("js-websocket", "0.0.1").user(json!({ "token": "你好" }));
    let (client, hello) =
        tokio::join!(builder.over(ours), server.let_in(Some(json!({ "hello": "accept" }))));
    let client = client.unwrap();
    assert_eq!(hello.client_type.as_deref(), Some("js-websocket"));
    assert_eq!(hello.client_version.as_deref(), Some("0.0.1"));
    assert_eq!(hello.user, Some(json!({ "token": "你好" })));
    assert_eq!(client.user(), Some(json!({ "hello": "accept" })));
    assert_eq!(client.heartbeat(), Some(Duration::from_secs(3)));
}

#[tokio::test(start_paused = true)]
async fn a_refused_client_is_told_why() {
    for refusal in [500, 501] {
        let (ours, theirs) = memory::pair();
        let mut server = TestServer::new(theirs, Config::default());
        let (client, ()) = tokio::join!(Client::builder().over(ours), server.refuse(refusal));
        let error = client.unwrap_err();
        assert_eq!(error.to_string(), format!("the handshake was refused with {refusal}: go away"));
        let ConnectError::Refused { code, answer } = error else { panic!("{error:?}") };
        assert_eq!((code, answer), (refusal, json!({ "code": refusal, "msg": "go away" })));
    }
}

#[tokio::test(start_paused = true)]
async fn a_silent_server_is_given_up_on() {
    let (ours, _theirs) = memory::pair();
    let limit = Duration::from_secs(4);
    let begun = tokio::time::Instant::now();
    let error = Client::builder().connect_timeout(limit).over(ours).await.unwrap_err();
    assert!(matches!(error, ConnectError::TimedOut(after) if after == limit), "{error:?}");
    assert_eq!(begun.elapsed(), limit);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_leaves_or_talks_nonsense_is_no_server() {
    let (ours, theirs) = memory::pair();
    drop(theirs);
    let error = Client::builder().over(ours).await.unwrap_err();
    assert!(matches!(error, ConnectError::Closed(_)), "{error:?}");

    let (ours, theirs) = memory::pair();
    let mut server = TestServer::new(theirs, Config::default());
    let (client, ()) =
        tokio::join!(Client::builder().over(ours), server.send_raw(b"HTTP/1.1 200 OK"));
    let error = client.unwrap_err();
    assert!(matches!(error, ConnectError::Closed(CloseReason::Protocol(_))), "{error:?}");
}

#[tokio::test]
async fn addresses_choose_the_wire() {
    let mut hybrid = Hybrid::bind("127.0.0.1:0", HybridConfig::default()).await.unwrap();
    let addr = hybrid.local_addr().unwrap();
    for (address, kind) in
        [(format!("ws://{addr}/"), "websocket"), (format!("tcp://{addr}"), "tcp")]
    {
        let serve = async {
            let wire = hybrid.accept().await.unwrap().open().await.unwrap();
            assert_eq!(wire.kind(), kind);
            let mut server = TestServer::new(wire, Config::default());
            server.let_in(None).await;
            let (message, body) = asked(server.event().await.unwrap());
            server.answer(&message, body).await;
            assert!(server.event().await.is_none(), "the client leaves in order");
        };
        let talk = async {
            let client = Client::connect(&address).await.unwrap();
            let echo: Value =
                client.request("connector.entryHandler.echo", json!({ "x": 1 })).await.unwrap();
            assert_eq!(echo, json!({ "x": 1 }));
            client.disconnect().await;
            assert_eq!(client.closed().await, CloseReason::Disconnected);
        };
        tokio::join!(serve, talk);
    }
    for address in ["", "http://a", "127.0.0.1:1"] {
        assert!(matches!(Client::connect(address).await, Err(ConnectError::Address)));
    }
}

#[tokio::test(start_paused = true)]
async fn tables_are_used_both_ways_and_kept_for_the_next_time() {
    const MOVE: &str = "area.playerHandler.move";
    let protos = Protos::parse(
        r#"{ "onMove": { "required uInt32 x": 1 }, "area.playerHandler.move": { "required uInt32 code": 1 } }"#,
        r#"{ "area.playerHandler.move": { "required uInt32 x": 1, "optional string how": 2 } }"#,
    )
    .unwrap();
    let dictionary = Dictionary::build([MOVE], ["onMove"]).unwrap();
    let tables = Tables { dictionary: Some(dictionary.into()), protos: Some(protos.into()) };
    let config = Config { tables: tables.into(), ..Config::default() };

    let mut known = Tables::default();
    for _ in 0..2 {
        let (client, mut server) = joined(config.clone(), Client::builder().tables(known)).await;
        let mut moves = client.pushes("onMove");
        let body = json!({ "x": 300, "how": "跑" });
        let serve = async {
            let (message, body) = asked(server.event().await.unwrap());
            assert_eq!(body, json!({ "x": 300, "how": "跑" }));
            server.push("onMove", json!({ "x": 300 })).await;
            server.answer(&message, json!({ "code": 200 })).await;
        };
        let (answer, ()) = tokio::join!(client.request::<Value>(MOVE, body), serve);
        assert_eq!(answer.unwrap(), json!({ "code": 200 }));
        assert_eq!(moves.try_next().unwrap().json::<Value>().unwrap(), json!({ "x": 300 }));

        let error = client.request::<Value>(MOVE, json!({ "how": "no x" })).await.unwrap_err();
        assert!(matches!(error, RequestError::Encode(_)), "{error:?}");
        known = client.tables();
    }
}
