//! The JSON of both directions.

use std::sync::Arc;
use std::time::Duration;

use bytes::{BufMut, Bytes};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};

use super::connector::Config;
use super::package::{self, Kind};
#[cfg(feature = "crypto")]
use super::sign;
use super::{ClientOptions, Dictionary, PackageError, Protos, Tables};
use crate::{Hello, text};

/// What a client says first.
#[derive(Debug, Default)]
pub(super) struct Request {
    pub(super) hello: Hello,
    dict_version: Option<String>,
    proto_version: Option<String>,
    /// The key with which it signs, if it does.
    #[cfg(feature = "crypto")]
    pub(super) rsa: Option<Value>,
}

impl Request {
    /// Reads a client's handshake, in which little is required.
    pub(super) fn parse(body: Bytes) -> Option<Self> {
        let mut request: Map<String, Value> = serde_json::from_slice(&text::json(body)).ok()?;
        let sys = request.remove("sys").filter(is_truthy)?;
        #[cfg(feature = "crypto")]
        let rsa = sys.get("rsa").cloned();
        let text = |name| sys.get(name)?.as_str().map(str::to_owned);
        Some(Self {
            hello: Hello {
                client_type: text("type"),
                client_version: text("version"),
                user: request.remove("user"),
            },
            dict_version: text("dictVersion"),
            proto_version: text("protoVersion"),
            #[cfg(feature = "crypto")]
            rsa,
        })
    }

    /// The handshake of a client.
    pub(super) fn encode(options: &ClientOptions) -> Result<Bytes, PackageError> {
        let ClientOptions { hello, tables, .. } = options;
        let mut sys = Map::new();
        sys.insert("type".into(), json!(hello.client_type));
        sys.insert("version".into(), json!(hello.client_version));
        #[cfg(feature = "crypto")]
        if let Some(signer) = &options.signer {
            sys.insert("rsa".into(), sign::public_key(&**signer));
        }
        if let Some(dictionary) = &tables.dictionary {
            sys.insert("dictVersion".into(), dictionary.version().into());
        }
        if let Some(protos) = &tables.protos {
            sys.insert("protoVersion".into(), protos.version().into());
        }
        let mut request = Map::from_iter([("sys".to_owned(), Value::Object(sys))]);
        if let Some(user) = &hello.user {
            request.insert("user".into(), user.clone());
        }
        let json = text::to_json(&request).expect("maps of text are JSON");
        package::build(Kind::Handshake, json.len(), |out| out.put_slice(&json))
    }
}

/// The server's answers, which differ only in the tables they leave out, written once.
#[derive(Debug)]
pub(super) struct Answers([Answer; 4]);

#[derive(Debug, Clone)]
struct Answer {
    sys: Arc<str>,
    package: Bytes,
}

impl Answers {
    pub(super) fn new(config: &Config) -> Result<Self, PackageError> {
        let answer = |dictionary, protos| {
            let sys: Arc<str> = sys_json(config, dictionary, protos).into();
            let package = accepted(&sys, "")?;
            Ok(Answer { sys, package })
        };
        let short = answer(false, false)?;
        let dictionary = match config.tables.dictionary {
            Some(_) => answer(true, false)?,
            None => short.clone(),
        };
        let (protos, both) = match config.tables.protos {
            Some(_) => (answer(false, true)?, answer(true, true)?),
            None => (short.clone(), dictionary.clone()),
        };
        Ok(Self([short, dictionary, protos, both]))
    }

    /// The answer to `request`, without what the client has already.
    pub(super) fn accept(
        &self,
        request: &Request,
        tables: &Tables,
        user: Option<&RawValue>,
    ) -> Result<Bytes, PackageError> {
        let dictionary = tables.dictionary.as_ref().map(|dictionary| dictionary.version());
        let protos = tables.protos.as_ref().map(|protos| protos.version());
        let [short, with_dictionary, with_protos, both] = &self.0;
        let answer = match (
            dictionary == request.dict_version.as_deref(),
            protos == request.proto_version.as_deref(),
        ) {
            (true, true) => short,
            (false, true) => with_dictionary,
            (true, false) => with_protos,
            (false, false) => both,
        };
        match user.map(RawValue::get) {
            None | Some("null" | "false" | "0" | "\"\"") => Ok(answer.package.clone()),
            Some(user) => accepted(&answer.sys, user),
        }
    }
}

/// `{"code":501}`, with `more` behind it.
pub(super) fn refused(code: u16, more: &Map<String, Value>) -> Bytes {
    let mut told = Map::from_iter([("code".to_owned(), Value::from(code))]);
    told.extend(
        more.iter().filter(|(name, _)| *name != "code").map(|(n, v)| (n.clone(), v.clone())),
    );
    let json = text::to_json(&told).expect("maps of text are JSON");
    package::build(Kind::Handshake, json.len(), |out| out.put_slice(&json)).unwrap_or_else(|_| {
        // What is too long for a package is not worth telling.
        refused(code, &Map::new())
    })
}

/// What a server answers, as a client reads it.
#[derive(Debug)]
pub(super) struct Response {
    pub(super) code: u16,
    pub(super) heartbeat: Option<Duration>,
    pub(super) tables: Tables,
    pub(super) user: Option<Value>,
}

impl Response {
    /// Reads a server's handshake; tables that it leaves out are taken from `cached`.
    pub(super) fn parse(body: Bytes, cached: &Tables) -> Option<Self> {
        let mut response: Map<String, Value> = serde_json::from_slice(&text::json(body)).ok()?;
        let code = response.get("code")?.as_u64()?.try_into().ok()?;
        let sys = response.remove("sys").unwrap_or_default();
        let heartbeat = match sys.get("heartbeat").and_then(Value::as_f64) {
            Some(seconds) if 0.0 < seconds => Some(Duration::try_from_secs_f64(seconds).ok()?),
            _ => None,
        };
        let uses = |name| sys.get(name).and_then(Value::as_bool) == Some(true);
        let dictionary = match sys.get("routeToCode").or_else(|| sys.get("dict")) {
            Some(Value::Object(codes)) => {
                let version = sys.get("dictVersion").and_then(Value::as_str).unwrap_or_default();
                Some(Arc::new(Dictionary::of_handshake(codes, version).ok()?))
            }
            _ if uses("useDict") => Some(cached.dictionary.clone()?),
            _ => None,
        };
        let protos = match sys.get("protos") {
            Some(protos) => {
                let version = protos.get("version").and_then(Value::as_str).unwrap_or_default();
                let protos =
                    Protos::of_handshake(protos.get("server")?, protos.get("client")?, version);
                Some(Arc::new(protos.ok()?))
            }
            None if uses("useProto") => Some(cached.protos.clone()?),
            None => None,
        };
        let user = response.remove("user");
        Some(Self { code, heartbeat, tables: Tables { dictionary, protos }, user })
    }
}

/// Members in the order in which pomelo has them; tables whole or not at all.
fn sys_json(config: &Config, dictionary: bool, protos: bool) -> String {
    let mut members = Vec::new();
    if let Some(heartbeat) = config.heartbeat {
        members.push(format!(r#""heartbeat":{}"#, heartbeat.as_secs_f64()));
    }
    if let Some(table) = &config.tables.dictionary {
        if dictionary {
            let (codes, routes) = (table.codes_json(), table.routes_json());
            members.push(format!(r#""dict":{codes},"routeToCode":{codes}"#));
            members.push(format!(r#""codeToRoute":{routes}"#));
            members.push(format!(r#""dictVersion":{}"#, Value::from(table.version())));
        }
        members.push(r#""useDict":true"#.to_owned());
    }
    if let Some(table) = &config.tables.protos {
        if protos {
            let (server, client) = table.json();
            let version = Value::from(table.version());
            members.push(format!(
                r#""protos":{{"server":{server},"client":{client},"version":{version}}}"#
            ));
        }
        members.push(r#""useProto":true"#.to_owned());
    }
    format!("{{{}}}", members.join(","))
}

fn accepted(sys: &str, user: &str) -> Result<Bytes, PackageError> {
    let json = match user {
        "" => format!(r#"{{"code":200,"sys":{sys}}}"#),
        user => format!(r#"{{"code":200,"sys":{sys},"user":{user}}}"#),
    };
    let json = text::escape(json.into());
    package::build(Kind::Handshake, json.len(), |out| out.put_slice(&json))
}

fn is_truthy(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(bool) => *bool,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(string) => !string.is_empty(),
        Value::Array(_) | Value::Object(_) => true,
    }
}
