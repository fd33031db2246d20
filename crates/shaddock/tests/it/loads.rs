//! How busy servers are, and who goes to which of them for that.

use std::collections::BTreeMap;

use serde_json::{Value, json};
use shaddock::testing::{self, TestApp};
use shaddock::{App, Cluster, Result, Rpc, Server, ServerHandle};
use tokio::time::{Duration, sleep};

use crate::waits::wait;

#[shaddock::remote("battle")]
trait Battle {
    async fn fight(&self) -> Result<()>;
}

struct Arena;

impl Battle for Arena {
    async fn fight(&self) -> Result<()> {
        sleep(Duration::from_secs(3)).await;
        Ok(())
    }
}

/// The gate's advice: a connector with little to do.
async fn query_entry(cluster: Cluster) -> Result<Value> {
    let connector = cluster.endpoint_by_load("connector")?;
    Ok(json!({ "id": connector.id, "port": connector.client_port }))
}

fn app() -> App {
    let players = |server: &ServerHandle| if server.id().as_str() == "hall-1" { 70 } else { 7 };
    testing::app(&["gate", "connector*2"], &["battle", "hall*2"])
        .server(Server::frontend("gate").on("a.query", query_entry))
        .server(Server::frontend("connector"))
        .server(Server::backend("battle").on("a.wait", wait).remote(Battle::serve(|_| Arena)))
        .server(Server::backend("hall").load(players))
}

#[tokio::test(start_paused = true)]
async fn a_gate_sends_most_clients_to_the_lighter_connector_and_not_all() {
    let app = TestApp::start(app()).await;
    let mut busy = Vec::new();
    for _ in 0..20 {
        busy.push(app.connect("connector-1").await);
    }
    sleep(Duration::from_secs(2)).await;
    let cluster = app.server("gate-1").cluster();
    let load = |id: &str| cluster.load(&id.parse().unwrap());
    assert_eq!((load("connector-1"), load("connector-2")), (Some(20), Some(0)));

    let client = app.connect("gate-1").await;
    let mut sent = BTreeMap::<String, u64>::new();
    for _ in 0..400 {
        let entry = client.request("gate.a.query", ()).await;
        assert!(entry["port"].is_u64(), "{entry}");
        *sent.entry(entry["id"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    assert!((270..330).contains(&sent["connector-2"]), "three of four: {sent:?}");
    assert!(cluster.endpoint_by_load("battle").is_err() && cluster.server_by_load("x").is_err());
}

#[tokio::test(start_paused = true)]
async fn a_back_end_is_as_busy_as_what_it_has_under_way() {
    let app = TestApp::start(app()).await;
    let cluster = app.server("gate-1").cluster();
    let load = || cluster.load(&"battle-1".parse().unwrap());
    sleep(Duration::from_secs(2)).await;
    assert_eq!(load(), Some(0));
    let clients = [app.connect("connector-1").await, app.connect("connector-2").await];
    for client in &clients {
        // The second of each waits for the first.
        client.client().notify("battle.a.wait", 1_500).await.unwrap();
        client.client().notify("battle.a.wait", 1_500).await.unwrap();
    }
    let battle: Rpc<BattleClient> = app.server("gate-1").rpc().unwrap();
    let battle = battle.any().unwrap();
    let fight = battle.fight();
    let (fought, ()) = tokio::join!(fight, async {
        sleep(Duration::from_millis(1_200)).await;
        assert_eq!(load(), Some(5));
        sleep(Duration::from_millis(1_200)).await;
        assert_eq!(load(), Some(3));
    });
    fought.unwrap();
    sleep(Duration::from_secs(2)).await;
    assert_eq!(load(), Some(0));
}

#[tokio::test(start_paused = true)]
async fn an_application_says_what_load_is() {
    let app = TestApp::start(app()).await;
    let cluster = app.server("connector-1").cluster();
    sleep(Duration::from_secs(2)).await;
    let load = |id: &str| cluster.load(&id.parse().unwrap());
    assert_eq!((load("hall-1"), load("hall-2"), load("hall-3")), (Some(70), Some(7), None));
    let of_second =
        (0..400).filter(|_| cluster.server_by_load("hall").unwrap().as_str() == "hall-2");
    assert!((270..330).contains(&of_second.count()));
}
