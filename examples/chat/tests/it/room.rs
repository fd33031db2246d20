//! Talking.

use serde_json::json;

use super::{login, say, start};

#[tokio::test(start_paused = true)]
async fn everyone_hears_what_is_said_to_all() {
    let app = start().await;
    let mut py = login(&app, "py", "lobby").await;
    let mut al = login(&app, "al", "lobby").await;
    let mut elsewhere = login(&app, "bo", "attic").await;
    assert_eq!(say(&py, "你好 😀", "*").await, json!({}));
    let said = json!({ "msg": "你好 😀", "from": "py", "target": "*" });
    assert_eq!(py.pushed("onChat").await, said);
    assert_eq!(al.pushed("onChat").await, said);
    say(&elsewhere, "hello?", "*").await;
    assert_eq!(elsewhere.pushed("onChat").await["msg"], "hello?");
}

#[tokio::test(start_paused = true)]
async fn one_hears_what_is_said_to_one() {
    let app = start().await;
    let mut py = login(&app, "py", "lobby").await;
    let mut al = login(&app, "al", "lobby").await;
    assert_eq!(say(&py, "psst", "al").await, json!({}));
    assert_eq!(al.pushed("onChat").await, json!({ "msg": "psst", "from": "py", "target": "al" }));
    py.pushed("onAdd").await;
    assert_eq!(py.pushes(), []);
}

#[tokio::test(start_paused = true)]
async fn to_talk_to_nobody_is_an_error() {
    let app = start().await;
    let py = login(&app, "py", "lobby").await;
    assert_eq!(say(&py, "anyone?", "al").await, json!({ "code": 500 }));
}

#[tokio::test(start_paused = true)]
async fn to_talk_before_the_login_is_an_error() {
    let app = start().await;
    let client = app.connect("connector-server-1").await;
    assert_eq!(say(&client, "hello?", "*").await, json!({ "code": 500 }));
    assert_eq!(client.request("chat.chatHandler.send", json!({})).await, json!({ "code": 500 }));
}

#[tokio::test(start_paused = true)]
async fn the_last_one_out_takes_the_room_away() {
    let app = start().await;
    let rooms =
        || -> usize { app.app().servers().iter().map(|server| server.channels().count()).sum() };
    let py = login(&app, "py", "lobby").await;
    assert_eq!(rooms(), 1);
    py.leave().await;
    let mut events = app.app().events();
    while rooms() != 0 {
        events.recv().await.unwrap();
    }
}
