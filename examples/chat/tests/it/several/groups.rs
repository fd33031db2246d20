//! Groups whose members, and whoever pushes to them, have links of their own to a broker.

use serde_json::{Value, json};
use shaddock::testing::{self, client::Client};
use shaddock::{App, Groups, Msg, Result, Running, Server, Session};
use shaddock_nats::{Nats, Options};
use tokio::time::timeout;

use super::{PATIENCE, Place, broker};

const GUILD: &str = "a guild, with *, > and .";
const LINES: u64 = 200;

async fn enter(session: Session, groups: Groups, Msg(uid): Msg<String>) -> Result<()> {
    session.bind(uid).await?;
    groups.get(GUILD)?.join(&session.member()?).await
}

async fn leave(session: Session, groups: Groups) -> Result<()> {
    groups.get(GUILD)?.leave(&session.member()?).await
}

async fn say(groups: Groups, Msg(lines): Msg<Vec<u64>>) -> Result<()> {
    let guild = groups.get(GUILD)?;
    lines.iter().try_for_each(|line| guild.push("onLine", line))
}

async fn who(groups: Groups) -> Result<Vec<String>> {
    let members = groups.get(GUILD)?.members().await?;
    let mut names: Vec<_> = members.iter().map(|member| member.uid.to_string()).collect();
    names.sort_unstable();
    Ok(names)
}

fn app() -> App {
    testing::app_with(&["connector*2"], &["game"], "[frontend]\nbind = \"127.0.0.1:0\"")
        .server(Server::frontend("connector").on("g.enter", enter))
        .server(Server::backend("game").on("g.leave", leave).on("g.say", say).on("g.who", who))
}

/// One of its servers, which reaches the others over the broker.
async fn start(id: &str, url: &str) -> Running {
    let engine = Nats::connect(Options::new([url])).await.unwrap();
    app().only([id]).engine(engine).start().await.unwrap()
}

async fn ask(client: &Client, route: &str, body: Value) -> Value {
    client.request(route, body).await.unwrap()
}

#[tokio::test]
async fn what_is_pushed_to_a_group_reaches_each_member_over_a_broker_once_and_in_order() {
    let Some(broker) = broker() else { return };
    let mut place = Place::new("groups", r#"{ "gate": [{ "id": "gate-1" }] }"#);
    let url = place.start_broker(&broker, "-js");
    let mut servers = Vec::new();
    for id in ["game-1", "connector-1", "connector-2"] {
        servers.push(start(id, &url).await);
    }
    let connectors: Vec<_> = servers.iter().flat_map(Running::addresses).collect();
    let mut members = Vec::new();
    for (number, name) in ["al", "bo", "cy", "di"].into_iter().enumerate() {
        let (_, address) = &connectors[number % connectors.len()];
        let client = Client::connect(&format!("ws://{address}")).await.unwrap();
        let pushes = client.pushes("onLine");
        assert_eq!(ask(&client, "connector.g.enter", json!(name)).await, json!({}));
        members.push((client, pushes));
    }
    let (first, _) = &members[0];
    assert_eq!(ask(first, "game.g.who", json!({})).await, json!(["al", "bo", "cy", "di"]));

    let (gone, mut unheard) = members.pop().unwrap();
    assert_eq!(ask(&gone, "game.g.leave", json!({})).await, json!({}));
    let (first, _) = &members[0];
    let lines: Vec<_> = (0..LINES).collect();
    assert_eq!(ask(first, "game.g.say", json!(lines)).await, json!({}));
    for (_, pushes) in &mut members {
        for line in &lines {
            let push = timeout(PATIENCE, pushes.next()).await.unwrap().unwrap();
            assert_eq!(push.json::<u64>().unwrap(), *line);
        }
    }
    // What a server sends keeps its order, so whoever hears the answer would have heard all before.
    assert_eq!(ask(&gone, "game.g.who", json!({})).await, json!(["al", "bo", "cy"]));
    gone.disconnect().await;
    assert!(unheard.next().await.is_none(), "one who has left hears nothing");
    for server in servers.iter().rev() {
        assert!(server.stop().await);
    }
}
