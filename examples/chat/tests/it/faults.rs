//! Servers that die.

use std::time::Duration;

use serde_json::json;
use tokio::time::sleep;

use super::{login, say, start};

#[tokio::test(start_paused = true)]
async fn a_dead_connector_takes_its_users_along() {
    let app = start().await;
    // By the gate's rule `a` goes to the second connector, `b` to another.
    let mut others = vec![login(&app, "b", "lobby").await, login(&app, "c", "lobby").await];
    let _a = login(&app, "a", "lobby").await;
    let b_is_there = app.server("connector-server-2").session_count() == 1;
    assert!(b_is_there, "only `a` should be on the second connector");
    app.cut("connector-server-2");
    for other in &mut others {
        assert_eq!(other.pushed("onLeave").await, json!({ "route": "onLeave", "user": "a" }));
    }
}

#[tokio::test(start_paused = true)]
async fn the_rooms_of_a_dead_chat_server_go_on_elsewhere() {
    let app = start().await;
    let names = ["lobby", "attic", "cellar", "garden", "roof", "hall"];
    let mut clients = Vec::new();
    for room in names {
        clients.push((login(&app, "py", room).await, login(&app, "al", room).await));
    }
    let victim = "chat-server-1";
    let rooms_there = app.server(victim).channels().count();
    assert!(
        (1..names.len()).contains(&rooms_there),
        "{rooms_there} of {} rooms are there",
        names.len()
    );
    app.cut(victim);
    sleep(Duration::from_secs(5)).await;
    for (py, al) in &mut clients {
        py.pushes();
        al.pushes();
        assert_eq!(say(py, "are you there?", "*").await, json!({}));
        // Nobody is told that somebody came, for nobody had gone.
        assert_eq!(
            al.pushes().iter().map(|(route, _)| route.as_str()).collect::<Vec<_>>(),
            ["onChat"]
        );
        assert_eq!(say(al, "here", "py").await, json!({}));
        assert_eq!(py.pushes().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn the_rooms_come_back_with_their_server() {
    let app = start().await;
    let names = ["lobby", "attic", "cellar", "garden", "roof", "hall"];
    let mut clients = Vec::new();
    for room in names {
        clients.push((login(&app, "py", room).await, login(&app, "al", room).await));
    }
    app.cut("chat-server-1");
    sleep(Duration::from_secs(10)).await;
    app.heal("chat-server-1");
    sleep(Duration::from_secs(10)).await;
    for (py, al) in &mut clients {
        al.pushes();
        assert_eq!(say(py, "are you there?", "*").await, json!({}));
        assert_eq!(al.pushes().len(), 1);
    }
}
