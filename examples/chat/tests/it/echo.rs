//! What connectors and chat servers say to those who measure.

use serde_json::json;
use shaddock::testing::TestApp;

use crate::{config, login, start};

const ROUTES: [&str; 2] = ["connector.entryHandler.echo", "chat.chatHandler.echo"];

#[tokio::test(start_paused = true)]
async fn what_is_said_comes_back_if_the_configuration_says_so() {
    let mut config = config();
    config.app.insert("echo".to_owned(), true.into());
    let app = TestApp::start(chat::app(config)).await;
    let py = login(&app, "py", "lobby").await;
    for route in ROUTES {
        for said in [json!({ "d": "hello" }), json!({ "d": [1, { "a": null }] }), json!({})] {
            assert_eq!(py.request(route, &said).await, said, "{route}");
        }
        assert_eq!(py.request(route, json!({ "d": 1, "more": 2 })).await, json!({ "d": 1 }));
    }
}

#[tokio::test(start_paused = true)]
async fn otherwise_there_is_no_echo() {
    let app = start().await;
    let py = login(&app, "py", "lobby").await;
    for route in ROUTES {
        assert_eq!(py.request(route, json!({ "d": 1 })).await, json!({ "code": 500 }), "{route}");
    }
    let routes = chat::app(config()).routes().unwrap();
    assert!(!routes.iter().any(|route| ROUTES.contains(&route.route.as_str())));
}
