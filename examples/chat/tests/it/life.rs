//! Servers that stop and start while clients talk.

use serde_json::{Value, json};
use shaddock::config::Overrides;
use shaddock::testing::client::CloseReason;
use shaddock::testing::{Memory, TestApp, TestClient};
use tokio::time::{Duration, Instant, sleep, timeout};

use super::{config, config_with, login, say};

const ROOMS: [&str; 6] = ["lobby", "attic", "cellar", "garden", "roof", "hall"];

/// The chat in two processes: those named, and all others.
async fn in_two(apart: &[&str], overrides: &Overrides) -> (TestApp, TestApp) {
    let hub = Memory::new();
    let app = chat::app(config_with(overrides));
    let ids = app.config().servers.iter().map(|server| server.id.clone());
    let others: Vec<_> = ids.filter(|id| !apart.contains(&id.as_str())).collect();
    let others = TestApp::start_on(app.only(others), &hub).await;
    let apart =
        TestApp::start_on(chat::app(config_with(overrides)).only(apart.iter().copied()), &hub)
            .await;
    (others, apart)
}

/// Says a hundred lines, three milliseconds apart, and gives the answers.
async fn talk(client: &TestClient, name: &str) -> Vec<Value> {
    let mut answers = Vec::new();
    for line in 0..100 {
        sleep(Duration::from_millis(3)).await;
        answers.push(say(client, &format!("{name} {line}"), "*").await);
    }
    answers
}

/// What a client heard of `name`, in order.
fn heard(pushes: &[(String, Value)], name: &str) -> Vec<String> {
    let lines = pushes.iter().filter(|(route, _)| route == "onChat");
    let lines = lines.map(|(_, body)| body["msg"].as_str().unwrap().to_owned());
    lines.filter(|line| line.starts_with(name)).collect()
}

/// In every room two talk, while `change` happens. All is heard by both, once and in order.
async fn nobody_notices(app: &TestApp, change: impl Future<Output = ()>) {
    let mut rooms = Vec::new();
    for room in ROOMS {
        rooms.push((login(app, "py", room).await, login(app, "al", room).await));
    }
    for (py, _) in &mut rooms {
        py.pushes();
    }
    let talk = rooms.iter().map(async |(py, al)| tokio::join!(talk(py, "py"), talk(al, "al")));
    let (answers, ()) = tokio::join!(futures_util::future::join_all(talk), change);
    for (py, al) in answers {
        assert!(py.iter().chain(&al).all(|answer| *answer == json!({})), "{py:?} {al:?}");
    }
    sleep(Duration::from_secs(1)).await;
    for (room, (py, al)) in ROOMS.iter().zip(&mut rooms) {
        for (client, pushes) in [("py", py.pushes()), ("al", al.pushes())] {
            assert!(
                pushes.iter().all(|(route, _)| route == "onChat"),
                "{room}: {client} hears {pushes:?}"
            );
            for name in ["py", "al"] {
                let said: Vec<_> = (0..100).map(|line| format!("{name} {line}")).collect();
                assert_eq!(heard(&pushes, name), said, "{room}: {client} hears {name}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_chat_server_that_stops_is_missed_by_nobody() {
    let (app, apart) = in_two(&["chat-server-1"], &Overrides::default()).await;
    let leaving = apart.server("chat-server-1").channels();
    nobody_notices(&app, async {
        sleep(Duration::from_millis(100)).await;
        assert!((1..ROOMS.len()).contains(&leaving.count()), "{leaving:?}");
        assert!(apart.stop().await);
    })
    .await;
    assert_eq!(app.app().servers()[0].cluster().servers("chat").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_last_chat_server_takes_all_rooms() {
    let hub = Memory::new();
    let fronts =
        ["gate-server-1", "connector-server-1", "connector-server-2", "connector-server-3"];
    let alone = async |id: &str| TestApp::start_on(chat::app(config()).only([id]), &hub).await;
    let (one, two) = (alone("chat-server-1").await, alone("chat-server-2").await);
    let app = TestApp::start_on(chat::app(config()).only(fronts), &hub).await;
    nobody_notices(&app, async {
        sleep(Duration::from_millis(50)).await;
        assert!(one.stop().await);
        assert_eq!(two.server("chat-server-2").channels().count(), ROOMS.len());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn chat_servers_that_stop_at_once_do_not_hand_over_to_each_other() {
    let hub = Memory::new();
    let app = chat::app(config());
    let ids: Vec<_> = app.config().servers.iter().map(|server| server.id.clone()).collect();
    let (chats, others): (Vec<_>, Vec<_>) = ids.into_iter().partition(|id| id.starts_with("chat"));
    let mut alone = Vec::new();
    for id in &chats {
        alone.push(TestApp::start_on(chat::app(config()).only([id]), &hub).await);
    }
    let app = TestApp::start_on(app.only(others), &hub).await;
    nobody_notices(&app, async {
        sleep(Duration::from_millis(50)).await;
        let last = alone.pop().unwrap();
        let stopped = futures_util::future::join_all(alone.into_iter().map(TestApp::stop)).await;
        assert!(2 <= stopped.len() && stopped.iter().all(|clean| *clean));
        let rooms = last.server(chats.last().unwrap()).channels();
        assert_eq!(rooms.count(), ROOMS.len());
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_chat_server_that_is_started_again_in_its_process_is_missed_by_nobody() {
    let app = TestApp::start(chat::app(config())).await;
    nobody_notices(&app, async {
        sleep(Duration::from_millis(50)).await;
        app.app().restart_server(&"chat-server-1".parse().unwrap()).await.unwrap();
        sleep(Duration::from_millis(50)).await;
        assert_ne!(app.server("chat-server-1").channels().count(), 0);
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_new_chat_server_takes_rooms_and_nobody_notices() {
    let hub = Memory::new();
    let app = chat::app(config());
    let ids = app.config().servers.iter().map(|server| server.id.clone());
    let others: Vec<_> = ids.filter(|id| id != "chat-server-3").collect();
    let app = TestApp::start_on(app.only(others), &hub).await;
    let mut new = None;
    nobody_notices(&app, async {
        sleep(Duration::from_millis(50)).await;
        let begun = Instant::now();
        let third = chat::app(config()).only(["chat-server-3"]);
        let third = TestApp::start_on(third, &hub).await;
        assert!(begun.elapsed() < Duration::from_secs(1), "{:?}", begun.elapsed());
        assert_ne!(third.server("chat-server-3").channels().count(), 0, "it has rooms at once");
        new = Some(third);
    })
    .await;
    let new = new.unwrap().server("chat-server-3").channels();
    let old = ["chat-server-1", "chat-server-2"].map(|id| app.server(id).channels().count());
    assert_eq!(old[0] + old[1] + new.count(), ROOMS.len(), "no room is in two places");
}

#[tokio::test(start_paused = true)]
async fn clients_of_a_connector_that_stops_are_told_and_go_elsewhere() {
    let overrides = Overrides::default().set("stop.push", "onServerStop");
    let (app, apart) = in_two(&["connector-server-2"], &overrides).await;
    // By the gate's rule `a` goes to the second connector, `b` and `c` to others.
    let mut b = login(&app, "b", "lobby").await;
    let mut told = apart.connect("connector-server-2").await;
    let enter = json!({ "username": "a", "rid": "lobby" });
    told.request("connector.entryHandler.enter", &enter).await;
    assert_eq!(b.pushed("onAdd").await["user"], "a");
    let lazy = apart.connect("connector-server-2").await;
    let begun = Instant::now();
    let (clean, ()) = tokio::join!(apart.stop(), async {
        assert_eq!(told.pushed("onServerStop").await, json!({ "seconds": 5.0 }));
        assert_eq!(say(&told, "a moment", "*").await, json!({}));
        assert_eq!(b.pushed("onChat").await["msg"], "a moment");
        told.leave().await;
        let left = timeout(Duration::from_secs(1), b.pushed("onLeave")).await;
        assert_eq!(left.expect("at once")["user"], "a");
        // The gate knows already, and the name is free when the old session has ended.
        sleep(Duration::from_millis(100)).await;
        let a = login(&app, "a", "lobby").await;
        assert_eq!(b.pushed("onAdd").await["user"], "a");
        assert_eq!(say(&a, "hello again", "*").await, json!({}));
        assert_eq!(lazy.closed().await, CloseReason::Ended);
        a.leave().await;
    });
    assert!(clean && (4..7).contains(&begun.elapsed().as_secs()), "{:?}", begun.elapsed());
    assert_eq!(b.pushed("onLeave").await["user"], "a");
    sleep(Duration::from_secs(5)).await;
    assert!(b.pushes().iter().all(|(route, _)| route == "onChat"));
}
