//! Messages that this side signs as a client (`useCrypto`).

use std::fmt;

use bytes::Bytes;
use serde_json::{Map, Number, Value, json};

use super::signature::{MEMBER, twice_encoded};
use crate::EncodeError;

/// Signs the messages of a client, for servers that want it (`useCrypto`).
///
/// It proves only that messages come from whoever shook hands; TLS does more.
pub trait Signer: fmt::Debug + Send + Sync + 'static {
    /// The key's modulus, its highest byte first. Pomelo's own clients have one of 1,024 bits; servers take longer ones.
    fn modulus(&self) -> Vec<u8>;

    /// The key's public exponent, mostly 65,537.
    fn exponent(&self) -> u64;

    /// The signature of `text`, as long as the modulus: RSASSA-PKCS1-v1_5 with SHA-256. `None` if it can't be made.
    fn sign(&self, text: &[u8]) -> Option<Vec<u8>>;
}

/// The `sys.rsa` of a handshake.
pub(super) fn public_key(signer: &dyn Signer) -> Value {
    json!({ "rsa_n": hex(&signer.modulus()), "rsa_e": signer.exponent() })
}

/// A body, JSON text, with its signature.
///
/// What is signed is what JavaScript makes of the body, for that is what pomelo verifies; so this is what is sent, too.
pub(super) fn sign(signer: &dyn Signer, body: &[u8]) -> Result<Bytes, EncodeError> {
    let mut members: Map<String, Value> =
        serde_json::from_slice(body).map_err(|_| EncodeError::Unsigned("its body is no object"))?;
    members.shift_remove(MEMBER);
    let mut text = String::new();
    put_object(&mut text, members);
    // Pomelo verifies Chinese text in another form, and nothing else in it.
    let signature = match text.contains(|c| ('\u{4e00}'..='\u{9fa5}').contains(&c)) {
        true => signer.sign(twice_encoded(&text).as_bytes()),
        false => signer.sign(text.as_bytes()),
    };
    let signature = signature.ok_or(EncodeError::Unsigned("the key makes no signature"))?;
    text.pop();
    if text.len() > 1 {
        text.push(',');
    }
    text.push_str(&format!(r#""{MEMBER}":"{}"}}"#, hex(&signature)));
    Ok(text.into())
}

/// As `JSON.stringify` has it.
fn put(out: &mut String, value: Value) {
    match value {
        Value::Number(number) => put_number(out, &number),
        Value::Array(items) => {
            out.push('[');
            for (at, item) in items.into_iter().enumerate() {
                if at > 0 {
                    out.push(',');
                }
                put(out, item);
            }
            out.push(']');
        }
        Value::Object(members) => put_object(out, members),
        Value::Null | Value::Bool(_) | Value::String(_) => out.push_str(&value.to_string()),
    }
}

/// Members whose names are indexes come first, in their order.
fn put_object(out: &mut String, members: Map<String, Value>) {
    let mut members: Vec<_> = members.into_iter().collect();
    members.sort_by_key(|(name, _)| index(name).map_or((1, 0), |index| (0, index)));
    out.push('{');
    for (at, (name, value)) in members.into_iter().enumerate() {
        if at > 0 {
            out.push(',');
        }
        out.push_str(&Value::from(name).to_string());
        out.push(':');
        put(out, value);
    }
    out.push('}');
}

/// Every number is a double, and as short as it can be.
fn put_number(out: &mut String, number: &Number) {
    let double =
        number.as_f64().expect("numbers of this build of serde_json are doubles or integers");
    out.push_str(ryu_js::Buffer::new().format(double));
}

/// The name of a member that JavaScript takes for an index, which `007` and 4294967295 are not.
fn index(name: &str) -> Option<u32> {
    let index: u32 = name.parse().ok()?;
    (index != u32::MAX && index.to_string() == name).then_some(index)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_as_javascript_writes_it() {
        for (given, written) in [
            (r#"{ "b": 1, "a": [ true, null, "x" ] }"#, r#"{"b":1,"a":[true,null,"x"]}"#),
            (r#"{"b":1,"10":2,"9":3,"a":4,"0":5}"#, r#"{"0":5,"9":3,"10":2,"b":1,"a":4}"#),
            (
                r#"{"01":1,"-1":2,"4294967295":3,"4294967294":4}"#,
                r#"{"4294967294":4,"01":1,"-1":2,"4294967295":3}"#,
            ),
            (
                r#"{"n":[1.0,-0.0,0.1,1e21,1e20,1e-7,123456789012345680000]}"#,
                r#"{"n":[1,0,0.1,1e+21,100000000000000000000,1e-7,123456789012345680000]}"#,
            ),
            (
                r#"{"n":[18446744073709551615,-9007199254740993]}"#,
                r#"{"n":[18446744073709552000,-9007199254740992]}"#,
            ),
            (
                r#"{"s":"\u4f60\ud83d\ude00\u0007\b\u007f\/\"","n":{}}"#,
                "{\"s\":\"你😀\\u0007\\b\u{7f}/\\\"\",\"n\":{}}",
            ),
            (r#"{"a":1,"b":2,"a":3}"#, r#"{"a":3,"b":2}"#),
        ] {
            let mut text = String::new();
            put_object(&mut text, serde_json::from_str(given).unwrap());
            assert_eq!(text, written);
        }
    }
}
