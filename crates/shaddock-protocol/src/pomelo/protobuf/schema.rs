//! Schemas as encoder and decoder use them: every type found, every name looked up once.

use rustc_hash::FxHashMap;

use super::definition::{Definition, Rule, SchemaError, SchemaFault, fault_at};

/// How bodies of one route are written as protobuf.
#[derive(Debug, Clone, Copy)]
pub struct Schema<'a> {
    pub(super) all: &'a Schemas,
    pub(super) message: &'a Message,
    pub(super) route: &'a str,
}

/// All message types of one direction.
#[derive(Debug)]
pub(super) struct Schemas {
    messages: Vec<Message>,
    routes: FxHashMap<Box<str>, usize>,
}

#[derive(Debug, Default)]
pub(super) struct Message {
    pub(super) fields: Vec<Field>,
    names: FxHashMap<Box<str>, usize>,
    tags: FxHashMap<u64, usize>,
}

#[derive(Debug)]
pub(super) struct Field {
    pub(super) name: Box<str>,
    /// `"name":`, as JSON text wants it.
    pub(super) json: String,
    pub(super) tag: u32,
    pub(super) rule: Rule,
    pub(super) kind: Kind,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    UInt,
    /// Both `sInt32` and `int32`, which differ in name only.
    SInt,
    Float,
    Double,
    String,
    /// A message type, by its number.
    Message(usize),
}

impl Schemas {
    pub(super) fn routes(&self) -> impl Iterator<Item = &str> {
        self.routes.keys().map(|route| &**route)
    }

    pub(super) fn new(definitions: &[Definition]) -> Result<Self, SchemaError> {
        let mut flat = Vec::new();
        let mut roots = FxHashMap::default();
        let mut routes = FxHashMap::default();
        for definition in definitions {
            let index = flatten(definition, definition.name.clone(), &mut flat);
            match definition.name.strip_prefix("message ") {
                Some(name) => roots.insert(name, index),
                None => routes.insert(definition.name.as_str().into(), index),
            };
        }
        let messages = flat
            .iter()
            .map(|(definition, path, nested)| {
                let mut message = Message::default();
                for field in &definition.fields {
                    let kind = match field.kind.as_str() {
                        "uInt32" => Kind::UInt,
                        "sInt32" | "int32" => Kind::SInt,
                        "float" => Kind::Float,
                        "double" => Kind::Double,
                        "string" => Kind::String,
                        // Not in outer levels: the original looks in just these two places.
                        name => match nested.get(name).or_else(|| roots.get(name)) {
                            Some(index) => Kind::Message(*index),
                            None => {
                                let fault = SchemaFault::UnknownType(name.to_owned());
                                let error = fault_at(path, &field.name, fault);
                                return Err(SchemaError { line: field.line, ..error });
                            }
                        },
                    };
                    let index = message.fields.len();
                    message.names.insert(field.name.as_str().into(), index);
                    message.tags.insert(field.tag.into(), index);
                    message.fields.push(Field {
                        name: field.name.as_str().into(),
                        json: format!("{}:", serde_json::Value::from(field.name.as_str())),
                        tag: field.tag,
                        rule: field.rule,
                        kind,
                    });
                }
                Ok(message)
            })
            .collect::<Result<_, _>>()?;
        Ok(Self { messages, routes })
    }

    pub(super) fn get(&self, route: &str) -> Option<Schema<'_>> {
        let (route, index) = self.routes.get_key_value(route)?;
        Some(Schema { all: self, message: self.messages.get(*index)?, route })
    }

    /// The message type that [`Kind::Message`] names.
    pub(super) fn message(&self, index: usize) -> &Message {
        &self.messages[index]
    }
}

impl Message {
    pub(super) fn by_name(&self, name: &str) -> Option<usize> {
        self.names.get(name).copied()
    }

    pub(super) fn by_tag(&self, tag: u64) -> Option<usize> {
        self.tags.get(&tag).copied()
    }
}

/// Which fields of a message have been met.
pub(super) struct Seen {
    /// The first 64, as messages seldom have more.
    few: u64,
    more: Vec<bool>,
}

impl Seen {
    pub(super) fn none_of(message: &Message) -> Self {
        Self { few: 0, more: vec![false; message.fields.len().saturating_sub(64)] }
    }

    pub(super) fn contains(&self, field: usize) -> bool {
        match field.checked_sub(64) {
            None => self.few >> field & 1 == 1,
            Some(index) => self.more[index],
        }
    }

    /// Whether it is met for the first time.
    pub(super) fn insert(&mut self, field: usize) -> bool {
        let new = !self.contains(field);
        match field.checked_sub(64) {
            None => self.few |= 1 << field,
            Some(index) => self.more[index] = true,
        }
        new
    }
}

type Flat<'a> = (&'a Definition, String, FxHashMap<&'a str, usize>);

/// Numbers `definition` and all that are nested in it.
fn flatten<'a>(definition: &'a Definition, path: String, flat: &mut Vec<Flat<'a>>) -> usize {
    let index = flat.len();
    flat.push((definition, path.clone(), FxHashMap::default()));
    let mut nested = FxHashMap::default();
    for inner in &definition.nested {
        let number = flatten(inner, format!("{path}.{}", inner.name), flat);
        nested.insert(inner.name.as_str(), number);
    }
    flat[index].2 = nested;
    index
}
