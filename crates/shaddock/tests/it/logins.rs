//! Logins: one session for each uid in the whole cluster, and how to be rid of one.

use serde_json::{Value, json};
use shaddock::testing::client::CloseReason;
use shaddock::testing::{self, Memory, TestApp, TestClient};
use shaddock::{BindError, Cluster, Fault, Msg, Result, Server, Session, State};
use shaddock_cluster::{Directory, Engine as _};
use tokio::time::{Duration, Instant, sleep};

use crate::raw::Raw;
use crate::waits::{Log, logged};

async fn login(session: Session, Msg(uid): Msg<String>) -> Result<()> {
    session.bind_unique(uid).await.map_err(|error| match error {
        BindError::Taken => Fault::new(409, "taken"),
        other => other.into(),
    })
}

async fn login_kicking(session: Session, Msg(uid): Msg<String>) -> Result<()> {
    session.bind_unique_kicking(uid, Some("elsewhere")).await.map_err(|error| match error {
        BindError::Taken => Fault::new(409, "taken"),
        other => other.into(),
    })
}

async fn bind(session: Session, Msg(uid): Msg<String>) -> Result<()> {
    Ok(session.bind(uid).await?)
}

async fn logout(session: Session) -> Result<()> {
    Ok(session.unbind().await?)
}

async fn kick_me(session: Session, Msg((reason,)): Msg<(Option<String>,)>) -> Result<()> {
    session.kick(reason.as_deref()).await
}

async fn kick(cluster: Cluster, Msg((uid, reason)): Msg<(String, Option<String>)>) -> Result<()> {
    cluster.kick(&uid, reason.as_deref())
}

/// Says good-bye at length.
async fn closing(log: State<Log>, session: Session) -> Result<()> {
    sleep(Duration::from_secs(3)).await;
    log.add(format!("{} has gone", session.uid()?));
    Ok(())
}

fn both(server: Server) -> Server {
    server
        .on("a.login", login)
        .on("a.loginKicking", login_kicking)
        .on("a.bind", bind)
        .on("a.logout", logout)
        .on("a.kickMe", kick_me)
        .on("a.kick", kick)
}

async fn start() -> TestApp {
    let app = testing::app(&["connector*3"], &["chat*2"]).state(Log::default());
    let connector = both(Server::frontend("connector")).on_close(closing);
    TestApp::start(app.server(connector).server(both(Server::backend("chat")))).await
}

async fn log_in(client: &TestClient, uid: &str) -> Value {
    client.request("connector.a.login", uid).await
}

async fn who(session: Session) -> Result<String> {
    Ok(session.id().to_string())
}

/// A directory may carry out what it was asked long after whoever asked has given up, and gone.
#[tokio::test(start_paused = true)]
async fn a_claim_that_nobody_holds_keeps_nobody_out() {
    let hub = Memory::new();
    let connector = both(Server::frontend("connector")).on("a.who", who);
    let app = testing::app(&["connector*2"], &[]).state(Log::default()).server(connector);
    let app = TestApp::start_on(app, &hub).await;
    let names = Directory::new(hub.store("shaddock_login").await.unwrap());
    for connector in ["connector-1", "connector-2"] {
        let (gone, idle) = (app.connect("connector-1").await, app.connect("connector-1").await);
        for (uid, client) in [("py", &gone), ("al", &idle)] {
            let session = client.request("connector.a.who", "").await;
            let owner = format!("connector-1/{}/0", session.as_str().unwrap());
            names.claim(uid, owner).await.unwrap();
        }
        drop(gone);
        sleep(Duration::from_secs(1)).await;
        for uid in ["py", "al"] {
            let client = app.connect(connector).await;
            assert_eq!(log_in(&client, uid).await, json!({}), "{uid} at {connector}");
            let claim = names.get(uid).await.unwrap().expect("it is claimed");
            assert!(claim.owner.starts_with(connector.as_bytes()), "{claim:?}");
            assert_eq!(log_in(&app.connect(connector).await, uid).await, json!({ "code": 409 }));
            client.request("connector.a.logout", "").await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_who_log_in_at_once_one_gets_in() {
    let app = start().await;
    let mut clients = Vec::new();
    for number in 0..60 {
        clients.push(app.connect(&format!("connector-{}", number % 3 + 1)).await);
    }
    for uid in ["py", "al", "bo"] {
        let logins = clients.iter().enumerate().map(|(number, client)| {
            client.request(["connector.a.login", "chat.a.login"][number / 3 % 2], uid)
        });
        let replies = futures_util::future::join_all(logins).await;
        let winners: Vec<_> =
            replies.iter().enumerate().filter(|(_, reply)| **reply == json!({})).collect();
        assert_eq!(winners.len(), 1, "{uid}: {winners:?}");
        let losers = replies.iter().filter(|reply| **reply == json!({ "code": 409 })).count();
        assert_eq!(losers, clients.len() - 1, "{uid}");
        // The winner is someone now, and out of the next race.
        clients.swap_remove(winners[0].0).leave().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_uid_is_free_when_the_close_hook_has_run() {
    let app = start().await;
    let (first, second) = (app.connect("connector-1").await, app.connect("connector-2").await);
    assert_eq!(log_in(&first, "py").await, json!({}));
    first.leave().await;
    sleep(Duration::from_secs(2)).await;
    assert_eq!(log_in(&second, "py").await, json!({ "code": 409 }));
    sleep(Duration::from_secs(2)).await;
    assert_eq!(log_in(&second, "py").await, json!({}));
}

#[tokio::test(start_paused = true)]
async fn a_uid_is_free_when_it_is_unbound() {
    let app = start().await;
    let (first, second) = (app.connect("connector-1").await, app.connect("connector-2").await);
    assert_eq!(log_in(&first, "py").await, json!({}));
    assert_eq!(first.request("chat.a.logout", json!({})).await, json!({}));
    assert_eq!(log_in(&second, "py").await, json!({}));
    assert_eq!(log_in(&first, "py").await, json!({ "code": 409 }));
    assert_eq!(log_in(&first, "al").await, json!({}));
}

#[tokio::test(start_paused = true)]
async fn to_log_in_again_as_oneself_is_no_error() {
    let app = start().await;
    let client = app.connect("connector-1").await;
    for route in ["connector.a.login", "chat.a.login"] {
        assert_eq!(client.request(route, "py").await, json!({}));
    }
    assert_eq!(log_in(&client, "al").await, json!({ "code": 500 }));
    // The uid that was refused is not held.
    let other = app.connect("connector-2").await;
    assert_eq!(log_in(&other, "al").await, json!({}));
}

#[tokio::test(start_paused = true)]
async fn a_plain_bind_leaves_the_uid_to_others() {
    let app = start().await;
    let (first, second) = (app.connect("connector-1").await, app.connect("connector-2").await);
    for client in [&first, &second] {
        assert_eq!(client.request("connector.a.bind", "py").await, json!({}));
    }
}

#[tokio::test(start_paused = true)]
async fn a_plain_bind_is_no_claim() {
    let app = start().await;
    let (first, second) = (app.connect("connector-1").await, app.connect("connector-2").await);
    assert_eq!(log_in(&first, "py").await, json!({}));
    assert_eq!(second.request("connector.a.bind", "py").await, json!({}));
    assert_eq!(log_in(&second, "py").await, json!({ "code": 409 }));
}

#[tokio::test(start_paused = true)]
async fn who_is_kicked_is_told_why() {
    let app = start().await;
    for kind in ["connector", "chat"] {
        let client = app.connect("connector-1").await;
        client.notify(&format!("{kind}.a.kickMe"), json!(["too loud"])).await;
        assert_eq!(client.closed().await, CloseReason::Kicked(Some("too loud".to_owned())));
    }
}

#[tokio::test(start_paused = true)]
async fn who_is_kicked_without_a_reason_is_told_nothing() {
    let app = start().await;
    for kind in ["connector", "chat"] {
        let client = app.connect("connector-1").await;
        client.notify(&format!("{kind}.a.kickMe"), json!([null])).await;
        assert_eq!(client.closed().await, CloseReason::Ended);
    }
}

/// Of a handler on the front-end, that is: from a back-end the kick is quicker than the answer.
#[tokio::test(start_paused = true)]
async fn who_kicks_itself_is_answered_first() {
    let app = start().await;
    let mut client = Raw::enter(&app).await;
    client.ask(1, "connector.a.kickMe", r#"["bye"]"#).await;
    assert_eq!(client.answer().await, (1, "{}".to_owned()));
    let kick = client.said().await.expect("a kick");
    assert_eq!(kick.body, r#"{"reason":"bye"}"#);
    client.closed().await;
}

#[tokio::test(start_paused = true)]
async fn all_sessions_of_a_uid_are_kicked_wherever_they_are() {
    let app = start().await;
    let kicker = app.connect("connector-1").await;
    for (kind, reason) in [("connector", Some("gone")), ("chat", Some("gone")), ("chat", None)] {
        let mut kicked = Vec::new();
        for connector in ["connector-1", "connector-2", "connector-2", "connector-3"] {
            let client = app.connect(connector).await;
            assert_eq!(client.request("connector.a.bind", "py").await, json!({}));
            kicked.push(client);
        }
        let other = app.connect("connector-2").await;
        other.request("connector.a.bind", "al").await;
        assert_eq!(
            kicker.request(&format!("{kind}.a.kick"), json!(["py", reason])).await,
            json!({})
        );
        for client in kicked {
            let expected = reason
                .map_or(CloseReason::Ended, |reason| CloseReason::Kicked(Some(reason.to_owned())));
            assert_eq!(client.closed().await, expected);
        }
        assert_eq!(other.request("chat.a.logout", json!({})).await, json!({}));
    }
}

#[tokio::test(start_paused = true)]
async fn to_kick_nobody_is_no_error() {
    let app = start().await;
    let client = app.connect("connector-1").await;
    assert_eq!(client.request("chat.a.kick", json!(["nobody", "why"])).await, json!({}));
}

#[tokio::test(start_paused = true)]
async fn who_logs_in_kicking_has_the_uid_when_the_other_is_gone() {
    let app = start().await;
    for (kind, other) in [("connector", "connector-1"), ("chat", "connector-2")] {
        let old = app.connect("connector-1").await;
        assert_eq!(log_in(&old, "py").await, json!({}));
        let new = app.connect(other).await;
        let reply = new.request(&format!("{kind}.a.loginKicking"), "py").await;
        // Its close hook has run.
        assert_eq!((reply, logged(&app)), (json!({}), vec!["py has gone".to_owned()]));
        assert_eq!(old.closed().await, CloseReason::Kicked(Some("elsewhere".to_owned())));
        assert_eq!(new.request("connector.a.loginKicking", "py").await, json!({}), "as oneself");
        new.leave().await;
        sleep(Duration::from_secs(5)).await;
        logged(&app);
    }
}

#[tokio::test(start_paused = true)]
async fn of_many_who_kick_the_same_one_gets_in() {
    let app = start().await;
    let old = app.connect("connector-2").await;
    assert_eq!(log_in(&old, "py").await, json!({}));
    let mut clients = Vec::new();
    for number in 0..60 {
        clients.push(app.connect(&format!("connector-{}", number % 3 + 1)).await);
    }
    let logins = clients.iter().enumerate().map(|(number, client)| {
        let routes = ["connector.a.loginKicking", "chat.a.loginKicking"];
        client.request(routes[number / 3 % 2], "py")
    });
    let mut replies = futures_util::future::join_all(logins).await;
    replies.sort_by_key(ToString::to_string);
    let refused = json!({ "code": 409 });
    assert_eq!(replies.iter().filter(|reply| **reply == json!({})).count(), 1, "{replies:?}");
    assert_eq!(replies.iter().filter(|reply| **reply == refused).count(), 59, "{replies:?}");
    assert_eq!(old.closed().await, CloseReason::Kicked(Some("elsewhere".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn who_kicks_one_on_a_connector_that_is_dead_gets_in_when_that_is_known() {
    let app = start().await;
    let old = app.connect("connector-1").await;
    assert_eq!(log_in(&old, "py").await, json!({}));
    sleep(Duration::from_secs(5)).await;
    app.cut("connector-1");
    let new = app.connect("connector-2").await;
    assert_eq!(log_in(&new, "py").await, json!({ "code": 409 }));
    let asked = Instant::now();
    assert_eq!(new.request("connector.a.loginKicking", "py").await, json!({}));
    assert!(asked.elapsed() < Duration::from_secs(5), "{:?}", asked.elapsed());
}

#[tokio::test(start_paused = true)]
async fn without_the_directory_nobody_new_is_bound_and_the_others_stay() {
    let app = start().await;
    let (old, new) = (app.connect("connector-1").await, app.connect("connector-1").await);
    let other = app.connect("connector-2").await;
    assert_eq!(log_in(&old, "py").await, json!({}));
    app.cut("connector-1");
    for route in ["connector.a.login", "connector.a.loginKicking"] {
        assert_eq!(new.request(route, "al").await, json!({ "code": 500 }));
    }
    assert_eq!(log_in(&old, "py").await, json!({}), "bound still");
    sleep(Duration::from_secs(1)).await;
    app.heal("connector-1");
    sleep(Duration::from_secs(2)).await;
    // What could not be claimed is not held, and what was is.
    assert_eq!(log_in(&other, "al").await, json!({}));
    assert_eq!(log_in(&new, "py").await, json!({ "code": 409 }));
}

#[tokio::test(start_paused = true)]
async fn a_uid_that_could_not_be_given_back_is_free() {
    let app = start().await;
    let (old, new) = (app.connect("connector-1").await, app.connect("connector-2").await);
    assert_eq!(log_in(&old, "py").await, json!({}));
    app.cut("connector-1");
    old.leave().await;
    sleep(Duration::from_millis(3200)).await;
    // It was not away for so long that anybody took it for dead.
    app.heal("connector-1");
    sleep(Duration::from_millis(200)).await;
    assert_eq!(log_in(&new, "py").await, json!({}));
}
