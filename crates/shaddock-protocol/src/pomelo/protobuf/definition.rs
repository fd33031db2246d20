//! Schemas as they are written: in files, and in handshakes.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
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
    /// Of the file.
    pub(super) line: Option<usize>,
}

/// How often a field may be there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rule {
    Required,
    Optional,
    Repeated,
}

/// What is wrong with a schema, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SchemaError {
    /// The line of the file, counted from 1.
    pub line: Option<usize>,
    /// The message: its route, and the nested types that lead to it. Empty for the whole file.
    pub message: String,
    /// The key of the field as the file has it. Empty for the whole message.
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
    #[error("a message is an object of fields, such as {{\"required string msg\": 1}}")]
    Message,
    /// A key is not `option type name` or `message Name`.
    #[error(
        "a field is `required`, `optional` or `repeated`, its type, its name, with a space between"
    )]
    Key,
    /// The tag is not a number that fits.
    #[error("a tag is a number from 0 to {MAX_TAG}")]
    Tag,
    /// Another field has this tag.
    #[error("tag {0} is taken by a field before: give it another number")]
    TakenTag(u32),
    /// Another field has this name, or the handshake needs it for itself.
    #[error("the name {0} is taken: give it another")]
    TakenName(String),
    /// Nothing tells how to write this type.
    #[error(
        "no type is called {0}: there are uInt32, sInt32, int32, float, double, string, the types \
         nested in this very message, and those at the top of the file"
    )]
    UnknownType(String),
}

impl fmt::Display for SchemaError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for place in [&self.message, &self.field] {
            if !place.is_empty() {
                write!(f, "{place}: ")?;
            }
        }
        self.fault.fmt(f)
    }
}

impl std::error::Error for SchemaError {}

impl SchemaError {
    fn on_line(self, line: usize) -> Self {
        Self { line: Some(line), ..self }
    }
}

/// The largest tag: with a wire type it fits 32 bits.
pub(super) const MAX_TAG: u32 = u32::MAX >> 3;

/// Reads a file: `"required uInt32 x": 1`. What pomelo skips goes to `ignored`.
pub(super) fn parse_file(
    text: &str,
    ignored: &mut Vec<SchemaError>,
) -> Result<Vec<Definition>, SchemaError> {
    let mut file = File { text, ignored };
    let whole = match serde_json::from_str::<&RawValue>(text) {
        Ok(whole) => whole,
        Err(cause) => {
            let fault = SchemaFault::Json(reason(&cause));
            return Err(fault_at("", "", fault).on_line(cause.line()));
        }
    };
    let mut messages = Vec::new();
    for (name, fields) in file.members("", whole)? {
        messages.push(file.message(&name, &name, fields)?);
    }
    Ok(messages)
}

/// A file that is being read.
struct File<'a> {
    text: &'a str,
    ignored: &'a mut Vec<SchemaError>,
}

impl<'a> File<'a> {
    fn message(
        &mut self,
        name: &str,
        path: &str,
        fields: &'a RawValue,
    ) -> Result<Definition, SchemaError> {
        let mut message = Definition { name: name.to_owned(), ..Definition::default() };
        for (key, value) in self.members(path, fields)? {
            let line = self.line(value);
            let fault = |fault| fault_at(path, &key, fault).on_line(line);
            let words: Vec<&str> = key.split(' ').collect();
            let (rule, kind, name) = match words[..] {
                ["message", name] => {
                    let path = format!("{path}.{name}");
                    message.nested.push(self.message(name, &path, value)?);
                    continue;
                }
                [rule, kind, name] if let Some(rule) = Rule::parse(rule) => (rule, kind, name),
                _ => {
                    self.ignored.push(fault(SchemaFault::Key));
                    continue;
                }
            };
            let tag = serde_json::from_str(value.get()).ok().as_ref().and_then(parse_tag);
            let tag = tag.ok_or_else(|| fault(SchemaFault::Tag))?;
            if message.fields.iter().any(|field| field.tag == tag) {
                // The original drops all such fields but those with tag 0, which it mixes up.
                if tag == 0 {
                    return Err(fault(SchemaFault::TakenTag(tag)));
                }
                self.ignored.push(fault(SchemaFault::TakenTag(tag)));
                continue;
            }
            let (name, kind) = (name.to_owned(), kind.to_owned());
            let field = Field { name, rule, kind, tag, line: Some(line) };
            message.push(path, &key, field)?;
        }
        Ok(message)
    }

    /// The members of an object, in order; of those with one name the last, as JavaScript has it.
    fn members(
        &self,
        path: &str,
        object: &'a RawValue,
    ) -> Result<Vec<(String, &'a RawValue)>, SchemaError> {
        match serde_json::from_str(object.get()) {
            Ok(Members(members)) => Ok(members),
            Err(_) => Err(fault_at(path, "", SchemaFault::Message).on_line(self.line(object))),
        }
    }

    /// The line on which `part` of the text begins, counted from 1.
    fn line(&self, part: &RawValue) -> usize {
        let start = part.get().as_ptr().addr().wrapping_sub(self.text.as_ptr().addr());
        let before = self.text.get(..start).unwrap_or_default();
        1 + before.matches('\n').count()
    }
}

/// The members of an object, where they are.
struct Members<'a>(Vec<(String, &'a RawValue)>);

impl<'de> Deserialize<'de> for Members<'de> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Object;

        impl<'de> Visitor<'de> for Object {
            type Value = Members<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Members<'de>, A::Error> {
                let mut members: Vec<(String, &RawValue)> = Vec::new();
                while let Some((name, value)) = map.next_entry::<String, &RawValue>()? {
                    match members.iter_mut().find(|(other, _)| *other == name) {
                        Some((_, other)) => *other = value,
                        None => members.push((name, value)),
                    }
                }
                Ok(Members(members))
            }
        }

        deserializer.deserialize_map(Object)
    }
}

/// What serde_json says, without the place, which we say ourselves.
fn reason(error: &serde_json::Error) -> String {
    let text = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    text.strip_suffix(&place).unwrap_or(&text).to_owned()
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
                    let field =
                        Field { name: key.clone(), rule, kind: kind.to_owned(), tag, line: None };
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
            let line = field.line;
            return Err(SchemaError {
                line,
                ..fault_at(path, key, SchemaFault::TakenName(field.name))
            });
        }
        self.fields.push(field);
        Ok(())
    }

    fn to_value(&self) -> Value {
        let mut members = Map::new();
        for Field { name, rule, kind, tag, line: _ } in &self.fields {
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
    SchemaError { line: None, message: message.to_owned(), field: field.to_owned(), fault }
}

fn parse_tag(value: &Value) -> Option<u32> {
    value.as_u64().and_then(|tag| u32::try_from(tag).ok()).filter(|&tag| tag <= MAX_TAG)
}
