//! Whom a client believes.

use std::{path::Path, sync::Arc};

use rustls::{ClientConfig, RootCertStore, pki_types::ServerName};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use super::{TlsError, identity::certificates, provider};
use crate::{ConnectError, Socket};

/// The authorities that a client believes when they say who a server is. Cheap to clone; make one and keep it.
///
/// # Examples
///
/// ```no_run
/// use shaddock_transport::{Trust, connect_tls};
///
/// # tokio_test::block_on(async {
/// let trust = Trust::system()?;
/// let wire = connect_tls("wss://game.example/", &trust).await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
#[derive(Clone, Debug)]
pub struct Trust {
    config: Arc<ClientConfig>,
}

impl Trust {
    /// The authorities that this machine believes. Reads some hundred certificates.
    ///
    /// # Errors
    ///
    /// When it has none.
    pub fn system() -> Result<Trust, TlsError> {
        let mut roots = RootCertStore::empty();
        // One that can't be read keeps nobody from believing the others.
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        match roots.is_empty() {
            true => Err(TlsError::NoAuthorities),
            false => Ok(Trust::new(roots)),
        }
    }

    /// The authorities in a PEM file, and no others.
    ///
    /// # Errors
    ///
    /// When the file can't be read, or holds none.
    pub fn authorities(file: impl AsRef<Path>) -> Result<Trust, TlsError> {
        let file = file.as_ref();
        let mut roots = RootCertStore::empty();
        for certificate in certificates(file)? {
            roots.add(certificate).map_err(|error| TlsError::Unusable {
                file: file.to_owned(),
                what: "certificate",
                source: error.into(),
            })?;
        }
        Ok(Trust::new(roots))
    }

    fn new(roots: RootCertStore) -> Trust {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider knows the suites of both versions")
            .with_root_certificates(roots)
            .with_no_client_auth();
        Trust { config: Arc::new(config) }
    }

    /// Shakes hands with a server that must prove to be `host`.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        host: &str,
    ) -> Result<Socket, ConnectError> {
        let host = ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::Url)?;
        let connecting = TlsConnector::from(self.config.clone()).connect(host, stream);
        let stream = connecting.await.map_err(ConnectError::Tls)?;
        Ok(Socket::tls(TlsStream::Client(stream)))
    }
}
