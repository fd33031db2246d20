//! Servers calling one another.

use std::sync::Mutex;

use serde_json::{Value, json};
use shaddock::testing::{self, TestApp};
use shaddock::{Fault, Msg, Result, Rpc, Server, ServerHandle, ServerId, Session, State};
use tokio::time::{Duration, Instant, sleep};

/// What the chat servers do in these tests.
#[shaddock::remote("chat")]
pub(crate) trait Work {
    /// Which server this is.
    async fn who(&self) -> Result<ServerId>;
    async fn add(&self, a: i64, b: i64) -> Result<i64>;
    async fn wait(&self, millis: u64) -> Result<u64>;
    async fn refuse(&self, room: String) -> Result<()>;
    async fn crash(&self) -> Result<()>;
    /// Writes a number down.
    #[oneway]
    async fn note(&self, number: u64) -> Result<()>;
    /// What was written down.
    async fn notes(&self) -> Result<Vec<u64>>;
}

#[derive(Default)]
pub(crate) struct Worker {
    id: Option<ServerId>,
    notes: Mutex<Vec<u64>>,
}

impl Work for Worker {
    async fn who(&self) -> Result<ServerId> {
        self.id.clone().ok_or_else(|| Fault::new(500, "nobody"))
    }

    async fn add(&self, a: i64, b: i64) -> Result<i64> {
        a.checked_add(b).ok_or_else(|| Fault::new(400, "too much"))
    }

    async fn wait(&self, millis: u64) -> Result<u64> {
        sleep(Duration::from_millis(millis)).await;
        Ok(millis)
    }

    async fn refuse(&self, room: String) -> Result<()> {
        Err(Fault::new(403, "not in here").with("room", room))
    }

    async fn crash(&self) -> Result<()> {
        panic!("on purpose")
    }

    async fn note(&self, number: u64) -> Result<()> {
        // Those that take longer come no later.
        sleep(Duration::from_millis(number * 7 % 5)).await;
        self.notes.lock().unwrap().push(number);
        Ok(())
    }

    async fn notes(&self) -> Result<Vec<u64>> {
        Ok(self.notes.lock().unwrap().clone())
    }
}

fn work(server: &ServerHandle) -> Worker {
    Worker { id: Some(server.id().clone()), ..Worker::default() }
}

/// Which server the session's messages go to.
async fn mine(session: Session, work: Rpc<WorkClient>) -> Result<ServerId> {
    work.of(&session)?.who().await
}

async fn set_room(session: Session, Msg(room): Msg<String>) -> Result<()> {
    session.set("room", room).await
}

async fn refused(work: Rpc<WorkClient>) -> Result<()> {
    work.any()?.refuse("lobby".to_owned()).await
}

async fn here(server: ServerHandle) -> Result<ServerId> {
    Ok(server.id().clone())
}

async fn start(toml: &str) -> TestApp {
    let app = testing::app_with(&["connector"], &["chat*3"], toml);
    let connector = Server::frontend("connector")
        .on("a.mine", mine)
        .on("a.setRoom", set_room)
        .on("a.refused", refused);
    let chat = Server::backend("chat")
        .on("a.here", here)
        .route_by(|session| session.get("room"))
        .remote(Work::serve(work));
    TestApp::start(app.server(connector).server(chat)).await
}

fn caller(app: &TestApp) -> Rpc<WorkClient> {
    app.server("connector-1").rpc().unwrap()
}

fn id(text: &str) -> ServerId {
    text.parse().unwrap()
}

#[tokio::test(start_paused = true)]
async fn a_server_is_called_by_its_id() {
    let app = start("").await;
    for name in ["chat-1", "chat-2", "chat-3"] {
        let work = caller(&app).at(&id(name));
        assert_eq!(*work.server(), id(name));
        assert_eq!(work.who().await.unwrap(), id(name));
        assert_eq!(work.add(2, -5).await.unwrap(), -3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_key_has_one_owner_from_everywhere() {
    let app = start("").await;
    let mut owners = std::collections::HashSet::new();
    for key in 0..50 {
        let key = format!("room {key}");
        let owner = caller(&app).on(&key).unwrap().who().await.unwrap();
        let other: Rpc<WorkClient> = app.server("chat-2").rpc().unwrap();
        assert_eq!(*other.on(&key).unwrap().server(), owner);
        owners.insert(owner);
    }
    assert_eq!(owners.len(), 3);
}

#[tokio::test(start_paused = true)]
async fn calls_and_messages_of_a_session_go_to_the_same_server() {
    let app = start("").await;
    for room in ["lobby", "attic", "cellar", "garden"] {
        let client = app.connect("connector-1").await;
        // Without a room there is no key, and so no server.
        assert_eq!(client.request("chat.a.here", json!({})).await, json!({ "code": 500 }));
        assert_eq!(client.request("connector.a.mine", json!({})).await, json!({ "code": 500 }));
        client.request("connector.a.setRoom", room).await;
        let owner = json!(caller(&app).on(room).unwrap().server());
        assert_eq!(client.request("connector.a.mine", json!({})).await, owner);
        assert_eq!(client.request("chat.a.here", json!({})).await, owner);
    }
}

#[tokio::test(start_paused = true)]
async fn any_is_one_of_them() {
    let app = start("").await;
    let who = caller(&app).any().unwrap().who().await.unwrap();
    assert!(["chat-1", "chat-2", "chat-3"].contains(&who.as_str()), "{who}");
}

#[tokio::test(start_paused = true)]
async fn all_of_them_answer_at_once() {
    let app = start("").await;
    let begun = Instant::now();
    let mut answers = caller(&app).all().wait(1_000).await;
    assert!(begun.elapsed() < Duration::from_secs(2));
    answers.sort_by(|(one, _), (other, _)| one.cmp(other));
    let answers: Vec<_> =
        answers.into_iter().map(|(server, answer)| (server, answer.unwrap())).collect();
    assert_eq!(answers, [(id("chat-1"), 1_000), (id("chat-2"), 1_000), (id("chat-3"), 1_000)]);
    for (server, answer) in caller(&app).all().refuse(String::new()).await {
        assert_eq!(answer.unwrap_err().code(), 403, "{server}");
    }
}

#[tokio::test(start_paused = true)]
async fn one_way_calls_are_handled_in_order() {
    let app = start("").await;
    let work = caller(&app).at(&id("chat-1"));
    for number in 0..200 {
        work.note(number).unwrap();
    }
    sleep(Duration::from_secs(5)).await;
    assert_eq!(work.notes().await.unwrap(), (0..200).collect::<Vec<_>>());
    caller(&app).all().note(7).unwrap();
    sleep(Duration::from_secs(1)).await;
    for (server, notes) in caller(&app).all().notes().await {
        assert_eq!(notes.unwrap().last(), Some(&7), "{server}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_call_holds_no_other() {
    let app = start("").await;
    let work = caller(&app).at(&id("chat-1"));
    let begun = Instant::now();
    let (slow, quick) = tokio::join!(work.wait(4_000), async {
        let three = work.add(1, 2).await;
        (three, begun.elapsed())
    });
    assert_eq!((slow.unwrap(), quick.0.unwrap()), (4_000, 3));
    assert!(quick.1 < Duration::from_secs(1));
}

#[tokio::test(start_paused = true)]
async fn a_fault_of_a_remote_passes_through_to_the_client() {
    let app = start("").await;
    let fault = caller(&app).at(&id("chat-1")).refuse("attic".to_owned()).await.unwrap_err();
    assert_eq!(
        (fault.code(), fault.reason()),
        (403, "Work.refuse on chat-1 failed: 403: not in here")
    );
    let client = app.connect("connector-1").await;
    let reply = client.client().request_raw("connector.a.refused", "{}".into()).await.unwrap();
    assert_eq!(reply, r#"{"code":403,"room":"lobby"}"#);
}

#[tokio::test(start_paused = true)]
async fn a_panic_in_a_remote_is_a_fault() {
    let app = start("").await;
    let work = caller(&app).at(&id("chat-1"));
    assert_eq!(work.crash().await.unwrap_err().code(), 500);
    assert_eq!(work.add(1, 1).await.unwrap(), 2);
}

/// That an error says which server was called, which method, and why it failed.
fn says(fault: &Fault, server: &str, method: &str, why: &str) {
    let reason = fault.reason();
    assert!([server, method, why].iter().all(|part| reason.contains(part)), "{reason}");
    assert_eq!(&fault.to_body()[..], br#"{"code":500}"#);
}

#[tokio::test(start_paused = true)]
async fn a_call_to_nobody_says_so() {
    let app = start("").await;
    let fault = caller(&app).at(&id("chat-9")).add(1, 2).await.unwrap_err();
    says(&fault, "chat-9", "Work.add", "is not in the cluster");
    let fault = caller(&app).at(&id("chat-9")).note(1).unwrap_err();
    says(&fault, "chat-9", "Work.note", "is not in the cluster");
    // A server of another kind has no such remote.
    let fault = caller(&app).at(&id("connector-1")).add(1, 2).await.unwrap_err();
    says(&fault, "connector-1", "Work.add", "no remote");
}

#[tokio::test(start_paused = true)]
async fn a_call_that_takes_too_long_says_so() {
    let app = start("[remotes]\ndeadline = 1").await;
    let begun = Instant::now();
    let fault = caller(&app).at(&id("chat-1")).wait(5_000).await.unwrap_err();
    says(&fault, "chat-1", "Work.wait", "did not answer in time");
    assert!((1_000..1_200).contains(&begun.elapsed().as_millis()), "{:?}", begun.elapsed());
}

#[tokio::test(start_paused = true)]
async fn calls_to_a_server_that_dies_end() {
    let app = start("[remotes]\ndeadline = 60\n[requests]\ndeadline = 60").await;
    let work = caller(&app).at(&id("chat-1"));
    let begun = Instant::now();
    let (answer, ()) = tokio::join!(work.wait(50_000), async {
        sleep(Duration::from_millis(10)).await;
        app.cut("chat-1");
    });
    says(&answer.unwrap_err(), "chat-1", "Work.wait", "went away");
    assert!(begun.elapsed() < Duration::from_secs(30), "{:?}", begun.elapsed());
    says(&work.add(1, 2).await.unwrap_err(), "chat-1", "Work.add", "is not in the cluster");
    // Its keys have other owners.
    for key in 0..20 {
        let owner = caller(&app).on(&key.to_string()).unwrap();
        assert_ne!(*owner.server(), id("chat-1"));
    }
    assert_eq!(caller(&app).all().who().await.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn the_requests_of_clients_to_a_server_that_dies_are_answered() {
    async fn hang() -> Result<()> {
        std::future::pending().await
    }
    let app = testing::app_with(&["connector"], &["chat"], "[requests]\ndeadline = 60");
    let chat = Server::backend("chat").on("a.hang", hang);
    let app = TestApp::start(app.server(Server::frontend("connector")).server(chat)).await;
    let client = app
        .connect_as(
            "connector-1",
            testing::client::Client::builder().request_timeout(Duration::from_secs(50)),
        )
        .await;
    let (reply, ()) = tokio::join!(client.request("chat.a.hang", json!({})), async {
        sleep(Duration::from_millis(10)).await;
        app.cut("chat-1");
    });
    assert_eq!(reply, json!({ "code": 500 }));
    assert_eq!(client.request("chat.a.hang", json!({})).await, json!({ "code": 500 }));
}

#[tokio::test(start_paused = true)]
async fn a_kind_of_which_nobody_lives_has_no_servers() {
    let app = start("").await;
    for chat in ["chat-1", "chat-2", "chat-3"] {
        app.cut(chat);
    }
    sleep(Duration::from_secs(10)).await;
    let fault = caller(&app).any().unwrap_err();
    assert_eq!(fault.reason(), "there is no server of kind chat");
    assert!(caller(&app).all().who().await.is_empty());
}

#[tokio::test(start_paused = true)]
async fn a_rule_of_ones_own_chooses_among_those_that_live() {
    async fn choose(session: Session, Msg(index): Msg<usize>) -> Result<()> {
        session.set("index", index).await
    }
    let app = testing::app(&["connector"], &["chat*3"]);
    let connector = Server::frontend("connector").on("a.choose", choose);
    let chat = Server::backend("chat").on("a.here", here).route_with(|session, servers| {
        let index: usize = session.get("index")?;
        servers.get(index).cloned().ok_or_else(|| Fault::new(404, "no such server"))
    });
    let app = TestApp::start(app.server(connector).server(chat)).await;
    let client = app.connect("connector-1").await;
    let mut here = Vec::<Value>::new();
    for index in [2, 0, 1, 3] {
        client.request("connector.a.choose", index).await;
        here.push(client.request("chat.a.here", json!({})).await);
    }
    assert_eq!(here, [json!("chat-3"), json!("chat-1"), json!("chat-2"), json!({ "code": 404 })]);
    app.cut("chat-1");
    sleep(Duration::from_secs(10)).await;
    client.request("connector.a.choose", 0).await;
    assert_eq!(client.request("chat.a.here", json!({})).await, "chat-2");
}

#[tokio::test(start_paused = true)]
async fn remotes_find_the_state_of_their_server() {
    struct Name(String);
    struct Named(State<Name>);
    impl Work for Named {
        async fn who(&self) -> Result<ServerId> {
            Ok(self.0.0.0.parse()?)
        }
        async fn add(&self, _: i64, _: i64) -> Result<i64> {
            Ok(0)
        }
        async fn wait(&self, _: u64) -> Result<u64> {
            Ok(0)
        }
        async fn refuse(&self, _: String) -> Result<()> {
            Ok(())
        }
        async fn crash(&self) -> Result<()> {
            Ok(())
        }
        async fn note(&self, _: u64) -> Result<()> {
            Ok(())
        }
        async fn notes(&self) -> Result<Vec<u64>> {
            Ok(Vec::new())
        }
    }
    let app = testing::app(&["connector"], &["chat*2"]);
    let chat = Server::backend("chat")
        .remote(Work::serve(|server| Named(State(server.state().expect("it was made before")))))
        .state(|server| Name(format!("state-of-{}", server.id())));
    let app = TestApp::start(app.server(Server::frontend("connector")).server(chat)).await;
    for server in ["chat-1", "chat-2"] {
        assert_eq!(
            caller(&app).at(&id(server)).who().await.unwrap().as_str(),
            format!("state-of-{server}")
        );
    }
}
