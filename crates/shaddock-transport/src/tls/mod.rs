//! TLS: a server's certificate, which may change while it is in use, and whom a client believes.

mod identity;
mod trust;

use std::{
    error::Error,
    fmt, io,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError},
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, ring},
};
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsStream};

use self::identity::{Identity, Stamp};
pub use self::trust::Trust;
use crate::Socket;

/// A server's side of TLS: versions 1.2 and 1.3, with a certificate and its key from PEM files.
///
/// The files can be replaced while the server runs: call [`reload_if_changed`](Tls::reload_if_changed) every few
/// seconds. Those who are connected notice nothing; who connects from then on gets the new certificate.
///
/// # Examples
///
/// ```no_run
/// use std::sync::Arc;
/// use shaddock_transport::{Hybrid, HybridConfig, Tls};
///
/// # tokio_test::block_on(async {
/// let tls = Arc::new(Tls::load("config/cert.pem", "config/key.pem")?);
/// let config = HybridConfig { tls: Some(tls.clone()), ..HybridConfig::default() };
/// let hybrid = Hybrid::bind("127.0.0.1:3115", config).await?;
/// # Ok::<(), Box<dyn std::error::Error>>(()) }).unwrap();
/// ```
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    identity: Arc<Identity>,
    acceptor: TlsAcceptor,
    /// What the files were like when they were last read.
    read: Mutex<[Stamp; 2]>,
}

impl Tls {
    /// Reads a certificate, with those that it is signed with behind it, and its key.
    ///
    /// A certificate that has expired, or is not valid yet, is only warned about: clients find out for themselves.
    ///
    /// # Errors
    ///
    /// When one of the files can't be read or used, or the key is another certificate's.
    pub fn load(certificate: impl Into<PathBuf>, key: impl Into<PathBuf>) -> Result<Tls, TlsError> {
        let (certificate, key) = (certificate.into(), key.into());
        // Before the files are read: what changes meanwhile is read again.
        let read = [Stamp::of(&certificate), Stamp::of(&key)];
        let identity = Arc::new(Identity::load(&certificate, &key)?);
        let mut config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .expect("the provider knows the suites of both versions")
            .with_no_client_auth()
            .with_cert_resolver(identity.clone());
        // Who comes back with a ticket is let in without a signature, and nothing is kept for it.
        config.ticketer = ring::Ticketer::new().map_err(|error| TlsError::Random(error.into()))?;
        config.send_tls13_tickets = 1;
        Ok(Tls {
            certificate,
            key,
            identity,
            acceptor: TlsAcceptor::from(Arc::new(config)),
            read: Mutex::new(read),
        })
    }

    /// Reads the files again, for connections from now on.
    ///
    /// # Errors
    ///
    /// As [`load`](Tls::load); what was there stays in use then.
    pub fn reload(&self) -> Result<(), TlsError> {
        let stamps = [Stamp::of(&self.certificate), Stamp::of(&self.key)];
        *self.read.lock().unwrap_or_else(PoisonError::into_inner) = stamps;
        self.identity.reload(&self.certificate, &self.key)
    }

    /// Reads the files again if their length or time of change is another one, and says whether it did.
    ///
    /// It looks at two files and blocks for as long as that takes.
    ///
    /// # Errors
    ///
    /// As [`reload`](Tls::reload), and once for each change: when the certificate was written and the key is yet to
    /// be, the next call after that finds both.
    pub fn reload_if_changed(&self) -> Result<bool, TlsError> {
        let stamps = [Stamp::of(&self.certificate), Stamp::of(&self.key)];
        if *self.read.lock().unwrap_or_else(PoisonError::into_inner) == stamps {
            return Ok(false);
        }
        self.reload()?;
        Ok(true)
    }

    /// Shakes hands with a client.
    pub(crate) async fn accept(&self, stream: TcpStream) -> io::Result<Socket> {
        let limit = |connection: &mut rustls::ServerConnection| {
            connection.set_buffer_limit(Some(UNWRITTEN));
        };
        let stream = self.acceptor.accept_with(stream, limit).await?;
        Ok(Socket::tls(TlsStream::Server(stream)))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("certificate", &self.certificate)
            .field("key", &self.key)
            .finish_non_exhaustive()
    }
}

/// As many bytes as wait inside TLS for a peer that does not read, beside the wire's own write buffer.
const UNWRITTEN: usize = 16 * 1024;

/// Why a certificate, a key, authorities or a name can't be used.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// There is no such file, or it is not ours to read.
    #[error("{} can't be read", .file.display())]
    Read {
        /// The file.
        file: PathBuf,
        /// Why not.
        source: io::Error,
    },
    /// A file has something that is no PEM.
    #[error("{} is no PEM file: {reason}", .file.display())]
    Pem {
        /// The file.
        file: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// A file has nothing of what it is for.
    #[error("{} holds no {what} in PEM form", .file.display())]
    Missing {
        /// The file.
        file: PathBuf,
        /// What it should hold: "certificate" or "private key".
        what: &'static str,
    },
    /// The key is locked with a password, which nobody could give here.
    #[error("the key in {} is encrypted: it must be stored without a password", .file.display())]
    Encrypted {
        /// The file.
        file: PathBuf,
    },
    /// What a file holds can't be used.
    #[error("the {what} in {} can't be used", .file.display())]
    Unusable {
        /// The file.
        file: PathBuf,
        /// What it is: "certificate" or "private key".
        what: &'static str,
        /// Why not.
        source: Box<dyn Error + Send + Sync>,
    },
    /// The key is another certificate's.
    #[error("the key in {} does not fit the certificate in {}", .key.display(), .certificate.display())]
    Mismatch {
        /// The file with the certificate.
        certificate: PathBuf,
        /// The file with the key.
        key: PathBuf,
    },
    /// This machine has no authorities to believe.
    #[error("no certificates of authorities are found on this machine")]
    NoAuthorities,
    /// A server can't be called this.
    #[error("{name:?} is neither the name of a host nor an IP address")]
    Name {
        /// What it was to be called.
        name: String,
    },
    /// This machine gives no random numbers.
    #[error("this machine gives no random numbers")]
    Random(#[source] Box<dyn Error + Send + Sync>),
}

fn read(file: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(file).map_err(|source| TlsError::Read { file: file.to_owned(), source })
}

fn provider() -> Arc<CryptoProvider> {
    Arc::new(ring::default_provider())
}
