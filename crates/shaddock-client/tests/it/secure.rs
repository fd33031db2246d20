//! Inside TLS, and signed.

use std::{fs, path::PathBuf, process, sync::Arc};

use rcgen::{CertifiedKey, generate_simple_self_signed};
use shaddock_client::{KeyError, SigningKey, Trust};
use shaddock_transport::{Hybrid, HybridConfig, Incoming, Listener, Tls};

use super::*;

const ECHO: &str = "connector.entryHandler.echo";

const KEY: &str = include_str!("../for-tests-only.key.pem");

/// Of 1,024 bits, as pomelo's own clients have them.
const SHORT: &str = include_str!("../for-tests-only.short.key.pem");

/// A folder with a certificate of `localhost` that nobody signed, and its key.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Files {
        let folder =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let CertifiedKey { cert, signing_key } =
            generate_simple_self_signed(["localhost".to_owned()]).unwrap();
        fs::write(folder.join("cert.pem"), cert.pem()).unwrap();
        fs::write(folder.join("key.pem"), signing_key.serialize_pem()).unwrap();
        Files(folder)
    }

    fn certificate(&self) -> PathBuf {
        self.0.join("cert.pem")
    }

    async fn listen(&self) -> (Hybrid, u16) {
        let tls = Tls::load(self.certificate(), self.0.join("key.pem")).unwrap();
        let config = HybridConfig { tls: Some(Arc::new(tls)), ..HybridConfig::default() };
        let hybrid = Hybrid::bind("127.0.0.1:0", config).await.unwrap();
        let port = hybrid.local_addr().unwrap().port();
        (hybrid, port)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

#[tokio::test]
async fn whoever_is_to_be_believed_is_the_clients_choice() {
    let files = Files::new("believed");
    let (mut hybrid, port) = files.listen().await;
    let authority = Trust::authorities(files.certificate()).unwrap();
    for (host, trust, kind) in [
        (format!("wss://localhost:{port}/path"), authority.clone(), "wss"),
        (format!("tls://localhost:{port}"), authority.clone(), "tls"),
        (format!("wss://127.0.0.1:{port}"), authority.server_name("localhost").unwrap(), "wss"),
        (
            format!("tls://127.0.0.1:{port}"),
            Trust::certificates(files.certificate()).unwrap(),
            "tls",
        ),
    ] {
        let serve = async {
            let wire = hybrid.accept().await.unwrap().open().await.unwrap();
            assert_eq!(wire.kind(), kind);
            let mut server = TestServer::new(wire, Config::default());
            server.let_in(None).await;
            let (message, body) = asked(server.event().await.unwrap());
            server.answer(&message, body).await;
            assert!(server.event().await.is_none(), "the client leaves in order");
        };
        let talk = async {
            let client = Client::builder().trust(trust).connect(&host).await.unwrap();
            let answer: Value = client.request(ECHO, json!({ "x": 1 })).await.unwrap();
            assert_eq!(answer, json!({ "x": 1 }));
            client.disconnect().await;
        };
        tokio::join!(serve, talk);
    }
}

#[tokio::test]
async fn nobody_else_is_believed() {
    let (files, others) = (Files::new("nobody_else"), Files::new("others"));
    let (mut hybrid, port) = files.listen().await;
    let authority = Trust::authorities(files.certificate()).unwrap();
    for (host, trust) in [
        // Not the name in the certificate.
        ("127.0.0.1", Some(authority)),
        ("localhost", Some(Trust::certificates(others.certificate()).unwrap())),
        // Nobody signed it that this machine knows.
        ("localhost", None),
    ] {
        let mut builder = Client::builder();
        if let Some(trust) = trust {
            builder = builder.trust(trust);
        }
        let address = format!("tls://{host}:{port}");
        let opened = async { hybrid.accept().await.unwrap().open().await };
        let (opened, client) = tokio::join!(opened, builder.connect(&address));
        assert!(opened.is_err());
        let error = client.unwrap_err();
        let ConnectError::Wire(shaddock_transport::ConnectError::Tls(_)) = error else {
            panic!("{error:?}")
        };
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_signed_is_believed() {
    let key = SigningKey::from_pem(KEY).unwrap();
    let config = Config { signed: true, ..Config::default() };
    let (client, mut server) = joined(config, Client::builder().sign(key)).await;
    // As JavaScript would write it, for that is what pomelo verifies.
    for (body, signed) in [
        (json!({ "x": 1.0, "10": "二", "2": "😀" }), r#"{"2":"😀","10":"二","x":1}"#),
        (json!({}), "{}"),
    ] {
        client.notify(ECHO, &body).await.unwrap();
        let (message, _) = asked(server.event().await.unwrap());
        assert_eq!(message.body, signed);
    }
    let error = client.notify(ECHO, "no object").await.unwrap_err();
    let said = std::error::Error::source(&error).unwrap().to_string();
    assert_eq!(said, "the message can't be signed: its body is no object");
}

#[test]
fn a_key_that_can_not_sign_is_said_to() {
    let certificate = generate_simple_self_signed(["localhost".to_owned()]).unwrap();
    let not_rsa = certificate.signing_key.serialize_pem();
    for (pem, expected) in [
        ("", KeyError::Missing),
        (&*certificate.cert.pem(), KeyError::Missing),
        (&not_rsa, KeyError::Unusable("WrongAlgorithm".to_owned())),
        (SHORT, KeyError::Unusable("TooSmall".to_owned())),
    ] {
        assert_eq!(SigningKey::from_pem(pem).unwrap_err(), expected);
    }
    let shown = format!("{:?}", SigningKey::from_pem(KEY).unwrap());
    assert!(!shown.contains("private"), "{shown}");
}
