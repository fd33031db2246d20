//! Channels: who is inside.

use std::sync::{Arc, Mutex};

use serde_json::json;
use shaddock::testing::{self, TestApp, TestClient};
use shaddock::{Channel, Channels, Member, Msg, Result, Server, Session};
use tokio::time::{Duration, sleep};

async fn login(session: Session, Msg(uid): Msg<String>) -> Result<Member> {
    session.bind(uid).await?;
    session.member()
}

async fn rename(session: Session, Msg(uid): Msg<String>) -> Result<Member> {
    session.unbind().await?;
    session.bind(uid).await?;
    session.member()
}

/// Who left because their front-end died, and from where.
type Lost = Arc<Mutex<Vec<String>>>;

async fn start() -> (TestApp, Lost) {
    let lost = Lost::default();
    let app = testing::app(&["connector*2"], &["chat*2"]);
    let connector = Server::frontend("connector").on("a.login", login).on("a.rename", rename);
    let hook = lost.clone();
    let chat = Server::backend("chat").on_lost_member(move |channel, member| {
        hook.lock().unwrap().push(format!("{} from {}", member.uid, channel.name()));
    });
    (TestApp::start(app.server(connector).server(chat)).await, lost)
}

async fn enter(app: &TestApp, connector: &str, uid: &str) -> (TestClient, Member) {
    let client = app.connect(connector).await;
    let member = client.request("connector.a.login", uid).await;
    (client, serde_json::from_value(member).unwrap())
}

fn channels(app: &TestApp) -> Channels {
    app.server("chat-1").channels()
}

fn member(text: &str) -> Member {
    text.parse().unwrap()
}

/// The routes of what was pushed to a client so far.
async fn heard(client: &mut TestClient) -> Vec<String> {
    sleep(Duration::from_millis(10)).await;
    client.pushes().into_iter().map(|(route, _)| route).collect()
}

#[tokio::test(start_paused = true)]
async fn equal_names_on_two_servers_are_two_channels() {
    let (app, _) = start().await;
    let (mut py, member) = enter(&app, "connector-1", "py").await;
    let [one, other] =
        ["chat-1", "chat-2"].map(|server| app.server(server).channels().open("lobby"));
    one.join(member);
    assert_eq!((one.count(), other.count()), (1, 0));
    other.push("onOther", &json!({})).unwrap();
    one.push("onOne", &json!({})).unwrap();
    assert_eq!(heard(&mut py).await, ["onOne"]);
    one.destroy();
    assert!(app.server("chat-2").channels().get("lobby").is_some());
}

#[tokio::test(start_paused = true)]
async fn a_channel_knows_who_is_inside() {
    let (app, _) = start().await;
    let channels = channels(&app);
    assert!(channels.get("lobby").is_none());
    let lobby = channels.open("lobby");
    let [py, al] = ["py@connector-1/1", "al@connector-2/1"].map(member);
    assert!(lobby.join(py.clone()));
    assert!(!lobby.join(py.clone()), "they are inside already");
    assert!(lobby.join(al.clone()));
    // Open finds what is there.
    let again = channels.open("lobby");
    assert_eq!((again.name(), again.count(), again.members()), ("lobby", 2, vec![py.clone(), al]));
    assert_eq!(again.uids().iter().map(|uid| uid.to_string()).collect::<Vec<_>>(), ["py", "al"]);
    assert!(again.contains("py") && !again.contains("bo"));
    assert!(again.leave(&py));
    assert!(!again.leave(&py), "they are outside already");
    assert_eq!((lobby.count(), lobby.contains("py")), (1, false));
    assert_eq!((channels.names(), channels.count()), (vec!["lobby".to_owned()], 1));
}

#[tokio::test(start_paused = true)]
async fn an_old_connection_that_leaves_late_takes_nobody_along() {
    let (app, _) = start().await;
    let lobby = channels(&app).open("lobby");
    let [old, new] = ["py@connector-1/1", "py@connector-1/2"].map(member);
    lobby.join(old.clone());
    lobby.join(new.clone());
    assert!(lobby.leave(&old));
    assert!(!lobby.leave(&old));
    assert_eq!(lobby.members(), [new]);
}

#[tokio::test(start_paused = true)]
async fn a_session_under_two_names_is_two_members() {
    let (app, _) = start().await;
    let (mut client, py) = enter(&app, "connector-1", "py").await;
    let al: Member =
        serde_json::from_value(client.request("connector.a.rename", "al").await).unwrap();
    let lobby = channels(&app).open("lobby");
    lobby.join(py.clone());
    lobby.join(al.clone());
    lobby.leave(&py);
    assert_eq!((lobby.count(), lobby.members()), (1, vec![al]));
    lobby.push("onChat", &json!({})).unwrap();
    assert_eq!(heard(&mut client).await, ["onChat"]);
}

#[tokio::test(start_paused = true)]
async fn who_joins_is_announced_to_those_inside() {
    let (app, _) = start().await;
    let lobby = channels(&app).open("lobby");
    let (mut py_client, py) = enter(&app, "connector-1", "py").await;
    let (mut al_client, al) = enter(&app, "connector-2", "al").await;
    assert!(lobby.join_telling(py, "onAdd", &json!("py")).unwrap());
    assert!(lobby.join_telling(al.clone(), "onAdd", &json!("al")).unwrap());
    assert_eq!(heard(&mut al_client).await, [""; 0]);
    assert_eq!(py_client.pushes(), [("onAdd".to_owned(), json!("al"))]);
    // Whoever is inside does not come again.
    assert!(!lobby.join_telling(al.clone(), "onAdd", &json!("al")).unwrap());
    assert_eq!(heard(&mut py_client).await, [""; 0]);
    assert!(lobby.leave_telling(&al, "onLeave", &json!("al")).unwrap());
    assert!(!lobby.leave_telling(&al, "onLeave", &json!("al")).unwrap());
    assert_eq!(heard(&mut py_client).await, ["onLeave"]);
    assert_eq!(heard(&mut al_client).await, [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn the_last_one_out_takes_the_channel_away_if_so_wished() {
    let (app, _) = start().await;
    let channels = channels(&app);
    let py = member("py@connector-1/1");
    for name in ["stays", "goes"] {
        let channel = channels.open(name);
        if name == "goes" {
            channel.free_when_empty();
        }
        channel.join(py.clone());
        assert_eq!(channels.count(), 1 + usize::from(name == "goes"));
        channel.leave(&py);
    }
    assert_eq!(channels.names(), ["stays"]);
}

#[tokio::test(start_paused = true)]
async fn the_last_one_out_by_a_dead_front_end_takes_the_channel_away_too() {
    let (app, _) = start().await;
    let (_client, py) = enter(&app, "connector-1", "py").await;
    let channel = channels(&app).open("lobby");
    channel.free_when_empty();
    channel.join(py);
    app.cut("connector-1");
    sleep(Duration::from_secs(10)).await;
    assert_eq!(channels(&app).count(), 0);
}

/// A room may be freed between `open` and `join`, or while somebody holds on to it.
#[tokio::test(start_paused = true)]
async fn a_handle_of_a_channel_that_was_freed_is_of_the_one_that_came_after() {
    let (app, _) = start().await;
    let channels = channels(&app);
    let (mut client, al) = enter(&app, "connector-1", "al").await;
    let py = member("py@connector-1/77");
    let (held, other) = (channels.open("lobby"), channels.open("lobby"));
    held.free_when_empty();
    other.join(py.clone());
    other.leave(&py);
    assert_eq!(channels.count(), 0);
    held.join(al.clone());
    let inside = |channel: &Channel| (channel.count(), channel.members());
    assert_eq!(inside(&channels.open("lobby")), (1, vec![al.clone()]));
    assert_eq!(inside(&held), (1, vec![al.clone()]));
    held.push("onChat", &json!({})).unwrap();
    assert_eq!(heard(&mut client).await, ["onChat"]);
    assert!(held.leave(&al));
    assert_eq!(channels.count(), 0, "it is freed again");
}

#[tokio::test(start_paused = true)]
async fn a_channel_that_is_destroyed_has_nobody() {
    let (app, _) = start().await;
    let channels = channels(&app);
    let (mut client, py) = enter(&app, "connector-1", "py").await;
    let lobby = channels.open("lobby");
    lobby.join(py.clone());
    lobby.destroy();
    assert_eq!((channels.count(), lobby.count()), (0, 0));
    let _ = lobby.push("onChat", &json!({}));
    assert_eq!(heard(&mut client).await, [""; 0]);
    // The name may be used again.
    let again = channels.open("lobby");
    assert_eq!(again.count(), 0);
    assert!(again.join(py));
    assert_eq!((channels.count(), again.count()), (1, 1));
}

#[tokio::test(start_paused = true)]
async fn who_was_at_a_front_end_that_died_is_outside() {
    let (app, lost) = start().await;
    let (mut py_client, py) = enter(&app, "connector-1", "py").await;
    let (_al_client, al) = enter(&app, "connector-2", "al").await;
    let (_bo_client, bo) = enter(&app, "connector-2", "bo").await;
    let [lobby, attic] = ["lobby", "attic"].map(|name| channels(&app).open(name));
    for (channel, member) in [(&lobby, &py), (&lobby, &al), (&lobby, &bo), (&attic, &al)] {
        channel.join(member.clone());
    }
    app.cut("connector-2");
    sleep(Duration::from_secs(20)).await;
    assert_eq!((lobby.members(), attic.count()), (vec![py], 0));
    let mut lost = std::mem::take(&mut *lost.lock().unwrap());
    lost.sort();
    assert_eq!(lost, ["al from attic", "al from lobby", "bo from lobby"]);
    lobby.push("onChat", &json!({})).unwrap();
    assert_eq!(heard(&mut py_client).await, ["onChat"]);
}

#[tokio::test(start_paused = true)]
async fn a_hook_for_lost_members_that_panics_does_not_make_a_server_deaf() {
    let app = testing::app(&["connector*2"], &["chat"]);
    let connector = Server::frontend("connector").on("a.login", login);
    let chat = Server::backend("chat")
        .on("a.wait", crate::waits::wait)
        .on_lost_member(|_, member| assert_eq!(&*member.uid, "py", "on purpose"));
    let app = TestApp::start(app.server(connector).server(chat)).await;
    let (_al_client, al) = enter(&app, "connector-2", "al").await;
    channels(&app).open("lobby").join(al);
    app.cut("connector-2");
    sleep(Duration::from_secs(20)).await;
    let client = app.connect("connector-1").await;
    assert_eq!(client.request("chat.a.wait", 1).await, 1);
}
