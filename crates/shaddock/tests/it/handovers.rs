//! What a server knows of keys, when servers come, stop or die in the midst of a hand-over.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use futures_util::future::join_all;
use serde_json::json;
use shaddock::testing::{self, Memory, TestApp, TestClient};
use shaddock::{
    App, AppHandle, Component, Fault, Member, Moved, Msg, Result, Rpc, Server, ServerHandle,
    Session,
};
use tokio::time::{Duration, sleep, timeout};

use crate::waits::{Log, logged, wait};

/// The sessions that a server knows.
#[derive(Default)]
struct Known(Mutex<BTreeSet<String>>);

#[shaddock::remote("chat")]
trait Book {
    async fn adopt(&self, name: String) -> Result<()>;
    async fn owns(&self, name: String) -> Result<bool>;
    async fn has(&self, name: String) -> Result<bool>;
}

struct Page(ServerHandle);

impl Book for Page {
    async fn adopt(&self, name: String) -> Result<()> {
        known(&self.0).0.lock().unwrap().insert(name);
        Ok(())
    }

    async fn owns(&self, name: String) -> Result<bool> {
        Ok(self.0.owns(&name))
    }

    async fn has(&self, name: String) -> Result<bool> {
        Ok(known(&self.0).0.lock().unwrap().contains(&name))
    }
}

fn known(server: &ServerHandle) -> Arc<Known> {
    server.state().expect("chat servers have a book")
}

async fn enter(server: ServerHandle, session: Session) -> Result<()> {
    Page(server).adopt(session.id().to_string()).await
}

/// From now on the name is the session's key.
async fn bind(session: Session, Msg(name): Msg<String>) -> Result<Member> {
    session.bind(name).await?;
    session.member()
}

async fn is_known(server: ServerHandle, session: Session) -> Result<bool> {
    Ok(known(&server).0.lock().unwrap().contains(&session.id().to_string()))
}

async fn home(server: ServerHandle) -> Result<String> {
    Ok(server.id().to_string())
}

/// Takes its time on the second server.
async fn hand_over(server: ServerHandle) -> Result<()> {
    let is_slow = server.id().as_str() == "chat-2";
    hand_over_with(server, Duration::from_secs(is_slow.into())).await
}

async fn hand_over_quickly(server: ServerHandle) -> Result<()> {
    hand_over_with(server, Duration::ZERO).await
}

pub(super) async fn hand_over_with(server: ServerHandle, pause: Duration) -> Result<()> {
    server.state::<Log>().expect("the application has a log").add("handed over");
    let book: Rpc<BookClient> = server.rpc()?;
    let names = known(&server).0.lock().unwrap().clone();
    let gone: Vec<_> = names.into_iter().filter(|name| !server.owns(name)).collect();
    for name in &gone {
        book.on(name)?.adopt(name.clone()).await?;
        if !pause.is_zero() {
            sleep(pause).await;
        }
    }
    known(&server).0.lock().unwrap().retain(|name| !gone.contains(name));
    Ok(())
}

async fn follow(server: ServerHandle, session: Session, _: Moved) -> Result<()> {
    server.rpc::<BookClient>()?.of(&session)?.adopt(session.id().to_string()).await
}

pub(super) fn app() -> App {
    app_with(|chat| chat.on_handover(hand_over))
}

pub(super) fn quick_app() -> App {
    app_with(|chat| chat.on_handover(hand_over_quickly))
}

pub(super) fn app_with(hook: impl Fn(Server) -> Server) -> App {
    let chat = Server::backend("chat")
        .state(|_| Known::default())
        .remote(Book::serve(|server| Page(server.clone())))
        .on("a.enter", enter)
        .on("a.home", home)
        .on("a.isKnown", is_known)
        .on("a.wait", wait);
    testing::app_with(&["connector*2"], &["chat*3"], "[remotes]\ndeadline = 1")
        .state(Log::default())
        .server(
            Server::frontend("connector")
                .on("a.bind", bind)
                .on("a.wait", wait)
                .on_moved("chat", follow),
        )
        .server(hook(chat))
}

/// Some who are known.
pub(super) async fn clients(app: &TestApp) -> Vec<TestClient> {
    let mut clients = Vec::new();
    // As many as it takes for each server to have some, and to get some, whatever their ids are.
    for _ in 0..64 {
        let client = app.connect("connector-1").await;
        client.request("chat.a.enter", ()).await;
        clients.push(client);
    }
    clients
}

pub(super) async fn all_are_known(clients: &[TestClient]) {
    let asked = clients.iter().map(|client| client.request("chat.a.isKnown", ()));
    let known = join_all(asked).await;
    assert!(known.iter().all(|is_known| *is_known == json!(true)), "{known:?}");
}

pub(super) async fn add(app: &TestApp, id: &str) -> bool {
    let entry = app.app().config().server(id).unwrap().clone();
    app.app().add_server(entry).await.is_ok()
}

#[tokio::test(start_paused = true)]
async fn a_hand_over_comes_to_its_end_when_nobody_waits_for_it_any_more() {
    let app = TestApp::start(app().only(["connector-1", "chat-1"])).await;
    let clients = clients(&app).await;
    let (waited, added) = tokio::join!(clients[0].request("chat.a.wait", 1_500), async {
        sleep(Duration::from_millis(10)).await;
        add(&app, "chat-3").await
    });
    assert_eq!((waited, added), (json!(1_500), true));
    all_are_known(&clients).await;
    assert_eq!(logged(&app), ["handed over"]);
}

#[tokio::test(start_paused = true)]
async fn what_a_parted_front_end_sends_to_another_owner_stays_there_when_one_is_added() {
    let app = TestApp::start(quick_app().only(["connector-1", "chat-1", "chat-2"])).await;
    app.link("connector-1").part_from(app.link("chat-2"));
    sleep(Duration::from_secs(5)).await;
    // Some of these would be the second's, if the connector knew of it.
    let clients = clients(&app).await;
    assert!(add(&app, "chat-3").await);
    all_are_known(&clients).await;
    sleep(Duration::from_secs(30)).await;
    all_are_known(&clients).await;
    app.link("connector-1").meet(app.link("chat-2"));
    sleep(Duration::from_secs(5)).await;
    all_are_known(&clients).await;
}

/// Servers that were parted may have handed over what its front-end then followed elsewhere.
#[tokio::test(start_paused = true)]
async fn who_is_in_a_channel_of_their_key_on_a_server_that_does_not_own_it_is_taken_out() {
    let app = TestApp::start(quick_app().only(["connector-1", "chat-1", "chat-2"])).await;
    let client = app.connect("connector-1").await;
    let member: Member =
        serde_json::from_value(client.request("connector.a.bind", "py").await).unwrap();
    let mut chats = ["chat-1", "chat-2"].map(|id| app.server(id));
    chats.sort_by_key(|chat| chat.owns("py"));
    let [other, owner] = chats.map(|chat| chat.channels());
    let joined = [owner.open("py"), other.open("py"), other.open("club")];
    assert!(joined.iter().all(|channel| channel.join(member.clone())));
    sleep(Duration::from_secs(30)).await;
    assert_eq!(joined.map(|channel| channel.count()), [1, 0, 1]);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_handed_over_to_a_server_that_a_front_end_does_not_know() {
    let app = TestApp::start(quick_app().only(["connector-1", "chat-1", "chat-2"])).await;
    let clients = clients(&app).await;
    app.link("connector-1").part_from(app.link("chat-3"));
    assert!(add(&app, "chat-3").await);
    all_are_known(&clients).await;
    sleep(Duration::from_secs(30)).await;
    app.cut("chat-3");
    sleep(Duration::from_secs(30)).await;
    all_are_known(&clients).await;
}

#[tokio::test(start_paused = true)]
async fn what_was_handed_over_to_a_server_that_died_before_it_was_ready_is_entered_again() {
    let app = TestApp::start(app().only(["connector-1", "chat-1", "chat-2"])).await;
    let clients = clients(&app).await;
    tokio::join!(add(&app, "chat-3"), async {
        sleep(Duration::from_millis(500)).await;
        assert!(!known(&app.server("chat-3")).0.lock().unwrap().is_empty());
        app.cut("chat-3");
    });
    sleep(Duration::from_secs(30)).await;
    all_are_known(&clients).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_is_stopped_before_it_was_ready_gives_back_what_it_has() {
    let app = TestApp::start(app().only(["connector-1", "chat-1", "chat-2"])).await;
    let clients = clients(&app).await;
    let third = "chat-3".parse().unwrap();
    tokio::join!(add(&app, "chat-3"), async {
        sleep(Duration::from_millis(500)).await;
        assert!(!known(&app.server("chat-3")).0.lock().unwrap().is_empty());
        let stopped = timeout(Duration::from_secs(1), app.app().stop_server(&third)).await;
        assert!(stopped.expect("at once, though the second is about to hand over to it").unwrap());
    });
    all_are_known(&clients).await;
    assert_eq!(app.server("connector-1").cluster().servers("chat").len(), 2);
}

#[tokio::test(start_paused = true)]
async fn of_servers_that_stop_at_once_the_last_keeps_what_all_had() {
    let [app, one, two, three] = apart(&Memory::new()).await;
    write(&app).await;
    let chats = [one.server("chat-1"), two.server("chat-2"), three.server("chat-3")];
    let titles = || chats.each_ref().map(|chat| known(chat).0.lock().unwrap().clone());
    assert!(titles().iter().all(|titles| !titles.is_empty()), "{:?}", titles());
    assert_eq!(tokio::join!(one.stop(), two.stop(), three.stop()), (true, true, true));
    let mut left = titles().to_vec();
    left.retain(|titles| !titles.is_empty());
    assert_eq!(left, [TITLES.map(str::to_owned).into()]);
}

#[tokio::test(start_paused = true)]
async fn the_last_server_of_a_kind_keeps_what_it_has() {
    let lets_go = async |server: ServerHandle| {
        known(&server).0.lock().unwrap().clear();
        Ok(())
    };
    let app = app_with(|chat| chat.on_handover(lets_go));
    let app = TestApp::start(app.only(["connector-1", "chat-1", "chat-2"])).await;
    let _clients = clients(&app).await;
    let chats = ["chat-1", "chat-2"].map(|id| app.server(id));
    let names = || chats.each_ref().map(|chat| known(chat).0.lock().unwrap().clone());
    let before = names();
    assert!(app.stop().await);
    assert_eq!(names(), before);
}

/// Each chat server in an application of its own, and a connector.
async fn apart(hub: &Memory) -> [TestApp; 4] {
    let mut all = Vec::new();
    for server in ["connector-1", "chat-1", "chat-2", "chat-3"] {
        all.push(TestApp::start_on(quick_app().only([server]), hub).await);
    }
    all.try_into().expect("four")
}

/// What no session brings again.
const TITLES: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];

pub(super) async fn write(app: &TestApp) {
    let book: Rpc<BookClient> = app.server("connector-1").rpc().unwrap();
    for title in TITLES {
        book.on(title).unwrap().adopt(title.to_owned()).await.unwrap();
    }
}

pub(super) async fn all_is_written(app: &TestApp) {
    let book: Rpc<BookClient> = app.server("connector-1").rpc().unwrap();
    for title in TITLES {
        assert!(book.on(title).unwrap().has(title.to_owned()).await.unwrap(), "{title}");
    }
}

#[tokio::test(start_paused = true)]
async fn servers_that_stop_at_once_hand_over_one_after_another() {
    let [app, one, two, _three] = apart(&Memory::new()).await;
    write(&app).await;
    assert_eq!(tokio::join!(one.stop(), two.stop()), (true, true));
    all_is_written(&app).await;
}

#[tokio::test(start_paused = true)]
async fn servers_that_all_start_again_at_once_lose_nothing() {
    let hub = Memory::new();
    let [app, one, two, three] = apart(&hub).await;
    write(&app).await;
    let start_again = async |server: TestApp, id: &str| {
        assert!(server.stop().await);
        TestApp::start_on(quick_app().only([id]), &hub).await
    };
    let _chats = tokio::join!(
        start_again(one, "chat-1"),
        start_again(two, "chat-2"),
        start_again(three, "chat-3")
    );
    all_is_written(&app).await;
}

#[tokio::test(start_paused = true)]
async fn a_server_that_waits_for_its_turn_stops_at_once() {
    let hub = Memory::new();
    let app = TestApp::start_on(app().only(["connector-1", "chat-1"]), &hub).await;
    let slow = TestApp::start_on(self::app().only(["chat-2"]), &hub).await;
    let _clients = clients(&app).await;
    let third = "chat-3".parse().unwrap();
    let later = async {
        sleep(Duration::from_millis(10)).await;
        add(&app, "chat-3").await
    };
    tokio::join!(slow.stop(), later, async {
        sleep(Duration::from_millis(500)).await;
        assert!(known(&app.server("chat-3")).0.lock().unwrap().is_empty());
        let stopped = timeout(Duration::from_millis(100), app.app().stop_server(&third)).await;
        assert!(stopped.expect("though the second hands over for a while yet").unwrap());
    });
}

#[tokio::test(start_paused = true)]
async fn a_server_that_waits_for_its_turn_works_on() {
    let hub = Memory::new();
    let all = ["connector-1", "chat-1", "chat-3"];
    let app = TestApp::start_on(app().only(all), &hub).await;
    let slow = TestApp::start_on(self::app().only(["chat-2"]), &hub).await;
    write(&app).await;
    let (id, first) = ("chat-1".parse().unwrap(), app.server("chat-1"));
    let later = async {
        sleep(Duration::from_millis(10)).await;
        app.app().stop_server(&id).await
    };
    let (_, stopped, ()) = tokio::join!(slow.stop(), later, async {
        sleep(Duration::from_millis(500)).await;
        let book: Rpc<BookClient> = app.server("connector-1").rpc().unwrap();
        let own: Vec<_> = TITLES.into_iter().filter(|title| first.owns(title)).collect();
        assert!(!own.is_empty());
        for title in own {
            let asked = book.on(title).unwrap();
            assert_eq!(asked.server(), first.id());
            let has = timeout(Duration::from_millis(10), asked.has(title.to_owned()));
            assert!(has.await.unwrap().unwrap(), "{title}");
        }
    });
    assert!(stopped.unwrap());
}

#[tokio::test(start_paused = true)]
async fn the_turn_of_a_server_that_died_is_taken_over() {
    let hub = Memory::new();
    let never = app_with(|chat| chat.on_handover(async |_| std::future::pending().await));
    let app = TestApp::start_on(quick_app().only(["connector-1", "chat-2"]), &hub).await;
    let dies = TestApp::start_on(never.only(["connector-2", "chat-1"]), &hub).await;
    logged(&app);
    let first = "chat-1".parse().unwrap();
    let (stopped, ()) = tokio::join!(dies.app().stop_server(&first), async {
        sleep(Duration::from_millis(100)).await;
        dies.cut("chat-1");
        assert!(add(&app, "chat-3").await);
    });
    stopped.unwrap();
    assert_eq!(logged(&app), ["handed over"]);
}

/// Asks, as soon as the application has started, whether all mean the same owners.
struct Question;

impl Component for Question {
    async fn after_start(&self, app: &AppHandle) -> Result<()> {
        for server in app.servers() {
            let book: Rpc<BookClient> = server.rpc()?;
            for name in (0..20).map(|name| name.to_string()) {
                if !book.on(&name)?.owns(name.clone()).await? {
                    return Err(Fault::new(
                        500,
                        format!("{} does not know who owns {name}", server.id()),
                    ));
                }
            }
        }
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn owners_are_known_when_an_application_has_started() {
    let hub = Memory::new();
    let some = app().only(["connector-1", "chat-1", "chat-2"]);
    let first = TestApp::start_on(some.component(Question), &hub).await;
    let _second = TestApp::start_on(app().only(["chat-3"]).component(Question), &hub).await;
    Question.after_start(first.app()).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn when_half_was_handed_over_all_is_where_it_was() {
    let hub = Memory::new();
    let fails_late = async |server: ServerHandle| {
        if server.id().as_str() == "chat-2" {
            sleep(Duration::from_secs(1)).await;
        }
        let book: Rpc<BookClient> = server.rpc()?;
        let names = known(&server).0.lock().unwrap().clone();
        let gone: Vec<_> = names.into_iter().filter(|name| !server.owns(name)).collect();
        for name in &gone[..gone.len() / 2] {
            book.on(name)?.adopt(name.clone()).await?;
        }
        Err(Fault::new(500, "the other half is too heavy"))
    };
    let app = app_with(|chat| chat.on_handover(fails_late));
    let app = TestApp::start_on(app.only(["connector-1", "chat-1", "chat-2"]), &hub).await;
    let clients = clients(&app).await;
    tokio::join!(add(&app, "chat-3"), async {
        sleep(Duration::from_millis(500)).await;
        all_are_known(&clients).await;
    });
    all_are_known(&clients).await;
}

#[tokio::test(start_paused = true)]
async fn a_long_request_keeps_others_waiting_for_a_moment() {
    let app = TestApp::start(app().only(["connector-1", "chat-1", "chat-2"])).await;
    let clients = clients(&app).await;
    let first = "chat-1".parse().unwrap();
    let mut busy = Vec::new();
    for client in &clients {
        // Of those whose key is elsewhere, too.
        busy.push(client.request("chat.a.wait", 4_000));
    }
    let others = self::clients(&app).await;
    tokio::join!(join_all(busy), app.app().stop_server(&first), async {
        sleep(Duration::from_millis(10)).await;
        timeout(Duration::from_millis(2_500), all_are_known(&others)).await.unwrap();
    })
    .1
    .unwrap();
}

#[tokio::test(start_paused = true)]
async fn a_slow_client_leaves_back_ends_the_time_to_hand_over() {
    let hub = Memory::new();
    let other = TestApp::start_on(app().only(["connector-2", "chat-2"]), &hub).await;
    let stopping = TestApp::start_on(app().only(["connector-1", "chat-1"]), &hub).await;
    let mut clients = Vec::new();
    for _ in 0..64 {
        let client = other.connect("connector-2").await;
        client.request("chat.a.enter", ()).await;
        clients.push(client);
    }
    let slow = stopping.connect("connector-1").await;
    slow.client().notify("connector.a.wait", 30_000).await.unwrap();
    sleep(Duration::from_millis(10)).await;
    let first = stopping.server("chat-1");
    assert!(!known(&first).0.lock().unwrap().is_empty());
    stopping.stop().await;
    assert!(known(&first).0.lock().unwrap().is_empty());
    all_are_known(&clients).await;
}
