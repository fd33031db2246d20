//! What is in `deploy/`, as far as it can run here.

use std::fs;
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use super::{PATIENCE, Place, broker, change, lack, port, root, terminate, text};

/// Three brokers as `deploy/` has them, with logins and certificates, and the chat on them as on three machines.
#[tokio::test]
async fn the_chat_runs_on_three_brokers_with_logins_and_certificates() {
    let Some(broker) = broker() else { return };
    if Command::new("openssl").arg("version").stdout(Stdio::null()).status().is_err() {
        return lack("openssl: apt-get install openssl");
    }
    let mut place = Place::new("deploy", &text("deploy/config/servers.json"));
    certificates(&place.folder, &["tls", "127.0.0.1,localhost"]);
    certificates(&place.folder, &["strangers"]);

    let ports: Vec<_> = (0..3).map(|_| (port(), port(), port())).collect();
    let routes = ports.iter().map(|(_, cluster, _)| format!("nats-route://127.0.0.1:{cluster}"));
    let routes = format!("[{}]", routes.collect::<Vec<_>>().join(", "));
    for (number, (clients, cluster, http)) in ports.iter().enumerate() {
        let etc = place.folder.join(format!("nats-{number}"));
        fs::create_dir_all(etc.join("tls")).unwrap();
        for file in ["ca.pem", "broker.pem", "broker-key.pem"] {
            fs::copy(place.folder.join("tls/127.0.0.1").join(file), etc.join("tls").join(file))
                .unwrap();
        }
        fs::write(etc.join("users.conf"), text("deploy/users.conf")).unwrap();
        let mut conf = text("deploy/nats.conf");
        for (from, to) in [
            ("listen: 0.0.0.0:4222", format!("listen: 127.0.0.1:{clients}")),
            ("listen: 0.0.0.0:6222", format!("listen: 127.0.0.1:{cluster}")),
            ("http: 127.0.0.1:8222", format!("http: 127.0.0.1:{http}")),
            ("store_dir: /var/lib/nats", "store_dir: store".to_owned()),
        ] {
            conf = change(&conf, from, &to);
        }
        if is_new(&broker) {
            conf = change(&conf, "\n#no_fast_producer_stall", "\nno_fast_producer_stall");
        }
        fs::write(etc.join("nats.conf"), conf).unwrap();
        let nats = |more: &[&str]| {
            let mut command = Command::new(&broker);
            command
                .args(["-c", "nats.conf"])
                .args(more)
                .current_dir(&etc)
                .env("NATS_NAME", format!("nats-{number}"))
                .env("NATS_ROUTES", &routes)
                .stderr(fs::File::create(etc.join("log")).unwrap());
            command
        };
        assert!(nats(&["-t"]).status().unwrap().success(), "{}", log(&etc));
        place.processes.push(nats(&[]).spawn().unwrap());
    }
    for (number, (_, _, http)) in ports.iter().enumerate() {
        wait_until_healthy(*http, &place.folder.join(format!("nats-{number}")));
    }

    let config = place.folder.join("config");
    let urls: Vec<_> =
        ports.iter().map(|(clients, ..)| format!("tls://127.0.0.1:{clients}")).collect();
    let mut toml = text("deploy/config/shaddock.toml");
    for (number, url) in urls.iter().enumerate() {
        toml = change(&toml, &format!("tls://10.0.0.{}:4222", number + 1), url);
    }
    fs::write(config.join("shaddock.toml"), toml).unwrap();
    fs::copy(place.folder.join("tls/ca.pem"), config.join("ca.pem")).unwrap();

    // Nobody comes in with another password, or who does not know the authority.
    let refused = |password: &str, set: &str| {
        let mut command = place.chat(&["start", "chat-1", "--set", "cluster.wait=0", "--set", set]);
        let output = command
            .env("SHADDOCK__CLUSTER__PASSWORD", password)
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(output.status.code(), Some(1), "{said}");
        said
    };
    let said = refused("guess", "cluster.replicas=3");
    assert!(said.to_lowercase().contains("authorization"), "{said}");
    let strangers = place.folder.join("strangers/ca.pem");
    let said = refused("change-me", &format!("cluster.ca={}", strangers.display()));
    assert!(said.to_lowercase().contains("certificate"), "{said}");

    for id in ["gate-1", "connector-1", "connector-2", "connector-3", "chat-1", "chat-2", "chat-3"]
    {
        // Three brokers may need most of a minute to agree.
        let mut command = place.chat(&["start", id, "--set", "cluster.wait=90"]);
        command.env("SHADDOCK__CLUSTER__PASSWORD", "change-me");
        place.start(command);
    }
    place.two_talk().await;

    // One of three brokers may die.
    place.processes[0].kill().unwrap();
    place.processes[0].wait().unwrap();
    place.two_talk().await;
    for server in &mut place.processes[3..] {
        assert!(terminate(server), "every server stops in order");
    }
}

/// Makes an authority, and certificates that it has signed.
fn certificates(folder: &Path, line: &[&str]) {
    let mut command = Command::new("sh");
    command.arg(root().join("deploy/certificates.sh")).args(line).current_dir(folder);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

/// Whether it has what came with 2.11.
fn is_new(broker: &Path) -> bool {
    let output = Command::new(broker).arg("--version").output().unwrap();
    let said = String::from_utf8(output.stdout).unwrap();
    let mut numbers = said.rsplit('v').next().unwrap().trim().split('.').map(|n| n.parse::<u32>());
    let mut next = || numbers.next().unwrap().unwrap_or_else(|_| panic!("{said}"));
    (2, 11) <= (next(), next())
}

fn log(etc: &Path) -> String {
    fs::read_to_string(etc.join("log")).unwrap_or_default()
}

/// A broker is, when the three have found each other and chosen one of them for what they keep.
fn wait_until_healthy(port: u16, etc: &Path) {
    let begun = Instant::now();
    while ask(port).is_none_or(|answer| !answer.starts_with("HTTP/1.0 200")) {
        assert!(begun.elapsed() < PATIENCE, "{}", log(etc));
        std::thread::park_timeout(Duration::from_millis(50));
    }
}

fn ask(port: u16) -> Option<String> {
    let mut socket = TcpStream::connect(("127.0.0.1", port)).ok()?;
    socket.write_all(b"GET /healthz HTTP/1.0\r\n\r\n").ok()?;
    let mut answer = String::new();
    socket.read_to_string(&mut answer).ok()?;
    Some(answer)
}

/// Each has a servers.json that the chat can have.
#[test]
fn the_configurations_of_deploy_fit_the_chat() {
    let kubernetes = text("deploy/kubernetes/chat.yaml");
    let (_, within) = kubernetes.split_once("servers.json: |\n").unwrap();
    let within = within.split_once("---").unwrap().0;
    for (name, servers) in [
        ("three", text("deploy/config/servers.json")),
        ("compose", text("deploy/compose/servers.json")),
        ("kubernetes", within.to_owned()),
    ] {
        let place = Place::new(name, &servers);
        let toml = text("deploy/config/shaddock.toml").replace("ca = \"ca.pem\"", "");
        fs::write(place.folder.join("config/shaddock.toml"), toml).unwrap();
        let mut check = place.chat(&["check"]);
        let output = check.env("SHADDOCK__CLUSTER__PASSWORD", "x").output().unwrap();
        assert!(output.status.success(), "{name}: {output:?}");
    }
}
