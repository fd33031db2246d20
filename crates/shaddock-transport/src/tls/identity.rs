//! Who a server is: a certificate and its key, which may be replaced.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{Arc, PoisonError, RwLock},
    time::SystemTime,
};

use rustls::{
    CertificateError, Error, RootCertStore,
    client::verify_server_cert_signed_by_trust_anchor,
    pki_types::{
        CertificateDer, PrivateKeyDer, UnixTime,
        pem::{Error as PemError, PemObject},
    },
    server::{ClientHello, ParsedCertificate, ResolvesServerCert},
    sign::CertifiedKey,
};

use super::{TlsError, provider, read};

/// The certificate that is in use now.
#[derive(Debug)]
pub(super) struct Identity(RwLock<Arc<CertifiedKey>>);

impl Identity {
    pub(super) fn load(certificate: &Path, key: &Path) -> Result<Identity, TlsError> {
        Ok(Identity(RwLock::new(load(certificate, key)?)))
    }

    pub(super) fn reload(&self, certificate: &Path, key: &Path) -> Result<(), TlsError> {
        let loaded = load(certificate, key)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = loaded;
        Ok(())
    }
}

impl ResolvesServerCert for Identity {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.0.read().unwrap_or_else(PoisonError::into_inner);
        Some(current.clone())
    }
}

/// How a file looks from outside. One that is not there looks like nothing.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamp(Option<(u64, Option<SystemTime>)>);

impl Stamp {
    pub(super) fn of(file: &Path) -> Stamp {
        let metadata = fs::metadata(file).ok();
        Stamp(metadata.map(|metadata| (metadata.len(), metadata.modified().ok())))
    }
}

/// All certificates of a PEM file, at least one.
pub(super) fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let pem = read(file)?;
    let found: Result<Vec<_>, PemError> = CertificateDer::pem_slice_iter(&pem).collect();
    match found {
        Ok(found) if found.is_empty() => {
            Err(TlsError::Missing { file: file.to_owned(), what: "certificate" })
        }
        Ok(found) => Ok(found),
        Err(error) => Err(not_pem(file, &error)),
    }
}

fn load(certificate: &Path, key: &Path) -> Result<Arc<CertifiedKey>, TlsError> {
    let chain = certificates(certificate)?;
    let unusable = |file: &Path, what, error: Error| TlsError::Unusable {
        file: file.to_owned(),
        what,
        source: error.into(),
    };
    for each in &chain {
        ParsedCertificate::try_from(each)
            .map_err(|error| unusable(certificate, "certificate", error))?;
    }
    let private = private_key(key)?;
    let loaded = match CertifiedKey::from_der(chain, private, &provider()) {
        Ok(loaded) => loaded,
        Err(Error::InconsistentKeys(_)) => {
            return Err(TlsError::Mismatch {
                certificate: certificate.to_owned(),
                key: key.to_owned(),
            });
        }
        Err(error) => return Err(unusable(key, "private key", error)),
    };
    if let Some(why) = wrong_dates(&loaded, UnixTime::now()) {
        let certificate = certificate.display();
        tracing::warn!(%certificate, why, "clients will not believe the certificate");
    }
    Ok(Arc::new(loaded))
}

fn private_key(file: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let pem = read(file)?;
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| {
        let file = PathBuf::from(file);
        let encrypted = String::from_utf8_lossy(&pem).contains("ENCRYPTED");
        match error {
            _ if encrypted => TlsError::Encrypted { file },
            PemError::NoItemsFound => TlsError::Missing { file, what: "private key" },
            other => not_pem(&file, &other),
        }
    })
}

fn not_pem(file: &Path, error: &PemError) -> TlsError {
    let reason = match error {
        PemError::MissingSectionEnd { .. } => "a section has no end".to_owned(),
        PemError::IllegalSectionStart { .. } => "a section begins wrongly".to_owned(),
        PemError::Base64Decode(_) => "a section holds something that is not base64".to_owned(),
        other => other.to_string(),
    };
    TlsError::Pem { file: file.to_owned(), reason }
}

/// Why clients will not believe a certificate now, if that is for its dates.
fn wrong_dates(identity: &CertifiedKey, now: UnixTime) -> Option<&'static str> {
    let (first, others) = identity.cert.split_first()?;
    let parsed = ParsedCertificate::try_from(first).ok()?;
    // Dates are looked at before authorities, of which there are none here.
    let error = verify_server_cert_signed_by_trust_anchor(
        &parsed,
        &RootCertStore::empty(),
        others,
        now,
        provider().signature_verification_algorithms.all,
    )
    .err()?;
    match error {
        Error::InvalidCertificate(
            CertificateError::Expired | CertificateError::ExpiredContext { .. },
        ) => Some("has expired"),
        Error::InvalidCertificate(
            CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. },
        ) => Some("is not valid yet"),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use rcgen::{CertificateParams, KeyPair, date_time_ymd};

    use super::*;

    #[test]
    fn dates_that_clients_do_not_believe_are_known() {
        let key = KeyPair::generate().unwrap();
        let mut params = CertificateParams::new(["game.example".to_owned()]).unwrap();
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
        let chain = vec![params.self_signed(&key).unwrap().der().clone()];
        let private = PrivateKeyDer::try_from(key.serialize_der()).unwrap();
        let identity = CertifiedKey::from_der(chain, private, &provider()).unwrap();
        const YEAR: u64 = 365 * 24 * 60 * 60;
        for (years, wrong) in
            [(49, Some("is not valid yet")), (50, None), (52, Some("has expired"))]
        {
            let now = Duration::from_secs(years * YEAR + YEAR / 2);
            assert_eq!(wrong_dates(&identity, UnixTime::since_unix_epoch(now)), wrong);
        }
    }
}
