//! A key to sign messages with.

use std::{fmt, sync::Arc};

use ring::{
    rand::SystemRandom,
    rsa::KeyPair,
    signature::{RSA_PKCS1_SHA256, RsaPublicKeyComponents},
};
use rustls_pki_types::{PrivateKeyDer, pem::PemObject};
use shaddock_protocol::pomelo::Signer;

/// A key to sign messages with, for servers that want it (pomelo's `useCrypto`). Cheap to clone.
///
/// The key must have 2,048 to 4,096 bits; pomelo's own clients make one of 1,024, which nobody should any more, and servers
/// take either. A signature takes some hundred microseconds. It proves only that messages come from whoever shook hands:
/// TLS does more, and this is for servers that can't be changed.
///
/// `openssl genpkey -algorithm RSA -pkeyopt rsa_keygen_bits:2048` writes one.
#[derive(Clone)]
pub struct SigningKey {
    key: Arc<KeyPair>,
    random: SystemRandom,
}

impl SigningKey {
    /// A private key from the text of a PEM file (`BEGIN PRIVATE KEY` or `BEGIN RSA PRIVATE KEY`).
    ///
    /// # Errors
    ///
    /// When there is no such key in it, or not one that can be used.
    pub fn from_pem(pem: &str) -> Result<SigningKey, KeyError> {
        let der = PrivateKeyDer::from_pem_slice(pem.as_bytes()).map_err(|_| KeyError::Missing)?;
        let key = match &der {
            PrivateKeyDer::Pkcs8(der) => KeyPair::from_pkcs8(der.secret_pkcs8_der()),
            PrivateKeyDer::Pkcs1(der) => KeyPair::from_der(der.secret_pkcs1_der()),
            _ => return Err(KeyError::Missing),
        };
        let key = key.map_err(|rejected| KeyError::Unusable(rejected.to_string()))?;
        Ok(SigningKey { key: Arc::new(key), random: SystemRandom::new() })
    }

    fn public(&self) -> RsaPublicKeyComponents<Vec<u8>> {
        self.key.public().into()
    }
}

impl Signer for SigningKey {
    fn modulus(&self) -> Vec<u8> {
        self.public().n
    }

    fn exponent(&self) -> u64 {
        // At most 33 bits, which was looked at when the key was read.
        self.public().e.iter().fold(0, |all, byte| all << 8 | u64::from(*byte))
    }

    fn sign(&self, text: &[u8]) -> Option<Vec<u8>> {
        let mut signature = vec![0; self.key.public().modulus_len()];
        self.key.sign(&RSA_PKCS1_SHA256, &self.random, text, &mut signature).ok()?;
        Some(signature)
    }
}

impl fmt::Debug for SigningKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SigningKey").field("public", self.key.public()).finish_non_exhaustive()
    }
}

/// Why a key can't sign.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum KeyError {
    /// There is none.
    #[error("there is no RSA private key in PEM form")]
    Missing,
    /// It is too short, or broken. With the reason, in words.
    #[error("the key can't be used: {0}")]
    Unusable(String),
}
