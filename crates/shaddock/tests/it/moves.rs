//! Keys that change their owner: the sessions concerned are told before they say anything more.

use serde_json::json;
use shaddock::testing::{self, TestApp};
use shaddock::{Moved, Msg, Result, Server, ServerHandle, ServerId, Session};
use tokio::time::{Duration, sleep};

use crate::waits::{Log, logged};

async fn set_room(session: Session, Msg(room): Msg<String>) -> Result<()> {
    session.set("room", room).await
}

async fn here(server: ServerHandle) -> Result<ServerId> {
    Ok(server.id().clone())
}

/// Takes its time, and writes down whose key went where.
async fn moved(server: ServerHandle, session: Session, moved: Moved) -> Result<()> {
    sleep(Duration::from_millis(100)).await;
    let from = moved.from.map_or("the dead".to_owned(), |from| from.to_string());
    let room: String = session.get("room")?;
    let line = format!("{room}: {} from {from} to {}", moved.kind, moved.to);
    server.state::<Log>().expect("the application has a log").add(line);
    Ok(())
}

#[tokio::test(start_paused = true)]
async fn a_session_follows_its_key_before_it_says_anything_more() {
    let connector = Server::frontend("connector").on("a.setRoom", set_room).on_moved("chat", moved);
    let chat = Server::backend("chat").on("a.here", here).route_by(|session| session.get("room"));
    let app = testing::app(&["connector"], &["chat*2"]).state(Log::default());
    let app = TestApp::start(app.server(connector).server(chat)).await;
    let mut clients = Vec::new();
    for room in ["lobby", "attic", "cellar", "garden", "roof", "hall"] {
        let client = app.connect("connector-1").await;
        client.request("connector.a.setRoom", room).await;
        let owner = client.request("chat.a.here", json!({})).await;
        clients.push((room, client, owner));
    }
    let of_one: Vec<_> =
        clients.iter().filter(|(_, _, owner)| *owner == "chat-1").map(|(room, ..)| *room).collect();
    assert!(
        (1..clients.len()).contains(&of_one.len()),
        "{of_one:?} of {} are there",
        clients.len()
    );

    let sorted = |mut lines: Vec<String>| {
        lines.sort();
        lines
    };
    app.cut("chat-1");
    sleep(Duration::from_secs(10)).await;
    let expected =
        of_one.iter().map(|room| format!("{room}: chat from the dead to chat-2")).collect();
    assert_eq!(sorted(logged(&app)), sorted(expected));
    for (_, client, _) in &clients {
        assert_eq!(client.request("chat.a.here", json!({})).await, "chat-2");
    }
    app.heal("chat-1");
    sleep(Duration::from_secs(10)).await;
    let expected =
        of_one.iter().map(|room| format!("{room}: chat from chat-2 to chat-1")).collect();
    assert_eq!(sorted(logged(&app)), sorted(expected));
    for (room, client, owner) in &clients {
        assert_eq!(client.request("chat.a.here", json!({})).await, *owner, "{room}");
    }
}
