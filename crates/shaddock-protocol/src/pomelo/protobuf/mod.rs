//! Pomelo's protobuf: messages described in JSON, shaped like Google's but not the same.

mod definition;
mod schema;

mod decode;
mod encode;
mod varint;

use bytes::{Bytes, BytesMut};
use serde::Deserializer;

pub use self::decode::ProtobufError;
pub use self::definition::{SchemaError, SchemaFault};
pub use self::encode::{BodyError, Strings};
pub use self::schema::Schema;

use self::schema::Schemas;
use super::dictionary::digest;

/// The schemas of `serverProtos.json` and `clientProtos.json`: which bodies travel as protobuf.
///
/// # Examples
///
/// ```
/// # use shaddock_protocol::pomelo::{Protos, Strings};
/// let protos = Protos::parse(r#"{ "onChat": { "required string msg": 1 } }"#, "{}")?;
/// let schema = protos.server("onChat").expect("it was just defined");
/// let body = schema.encode(br#"{"msg":"hi"}"#, Strings::Utf8)?;
/// assert_eq!(body, &b"\x0a\x02hi"[..]);
/// assert_eq!(schema.decode(&body)?, r#"{"msg":"hi"}"#);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct Protos {
    server: Schemas,
    client: Schemas,
    version: String,
    /// The JSON of both as the handshake carries it.
    json: (String, String),
    ignored: Vec<SchemaError>,
}

impl Protos {
    /// Reads what the server encodes and what clients encode, as the files have them.
    ///
    /// # Errors
    ///
    /// When a message would come out corrupt: a field of a type that does not exist, or one that
    /// can't be told from another. What pomelo skips without harm is in [`Protos::ignored`].
    pub fn parse(server: &str, client: &str) -> Result<Self, SchemaError> {
        let mut ignored = Vec::new();
        let server = definition::parse_file(server, &mut ignored)?;
        let client = definition::parse_file(client, &mut ignored)?;
        let json = (definition::to_json(&server), definition::to_json(&client));
        let version = digest(&[&json.1, &json.0]);
        let (server, client) = (Schemas::new(&server)?, Schemas::new(&client)?);
        Ok(Self { server, client, version, json, ignored })
    }

    /// The schemas that a server sent in its handshake.
    pub(super) fn of_handshake(
        server: &serde_json::Value,
        client: &serde_json::Value,
        version: &str,
    ) -> Result<Self, SchemaError> {
        let json = (server.to_string(), client.to_string());
        let server = Schemas::new(&definition::parse_handshake(server)?)?;
        let client = Schemas::new(&definition::parse_handshake(client)?)?;
        Ok(Self { server, client, version: version.to_owned(), json, ignored: Vec::new() })
    }

    /// The schema of responses to, or pushes of, `route`.
    pub fn server(&self, route: &str) -> Option<Schema<'_>> {
        self.server.get(route)
    }

    /// The schema of requests and notifies to `route`.
    pub fn client(&self, route: &str) -> Option<Schema<'_>> {
        self.client.get(route)
    }

    /// Every route that has a schema, in one direction or both, in no order.
    pub fn routes(&self) -> impl Iterator<Item = &str> {
        self.server.routes().chain(self.client.routes())
    }

    /// Whether `body`, JSON, can be sent under `route`: anything can where there is no schema.
    ///
    /// # Errors
    ///
    /// Which field does not fit, and why.
    pub fn check(&self, route: &str, body: &[u8]) -> Result<(), BodyError> {
        match self.server(route) {
            Some(schema) => schema.encode(body, Strings::Utf8).map(drop),
            None => Ok(()),
        }
    }

    /// Changes when a schema does; clients that have this one are not sent it again.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// What the files say that pomelo skips without a word, and we with it: field keys that are not
    /// `option type name`, and fields whose tag was taken.
    pub fn ignored(&self) -> &[SchemaError] {
        &self.ignored
    }

    /// What the handshake carries: the JSON of the server's and of the client's schemas.
    pub fn json(&self) -> (&str, &str) {
        (&self.json.0, &self.json.1)
    }
}

impl Schema<'_> {
    /// Writes `body`, JSON, as protobuf. Fields come in the order of the body.
    ///
    /// # Errors
    ///
    /// When a required member is missing, a member is not of its type, or nothing is left to write.
    pub fn encode(&self, body: &[u8], strings: Strings) -> Result<Bytes, BodyError> {
        let mut out = BytesMut::with_capacity(body.len());
        self.put_json(body, strings, &mut out)?;
        Ok(out.freeze())
    }

    /// Writes what any deserializer gives as protobuf.
    ///
    /// # Errors
    ///
    /// As [`Schema::encode`].
    pub fn encode_from<'de, D: Deserializer<'de>>(
        &self,
        body: D,
        strings: Strings,
    ) -> Result<Bytes, BodyError> {
        let mut out = BytesMut::new();
        self.put(body, strings, &mut out)?;
        Ok(out.freeze())
    }
}
