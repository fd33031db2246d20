//! Servers that were cut off, parted or frozen, and come back: uids, members and requests afterwards.

use serde_json::{Value, json};
use shaddock::testing::client::CloseReason;
use shaddock::testing::{self, Chaos, Memory, TestApp, TestClient};
use shaddock::{
    BindError, Channel, Channels, Cluster, Fault, Member, Moved, Msg, Result, Rpc, Server,
    ServerHandle, Session,
};
use tokio::time::{Duration, Instant, sleep};

/// What the rooms do for the connectors.
#[shaddock::remote("chat")]
trait RoomRemote {
    async fn add(&self, member: Member, room: String) -> Result<()>;
    async fn kick(&self, member: Member, room: String) -> Result<()>;
    async fn resume(&self, member: Member, room: String) -> Result<()>;
    async fn forget(&self, member: Member, room: String) -> Result<()>;
}

struct Rooms(Channels);

impl RoomRemote for Rooms {
    async fn add(&self, member: Member, room: String) -> Result<()> {
        let (room, uid) = (self.0.open(&room), member.uid.clone());
        room.free_when_empty();
        room.join_telling(member, "onAdd", &uid)?;
        Ok(())
    }
    async fn kick(&self, member: Member, room: String) -> Result<()> {
        if let Some(room) = self.0.get(&room) {
            room.leave_telling(&member, "onLeave", &member.uid)?;
        }
        Ok(())
    }
    async fn resume(&self, member: Member, room: String) -> Result<()> {
        let room = self.0.open(&room);
        room.free_when_empty();
        room.join(member);
        Ok(())
    }
    async fn forget(&self, member: Member, room: String) -> Result<()> {
        if let Some(room) = self.0.get(&room) {
            room.leave(&member);
        }
        Ok(())
    }
}

async fn enter(
    session: Session,
    chat: Rpc<RoomRemoteClient>,
    Msg((uid, room)): Msg<(String, String)>,
) -> Result<()> {
    match session.bind_unique(uid).await {
        Err(BindError::Taken) => return Err(Fault::new(409, "taken")),
        bound => bound?,
    }
    session.set("room", &room).await?;
    chat.of(&session)?.add(session.member()?, room).await
}

async fn leave(session: Session, chat: Rpc<RoomRemoteClient>) -> Result<()> {
    match session.member() {
        Ok(member) => chat.of(&session)?.kick(member, session.get("room")?).await,
        Err(_) => Ok(()),
    }
}

async fn follow(server: ServerHandle, session: Session, moved: Moved) -> Result<()> {
    let (chat, member): (Rpc<RoomRemoteClient>, _) = (server.rpc()?, session.member()?);
    let room: String = session.get("room")?;
    if moved.is_return() {
        return chat.at(&moved.to).add(member, room).await;
    }
    chat.at(&moved.to).resume(member.clone(), room.clone()).await?;
    match &moved.from {
        Some(from) => chat.at(from).forget(member, room).await,
        None => Ok(()),
    }
}

fn lost(room: Channel, member: Member) {
    room.push("onLeave", &member.uid).unwrap();
}

async fn say(session: Session, channels: Channels, Msg(word): Msg<String>) -> Result<()> {
    let room: String = session.get("room")?;
    let room = channels.get(&room).ok_or(Fault::new(404, "no such room"))?;
    room.push("onChat", &word)
}

async fn dawdle() -> Result<()> {
    sleep(Duration::from_secs(9)).await;
    Ok(())
}

async fn push(cluster: Cluster, Msg((uid, word)): Msg<(String, String)>) -> Result<()> {
    cluster.push(&uid, "onWord", &word)
}

async fn kick(cluster: Cluster, Msg(uid): Msg<String>) -> Result<()> {
    cluster.kick(&uid, Some("out"))
}

async fn login(session: Session, Msg(uid): Msg<String>) -> Result<()> {
    Ok(session.bind_unique(uid).await?)
}

async fn ping() -> Result<()> {
    Ok(())
}

async fn start_with(toml: &str) -> TestApp {
    start_of(2, toml).await
}

async fn start_of(chats: usize, toml: &str) -> TestApp {
    let connector =
        Server::frontend("connector").on("a.enter", enter).on_close(leave).on_moved("chat", follow);
    let chat = Server::backend("chat")
        .route_by(|session| session.get("room"))
        .on("a.say", say)
        .on("a.dawdle", dawdle)
        .on("a.push", push)
        .on("a.kick", kick)
        .remote(RoomRemote::serve(|server: &ServerHandle| Rooms(server.channels())))
        .on_lost_member(lost);
    let app = testing::app_with(&["connector*3"], &[&format!("chat*{chats}")], toml);
    let app = TestApp::start(app.server(connector).server(chat)).await;
    // By then every server knows that it knows all others.
    sleep(Duration::from_secs(5)).await;
    app
}

async fn start() -> TestApp {
    start_with("").await
}

async fn enter_at(app: &TestApp, connector: &str, uid: &str, room: &str) -> TestClient {
    let client = app.connect(connector).await;
    assert_eq!(client.request("connector.a.enter", json!([uid, room])).await, json!({}));
    client
}

/// The uids in a room, on whichever servers it is.
fn inside(app: &TestApp, room: &str) -> Vec<String> {
    let servers = app.app().servers();
    let rooms = servers.iter().filter_map(|server| server.channels().get(room));
    let mut uids: Vec<_> = rooms.flat_map(|room| room.uids()).map(|uid| uid.to_string()).collect();
    uids.sort();
    uids
}

/// Which chat server a room is on, if it is on one.
fn home(app: &TestApp, room: &str) -> String {
    let servers = app.app().servers();
    let homes: Vec<_> =
        servers.iter().filter(|server| server.channels().get(room).is_some()).collect();
    assert_eq!(homes.len(), 1, "{room} is on {homes:?}");
    homes[0].id().to_string()
}

fn pushed(client: &mut TestClient) -> Vec<(String, Value)> {
    client.pushes()
}

fn push_of(route: &str, body: &str) -> (String, Value) {
    (route.to_owned(), json!(body))
}

#[tokio::test(start_paused = true)]
async fn who_was_cut_off_leaves_and_comes_back() {
    let app = start().await;
    let py = enter_at(&app, "connector-1", "py", "lobby").await;
    let mut al = enter_at(&app, "connector-2", "al", "lobby").await;
    app.cut("connector-1");
    sleep(Duration::from_secs(5)).await;
    assert_eq!(pushed(&mut al), [push_of("onLeave", "py")]);
    assert_eq!(inside(&app, "lobby"), ["al"]);
    sleep(Duration::from_secs(60)).await;
    app.heal("connector-1");
    sleep(Duration::from_secs(2)).await;
    assert_eq!(pushed(&mut al), [push_of("onAdd", "py")]);
    assert_eq!(inside(&app, "lobby"), ["al", "py"]);
    assert_eq!(py.request("chat.a.say", "hello").await, json!({}));
    assert_eq!(pushed(&mut al), [push_of("onChat", "hello")]);
    // It has its uid still, and gives it back.
    let other = app.connect("connector-3").await;
    let again = json!(["py", "lobby"]);
    assert_eq!(other.request("connector.a.enter", &again).await, json!({ "code": 409 }));
    py.leave().await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(pushed(&mut al), [push_of("onLeave", "py")]);
    assert_eq!(other.request("connector.a.enter", &again).await, json!({}));
}

#[tokio::test(start_paused = true)]
async fn who_lost_its_uid_while_it_was_cut_off_is_kicked() {
    let app = start().await;
    let loser = enter_at(&app, "connector-1", "py", "lobby").await;
    let mut al = enter_at(&app, "connector-2", "al", "lobby").await;
    app.cut("connector-1");
    sleep(Duration::from_secs(5)).await;
    let winner = enter_at(&app, "connector-3", "py", "lobby").await;
    assert_eq!(pushed(&mut al), [push_of("onLeave", "py"), push_of("onAdd", "py")]);
    app.heal("connector-1");
    assert_eq!(loser.closed().await, CloseReason::Kicked(Some("logged in elsewhere".to_owned())));
    sleep(Duration::from_secs(20)).await;
    // Nobody heard of the loser, and the winner is what it was.
    assert_eq!(pushed(&mut al), []);
    assert_eq!(inside(&app, "lobby"), ["al", "py"]);
    assert_eq!(winner.request("chat.a.say", "mine").await, json!({}));
}

/// Two connectors do not see each other, and the rooms see both: one of two sessions of a uid is an
/// old one, and talks until it is told.
#[tokio::test(start_paused = true)]
async fn who_lost_its_uid_can_not_act() {
    let app = start().await;
    let loser = enter_at(&app, "connector-1", "py", "lobby").await;
    let mut al = enter_at(&app, "connector-2", "al", "lobby").await;
    app.link("connector-1").part_from(app.link("connector-3"));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(inside(&app, "lobby"), ["al", "py"]);
    let talk = async {
        while loser.client().notify("chat.a.say", "old").await.is_ok() {
            tokio::task::yield_now().await;
        }
        loser.closed().await
    };
    let (winner, closed) = tokio::join!(enter_at(&app, "connector-3", "py", "lobby"), talk);
    assert_eq!(closed, CloseReason::Kicked(Some("logged in elsewhere".to_owned())));
    // One has gone before the other came, for those who see names only, and said nothing more.
    let mut heard = pushed(&mut al);
    heard.dedup();
    let expected = [push_of("onChat", "old"), push_of("onLeave", "py"), push_of("onAdd", "py")];
    assert_eq!(heard, expected);
    assert_eq!(winner.request("chat.a.say", "mine").await, json!({}));
    sleep(Duration::from_secs(20)).await;
    assert_eq!(pushed(&mut al), [push_of("onChat", "mine")]);
    assert_eq!(inside(&app, "lobby"), ["al", "py"]);
}

#[tokio::test(start_paused = true)]
async fn a_room_whose_server_was_cut_off_comes_back_and_nobody_is_told() {
    let app = start().await;
    let mut py = enter_at(&app, "connector-1", "py", "lobby").await;
    let mut al = enter_at(&app, "connector-2", "al", "lobby").await;
    let bo = enter_at(&app, "connector-3", "bo", "lobby").await;
    let owner = home(&app, "lobby");
    pushed(&mut py);
    pushed(&mut al);
    app.cut(&owner);
    sleep(Duration::from_secs(5)).await;
    // The old room is there as well, and does not know yet.
    assert_eq!(inside(&app, "lobby"), ["al", "al", "bo", "bo", "py", "py"]);
    bo.leave().await;
    let cy = enter_at(&app, "connector-3", "cy", "lobby").await;
    sleep(Duration::from_secs(1)).await;
    for client in [&mut py, &mut al] {
        assert_eq!(pushed(client), [push_of("onLeave", "bo"), push_of("onAdd", "cy")]);
    }
    app.heal(&owner);
    sleep(Duration::from_secs(2)).await;
    assert_eq!(home(&app, "lobby"), owner);
    assert_eq!(cy.request("chat.a.say", "all here?").await, json!({}));
    for client in [&mut py, &mut al] {
        assert_eq!(pushed(client), [push_of("onChat", "all here?")]);
    }
    // Who left while the room was elsewhere is not there either.
    assert_eq!(inside(&app, "lobby"), ["al", "cy", "py"]);
}

/// The room goes from its first owner to the second, to the third, and back to the first: the second one never
/// hears that it should let its members go, for it was away.
#[tokio::test(start_paused = true)]
async fn a_server_that_was_passed_over_keeps_nobody() {
    let app = start_of(3, "").await;
    let _py = enter_at(&app, "connector-1", "py", "lobby").await;
    let first = home(&app, "lobby");
    app.cut(&first);
    sleep(Duration::from_secs(5)).await;
    let with_room = |server: &ServerHandle| server.channels().get("lobby").is_some();
    let servers = app.app().servers();
    let second = servers.iter().find(|server| with_room(server) && server.id().as_str() != first);
    let second = second.expect("the room has moved").id().to_string();
    app.cut(&second);
    sleep(Duration::from_secs(5)).await;
    app.heal(&first);
    sleep(Duration::from_secs(5)).await;
    app.heal(&second);
    sleep(Duration::from_secs(5)).await;
    assert_eq!((home(&app, "lobby"), inside(&app, "lobby")), (first, vec!["py".to_owned()]));
}

/// A client asks ten times a second, whatever happens to the server of its room.
#[tokio::test(start_paused = true)]
async fn requests_to_a_dead_server_are_answered_soon() {
    for cut in [true, false] {
        let app = start().await;
        let py = enter_at(&app, "connector-1", "py", "lobby").await;
        let owner = home(&app, "lobby");
        match cut {
            true => app.cut(&owner),
            // Frozen: its connection is there, and it does not answer.
            false => app.link(&owner).part_from(app.link("connector-1")),
        }
        let (begun, mut failed) = (Instant::now(), Duration::ZERO);
        while begun.elapsed() < Duration::from_secs(6) {
            let asked = Instant::now();
            let reply = py.request("chat.a.say", "hello?").await;
            assert!(asked.elapsed() < Duration::from_secs(4), "{:?}", asked.elapsed());
            if reply != json!({}) {
                assert_eq!(reply, json!({ "code": 500 }));
                failed = begun.elapsed();
            }
            sleep(Duration::from_millis(100)).await;
        }
        assert!(failed < Duration::from_secs(4), "requests failed for {failed:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_server_and_a_connector_that_were_parted_agree_again() {
    let app = start().await;
    let mut clients = Vec::new();
    for (number, room) in ["lobby", "attic", "cellar", "garden"].iter().enumerate() {
        for uid in ["py", "al", "bo"] {
            let connector = format!("connector-{}", number % 3 + 1);
            clients.push(enter_at(&app, &connector, &format!("{uid}*{room}"), room).await);
        }
    }
    app.link("chat-1").part_from(app.link("connector-1"));
    sleep(Duration::from_secs(10)).await;
    clients.swap_remove(0).leave().await;
    sleep(Duration::from_secs(10)).await;
    app.link("chat-1").meet(app.link("connector-1"));
    sleep(Duration::from_secs(20)).await;
    assert_eq!(inside(&app, "lobby"), ["al*lobby", "bo*lobby"]);
    for room in ["attic", "cellar", "garden"] {
        home(&app, room);
        assert_eq!(inside(&app, room).len(), 3, "{room}");
    }
}

/// Only the message that somebody left got lost: nobody was dead.
#[tokio::test(start_paused = true)]
async fn one_who_left_without_a_word_is_found_out() {
    let app = start().await;
    let py = enter_at(&app, "connector-1", "py", "lobby").await;
    let mut al = enter_at(&app, "connector-2", "al", "lobby").await;
    let owner = home(&app, "lobby");
    app.link(&owner).part_from(app.link("connector-1"));
    py.leave().await;
    sleep(Duration::from_secs(1)).await;
    app.link(&owner).meet(app.link("connector-1"));
    assert_eq!(inside(&app, "lobby"), ["al", "py"]);
    sleep(Duration::from_secs(15)).await;
    assert_eq!(inside(&app, "lobby"), ["al"]);
    assert_eq!(pushed(&mut al), [push_of("onLeave", "py")]);
}

#[tokio::test(start_paused = true)]
async fn a_uid_is_reached_wherever_it_is_after_moves_and_cuts() {
    let app = start().await;
    let mut py = enter_at(&app, "connector-1", "py", "lobby").await;
    let al = enter_at(&app, "connector-2", "al", "attic").await;
    for server in ["connector-1", "chat-1", "chat-2"] {
        app.cut(server);
        sleep(Duration::from_secs(10)).await;
        app.heal(server);
        sleep(Duration::from_secs(3)).await;
        pushed(&mut py);
        assert_eq!(al.request("chat.a.push", json!(["py", server])).await, json!({}));
        assert_eq!(py.pushed("onWord").await, server);
    }
    assert_eq!(al.request("chat.a.kick", "py").await, json!({}));
    assert_eq!(py.closed().await, CloseReason::Kicked(Some("out".to_owned())));
}

#[tokio::test(start_paused = true)]
async fn lost_pushes_close_the_sessions_concerned_if_so_configured() {
    for (toml, closes) in [("", false), ("[cluster]\ngaps = \"close\"", true)] {
        let app = start_with(toml).await;
        let mut py = enter_at(&app, "connector-1", "py", "lobby").await;
        let al = enter_at(&app, "connector-2", "al", "lobby").await;
        let owner = home(&app, "lobby");
        let parted = |part: bool| match part {
            true => app.link(&owner).part_from(app.link("connector-1")),
            false => app.link(&owner).meet(app.link("connector-1")),
        };
        parted(true);
        assert_eq!(al.request("chat.a.say", "lost").await, json!({}));
        parted(false);
        assert_eq!(al.request("chat.a.say", "heard").await, json!({}));
        sleep(Duration::from_secs(1)).await;
        match closes {
            true => assert_eq!(py.closed().await, CloseReason::Ended),
            false => assert_eq!(pushed(&mut py).last(), Some(&push_of("onChat", "heard"))),
        }
        assert_eq!(al.request("chat.a.say", "still here").await, json!({}));
    }
}

/// The second of three who had the uid is dead when the first could be heard again: nobody is left who knows
/// that the first was taken for dead.
#[tokio::test(start_paused = true)]
async fn who_lost_its_uid_to_one_who_died_is_kicked_when_the_uid_is_given_away_again() {
    let app = start().await;
    let first = enter_at(&app, "connector-1", "py", "lobby").await;
    app.link("connector-1").part_from(app.link("connector-2"));
    sleep(Duration::from_secs(5)).await;
    let _second = enter_at(&app, "connector-2", "py", "attic").await;
    app.cut("connector-2");
    sleep(Duration::from_secs(5)).await;
    let third = enter_at(&app, "connector-3", "py", "cellar").await;
    assert_eq!(first.closed().await, CloseReason::Kicked(Some("logged in elsewhere".to_owned())));
    assert_eq!(third.request("chat.a.say", "mine").await, json!({}));
}

/// What a client said waits behind something slow while its front-end takes the room's server for dead, and says so to
/// the client. It must not be heard long after, between things that were said later.
#[tokio::test(start_paused = true)]
async fn what_nobody_waits_for_any_more_is_not_begun() {
    let app = start_of(1, "").await;
    let py = enter_at(&app, "connector-1", "py", "lobby").await;
    let mut al = enter_at(&app, "connector-2", "al", "lobby").await;
    py.client().notify("chat.a.dawdle", json!({})).await.unwrap();
    py.client().notify("chat.a.say", "late").await.unwrap();
    sleep(Duration::from_millis(100)).await;
    app.link("chat-1").part_from(app.link("connector-1"));
    sleep(Duration::from_secs(5)).await;
    app.link("chat-1").meet(app.link("connector-1"));
    sleep(Duration::from_secs(15)).await;
    assert_eq!(inside(&app, "lobby"), ["al", "py"]);
    assert_eq!(pushed(&mut al), [push_of("onLeave", "py"), push_of("onAdd", "py")]);
}

/// A claim that brokers have lost is not another's, even if they show an older one: whoever made that says that they
/// have let go.
#[tokio::test(start_paused = true)]
async fn who_has_a_uid_that_the_brokers_forgot_keeps_it() {
    let app = start().await;
    let former = enter_at(&app, "connector-1", "py", "lobby").await;
    let then = app.link("connector-1").remember();
    former.leave().await;
    sleep(Duration::from_secs(1)).await;
    let py = enter_at(&app, "connector-2", "py", "lobby").await;
    app.link("connector-1").go_back_to(&then);
    app.cut("connector-2");
    sleep(Duration::from_secs(5)).await;
    app.heal("connector-2");
    sleep(Duration::from_secs(15)).await;
    assert_eq!(py.request("chat.a.say", "still here").await, json!({}));
    let other = app.connect("connector-3").await;
    let again = json!(["py", "lobby"]);
    assert_eq!(other.request("connector.a.enter", &again).await, json!({ "code": 409 }));
    py.leave().await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(other.request("connector.a.enter", &again).await, json!({}));
}

/// While it was cut off another had its uid and gave it back: what was said in its name was not its.
#[tokio::test(start_paused = true)]
async fn who_lost_its_uid_for_a_while_is_kicked() {
    let app = start().await;
    let first = enter_at(&app, "connector-1", "py", "lobby").await;
    app.cut("connector-1");
    sleep(Duration::from_secs(5)).await;
    enter_at(&app, "connector-2", "py", "lobby").await.leave().await;
    sleep(Duration::from_secs(1)).await;
    app.heal("connector-1");
    assert_eq!(first.closed().await, CloseReason::Kicked(Some("logged in elsewhere".to_owned())));
    sleep(Duration::from_secs(15)).await;
    assert_eq!(inside(&app, "lobby"), [""; 0]);
}

/// The directory takes a quarter of a minute for an answer, and servers come and go: whoever waits for that waits without
/// those who ask.
#[tokio::test(start_paused = true)]
async fn requests_do_not_wait_for_a_directory_that_is_slow() {
    let weather =
        |seconds| Chaos { delay: Duration::ZERO..Duration::from_secs(seconds), ..Chaos::default() };
    let hub = Memory::chaotic(1, weather(0));
    let connector = Server::frontend("connector").on("a.login", login).on("a.ping", ping);
    let app = testing::app_with(&["connector*5"], &[], "").server(connector);
    let app = TestApp::start_on(app, &hub).await;
    sleep(Duration::from_secs(5)).await;
    let py = app.connect("connector-1").await;
    assert_eq!(py.request("connector.a.login", "py").await, json!({}));
    app.cut("connector-1");
    sleep(Duration::from_secs(5)).await;
    hub.change(weather(15));
    app.heal("connector-1");
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(60) {
        let asked = Instant::now();
        assert_eq!(py.request("connector.a.ping", "").await, json!({}));
        assert!(asked.elapsed() < Duration::from_secs(3), "{:?}", asked.elapsed());
        sleep(Duration::from_millis(100)).await;
    }
}
