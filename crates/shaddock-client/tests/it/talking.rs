//! Requests, notifies and pushes.

use super::*;

const ECHO: &str = "connector.entryHandler.echo";

#[tokio::test(start_paused = true)]
async fn answers_find_who_asked_though_they_overtake() {
    let (client, mut server) = plain().await;
    let serve = async {
        let mut messages = Vec::new();
        for _ in 0..3 {
            messages.push(asked(server.event().await.unwrap()));
        }
        let order: Vec<_> = messages.iter().map(|(_, body)| body["n"].as_u64().unwrap()).collect();
        assert_eq!(order, [1, 2, 3], "requests leave in the order they were made");
        for (message, body) in messages.iter().rev() {
            server.answer(message, body.clone()).await;
        }
    };
    let ask = async |n: u64| {
        let answer: Value = client.request(ECHO, json!({ "n": n })).await.unwrap();
        answer["n"].as_u64().unwrap()
    };
    let (one, two, three, ()) = tokio::join!(biased; ask(1), ask(2), ask(3), serve);
    assert_eq!((one, two, three), (1, 2, 3));
}

#[tokio::test(start_paused = true)]
async fn what_was_pushed_before_an_answer_is_here_with_it() {
    let (client, mut server) = plain().await;
    let (mut all, mut chat) = (client.pushes_all(), client.pushes("onChat"));
    let serve = async {
        let (message, _) = asked(server.event().await.unwrap());
        server.push("onAdd", json!({ "user": "al" })).await;
        server.push("onChat", json!({ "msg": "你好 😀" })).await;
        server.answer(&message, json!({})).await;
    };
    let (answer, ()) = tokio::join!(client.request::<Value>(ECHO, json!({})), serve);
    answer.unwrap();
    assert_eq!(all.try_next().unwrap().route, "onAdd");
    assert_eq!(all.try_next().unwrap().route, "onChat");
    assert_eq!(all.try_next(), None);
    assert_eq!(chat.try_next().unwrap().json::<Value>().unwrap(), json!({ "msg": "你好 😀" }));
    assert_eq!(chat.try_next(), None);
}

#[tokio::test(start_paused = true)]
async fn a_queue_made_before_connecting_misses_nothing() {
    let (ours, theirs) = memory::pair();
    let mut server = TestServer::new(theirs, Config::default());
    let builder = Client::builder();
    let mut pushes = builder.pushes_all();
    let serve = async {
        server.let_in(None).await;
        server.push("onHello", json!({})).await;
    };
    let (client, ()) = tokio::join!(builder.over(ours), serve);
    let _client = client.unwrap();
    assert_eq!(pushes.next().await.unwrap().route, "onHello");
}

#[tokio::test(start_paused = true)]
async fn a_notify_has_no_id_and_no_answer() {
    let (client, mut server) = plain().await;
    client.notify("chat.chatHandler.send", json!({ "content": "hi" })).await.unwrap();
    let (message, body) = asked(server.event().await.unwrap());
    assert_eq!((message.id, body), (None, json!({ "content": "hi" })));
    let error = client.notify(&"x".repeat(256), json!({})).await.unwrap_err();
    assert!(matches!(error, RequestError::Encode(_)), "{error:?}");
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_does_not_come_is_given_up_and_dropped_when_late() {
    let (client, mut server) =
        joined(Config::default(), Client::builder().request_timeout(Duration::from_secs(2))).await;
    let mut late = Vec::new();
    for _ in 0..200 {
        let asking = client.request::<Value>(ECHO, json!({ "n": "late" }));
        let (error, event) = tokio::join!(asking, server.event());
        assert!(matches!(error.unwrap_err(), RequestError::TimedOut(_)));
        late.push(asked(event.unwrap()));
    }
    for (message, body) in &late {
        server.answer(message, body.clone()).await;
    }
    let serve = async {
        let (message, body) = asked(server.event().await.unwrap());
        server.answer(&message, body).await;
    };
    let (answer, ()) = tokio::join!(client.request::<Value>(ECHO, json!({ "n": "now" })), serve);
    assert_eq!(answer.unwrap(), json!({ "n": "now" }));
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_another_shape_is_shown() {
    let (client, mut server) = plain().await;
    let serve = async {
        let (message, _) = asked(server.event().await.unwrap());
        server.answer(&message, json!({ "code": 500 })).await;
    };
    let (answer, ()) = tokio::join!(client.request::<Vec<u8>>(ECHO, json!({})), serve);
    let RequestError::Unexpected { body, .. } = answer.unwrap_err() else {
        panic!("another error")
    };
    assert_eq!(body, r#"{"code":500}"#);
}

#[tokio::test(start_paused = true)]
async fn a_server_that_does_not_read_makes_askers_wait_and_loses_nothing() {
    let (client, mut server) = plain().await;
    let body = json!({ "text": "x".repeat(30_000) });
    let asking = async {
        let mut asks = tokio::task::JoinSet::new();
        for _ in 0..20 {
            let (client, body) = (client.clone(), body.clone());
            asks.spawn(async move { client.notify(ECHO, body).await });
        }
        for sent in asks.join_all().await {
            sent.unwrap();
        }
    };
    let reading = async {
        tokio::time::sleep(Duration::from_secs(60)).await;
        for _ in 0..20 {
            asked(server.event().await.unwrap());
        }
    };
    tokio::join!(asking, reading);
}
