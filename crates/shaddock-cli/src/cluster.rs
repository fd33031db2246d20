//! The way to servers in other processes.

use std::sync::Arc;

use shaddock::config::Cluster;
use shaddock::{App, Engine};

/// Gives `app` an engine if its configuration names brokers. `servers` are those that run here.
pub(crate) async fn join(app: App, servers: &[String]) -> anyhow::Result<App> {
    Ok(match engine(&app.config().cluster, &servers.join(", ")).await? {
        Some(engine) => app.engine(engine),
        None => app,
    })
}

/// The way to the brokers, if any are named. `who` is what they are told about us.
#[cfg(feature = "nats")]
pub(crate) async fn engine(
    cluster: &Cluster,
    who: &str,
) -> anyhow::Result<Option<Arc<dyn Engine>>> {
    if cluster.urls.is_empty() {
        return Ok(None);
    }
    let name = format!("{}: {who}", cluster.name);
    Ok(Some(shaddock_nats::Nats::connect(options(cluster, name)).await?))
}

#[cfg(not(feature = "nats"))]
pub(crate) async fn engine(
    cluster: &Cluster,
    _who: &str,
) -> anyhow::Result<Option<Arc<dyn Engine>>> {
    anyhow::ensure!(
        cluster.urls.is_empty(),
        "brokers are named, and this program was built without the feature `nats` of shaddock-cli"
    );
    Ok(None)
}

#[cfg(feature = "nats")]
fn options(cluster: &Cluster, name: String) -> shaddock_nats::Options {
    use shaddock_nats::{Login, Options, Tls};

    let login = match (
        &cluster.user,
        &cluster.password,
        &cluster.token,
        &cluster.nkey,
        &cluster.credentials,
    ) {
        (Some(user), Some(password), ..) => {
            Login::Password { user: user.clone(), password: password.expose().to_owned() }
        }
        (.., Some(token), _, _) => Login::Token(token.expose().to_owned()),
        (.., Some(file), _) => Login::Nkey(file.clone()),
        (.., Some(file)) => Login::Credentials(file.clone()),
        _ => Login::Nobody,
    };
    Options {
        name,
        login,
        tls: Tls {
            ca: cluster.ca.clone(),
            identity: cluster.certificate.clone().zip(cluster.key.clone()),
        },
        wait: cluster.wait,
        replicas: cluster.replicas,
        ..Options::new(&cluster.urls)
    }
}
