//! Wires inside TLS.

use std::{error::Error, fs, path::PathBuf, process, sync::Arc};

use futures_util::FutureExt;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::{
    ALL_VERSIONS, ClientConfig, RootCertStore, SupportedProtocolVersion,
    crypto::ring,
    pki_types::{CertificateDer, ServerName, pem::PemObject},
    version::TLS12,
};
use shaddock_transport::{
    ConnectError, Tls, TlsError, Trust, connect_tcp, connect_tls, connect_websocket,
};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::unconstrained;
use tokio_rustls::{TlsConnector, client::TlsStream};

use super::*;

/// A folder with a certificate for this machine, its key, and the authority that signed it.
struct Files(PathBuf);

impl Files {
    fn new(test: &str) -> Files {
        let folder =
            PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(format!("{test}-{}", process::id()));
        fs::create_dir_all(&folder).unwrap();
        let files = Files(folder);
        files.issue();
        files
    }

    /// Writes a certificate of a new authority.
    fn issue(&self) {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, "an authority of the tests");
        let key = KeyPair::generate().unwrap();
        let authority = params.self_signed(&key).unwrap();
        let issuer = Issuer::new(params, key);

        let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
        let key = KeyPair::generate().unwrap();
        let certificate = CertificateParams::new(names).unwrap().signed_by(&key, &issuer).unwrap();
        self.write("authority.pem", &authority.pem());
        self.write("cert.pem", &certificate.pem());
        self.write("key.pem", &key.serialize_pem());
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.path(name), text).unwrap();
    }

    fn load(&self) -> Result<Tls, TlsError> {
        Tls::load(self.path("cert.pem"), self.path("key.pem"))
    }

    fn trust(&self) -> Trust {
        Trust::authorities(self.path("authority.pem")).unwrap()
    }

    /// A port with this certificate, and its number.
    async fn listen(&self) -> (Hybrid, Arc<Tls>, u16) {
        let tls = Arc::new(self.load().unwrap());
        let config = HybridConfig { tls: Some(tls.clone()), ..HybridConfig::default() };
        let (hybrid, _) = listen(config).await;
        let port = hybrid.local_addr().unwrap().port();
        (hybrid, tls, port)
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// The server's wire and the client's. The client says a heartbeat first, which makes it TCP if it is no WebSocket.
async fn connected(hybrid: &mut Hybrid, url: &str, trust: &Trust) -> (HybridWire, HybridWire) {
    let client = async {
        let mut client = connect_tls(url, trust).await.unwrap();
        client.send(&Bytes::from_static(&[3, 0, 0, 0]));
        client.flush().await.unwrap();
        client
    };
    let server = async {
        let mut wire = hybrid.accept().await.unwrap().open().await.unwrap();
        assert_eq!(receive_exact(&mut wire, 4).await, [3, 0, 0, 0]);
        wire
    };
    tokio::join!(server, client)
}

/// Somebody else's client, that speaks these versions of TLS.
async fn foreign(
    files: &Files,
    port: u16,
    versions: &[&'static SupportedProtocolVersion],
) -> TlsStream<TcpStream> {
    let authority = CertificateDer::from_pem_file(files.path("authority.pem")).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(authority).unwrap();
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_protocol_versions(versions)
        .unwrap()
        .with_root_certificates(roots)
        .with_no_client_auth();
    let stream = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
    let name = ServerName::try_from("localhost").unwrap();
    TlsConnector::from(Arc::new(config)).connect(name, stream).await.unwrap()
}

/// A message each way.
async fn talk(wire: &mut HybridWire, client: &mut HybridWire, len: usize) {
    carry(wire, client, len).await;
    carry(client, wire, len).await;
}

async fn carry(from: &mut HybridWire, to: &mut HybridWire, len: usize) {
    let message: Vec<u8> = (0..len).map(|at| (at * 31 % 251) as u8).collect();
    from.send(&Bytes::from(message.clone()));
    let (flushed, received) = tokio::join!(from.flush(), receive_exact(to, len));
    flushed.unwrap();
    assert_eq!(received, message);
}

/// What an error says, with its causes.
fn said(error: &dyn Error) -> String {
    match error.source() {
        Some(source) => format!("{error}: {}", said(source)),
        None => error.to_string(),
    }
}

#[tokio::test]
async fn one_port_speaks_websocket_and_tcp_inside_tls() {
    let files = Files::new("one_port");
    let (mut hybrid, _, port) = files.listen().await;
    let trust = files.trust();
    for (url, kind, name) in [
        (format!("wss://localhost:{port}/path"), "wss", Some("localhost")),
        (format!("tls://localhost:{port}"), "tls", Some("localhost")),
        // An address is no name.
        (format!("tls://127.0.0.1:{port}"), "tls", None),
    ] {
        let (mut wire, mut client) = connected(&mut hybrid, &url, &trust).await;
        assert_eq!((wire.kind(), client.kind()), (kind, kind));
        assert_eq!(wire.server_name(), name);
        assert_eq!(client.server_name(), None);
        for len in [1, 1000, 70_000, 1_000_000] {
            talk(&mut wire, &mut client, len).await;
        }
        wire.send(&Bytes::from_static(b"bye"));
        wire.close().await.unwrap();
        assert_eq!(receive_exact(&mut client, 3).await, b"bye");
        assert!(client.receive().await.is_none());
    }
}

#[tokio::test]
async fn an_older_version_of_tls_is_spoken_too() {
    let files = Files::new("older_version");
    let (mut hybrid, _, port) = files.listen().await;
    let client = async {
        let mut client = foreign(&files, port, &[&TLS12]).await;
        client.write_all(&[1, 0, 0, 0]).await.unwrap();
        client.flush().await.unwrap();
        client
    };
    let server = async { hybrid.accept().await.unwrap().open().await.unwrap() };
    let (mut client, mut wire) = tokio::join!(client, server);
    assert_eq!(receive_exact(&mut wire, 4).await, [1, 0, 0, 0]);
    // Its own goodbye is an end like any.
    client.shutdown().await.unwrap();
    assert!(wire.receive().await.is_none());
}

#[tokio::test]
async fn a_client_that_vanishes_has_ended() {
    let files = Files::new("vanishes");
    let (mut hybrid, _, port) = files.listen().await;
    for scheme in ["wss", "tls"] {
        let url = format!("{scheme}://localhost:{port}");
        let (mut wire, mut client) = connected(&mut hybrid, &url, &files.trust()).await;
        // So that it has read what TLS had to say: a socket that is closed with unread bytes resets.
        talk(&mut wire, &mut client, 1).await;
        drop(client);
        assert!(wire.receive().await.is_none());
    }
}

#[tokio::test]
async fn a_client_that_does_not_read_stalls_the_flush() {
    let files = Files::new("does_not_read");
    let (mut hybrid, _, port) = files.listen().await;
    let url = format!("tls://localhost:{port}");
    let (mut wire, mut client) = connected(&mut hybrid, &url, &files.trust()).await;
    let chunk = Bytes::from(vec![7; 100_000]);
    let mut sent = 0;
    // Until the kernel takes no more.
    while unconstrained(wire.flush()).now_or_never().is_some() {
        wire.send(&chunk);
        sent += chunk.len();
    }
    assert_ne!(wire.unsent(), 0);
    let (flushed, received) = tokio::join!(wire.flush(), receive_exact(&mut client, sent));
    flushed.unwrap();
    assert_eq!(received.len(), sent);
    assert_eq!(wire.unsent(), 0);
}

#[tokio::test]
async fn a_certificate_is_swapped_under_a_hundred_clients() {
    let files = Files::new("swapped");
    let (mut hybrid, tls, port) = files.listen().await;
    let before = files.trust();
    let mut pairs = Vec::new();
    for number in 0..100 {
        let scheme = if number % 2 == 0 { "wss" } else { "tls" };
        let url = format!("{scheme}://localhost:{port}");
        pairs.push(connected(&mut hybrid, &url, &before).await);
    }
    assert!(!tls.reload_if_changed().unwrap());

    files.issue();
    assert!(tls.reload_if_changed().unwrap());
    assert!(!tls.reload_if_changed().unwrap());
    let url = format!("tls://localhost:{port}");
    let (mut wire, mut client) = connected(&mut hybrid, &url, &files.trust()).await;
    talk(&mut wire, &mut client, 100).await;
    for (wire, client) in &mut pairs {
        talk(wire, client, 100).await;
    }

    // Whoever knows only the old authority does not believe the new certificate.
    let url = format!("wss://localhost:{port}");
    let server = async { hybrid.accept().await.unwrap().open().await.map(drop) };
    let fresh = Trust::authorities(files.path("authority.pem")).unwrap();
    files.issue();
    tls.reload().unwrap();
    let (server, client) = tokio::join!(server, connect_tls(&url, &fresh));
    assert!(matches!(server, Err(OpenError::Tls(_))), "{server:?}");
    assert!(matches!(client, Err(ConnectError::Tls(_))), "{client:?}");
}

#[tokio::test]
async fn while_the_files_do_not_fit_the_old_certificate_stays() {
    let files = Files::new("do_not_fit");
    let (mut hybrid, tls, port) = files.listen().await;
    let (trust, key) = (files.trust(), fs::read_to_string(files.path("key.pem")).unwrap());
    files.issue();
    let new_key = fs::read_to_string(files.path("key.pem")).unwrap();
    files.write("key.pem", &format!("{key}\n"));
    assert!(matches!(tls.reload_if_changed(), Err(TlsError::Mismatch { .. })));
    assert!(!tls.reload_if_changed().unwrap(), "said once");
    let url = format!("wss://localhost:{port}");
    connected(&mut hybrid, &url, &trust).await;

    fs::remove_file(files.path("key.pem")).unwrap();
    assert!(matches!(tls.reload_if_changed(), Err(TlsError::Read { .. })));
    files.write("key.pem", &new_key);
    assert!(tls.reload_if_changed().unwrap());
    connected(&mut hybrid, &url, &files.trust()).await;
}

#[test]
fn what_is_wrong_with_the_files_is_said_in_a_sentence() {
    let files = Files::new("wrong_files");
    let certificate = fs::read_to_string(files.path("cert.pem")).unwrap();
    let key = fs::read_to_string(files.path("key.pem")).unwrap();
    let other = KeyPair::generate().unwrap().serialize_pem();
    let cut = &certificate[..certificate.len() / 2];
    let no_der = "-----BEGIN CERTIFICATE-----\naGVsbG8=\n-----END CERTIFICATE-----\n";
    let no_key = "-----BEGIN PRIVATE KEY-----\naGVsbG8=\n-----END PRIVATE KEY-----\n";
    let no_base64 = "-----BEGIN PRIVATE KEY-----\nh\u{e9}!\n-----END PRIVATE KEY-----\n";
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\naGVsbG8=\n-----END ENCRYPTED PRIVATE KEY-----\n";
    for (certificate, key, expected) in [
        ("", &*key, "CERT holds no certificate in PEM form"),
        ("hello", &key, "CERT holds no certificate in PEM form"),
        (&key, &key, "CERT holds no certificate in PEM form"),
        (cut, &key, "CERT is no PEM file: a section has no end"),
        (
            no_der,
            &key,
            "the certificate in CERT can't be used: invalid peer certificate: BadEncoding",
        ),
        (&certificate, &certificate, "KEY holds no private key in PEM form"),
        (
            &certificate,
            no_base64,
            "KEY is no PEM file: a section holds something that is not base64",
        ),
        (&certificate, locked, "the key in KEY is encrypted: it must be stored without a password"),
        (
            &certificate,
            no_key,
            "the private key in KEY can't be used: unexpected error: failed to parse private key as RSA, ECDSA, or EdDSA",
        ),
        (&certificate, &other, "the key in KEY does not fit the certificate in CERT"),
    ] {
        files.write("cert.pem", certificate);
        files.write("key.pem", key);
        let error = said(&files.load().unwrap_err())
            .replace(&files.path("cert.pem").display().to_string(), "CERT")
            .replace(&files.path("key.pem").display().to_string(), "KEY");
        assert_eq!(error, expected);
    }
    let nowhere = Tls::load(files.path("none.pem"), files.path("key.pem")).unwrap_err();
    assert!(matches!(&nowhere, TlsError::Read { file, .. } if *file == files.path("none.pem")));
    assert!(nowhere.to_string().ends_with("none.pem can't be read"), "{nowhere}");
    assert!(matches!(Trust::authorities(files.path("key.pem")), Err(TlsError::Missing { .. })));
}

#[tokio::test]
async fn who_speaks_no_tls_gets_no_wire() {
    let files = Files::new("no_tls");
    let (mut hybrid, _, port) = files.listen().await;
    let addr = format!("127.0.0.1:{port}");
    let url = format!("ws://{addr}");
    let server = async { hybrid.accept().await.unwrap().open().await.map(drop) };
    let (server, client) = tokio::join!(server, connect_websocket(&url));
    assert!(matches!(server, Err(OpenError::Tls(_))), "{server:?}");
    assert!(client.is_err());

    let mut client = connect_tcp(&addr).await.unwrap();
    client.send(&Bytes::from_static(&[1, 0, 0, 0]));
    client.flush().await.unwrap();
    let incoming = hybrid.accept().await.unwrap();
    assert!(matches!(incoming.open().await, Err(OpenError::Tls(_))));

    // And the other way round.
    let (mut plain, addr) = listen(HybridConfig::default()).await;
    let url = format!("tls://{addr}");
    let trust = files.trust();
    let server = async { plain.accept().await.unwrap().open().await.map(drop) };
    let (server, client) = tokio::join!(server, connect_tls(&url, &trust));
    assert!(matches!(server, Err(OpenError::Unknown(22))), "{server:?}");
    assert!(matches!(client, Err(ConnectError::Tls(_))), "{client:?}");
}

#[tokio::test]
async fn addresses_without_tls_or_without_a_port_are_refused() {
    let files = Files::new("addresses");
    let trust = files.trust();
    for url in ["ws://localhost:1", "tls://localhost", "tls://localhost:1/path", "localhost:1"] {
        let connected = connect_tls(url, &trust).await;
        assert!(matches!(connected, Err(ConnectError::Url)), "{url}: {connected:?}");
    }
}

#[tokio::test]
async fn plain_http_inside_tls_is_told_what_this_port_is() {
    let files = Files::new("plain_http");
    let (mut hybrid, _, port) = files.listen().await;
    let client = async {
        let mut client = foreign(&files, port, ALL_VERSIONS).await;
        client.write_all(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n").await.unwrap();
        let mut answer = String::new();
        client.read_to_string(&mut answer).await.unwrap();
        answer
    };
    let server = async { hybrid.accept().await.unwrap().open().await.map(drop) };
    let (answer, server) = tokio::join!(client, server);
    assert!(answer.starts_with("HTTP/1.1 426 Upgrade Required\r\n"), "{answer}");
    assert!(matches!(server, Err(OpenError::Refused { status: 426, .. })), "{server:?}");
}

#[tokio::test]
async fn a_certificate_that_is_known_needs_no_authority_and_no_name() {
    let files = Files::new("known");
    let (mut hybrid, _, port) = files.listen().await;
    let url = format!("tls://127.0.0.1:{port}");
    let strange = rcgen::generate_simple_self_signed(["game.example".to_owned()]).unwrap();
    files.write("cert.pem", &strange.cert.pem());
    files.write("key.pem", &strange.signing_key.serialize_pem());
    let known = Trust::certificates(files.path("cert.pem")).unwrap();
    // The server still shows the one before.
    let (opened, refused) = tokio::join!(
        async { hybrid.accept().await.unwrap().open().await },
        connect_tls(&url, &known)
    );
    assert!(opened.is_err());
    assert!(matches!(refused, Err(ConnectError::Tls(_))), "{refused:?}");

    let (mut hybrid, _, port) = files.listen().await;
    for scheme in ["wss", "tls"] {
        let url = format!("{scheme}://127.0.0.1:{port}");
        let (mut wire, mut client) = connected(&mut hybrid, &url, &known).await;
        talk(&mut wire, &mut client, 1000).await;
    }
}

#[tokio::test]
async fn a_server_may_have_another_name_than_its_address() {
    let files = Files::new("another_name");
    let (mut hybrid, _, port) = files.listen().await;
    let url = format!("wss://127.0.0.1:{port}");
    let trust = files.trust().server_name("localhost").unwrap();
    let (wire, _client) = connected(&mut hybrid, &url, &trust).await;
    assert_eq!(wire.server_name(), Some("localhost"));

    let trust = files.trust().server_name("game.example").unwrap();
    let (opened, refused) = tokio::join!(
        async { hybrid.accept().await.unwrap().open().await },
        connect_tls(&url, &trust)
    );
    assert!(opened.is_err());
    assert!(matches!(refused, Err(ConnectError::Tls(_))), "{refused:?}");

    let error = files.trust().server_name("no name").unwrap_err();
    assert_eq!(said(&error), r#""no name" is neither the name of a host nor an IP address"#);
}
