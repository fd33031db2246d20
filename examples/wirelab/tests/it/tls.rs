//! TLS: WebSocket and TCP inside it, and a certificate that is swapped.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Value, json};
use shaddock::config::Overrides;
use shaddock_client::{Client, ConnectError, Trust};

use crate::{address, ask, config, start};

const CERTIFICATE: &str =
    concat!(env!("CARGO_MANIFEST_DIR"), "/config/tls/for-tests-only.cert.pem");

/// A folder that is gone with the test.
struct Folder(PathBuf);

impl Folder {
    fn new(name: &str) -> Folder {
        let path = std::env::temp_dir().join(format!("wirelab-{}-{name}", std::process::id()));
        fs::create_dir_all(&path).unwrap();
        Folder(path)
    }

    fn path(&self, file: &str) -> String {
        self.0.join(file).display().to_string()
    }

    /// Writes a certificate of this machine's and its key.
    fn make_certificate(&self) {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(self.0.join("cert.pem"), made.cert.pem()).unwrap();
        fs::write(self.0.join("key.pem"), made.signing_key.serialize_pem()).unwrap();
    }

    fn overrides(&self) -> Overrides {
        Overrides::default()
            .set("server.connector-tls.certificate", &self.path("cert.pem"))
            .set("server.connector-tls.key", &self.path("key.pem"))
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A client that believes this certificate, or nothing if the server has another one.
async fn connect(scheme: &str, port: u16, certificate: &Path) -> Option<Client> {
    let builder = Client::builder().trust(Trust::authorities(certificate).unwrap());
    match builder.connect(&format!("{scheme}://localhost:{port}")).await {
        Err(ConnectError::Wire(_)) => None,
        client => Some(client.unwrap()),
    }
}

#[tokio::test]
async fn websocket_and_tcp_share_a_port_inside_tls() {
    let running = start(Overrides::default()).await;
    let port = address(&running, "tls").port();
    for scheme in ["wss", "tls"] {
        let client = connect(scheme, port, Path::new(CERTIFICATE)).await.unwrap();
        let answer = ask(&client, "connector.testHandler.echo", json!({ "body": scheme })).await;
        assert_eq!(answer, json!({ "code": 200, "body": scheme }));
    }
    assert!(running.stop().await);
}

#[tokio::test]
async fn a_certificate_is_swapped_under_a_hundred_connections() {
    let folder = Folder::new("swap");
    folder.make_certificate();
    let old = folder.0.join("old.pem");
    fs::copy(folder.0.join("cert.pem"), &old).unwrap();
    let running = start(folder.overrides()).await;
    let port = address(&running, "tls").port();
    let mut clients = Vec::new();
    for n in 0..100 {
        let scheme = if n % 2 == 0 { "wss" } else { "tls" };
        clients.push(connect(scheme, port, &old).await.unwrap());
    }
    folder.make_certificate();
    let new = folder.0.join("cert.pem");
    let renewed = loop {
        match connect("tls", port, &new).await {
            Some(client) => break client,
            None => tokio::time::sleep(std::time::Duration::from_millis(50)).await,
        }
    };
    assert!(connect("tls", port, &old).await.is_none(), "the old one is shown to nobody");
    for (n, client) in clients.iter().chain([&renewed]).enumerate() {
        let answer: Value =
            client.request("connector.testHandler.echo", json!({ "body": n })).await.unwrap();
        assert_eq!(answer, json!({ "code": 200, "body": n }));
    }
    assert!(running.stop().await);
}

#[tokio::test]
async fn a_wrong_certificate_is_refused_at_start_with_its_file() {
    let folder = Folder::new("wrong");
    folder.make_certificate();
    fs::write(folder.0.join("cert.pem"), "not a certificate").unwrap();
    let error = wirelab::app(config(folder.overrides())).start().await.unwrap_err();
    assert_eq!(error.to_string(), "connector-tls has no certificate to show");
    let cause = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(cause, format!("{} holds no certificate in PEM form", folder.path("cert.pem")));
}
