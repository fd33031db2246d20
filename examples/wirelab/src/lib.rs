//! Every configuration of a front-end on its own port, for tests with the clients that exist.
//!
//! The handlers are made so that a client can see everything a server can do to it: answer, push,
//! kick, fail, and let one request overtake another.

mod area;
mod handshake;
mod mqtt;
mod raw;
mod test;

use shaddock::{App, Config, Handler as _, Server};

use raw::{echo_message, json};

/// The configuration that is built in, for when there is no folder of it.
pub const CONFIG: &[(&str, &str)] = &[
    ("servers.json", include_str!("../config/servers.json")),
    ("dictionary.json", include_str!("../config/dictionary.json")),
    ("clientProtos.json", include_str!("../config/clientProtos.json")),
    ("serverProtos.json", include_str!("../config/serverProtos.json")),
    ("shaddock.toml", include_str!("../config/shaddock.toml")),
    (
        // As in the folder, with the whole path.
        "development/shaddock.toml",
        concat!(
            "[server.connector-tls]\n",
            "certificate = '",
            env!("CARGO_MANIFEST_DIR"),
            "/config/tls/for-tests-only.cert.pem'\n",
            "key = '",
            env!("CARGO_MANIFEST_DIR"),
            "/config/tls/for-tests-only.key.pem'\n",
        ),
    ),
];

/// How many requests to a handler that waits may be under way on one server.
const TOGETHER: usize = 1024;

/// The front-ends, and a server behind them.
pub fn app(config: Config) -> App {
    App::new(config)
        .server(
            Server::frontend("connector")
                .on_handshake(handshake::greet)
                .on("testHandler.echo", test::echo)
                .on("testHandler.delay", test::delay.concurrent(TOGETHER))
                .on("testHandler.bind", test::bind)
                .on("testHandler.push", test::push)
                .on("testHandler.kick", test::kick)
                .on("testHandler.note", test::note)
                .on("testHandler.notes", test::notes)
                .on("testHandler.fail", test::fail)
                .on("testHandler.failWith", test::fail_with)
                .on("testHandler.failBody", test::fail_body)
                .on("testHandler.empty", test::empty)
                .on("testHandler.json", json)
                .on("protoHandler.echo", echo_message)
                .on("protoHandler.json", json)
                .on("mqttHandler.publish", mqtt::publish)
                .on("mqttHandler.subscribe", mqtt::subscribe),
        )
        .server(
            Server::backend("area")
                .on("areaHandler.echo", test::echo)
                .on("areaHandler.push", test::push)
                .on("areaHandler.kick", test::kick)
                .on("areaHandler.fail", test::fail)
                .on("areaHandler.who", area::who),
        )
}
