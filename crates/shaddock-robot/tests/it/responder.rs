//! The server that does next to nothing.

use std::thread;

use shaddock_robot::{Address, Entrance, Scenario};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::oneshot;

use crate::{echo, plan};

#[tokio::test]
async fn a_responder_answers_what_the_robot_asks() {
    let (ready, port) = oneshot::channel();
    let (stop, stopped) = oneshot::channel::<()>();
    let responder = thread::spawn(move || {
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
        runtime.unwrap().block_on(async {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            ready.send(listener.local_addr().unwrap().port()).unwrap();
            tokio::select! {
                ended = shaddock_robot::respond(listener) => ended.unwrap(),
                _ = stopped => {}
            }
        });
    });
    let gate = Entrance::Gate(Address { host: "127.0.0.1".to_owned(), port: port.await.unwrap() });
    for (scenario, copies) in [
        (echo("connector.entryHandler.echo"), 1),
        (Scenario::Chat { rooms: 2, senders: 2, stalled: 0 }, 4),
        (Scenario::Login { total: Some(10), stay: false }, 1),
    ] {
        let report = shaddock_robot::run(plan(scenario, gate.clone())).await.unwrap();
        assert!(report.is_clean(), "{report}");
        assert_eq!(report.counts.received, report.counts.sent * copies, "{report}");
    }
    drop(stop);
    responder.join().unwrap();
}
