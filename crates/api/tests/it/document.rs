use std::collections::BTreeSet;

use dwcp_api::{endpoints, openapi};
use serde_json::Value;

fn references(value: &Value, found: &mut BTreeSet<String>) {
    match value {
        Value::Object(map) => {
            if let Some(Value::String(target)) = map.get("$ref") {
                found.insert(target.clone());
            }
            map.values().for_each(|v| references(v, found));
        }
        Value::Array(list) => list.iter().for_each(|v| references(v, found)),
        _ => {}
    }
}

#[test]
fn every_reference_of_the_document_leads_somewhere() {
    let document = openapi();
    let mut found = BTreeSet::new();
    references(&document, &mut found);
    assert!(found.len() > 40, "{found:?}");
    for target in found {
        let pointer = target.strip_prefix('#').unwrap();
        assert!(document.pointer(pointer).is_some(), "{target} leads nowhere");
    }
}

#[test]
fn every_endpoint_is_in_the_document_with_its_path_parameters() {
    let document = openapi();
    for row in endpoints() {
        let operation = &document["paths"][row.path][row.method.name().to_lowercase()];
        assert_eq!(operation["operationId"], row.name);
        let named: BTreeSet<&str> = row.path.split(['{', '}']).skip(1).step_by(2).collect();
        let listed: BTreeSet<&str> = operation["parameters"]
            .as_array()
            .unwrap()
            .iter()
            .filter(|p| p["in"] == "path")
            .filter_map(|p| p["name"].as_str())
            .collect();
        assert_eq!(named, listed, "{}", row.name);
    }
}

#[test]
fn no_two_endpoints_share_a_name_or_a_place() {
    let rows = endpoints();
    let names: BTreeSet<_> = rows.iter().map(|r| r.name).collect();
    let places: BTreeSet<_> = rows.iter().map(|r| (r.method, r.path)).collect();
    assert_eq!((names.len(), places.len()), (rows.len(), rows.len()));
}

#[test]
fn units_stand_last_in_every_field_name() {
    let mut wrong = Vec::new();
    for (name, schema) in openapi()["components"]["schemas"].as_object().unwrap() {
        for field in schema["properties"].as_object().into_iter().flat_map(|m| m.keys()) {
            if field.starts_with("ms_") || field.starts_with("mib_") || field.ends_with("_seconds") {
                wrong.push(format!("{name}.{field}"));
            }
        }
    }
    assert!(wrong.is_empty(), "{wrong:?}");
}
