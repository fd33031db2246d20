//! The way to servers in other processes.

use shaddock::App;

/// Gives `app` an engine if its configuration names brokers. `servers` are those that run here.
#[cfg(feature = "nats")]
pub(crate) async fn join(app: App, servers: &[String]) -> anyhow::Result<App> {
    let cluster = &app.config().cluster;
    if cluster.urls.is_empty() {
        return Ok(app);
    }
    let name = format!("{}: {}", cluster.name, servers.join(", "));
    let engine = shaddock_nats::Nats::connect(options(cluster, name)).await?;
    Ok(app.engine(engine))
}

#[cfg(not(feature = "nats"))]
pub(crate) async fn join(app: App, _servers: &[String]) -> anyhow::Result<App> {
    anyhow::ensure!(
        app.config().cluster.urls.is_empty(),
        "brokers are named, and this program was built without the feature `nats` of shaddock-cli"
    );
    Ok(app)
}

#[cfg(feature = "nats")]
fn options(cluster: &shaddock::config::Cluster, name: String) -> shaddock_nats::Options {
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
