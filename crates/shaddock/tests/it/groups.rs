//! Groups: members on any front-end, named from any server.

use serde_json::{Value, json};
use shaddock::testing::{self, TestApp, TestClient};
use shaddock::{App, Groups, Member, Msg, Result, Server, Session};
use tokio::time::{Duration, sleep};

const GUILD: &str = "guild";

async fn enter(session: Session, groups: Groups, Msg(uid): Msg<String>) -> Result<Member> {
    session.bind(uid).await?;
    let member = session.member()?;
    groups.get(GUILD)?.join(&member).await?;
    Ok(member)
}

async fn visit(session: Session, groups: Groups, Msg(seconds): Msg<u64>) -> Result<()> {
    groups.get(GUILD)?.join_for(&session.member()?, Duration::from_secs(seconds)).await
}

async fn leave_by_name(groups: Groups, Msg(member): Msg<Member>) -> Result<()> {
    groups.get(GUILD)?.leave(&member).await
}

async fn join_by_name(groups: Groups, Msg(member): Msg<Member>) -> Result<()> {
    groups.get(GUILD)?.join(&member).await
}

async fn unbind(session: Session) -> Result<()> {
    session.unbind().await?;
    Ok(())
}

async fn say(groups: Groups, Msg(lines): Msg<Vec<Value>>) -> Result<()> {
    let group = groups.get(GUILD)?;
    lines.iter().try_for_each(|line| group.push("onLine", line))
}

async fn who(groups: Groups) -> Result<Vec<String>> {
    let group = groups.get(GUILD)?;
    let members = group.members().await?;
    assert_eq!(group.count().await?, members.len());
    let mut names: Vec<_> = members.iter().map(|member| member.uid.to_string()).collect();
    names.sort_unstable();
    Ok(names)
}

async fn count(groups: Groups) -> Result<usize> {
    groups.get(GUILD)?.count().await
}

async fn destroy(groups: Groups) -> Result<()> {
    groups.get(GUILD)?.destroy().await
}

fn handlers(server: Server) -> Server {
    server
        .on("g.enter", enter)
        .on("g.visit", visit)
        .on("g.leave", leave_by_name)
        .on("g.join", join_by_name)
        .on("g.unbind", unbind)
        .on("g.say", say)
        .on("g.who", who)
        .on("g.count", count)
        .on("g.destroy", destroy)
}

fn app() -> App {
    testing::app(&["connector*2"], &["game*2"])
        .server(handlers(Server::frontend("connector")))
        .server(handlers(Server::backend("game")))
}

/// Somebody in the group, who asked `kind` for it.
async fn member(app: &TestApp, frontend: &str, kind: &str, uid: &str) -> TestClient {
    let client = app.connect(frontend).await;
    let member = client.request(&format!("{kind}.g.enter"), uid).await;
    assert_eq!((&member["uid"], &member["frontend"]), (&json!(uid), &json!(frontend)));
    client
}

fn heard(client: &mut TestClient) -> Vec<Value> {
    client.pushes().into_iter().map(|(_, line)| line).collect()
}

#[tokio::test(start_paused = true)]
async fn what_any_server_pushes_is_heard_on_every_front_end_in_order() {
    let app = TestApp::start(app()).await;
    let mut outsider = app.connect("connector-1").await;
    let mut members = [
        member(&app, "connector-1", "connector", "al").await,
        member(&app, "connector-2", "connector", "bo").await,
        member(&app, "connector-2", "game", "cy").await,
    ];
    let (first, second): (Vec<u32>, Vec<u32>) = ((0..100).collect(), (100..200).collect());
    assert_eq!(outsider.request("game.g.say", &first).await, json!({}));
    assert_eq!(members[1].request("connector.g.say", &second).await, json!({}));
    sleep(Duration::from_secs(1)).await;
    for member in &mut members {
        let heard: Vec<Value> = heard(member);
        let (game, connector): (Vec<_>, Vec<_>) =
            heard.iter().map(|line| line.as_u64().unwrap()).partition(|line| *line < 100);
        assert!(game.into_iter().eq(0..100) && connector.into_iter().eq(100..200), "{heard:?}");
    }
    assert_eq!(heard(&mut outsider), Vec::<Value>::new());
    assert_eq!(outsider.request("game.g.who", ()).await, json!(["al", "bo", "cy"]));
}

#[tokio::test(start_paused = true)]
async fn members_are_in_for_their_time_and_no_longer() {
    let app = TestApp::start(app()).await;
    let client = member(&app, "connector-1", "game", "al").await;
    let who = async || client.request("game.g.who", ()).await;
    client.request("game.g.visit", 10).await;
    sleep(Duration::from_secs(6)).await;
    // The time begins anew.
    client.request("connector.g.visit", 10).await;
    sleep(Duration::from_secs(6)).await;
    assert_eq!(who().await, json!(["al"]));
    sleep(Duration::from_secs(6)).await;
    assert_eq!(who().await, json!([]));
    client.request("connector.g.visit", 10).await;
    // From now on without an end.
    client.request("connector.g.enter", "al").await;
    sleep(Duration::from_secs(60)).await;
    assert_eq!(who().await, json!(["al"]));
}

#[tokio::test(start_paused = true)]
async fn who_has_gone_is_out() {
    let app = TestApp::start(app()).await;
    let watcher = app.connect("connector-1").await;
    let who = async || watcher.request("game.g.who", ()).await;
    let [al, bo, cy] = [
        member(&app, "connector-1", "game", "al").await,
        member(&app, "connector-2", "game", "bo").await,
        member(&app, "connector-2", "game", "cy").await,
    ];
    let again = bo.request("game.g.enter", "bo").await;
    al.leave().await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(who().await, json!(["bo", "cy"]));
    watcher.request("game.g.leave", &again).await;
    assert_eq!(who().await, json!(["cy"]));
    watcher.request("game.g.join", &again).await;
    assert_eq!(who().await, json!(["bo", "cy"]));
    bo.request("game.g.unbind", ()).await;
    assert_eq!(who().await, json!(["cy"]));
    assert_eq!(watcher.request("game.g.join", &again).await, json!({ "code": 500 }));
    cy.request("game.g.destroy", ()).await;
    assert_eq!(who().await, json!([]));
}

#[tokio::test(start_paused = true)]
async fn members_of_a_front_end_that_is_cut_off_are_missed_until_it_is_back() {
    let app = TestApp::start(app()).await;
    let mut near = member(&app, "connector-1", "game", "al").await;
    let mut far = member(&app, "connector-2", "game", "bo").await;
    app.cut("connector-2");
    sleep(Duration::from_secs(30)).await;
    assert_eq!(near.request("connector.g.who", ()).await, json!(["al"]));
    near.request("connector.g.say", [1]).await;
    far.request("connector.g.say", [2]).await;
    assert_eq!((heard(&mut near), heard(&mut far)), (vec![json!(1)], vec![json!(2)]));
    app.heal("connector-2");
    sleep(Duration::from_secs(30)).await;
    assert_eq!(near.request("connector.g.who", ()).await, json!(["al", "bo"]));
    near.request("connector.g.say", [3]).await;
    assert_eq!((near.pushed("onLine").await, far.pushed("onLine").await), (json!(3), json!(3)));
}

#[tokio::test(start_paused = true)]
async fn ten_thousand_members_on_four_front_ends_hear_what_a_back_end_pushes_once() {
    let app = testing::app(&["connector*4"], &["game"])
        .server(handlers(Server::frontend("connector")))
        .server(handlers(Server::backend("game")));
    let app = TestApp::start(app).await;
    let outsider = app.connect("connector-1").await;
    let mut members = Vec::new();
    for number in 0..10_000 {
        let frontend = format!("connector-{}", 1 + number % 4);
        members.push(member(&app, &frontend, "game", &format!("al{number}")).await);
    }
    assert_eq!(outsider.request("game.g.count", ()).await, json!(10_000));
    assert_eq!(outsider.request("game.g.say", [1, 2]).await, json!({}));
    sleep(Duration::from_secs(1)).await;
    let expected = [json!(1), json!(2)];
    let deaf = members
        .iter_mut()
        .filter_map(|client| Some(heard(client)).filter(|heard| *heard != expected));
    assert_eq!(deaf.collect::<Vec<_>>(), Vec::<Vec<Value>>::new());
    assert_eq!(outsider.request("game.g.who", ()).await.as_array().unwrap().len(), 10_000);
    outsider.request("game.g.destroy", ()).await;
    assert_eq!(outsider.request("game.g.count", ()).await, json!(0));
}
