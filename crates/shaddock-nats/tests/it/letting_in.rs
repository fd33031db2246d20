//! Who is let in, and what is said to who is not.

use std::error::Error as _;
use std::fs;
use std::time::Duration;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, SanType};
use shaddock_cluster::{Engine as _, EngineError};
use shaddock_nats::{Login, Nats, Options, Tls};

use crate::broker::{self, Broker, Folder};

/// The seed of an nkey, and its public half.
const SEED: &str = "SUANQDPB2RUOE4ETUA26CNX7FUKE5ZZKFCQIIW63OX225F2CO7UEXTM7ZY";
const NKEY: &str = "UAMMBNV2EYR65NYZZ7IAK5SIR5ODNTTERJOBOF4KJLMWI45YOXOSWULM";

#[tokio::test]
async fn a_user_needs_the_right_password() {
    if !broker::is_there() {
        return;
    }
    let broker = Broker::with("authorization { user: py, password: right }");
    let with = |password: &str| Login::Password { user: "py".into(), password: password.into() };
    works(Options { login: with("right"), ..broker.options() }).await;
    let wrong = refused(Options { login: with("wrong"), ..broker.options() }).await;
    assert_eq!(
        wrong.to_string(),
        format!("the broker at {} does not let in the user \"py\"", broker.url())
    );
    let nobody = refused(broker.options()).await;
    assert_eq!(
        nobody.to_string(),
        format!("the broker at {} asks for a login, and there is none", broker.url())
    );
}

#[tokio::test]
async fn a_token_lets_in() {
    if !broker::is_there() {
        return;
    }
    let broker = Broker::with("authorization { token: right }");
    works(Options { login: Login::Token("right".into()), ..broker.options() }).await;
    refused(Options { login: Login::Token("wrong".into()), ..broker.options() }).await;
}

#[tokio::test]
async fn an_nkey_lets_in() {
    if !broker::is_there() {
        return;
    }
    let broker = Broker::with(&format!("authorization {{ users: [{{ nkey: {NKEY} }}] }}"));
    let folder = Folder::new();
    let [right, wrong] = ["right", "wrong"].map(|name| folder.0.join(name));
    fs::write(&right, format!("{SEED}\n")).unwrap();
    works(Options { login: Login::Nkey(right), ..broker.options() }).await;
    fs::write(&wrong, "not a seed").unwrap();
    let unusable = refused(Options { login: Login::Nkey(wrong.clone()), ..broker.options() }).await;
    assert_eq!(
        unusable.to_string(),
        format!("the nkey of {} can't be used to log in", wrong.display())
    );
}

#[tokio::test]
async fn credentials_that_are_none_are_told_before_anyone_is_asked() {
    let folder = Folder::new();
    let file = folder.0.join("creds");
    let options = || Options {
        login: Login::Credentials(file.clone()),
        ..Options::new(["nats://127.0.0.1:1"])
    };
    let missing = refused(options()).await;
    assert_eq!(missing.to_string(), format!("{} can't be read", file.display()));
    fs::write(&file, "nothing").unwrap();
    let empty = refused(options()).await;
    assert_eq!(empty.to_string(), format!("{} holds no credentials", file.display()));
}

#[tokio::test]
async fn with_tls_each_side_shows_who_it_is() {
    if !broker::is_there() {
        return;
    }
    let folder = Folder::new();
    let file = |name: &str, text: String| {
        let path = folder.0.join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let ca = authority();
    let ca_file = file("ca.pem", ca.pem());
    let broker_key = KeyPair::generate().unwrap();
    let mut params = CertificateParams::new([]).unwrap();
    params.subject_alt_names = vec![SanType::IpAddress([127, 0, 0, 1].into())];
    let cert = file("broker.pem", params.signed_by(&broker_key, &ca).unwrap().pem());
    let key = file("broker-key.pem", broker_key.serialize_pem());
    let broker = Broker::with(&format!(
        "tls {{ cert_file: {cert:?}, key_file: {key:?}, ca_file: {ca_file:?}, verify: true }}"
    ));

    let own_key = KeyPair::generate().unwrap();
    let own = CertificateParams::new(["chat".to_owned()]).unwrap();
    let identity = Some((
        file("own.pem", own.signed_by(&own_key, &ca).unwrap().pem()),
        file("own-key.pem", own_key.serialize_pem()),
    ));
    let tls = Tls { ca: Some(ca_file), identity };
    works(Options { tls: tls.clone(), ..broker.options() }).await;

    let other = Tls { ca: Some(file("other.pem", authority().pem())), ..tls.clone() };
    let distrusted = refused(Options { tls: other, ..broker.options() }).await;
    assert_eq!(
        distrusted.to_string(),
        format!("there is no trust between us and the broker at {}", broker.url())
    );
    refused(Options { tls: Tls { identity: None, ..tls }, ..broker.options() }).await;
}

#[tokio::test]
async fn a_broker_that_is_not_there_is_told_or_waited_for() {
    if !broker::is_there() {
        return;
    }
    let mut broker = Broker::start();
    broker.kill();
    let at_once = refused(broker.options()).await;
    assert_eq!(at_once.to_string(), format!("no broker can be reached at {}", broker.url()));
    assert!(at_once.source().unwrap().to_string().contains("refused"), "{at_once:?}");

    let patient = Options { wait: Duration::from_secs(60), ..broker.options() };
    let connecting = Nats::connect(patient);
    let (engine, ()) = tokio::join!(connecting, async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        broker.revive();
    });
    engine.unwrap();
}

fn authority() -> CertifiedIssuer<'static, KeyPair> {
    let mut params = CertificateParams::new([]).unwrap();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "a test's authority");
    CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap()
}

async fn works(options: Options) {
    let engine = Nats::connect(options).await.unwrap();
    engine.subscribe(Vec::new(), 1).await.unwrap();
}

async fn refused(options: Options) -> EngineError {
    Nats::connect(options).await.expect_err("is not let in")
}
