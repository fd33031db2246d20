//! Tries everything a client can do on a server with wirelab's routes, and says how far it came, a word a line:
//!
//! `tour ADDRESS [--trust FILE] [--key FILE] [--restart]`
//!
//! `talked` when all was answered and pushed; with `--restart` it then waits for the server to go, `lost`, and to come back,
//! `returned`, and talks again; `kicked` at the end. Anything else than what should be is an error.

use std::{env, error::Error, fs, pin::pin};

use serde_json::{Value, json};
use shaddock_client::{Client, CloseReason, Reconnect, SigningKey, Status, Trust};
use tokio::sync::watch;

type Result<T, E = Box<dyn Error + Send + Sync>> = std::result::Result<T, E>;

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<()> {
    let mut arguments = env::args().skip(1);
    let address = arguments.next().ok_or("which address?")?;
    let mut builder = Client::builder().reconnect(Reconnect::default()).log_in(log_in);
    let (mut signs, mut restarts) = (false, false);
    while let Some(option) = arguments.next() {
        let mut file = || arguments.next().ok_or(format!("{option} wants a file"));
        match option.as_str() {
            "--trust" => builder = builder.trust(Trust::authorities(file()?)?),
            "--key" => {
                builder = builder.sign(SigningKey::from_pem(&fs::read_to_string(file()?)?)?);
                signs = true;
            }
            "--restart" => restarts = true,
            other => return Err(format!("{other} is no option").into()),
        }
    }
    let client = builder.connect(&address).await?;
    talk(&client, signs).await?;
    println!("talked");
    if restarts {
        let mut status = client.status();
        wait(&mut status, "lost", |status| matches!(status, Status::Reconnecting { .. })).await?;
        wait(&mut status, "returned", |status| matches!(status, Status::Connected { .. })).await?;
        talk(&client, signs).await?;
        println!("talked");
    }
    ask(&client, "testHandler.kick", json!({ "reason": "enough 够了" }), json!({ "code": 200 }))
        .await?;
    match client.closed().await {
        CloseReason::Kicked(Some(reason)) if reason == "enough 够了" => println!("kicked"),
        other => return Err(format!("not kicked, but {other}").into()),
    }
    Ok(())
}

/// Binds this connection to a user, as it must be before anybody can push to it.
async fn log_in(client: Client) -> Result<()> {
    let uid = format!("tour{}", std::process::id());
    let answer = json!({ "code": 200, "uid": uid });
    ask(&client, "testHandler.bind", json!({ "uid": uid }), answer).await
}

async fn talk(client: &Client, signs: bool) -> Result<()> {
    let (mut pushes, mut notes, mut typed) =
        (client.pushes("onPush"), client.pushes("onNote"), client.pushes("onProto"));
    for body in [
        json!("hello 二 ä 😀"),
        json!({ "z": [1, -2.5, 1e21], "1": { "a": null } }),
        json!("x".repeat(30_000)),
    ] {
        ask(
            client,
            "testHandler.echo",
            json!({ "body": body }),
            json!({ "code": 200, "body": body }),
        )
        .await?;
    }
    let delay = |ms, n| {
        let (body, answer) = (json!({ "ms": ms, "n": n }), json!({ "code": 200, "n": n }));
        ask(client, "testHandler.delay", body, answer)
    };
    let mut slow = pin!(delay(500, 1));
    tokio::select! {
        biased;
        _ = &mut slow => return Err("a request that takes its time was not overtaken".into()),
        quick = delay(0, 2) => quick?,
    }
    slow.await?;
    for (method, answer) in [
        ("fail", json!({ "code": 500 })),
        ("failWith", json!({ "code": 501, "msg": "custom" })),
        ("failBody", json!({ "msg": "no code", "code": 500 })),
        ("empty", json!({})),
    ] {
        ask(client, &format!("testHandler.{method}"), json!({}), answer).await?;
    }
    client.notify("connector.testHandler.note", json!({ "n": 7 })).await?;
    expect("onNote", notes.next().await.ok_or("no note came")?.json()?, json!({ "n": 7 }))?;
    ask(client, "testHandler.notes", json!({}), json!({ "code": 200, "notes": [7] })).await?;
    let push = json!({ "route": "onPush", "body": { "n": "二 😀" } });
    ask(client, "testHandler.push", push, json!({ "code": 200 })).await?;
    expect("onPush", pushes.next().await.ok_or("no push came")?.json()?, json!({ "n": "二 😀" }))?;
    if signs {
        // The schemas have no field for a signature.
        return Ok(());
    }
    ask(client, "protoHandler.echo", body(), body()).await?;
    let push = json!({ "route": "onProto", "body": body() });
    ask(client, "testHandler.push", push, json!({ "code": 200 })).await?;
    expect("onProto", typed.next().await.ok_or("no push came")?.json()?, body())
}

/// A body with every type that a schema knows.
fn body() -> Value {
    json!({
        "u": u32::MAX, "i": -2, "s": -300, "f": 1.5, "d": 0.1, "str": "hello 二",
        "item": { "id": 1, "name": "one", "marks": [-1, 0, 70_000] },
        "items": [{ "id": 2, "name": "two", "marks": [5] }, { "id": 3, "name": "三", "marks": [-7, 8] }],
        "nums": [0, 128, 16_384], "strs": ["a", "ö"], "ds": [0.5, -1e300], "opt": "o",
        "pos": { "x": -1, "y": 1, "tag": "t" },
        "path": [{ "x": 1, "y": 2, "tag": "u" }, { "x": -3, "y": 4, "tag": "v" }],
    })
}

async fn ask(client: &Client, method: &str, body: Value, answer: Value) -> Result<()> {
    let answered: Value = client.request(&format!("connector.{method}"), body).await?;
    expect(method, answered, answer)
}

fn expect(what: &str, found: Value, expected: Value) -> Result<()> {
    match found == expected {
        true => Ok(()),
        false => Err(format!("{what}: {found} in the place of {expected}").into()),
    }
}

async fn wait(
    status: &mut watch::Receiver<Status>,
    word: &str,
    is: impl Fn(&Status) -> bool,
) -> Result<()> {
    let over = |status: &Status| matches!(status, Status::Closed(_));
    let status = status.wait_for(|status| is(status) || over(status)).await?.clone();
    match is(&status) {
        true => println!("{word}"),
        false => return Err(format!("not {word}, but {status:?}").into()),
    }
    Ok(())
}
