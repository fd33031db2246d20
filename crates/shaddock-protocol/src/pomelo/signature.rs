//! Messages that clients sign (`useCrypto`).

use std::fmt;

use bytes::Bytes;
use ring::signature::{
    RSA_PKCS1_1024_8192_SHA256_FOR_LEGACY_USE_ONLY as SHA256, RsaPublicKeyComponents,
};
use serde::Deserializer as _;
use serde::de::{MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::text;

/// The member of a body that holds its signature.
pub(super) const MEMBER: &str = "__crypto__";

/// Whoever must have signed the messages of a connection.
#[derive(Debug)]
pub(super) struct Signer(Option<Key>);

/// A public key, as numbers with their highest byte first.
#[derive(Debug)]
struct Key {
    modulus: Vec<u8>,
    exponent: Vec<u8>,
}

impl Signer {
    /// Reads `sys.rsa`, which must be an object. One without a key can't sign anything.
    pub(super) fn parse(rsa: &Value) -> Option<Self> {
        let rsa = rsa.as_object()?;
        let modulus = rsa.get("rsa_n").and_then(Value::as_str).and_then(unhex);
        let exponent = rsa.get("rsa_e").and_then(Value::as_u64).map(u64::to_be_bytes);
        let key = modulus.zip(exponent).map(|(modulus, exponent)| Key {
            modulus: significant(&modulus),
            exponent: significant(&exponent),
        });
        Some(Self(key))
    }

    /// Takes the signature out of a body, JSON text, if it is there and signs the rest.
    ///
    /// Members are kept as they are written, so the rest is the text that was signed, if the
    /// client writes all members in one way.
    pub(super) fn verify(&self, body: &[u8]) -> Option<Bytes> {
        let key = self.0.as_ref()?;
        let (rest, signature) = cut(body)?;
        let signature = unhex(&signature)?;
        let signed = key.verify(rest.as_bytes(), &signature)
            || rest.chars().any(|c| ('\u{4e00}'..='\u{9fa5}').contains(&c))
                && key.verify(twice_encoded(&rest).as_bytes(), &signature);
        signed.then(|| rest.into())
    }
}

impl Key {
    fn verify(&self, text: &[u8], signature: &[u8]) -> bool {
        let Self { modulus: n, exponent: e } = self;
        RsaPublicKeyComponents { n, e }.verify(&SHA256, text, signature).is_ok()
    }
}

/// What pomelo makes of Chinese text before it verifies: each byte of it as a character. Clients
/// that were tried against pomelo may sign this.
pub(super) fn twice_encoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(2 * text.len());
    text::put_surrogates(&mut bytes, text);
    bytes.into_iter().map(char::from).collect()
}

/// An object without its signature, and the signature.
fn cut(json: &[u8]) -> Option<(String, String)> {
    serde_json::Deserializer::from_slice(json).deserialize_map(Cut).ok()?
}

struct Cut;

impl<'de> Visitor<'de> for Cut {
    type Value = Option<(String, String)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Self::Value, A::Error> {
        let mut rest = String::from("{");
        let mut signature = None;
        while let Some(name) = members.next_key::<String>()? {
            if name == MEMBER {
                signature = Some(members.next_value()?);
                continue;
            }
            let value: &RawValue = members.next_value()?;
            if rest.len() > 1 {
                rest.push(',');
            }
            rest.push_str(&Value::from(name).to_string());
            rest.push(':');
            rest.push_str(value.get());
        }
        rest.push('}');
        Ok(signature.map(|signature| (rest, signature)))
    }
}

fn unhex(digits: &str) -> Option<Vec<u8>> {
    let digit = |digit: u8| u8::try_from(char::from(digit).to_digit(16)?).ok();
    let (pairs, []) = digits.as_bytes().as_chunks() else {
        return None;
    };
    pairs.iter().map(|[high, low]| Some(digit(*high)? << 4 | digit(*low)?)).collect()
}

/// A number without the zeros before it.
fn significant(bytes: &[u8]) -> Vec<u8> {
    bytes.iter().copied().skip_while(|byte| *byte == 0).collect()
}
