//! Schemas as they are written: in files, and in handshakes.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};

/// One message type.
#[derive(Debug, Default)]
pub(super) struct Definition {
    pub(super) name: String,
    pub(super) fields: Vec<Field>,
    pub(super) nested: Vec<Definition>,
}

/// One field of a message type.
#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: String,
    pub(super) rule: Rule,
    pub(super) kind: String,
    pub(super) tag: u32,
}

/// How often a field may be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Required,
    Optional,
    Repeated,
}

/// What is wrong with a schema, and where.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}: {field}: {fault}")]
pub struct SchemaError {
    /// The message: its route, and the nested types that lead to it.
    pub message: String,
    /// The key of the field as the file has it.
    pub field: String,
    /// What is wrong.
    pub fault: SchemaFault,
}

/// What is wrong with a schema.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum SchemaFault {
    /// The file is not JSON.
    #[error("not JSON: {0}")]
    Json(String),
    /// A message is not a JSON object.
    #[error("a message is an object of fields")]
    Message,
    /// A key is not `option type name` or `message Name`.
    #[error("a field is `required`, `optional` or `repeated`, its type, its name")]
    Key,
    /// The tag is not a number that fits.
    #[error("a tag is a number from 0 to {MAX_TAG}")]
    Tag,
    /// Another field has this tag.
    #[error("tag {0} is taken by a field before")]
    TakenTag(u32),
    /// Another field has this name, or the handshake needs it for itself.
    #[error("the name {0} is taken")]
    TakenName(String),
    /// Nothing tells how to write this type.
    #[error(
        "no type is called {0}: there are uInt32, sInt32, int32, float, double, string, the types \
         nested in this very message, and those at the top of the file"
    )]
    UnknownType(String),
}

/// The largest tag: with a wire type it fits 32 bits.
pub(super) const MAX_TAG: u32 = u32::MAX >> 3;

/// Reads a file: `"required uInt32 x": 1`. What pomelo skips goes to `ignored`.
pub(super) fn parse_file(
    text: &str,
    ignored: &mut Vec<SchemaError>,
) -> Result<Vec<Definition>, SchemaError> {
    let error = |fault| fault_at("the file", "", fault);
    match serde_json::from_str(text) {
        Ok(Value::Object(messages)) => messages
            .iter()
            .map(|(name, fields)| parse_message(name, name, fields, ignored))
            .collect(),
        Ok(_) => Err(error(SchemaFault::Message)),
        Err(cause) => Err(error(SchemaFault::Json(cause.to_string()))),
    }
}

fn parse_message(
    name: &str,
    path: &str,
    fields: &Value,
    ignored: &mut Vec<SchemaError>,
) -> Result<Definition, SchemaError> {
    let Value::Object(fields) = fields else {
        return Err(fault_at(path, "", SchemaFault::Message));
    };
    let mut message = Definition { name: name.to_owned(), ..Definition::default() };
    for (key, value) in fields {
        let words: Vec<&str> = key.split(' ').collect();
        let (rule, kind, name) = match words[..] {
            ["message", name] => {
                let path = format!("{path}.{name}");
                message.nested.push(parse_message(name, &path, value, ignored)?);
                continue;
            }
            [rule, kind, name] if let Some(rule) = Rule::parse(rule) => (rule, kind, name),
            _ => {
                ignored.push(fault_at(path, key, SchemaFault::Key));
                continue;
            }
        };
        let Some(tag) = parse_tag(value) else {
            return Err(fault_at(path, key, SchemaFault::Tag));
        };
        if message.fields.iter().any(|field| field.tag == tag) {
            let fault = fault_at(path, key, SchemaFault::TakenTag(tag));
            // The original drops all such fields but those with tag 0, which it mixes up.
            if tag == 0 {
                return Err(fault);
            }
            ignored.push(fault);
            continue;
        }
        message.push(
            path,
            key,
            Field { name: name.to_owned(), rule, kind: kind.to_owned(), tag },
        )?;
    }
    Ok(message)
}

/// Reads what a handshake carries: `"x": {"option": "required", "type": "uInt32", "tag": 1}`.
pub(super) fn parse_handshake(messages: &Value) -> Result<Vec<Definition>, SchemaError> {
    parse_nested("the handshake", messages)
}

fn parse_nested(path: &str, messages: &Value) -> Result<Vec<Definition>, SchemaError> {
    let Value::Object(messages) = messages else {
        return Err(fault_at(path, "", SchemaFault::Message));
    };
    let parse = |(name, members): (&String, &Value)| {
        let Value::Object(members) = members else {
            return Err(fault_at(path, name, SchemaFault::Message));
        };
        let mut message = Definition { name: name.clone(), ..Definition::default() };
        for (key, member) in members {
            match key.as_str() {
                "__tags" => {}
                "__messages" => message.nested = parse_nested(name, member)?,
                _ => {
                    let text = |key| member.get(key).and_then(Value::as_str);
                    let rule = text("option").and_then(Rule::parse);
                    let (Some(rule), Some(kind)) = (rule, text("type")) else {
                        return Err(fault_at(name, key, SchemaFault::Key));
                    };
                    let Some(tag) = member.get("tag").and_then(parse_tag) else {
                        return Err(fault_at(name, key, SchemaFault::Tag));
                    };
                    if message.fields.iter().any(|field| field.tag == tag) {
                        return Err(fault_at(name, key, SchemaFault::TakenTag(tag)));
                    }
                    let field = Field { name: key.clone(), rule, kind: kind.to_owned(), tag };
                    message.push(name, key, field)?;
                }
            }
        }
        Ok(message)
    };
    messages.iter().map(parse).collect()
}

/// The JSON that a handshake carries.
pub(super) fn to_json(messages: &[Definition]) -> String {
    Value::Object(
        messages.iter().map(|message| (message.name.clone(), message.to_value())).collect(),
    )
    .to_string()
}

impl Definition {
    fn push(&mut self, path: &str, key: &str, field: Field) -> Result<(), SchemaError> {
        let taken = self.fields.iter().any(|other| other.name == field.name)
            || ["__messages", "__tags"].contains(&&*field.name);
        if taken {
            return Err(fault_at(path, key, SchemaFault::TakenName(field.name)));
        }
        self.fields.push(field);
        Ok(())
    }

    fn to_value(&self) -> Value {
        let mut members = Map::new();
        for Field { name, rule, kind, tag } in &self.fields {
            let member = json!({ "option": rule.as_str(), "type": kind, "tag": tag });
            members.insert(name.clone(), member);
        }
        let nested = self.nested.iter().map(|nested| (nested.name.clone(), nested.to_value()));
        members.insert("__messages".into(), Value::Object(nested.collect()));
        // JavaScript orders keys that are numbers.
        let tags: BTreeMap<u32, &str> =
            self.fields.iter().map(|field| (field.tag, &*field.name)).collect();
        let tags = tags.into_iter().map(|(tag, name)| (tag.to_string(), name.into()));
        members.insert("__tags".into(), Value::Object(tags.collect()));
        Value::Object(members)
    }
}

impl Rule {
    fn parse(word: &str) -> Option<Self> {
        match word {
            "required" => Some(Self::Required),
            "optional" => Some(Self::Optional),
            "repeated" => Some(Self::Repeated),
            _ => None,
        }
    }

    fn as_str(self) -> &'static str {
        match self {
            Self::Required => "required",
            Self::Optional => "optional",
            Self::Repeated => "repeated",
        }
    }
}

pub(super) fn fault_at(message: &str, field: &str, fault: SchemaFault) -> SchemaError {
    SchemaError { message: message.to_owned(), field: field.to_owned(), fault }
}

fn parse_tag(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|tag| u32::try_from(tag).ok()).filter(|&tag| tag <= MAX_TAG)
}
