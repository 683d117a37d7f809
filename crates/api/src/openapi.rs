//! The OpenAPI 3.1 document, made from the endpoint table.

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::{EndpointRow, IDEMPOTENCY_KEY, NDJSON, PROBLEM_JSON, Permission, Problem, endpoints};

/// The whole API as an OpenAPI 3.1 document.
pub fn openapi() -> Value {
    let mut settings = SchemaSettings::draft2020_12();
    settings.definitions_path = "/components/schemas".into();
    settings.meta_schema = None;
    let mut generator = settings.into_generator();
    let problem = generator.subschema_for::<Problem>();
    let mut paths: Map<String, Value> = Map::new();
    for row in endpoints() {
        let request = (row.request)(&mut generator).to_value();
        let response = (row.response)(&mut generator).to_value();
        let operation = operation(&row, request, response, &problem.clone().to_value());
        let path = paths.entry(row.path.to_owned()).or_insert_with(|| json!({}));
        path[row.method.name().to_lowercase()] = operation;
    }
    let schemas: Map<String, Value> = generator.take_definitions(true).into_iter().collect();
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "DWCP",
            "version": env!("CARGO_PKG_VERSION"),
            "description": "Federation of regions of VMs. A value that is not known is null, never 0.",
            "license": { "name": "Apache-2.0", "identifier": "Apache-2.0" },
        },
        "servers": [{ "url": "/" }],
        "paths": paths,
        "components": {
            "schemas": schemas,
            "securitySchemes": { "token": { "type": "http", "scheme": "bearer" } },
        },
    })
}

fn operation(row: &EndpointRow, mut request: Value, response: Value, problem: &Value) -> Value {
    let named: Vec<&str> = row
        .path
        .split('/')
        .filter_map(|part| part.strip_prefix('{').and_then(|p| p.strip_suffix('}')))
        .collect();
    let parameters = parameters(row, &named, &mut request);
    let mut content = json!({ "application/json": { "schema": response } });
    if row.watch {
        content[NDJSON] = json!({ "schema": response });
    }
    let mut operation = json!({
        "operationId": row.name,
        "summary": row.summary,
        "parameters": parameters,
        "responses": {
            "200": { "description": "Done.", "content": content },
            "default": {
                "description": "What failed, why, and what to do next.",
                "content": { PROBLEM_JSON: { "schema": problem } },
            },
        },
        "x-dwcp-needs": format!("{:?}", row.needs).to_lowercase(),
    });
    if row.needs != Permission::Public {
        operation["security"] = json!([{ "token": [] }]);
    }
    if row.method.has_body() {
        operation["requestBody"] = json!({ "content": { "application/json": { "schema": request } } });
    }
    operation
}

/// Takes the fields that do not travel in the body out of the request's schema and returns them as parameters.
fn parameters(row: &EndpointRow, named: &[&str], request: &mut Value) -> Vec<Value> {
    let required: Vec<String> = request["required"]
        .as_array()
        .map(|list| list.iter().filter_map(|v| v.as_str().map(str::to_owned)).collect())
        .unwrap_or_default();
    let mut parameters = Vec::new();
    if let Some(fields) = request.get_mut("properties").and_then(Value::as_object_mut) {
        let names: Vec<String> = fields.keys().cloned().collect();
        for name in names {
            let in_path = named.contains(&name.as_str());
            if !in_path && row.method.has_body() {
                continue;
            }
            let Some(schema) = fields.remove(&name) else { continue };
            parameters.push(json!({
                "name": name,
                "in": if in_path { "path" } else { "query" },
                "required": in_path || required.contains(&name),
                "style": if in_path { "simple" } else { "form" },
                "explode": false,
                "schema": schema,
            }));
        }
    }
    if let Some(list) = request.get_mut("required").and_then(Value::as_array_mut) {
        list.retain(|name| !named.iter().any(|n| name.as_str() == Some(n)));
    }
    if row.method.writes() {
        parameters.push(json!({
            "name": IDEMPOTENCY_KEY,
            "in": "header",
            "required": false,
            "description": "The same key is carried out once.",
            "schema": { "type": "string" },
        }));
    }
    parameters
}
