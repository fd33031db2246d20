//! Every way a connection can end.

use super::*;

const ECHO: &str = "connector.entryHandler.echo";

#[tokio::test(start_paused = true)]
async fn whoever_is_kicked_knows_why() {
    for reason in [Some("bye 再见"), None] {
        let (client, mut server) = plain().await;
        let mut pushes = client.pushes_all();
        let kick = async {
            asked(server.event().await.unwrap());
            server.push("onLast", json!({})).await;
            server.kick(reason).await;
        };
        let (asked, ()) = tokio::join!(client.request::<Value>(ECHO, json!({})), kick);
        let expected = match reason {
            Some(reason) => CloseReason::Kicked(Some(reason.to_owned())),
            None => CloseReason::Ended,
        };
        assert_eq!(client.closed().await, expected);
        assert!(matches!(asked.unwrap_err(), RequestError::Closed(found) if found == expected));
        assert_eq!(pushes.next().await.unwrap().route, "onLast");
        assert_eq!(pushes.next().await, None);
        let error = client.notify(ECHO, json!({})).await.unwrap_err();
        assert!(matches!(error, RequestError::Closed(found) if found == expected));
    }
}

#[tokio::test(start_paused = true)]
async fn heartbeats_go_on_by_themselves_until_the_server_is_silent() {
    let heartbeat = Duration::from_secs(3);
    let config = Config { heartbeat: Some(heartbeat), ..Config::default() };
    let (client, mut server) = joined(config, Client::builder()).await;
    // The server would close a client that does not beat.
    let quiet = tokio::time::timeout(Duration::from_secs(600), server.event()).await;
    assert!(quiet.is_err(), "{quiet:?}");

    // From here on nobody drives the server.
    let begun = tokio::time::Instant::now();
    assert_eq!(client.closed().await, CloseReason::HeartbeatTimeout);
    assert!(begun.elapsed() <= 2 * heartbeat);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_ends_or_breaks_off_is_told_apart() {
    let (client, mut server) = plain().await;
    server.close().await;
    assert_eq!(client.closed().await, CloseReason::Ended);

    let (client, mut server) = plain().await;
    server.send_raw(&[9, 0, 0, 0]).await;
    assert!(matches!(client.closed().await, CloseReason::Protocol(_)));
}

#[tokio::test(start_paused = true)]
async fn a_message_that_cannot_be_read_does_not_end_it() {
    let (client, mut server) = plain().await;
    // An empty message, and a push whose route is a code nobody gave.
    server.send_raw(&[4, 0, 0, 0, 4, 0, 0, 5, 7, 3, 0xe7, b'{', b'}']).await;
    let serve = async {
        let (message, body) = asked(server.event().await.unwrap());
        server.answer(&message, body).await;
    };
    let (answer, ()) = tokio::join!(client.request::<Value>(ECHO, json!({})), serve);
    assert_eq!(answer.unwrap(), json!({}));
}

#[tokio::test(start_paused = true)]
async fn disconnecting_sends_first_what_was_asked_before() {
    let (client, mut server) = plain().await;
    let other = client.clone();
    let talk = async {
        let notify = client.notify("chat.chatHandler.send", json!({ "last": true }));
        let (sent, ()) = tokio::join!(biased; notify, other.disconnect());
        sent.unwrap();
    };
    let serve = async {
        let (_, body) = asked(server.event().await.unwrap());
        assert_eq!(body, json!({ "last": true }));
        assert!(server.event().await.is_none());
    };
    tokio::join!(talk, serve);
    assert_eq!(client.closed().await, CloseReason::Disconnected);
    client.disconnect().await;
}

#[tokio::test(start_paused = true)]
async fn the_last_handle_closes_it_even_if_the_server_does_not_read() {
    let (client, mut server) = plain().await;
    let other = client.clone();
    drop(client);
    let body = json!({ "text": "x".repeat(60_000) });
    other.notify(ECHO, body).await.unwrap();
    drop(other);
    // Within the limit for closing, the server wakes up.
    tokio::time::sleep(Duration::from_secs(1)).await;
    asked(server.event().await.unwrap());
    assert!(server.event().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn disconnecting_lasts_until_the_server_has_taken_it_or_the_limit() {
    let body = json!({ "text": "x".repeat(60_000) });
    let (client, mut server) = plain().await;
    client.notify(ECHO, &body).await.unwrap();
    let begun = tokio::time::Instant::now();
    let serve = async {
        tokio::time::sleep(Duration::from_secs(1)).await;
        asked(server.event().await.unwrap());
    };
    tokio::join!(client.disconnect(), serve);
    assert_eq!(begun.elapsed(), Duration::from_secs(1));

    let (client, _server) = plain().await;
    client.notify(ECHO, &body).await.unwrap();
    let begun = tokio::time::Instant::now();
    client.disconnect().await;
    assert_eq!(begun.elapsed(), Duration::from_secs(5));
}
