//! YAML of a JSON value.

use dwcp_config::emit::scalar;
use serde_json::Value;

/// The value as a YAML document.
pub fn text(value: &Value) -> String {
    let mut out = String::new();
    match value {
        Value::Object(map) if !map.is_empty() => node(value, 0, &mut out),
        Value::Array(list) if !list.is_empty() => node(value, 0, &mut out),
        single => out.push_str(&format!("{}\n", leaf(single))),
    }
    out
}

fn node(value: &Value, depth: usize, out: &mut String) {
    let indent = "  ".repeat(depth);
    match value {
        Value::Object(map) => {
            for (key, inner) in map {
                out.push_str(&format!("{indent}{}:", scalar(key)));
                below(inner, depth, out);
            }
        }
        Value::Array(list) => {
            for inner in list {
                let mut item = String::new();
                match inner {
                    Value::Object(map) if !map.is_empty() => node(inner, depth + 1, &mut item),
                    Value::Array(list) if !list.is_empty() => node(inner, depth + 1, &mut item),
                    single => item = format!("{indent}  {}\n", leaf(single)),
                }
                // The first line of an item carries the dash in place of its indent.
                out.push_str(&format!("{indent}- {}", &item[indent.len() + 2..]));
            }
        }
        single => out.push_str(&format!("{indent}{}\n", leaf(single))),
    }
}

fn below(value: &Value, depth: usize, out: &mut String) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            out.push('\n');
            node(value, depth + 1, out);
        }
        Value::Array(list) if !list.is_empty() => {
            out.push('\n');
            node(value, depth + 1, out);
        }
        single => out.push_str(&format!(" {}\n", leaf(single))),
    }
}

fn leaf(value: &Value) -> String {
    match value {
        Value::String(text) => scalar(text),
        Value::Object(_) => "{}".to_owned(),
        Value::Array(_) => "[]".to_owned(),
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use dwcp_config::tree::{Value as Tree, parse};

    fn back(tree: &Tree) -> Value {
        match tree {
            Tree::Null => Value::Null,
            Tree::Bool(flag) => (*flag).into(),
            Tree::Int(number) => (*number).into(),
            Tree::Float(number) => (*number).into(),
            Tree::Text(text) => text.clone().into(),
            Tree::List(list) => list.iter().map(|node| back(&node.value)).collect(),
            Tree::Map(map) => {
                Value::Object(map.iter().map(|(key, node)| (key.name.clone(), back(&node.value))).collect())
            }
        }
    }

    #[test]
    fn yaml_reads_back_as_the_same_value() {
        let value = serde_json::json!({
            "a": [1, -2, 1.5, null, true, "yes", "12", "", "two words", "colon: in", "- dash", "line\nbreak", "ünï"],
            "b": {"c": [], "d": {}, "e": [[1, 2], [{"x": 1, "y": [3]}]]},
            "null": "~", "f": "2026-11-23T10:00:00Z",
        });
        let text = text(&value);
        assert_eq!(back(&parse(&text).unwrap().value), value, "{text}");
    }
}
