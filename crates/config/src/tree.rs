//! YAML as nodes that know where they stand.

use serde::de::{Deserialize, DeserializeOwned, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::Spanned;

use crate::{Complaint, Complaints};

/// A value of the document.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    Null,
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// Keys in the order of the file.
    Map(Vec<(Key, Node)>),
}

/// A key and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Key {
    pub name: String,
    pub line: u64,
    pub column: u64,
}

/// A value and where it stands.
#[derive(Clone, Debug, PartialEq)]
pub struct Node {
    pub value: Value,
    /// From 1.
    pub line: u64,
    /// From 1.
    pub column: u64,
}

/// Largest file that is read, in bytes.
pub const LARGEST_FILE_BYTES: usize = 1024 * 1024;

/// Reads one YAML document. An empty file is an empty map.
pub fn parse(text: &str) -> Result<Node, Complaints> {
    check_size(text)?;
    if text.lines().all(|line| line.trim().is_empty() || line.trim_start().starts_with('#')) {
        return Ok(Node { value: Value::Map(vec![]), line: 1, column: 1 });
    }
    from_yaml::<Spanned<Value>>(text).map(Node::from)
}

/// Reads a type that describes itself, such as a request of the API; stops at the first complaint.
///
/// # Errors
/// The file is too large, is not YAML (JSON is), or is something else than `T`: where, and why.
pub fn read_as<T: DeserializeOwned>(text: &str) -> Result<T, Complaints> {
    check_size(text)?;
    from_yaml(text)
}

fn complaint(line: u64, column: u64, message: String) -> Complaints {
    Complaints(vec![Complaint { line, column, path: String::new(), message }])
}

fn check_size(text: &str) -> Result<(), Complaints> {
    if text.len() <= LARGEST_FILE_BYTES {
        return Ok(());
    }
    let message = format!("the file has {} bytes; at most {LARGEST_FILE_BYTES} are read", text.len());
    Err(complaint(1, 1, message))
}

fn from_yaml<T: DeserializeOwned>(text: &str) -> Result<T, Complaints> {
    let mut options = serde_saphyr::Options::default();
    options.with_snippet = false;
    serde_saphyr::from_str_with_options(text, options).map_err(|error| {
        let (line, column) = error.location().map_or((1, 1), |at| (at.line(), at.column()));
        let message = error.to_string();
        let message = message.lines().next().unwrap_or("not YAML");
        complaint(line, column, message.split(" at line ").next().unwrap_or(message).to_owned())
    })
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Node {
        Node { line: spanned.referenced.line(), column: spanned.referenced.column(), value: spanned.value }
    }
}

impl Value {
    /// What it is, for a message: `a list`.
    pub fn kind(&self) -> &'static str {
        match self {
            Value::Null => "nothing",
            Value::Bool(_) => "true or false",
            Value::Int(_) => "a whole number",
            Value::Float(_) => "a number",
            Value::Text(_) => "text",
            Value::List(_) => "a list",
            Value::Map(_) => "a mapping",
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(Any)
    }
}

struct Any;

impl<'de> Visitor<'de> for Any {
    type Value = Value;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("any YAML value")
    }
    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }
    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Int(value))
    }
    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Int))
    }
    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }
    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }
    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }
    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }
    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Value, A::Error> {
        let mut nodes = Vec::new();
        while let Some(item) = list.next_element::<Spanned<Value>>()? {
            nodes.push(Node::from(item));
        }
        Ok(Value::List(nodes))
    }
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some((key, value)) = map.next_entry::<Spanned<String>, Spanned<Value>>()? {
            let key = Key { line: key.referenced.line(), column: key.referenced.column(), name: key.value };
            entries.push((key, Node::from(value)));
        }
        Ok(Value::Map(entries))
    }
}
