//! Whom a client believes.

use std::{path::Path, sync::Arc};

use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, RootCertStore, SignatureScheme,
    client::{
        WebPkiServerVerifier,
        danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier},
    },
    crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature},
    pki_types::{CertificateDer, ServerName, UnixTime},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsConnector, TlsStream};

use super::{TlsError, identity::certificates, provider};
use crate::{ConnectError, Socket};

/// Whom a client believes when it is told who a server is. Cheap to clone; make one and keep it.
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
    /// In the place of the host in the address.
    name: Option<ServerName<'static>>,
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
            false => Ok(Trust::rooted(roots)),
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
        Ok(Trust::rooted(roots))
    }

    /// The servers that show a certificate which is in this PEM file, and no others. Its names and dates do not matter.
    ///
    /// For a server whose certificate nobody signed. Put the next one beside it before the server changes to it.
    ///
    /// # Errors
    ///
    /// When the file can't be read, or holds none.
    pub fn certificates(file: impl AsRef<Path>) -> Result<Trust, TlsError> {
        let algorithms = provider().signature_verification_algorithms;
        let certificates = certificates(file.as_ref())?;
        Ok(Trust::new(Arc::new(Known { certificates, algorithms })))
    }

    /// Wants the certificate to be `name`'s, whatever host is in the address. The server is asked for this name, too.
    ///
    /// # Errors
    ///
    /// When this is neither the name of a host nor an IP address.
    pub fn server_name(self, name: &str) -> Result<Trust, TlsError> {
        let name = ServerName::try_from(name.to_owned())
            .map_err(|_| TlsError::Name { name: name.to_owned() })?;
        Ok(Trust { name: Some(name), ..self })
    }

    fn rooted(roots: RootCertStore) -> Trust {
        let verifier = WebPkiServerVerifier::builder_with_provider(roots.into(), provider());
        Trust::new(verifier.build().expect("there are roots, and no lists of what is revoked"))
    }

    fn new(verifier: Arc<dyn ServerCertVerifier>) -> Trust {
        let config = ClientConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider knows the suites of both versions")
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth();
        Trust { config: Arc::new(config), name: None }
    }

    /// Shakes hands with a server that must prove to be `host`.
    pub(crate) async fn connect(
        &self,
        stream: TcpStream,
        host: &str,
    ) -> Result<Socket, ConnectError> {
        let host = match &self.name {
            Some(name) => name.clone(),
            None => ServerName::try_from(host.to_owned()).map_err(|_| ConnectError::Url)?,
        };
        let connecting = TlsConnector::from(self.config.clone()).connect(host, stream);
        let stream = connecting.await.map_err(ConnectError::Tls)?;
        Ok(Socket::tls(TlsStream::Client(stream)))
    }
}

/// Believes a server for the certificate that it shows.
#[derive(Debug)]
struct Known {
    certificates: Vec<CertificateDer<'static>>,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerCertVerifier for Known {
    fn verify_server_cert(
        &self,
        shown: &CertificateDer<'_>,
        _others: &[CertificateDer<'_>],
        _name: &ServerName<'_>,
        _stapled: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        match self.certificates.contains(shown) {
            true => Ok(ServerCertVerified::assertion()),
            false => Err(CertificateError::UnknownIssuer.into()),
        }
    }

    // That the server has the certificate's key is to be proven all the same.

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}
