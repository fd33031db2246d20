//! Dictionary and schemas that change while clients are connected.

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use shaddock::config::{Config, Overrides};
use shaddock::testing::TestApp;
use shaddock::{App, Channels, Msg, Result, Server, Session};

async fn join(session: Session, channels: Channels) -> Result<()> {
    session.bind("somebody").await?;
    channels.open("room").join(session.member()?);
    Ok(())
}

async fn tell(channels: Channels, Msg(said): Msg<Value>) -> Result<Value> {
    channels.open("room").push("onChat", &said)?;
    Ok(said)
}

/// A configuration folder that a test writes to.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join(name);
        std::fs::create_dir_all(&folder).unwrap();
        let folder = Folder(folder);
        folder.write(
            "servers.json",
            r#"{ "development": { "connector": [
                { "id": "connector-1", "host": "127.0.0.1", "clientPort": 3050, "frontend": true }
            ] } }"#,
        );
        folder.write("shaddock.toml", "[frontend]\nuse-dict = true\nuse-protobuf = true");
        folder.write("dictionary.json", r#"["onChat", "onLeave"]"#);
        folder.write("serverProtos.json", r#"{ "onChat": { "required string msg": 1 } }"#);
        folder
            .write("clientProtos.json", r#"{ "connector.a.tell": { "required string msg": 1 } }"#);
        folder
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.0.join(name), text).unwrap();
    }

    /// Every code and every tag means something else.
    fn change(&self) {
        self.write("dictionary.json", r#"["onLeave", "onEnter", "onChat"]"#);
        self.write(
            "serverProtos.json",
            r#"{ "onChat": { "required string msg": 2, "optional uInt32 n": 1 } }"#,
        );
        self.write(
            "clientProtos.json",
            r#"{ "connector.a.tell": { "required string msg": 2, "optional uInt32 n": 1 } }"#,
        );
    }

    async fn start(&self) -> TestApp {
        let config = Config::load(&self.0, Some("development"), &Overrides::default()).unwrap();
        let connector = Server::frontend("connector").on("a.join", join).on("a.tell", tell);
        TestApp::start(App::new(config).server(connector)).await
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_is_connected_keeps_the_tables_that_others_get_no_more() {
    let folder = Folder::new("tables-that-change");
    let app = folder.start().await;
    let mut before = app.connect("connector-1").await;
    assert_eq!(before.request("connector.a.join", json!({})).await, json!({}));
    assert!(!app.app().reload_tables().unwrap(), "nothing has changed");

    folder.change();
    assert!(app.app().reload_tables().unwrap());
    let mut after = app.connect("connector-1").await;
    assert_eq!(after.request("connector.a.join", json!({})).await, json!({}));

    let said = before.request("connector.a.tell", json!({ "msg": "one", "n": 1 })).await;
    assert_eq!(said, json!({ "msg": "one" }), "it is asked by the old schema");
    for client in [&mut before, &mut after] {
        assert_eq!(client.pushed("onChat").await, json!({ "msg": "one" }));
    }
    let said = after.request("connector.a.tell", json!({ "msg": "two", "n": 2 })).await;
    assert_eq!(said, json!({ "msg": "two", "n": 2 }), "by the new one");
    assert_eq!(before.pushed("onChat").await, json!({ "msg": "two" }));
    assert_eq!(after.pushed("onChat").await, json!({ "msg": "two", "n": 2 }));
    assert!(app.stop().await);
}

#[tokio::test(start_paused = true)]
async fn files_are_looked_at_every_few_seconds_and_what_is_wrong_changes_nothing() {
    let folder = Folder::new("tables-that-are-watched");
    let app = folder.start().await;
    let ask = async || {
        let client = app.connect("connector-1").await;
        client.request("connector.a.tell", json!({ "msg": "x", "n": 1 })).await
    };
    let (old, new) = (json!({ "msg": "x" }), json!({ "msg": "x", "n": 1 }));
    folder.change();
    folder.write("dictionary.json", "[\"onChat\",\n]");
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(ask().await, old);
    let error = app.app().reload_tables().unwrap_err().to_string();
    assert!(error.ends_with("dictionary.json:2:1: trailing comma"), "{error}");

    std::fs::remove_file(folder.0.join("dictionary.json")).unwrap();
    let error = app.app().reload_tables().unwrap_err().to_string();
    assert!(error.ends_with("dictionary.json: it was there, and is not any more"), "{error}");

    folder.change();
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(ask().await, new);
    assert!(app.stop().await);
}

#[tokio::test(start_paused = true)]
async fn a_push_that_does_not_fit_the_new_schema_is_an_error_at_the_sender() {
    let folder = Folder::new("tables-that-get-strict");
    let app = folder.start().await;
    let client = app.connect("connector-1").await;
    assert_eq!(client.request("connector.a.join", json!({})).await, json!({}));
    folder.write("serverProtos.json", r#"{ "onChat": { "required string who": 1 } }"#);
    assert!(app.app().reload_tables().unwrap());
    let said = client.request("connector.a.tell", json!({ "msg": "nobody" })).await;
    assert_eq!(said, json!({ "code": 500 }));
    assert!(app.stop().await);
}
