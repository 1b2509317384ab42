//! The document of the interface (OpenAPI 3.1), made from the same list as the router.

use std::collections::BTreeSet;

use arbiter_wire::codes;
use arbiter_wire::http::Problem;
use schemars::SchemaGenerator;
use schemars::generate::SchemaSettings;
use serde_json::{Map, Value, json};

use crate::groups;
use crate::outer;
use crate::repeats;
use crate::routes::{Answer, Operation};
use crate::settings::ApiSettings;

/// Codes that every operation may answer with.
const EVERYWHERE: &[&str] = &["internal", "unavailable"];
/// Codes of every operation that needs a credential.
const WITH_CREDENTIAL: &[&str] = &["auth_failed", "forbidden", "rate_limited", "disabled"];
/// Codes of every operation that takes a body.
const WITH_BODY: &[&str] = &[
    "invalid_request",
    "invalid_value",
    "payload_timeout",
    "too_large",
    "unsupported_field",
    "unsupported_media_type",
];
/// Codes of every operation that takes a query.
const WITH_QUERY: &[&str] = &["invalid_value", "unsupported_field"];

/// The document of an interface with these limits.
pub fn document(settings: &ApiSettings) -> Value {
    let mut generator = SchemaSettings::draft2020_12()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .into_generator();
    let problem = generator.subschema_for::<Problem>().to_value();
    let mut paths: Map<String, Value> = Map::new();
    for operation in &groups::all().operations {
        let entry = paths
            .entry(operation.path.to_owned())
            .or_insert_with(|| Value::Object(Map::new()));
        if let Value::Object(methods) = entry {
            let method = operation.method.as_str().to_ascii_lowercase();
            methods.insert(method, described(operation, settings, &mut generator, &problem));
        }
    }
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "Arbiter",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "The control plane for fleets of AI agents",
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "paths": paths,
        "components": {
            "schemas": generator.take_definitions(true),
            "securitySchemes": {"key": {"type": "http", "scheme": "bearer"}},
            "headers": headers(),
        },
        "security": [{"key": []}],
    })
}

/// The part of the document that tells of one group of operations (the first word of their ids), with the forms that
/// they use and no others; none where there is no such group.
pub fn group_document(settings: &ApiSettings, group: &str) -> Option<Value> {
    let mut document = document(settings);
    let paths = document["paths"].as_object_mut()?;
    for methods in paths.values_mut() {
        let methods = methods.as_object_mut()?;
        methods.retain(|_, operation| operation["tags"][0] == group);
    }
    paths.retain(|_, methods| methods.as_object().is_some_and(|methods| !methods.is_empty()));
    if paths.is_empty() {
        return None;
    }
    let schemas = document["components"]["schemas"].take();
    let mut used = BTreeSet::new();
    let mut next = references(&document["paths"]);
    while let Some(name) = next.pop() {
        if used.insert(name.clone()) {
            next.extend(references(&schemas[&name]));
        }
    }
    document["components"]["schemas"] = used
        .into_iter()
        .map(|name| {
            let schema = schemas[&name].clone();
            (name, schema)
        })
        .collect::<Map<_, _>>()
        .into();
    document["info"]["title"] = json!(format!("Arbiter: {group}"));
    Some(document)
}

/// The names of the schemas that a part of a document refers to.
fn references(part: &Value) -> Vec<String> {
    match part {
        Value::Object(members) => {
            let own = members.get("$ref").and_then(Value::as_str);
            let own = own.and_then(|to| to.strip_prefix("#/components/schemas/"));
            let inner = members.values().flat_map(references);
            inner.chain(own.map(str::to_owned)).collect()
        }
        Value::Array(items) => items.iter().flat_map(references).collect(),
        _ => Vec::new(),
    }
}

/// Headers of answers.
fn headers() -> Value {
    let text = |description: &str| json!({"description": description, "schema": {"type": "string"}});
    json!({
        "Retry-After": text("After how many seconds the call may be sent again"),
        "RateLimit": text("What is left in each bucket of the caller (draft-ietf-httpapi-ratelimit-headers)"),
        "RateLimit-Policy": text("The buckets of the caller: quota and window in seconds"),
        "X-Request-Id": text("Names the call, in the server's log too"),
        "Traceparent": text("The caller's trace (W3C Trace Context), when it gave one"),
    })
}

/// The headers of an answer, by what they are called in the document.
fn headers_of(operation: &Operation, status: u16) -> Value {
    let mut names = vec!["X-Request-Id", "Traceparent"];
    if !operation.public {
        names.extend(["RateLimit", "RateLimit-Policy"]);
    }
    if matches!(status, 429 | 503) {
        names.push("Retry-After");
    }
    names
        .into_iter()
        .map(|name| {
            (
                name.to_owned(),
                json!({"$ref": format!("#/components/headers/{name}")}),
            )
        })
        .collect::<Map<_, _>>()
        .into()
}

fn described(
    operation: &Operation,
    settings: &ApiSettings,
    generator: &mut SchemaGenerator,
    problem: &Value,
) -> Value {
    let mut parameters = path_parameters(operation.path);
    parameters.extend(operation.headers.iter().map(|name| {
        json!({"name": name, "in": "header", "required": false, "schema": {"type": "string", "maxLength": outer::HEADER_CHARS}})
    }));
    if let Some(query) = operation.query {
        parameters.extend(query_parameters(&query(generator).to_value()));
    }
    let mut responses: Map<String, Value> = Map::new();
    for answer in &operation.answers {
        let mut told = success(answer, generator);
        let mut headers = headers_of(operation, answer.status);
        if let (Some(all), Some(own)) = (headers.as_object_mut(), told["headers"].as_object()) {
            all.extend(own.clone());
        }
        told["headers"] = headers;
        responses.insert(answer.status.to_string(), told);
    }
    for (status, codes) in refusals(operation) {
        let told = json!({
            "description": codes.join(", "),
            "headers": headers_of(operation, status),
            "content": {(Problem::MEDIA_TYPE): {"schema": problem}},
        });
        responses.entry(status.to_string()).or_insert(told);
    }
    let group = operation.id.split('.').next().unwrap_or(operation.id);
    let mut described = json!({
        "operationId": operation.id,
        "summary": operation.summary,
        "tags": [group],
        "parameters": parameters,
        "responses": responses,
    });
    if let Some((media, schema)) = operation.body {
        let schema = schema.map_or_else(|| json!({}), |make| make(generator).to_value());
        let limit = match operation.limit {
            _ if schema == json!({}) => settings.artifact_bytes,
            limit => limit.bytes(settings) as u64,
        };
        described["requestBody"] = json!({
            "required": true,
            "description": format!("At most {limit} bytes"),
            "content": {media: {"schema": schema}},
        });
    }
    if operation.public {
        described["security"] = json!([]);
    }
    described
}

fn success(answer: &Answer, generator: &mut SchemaGenerator) -> Value {
    let mut told = json!({"description": answer.what});
    if answer.status != 204 {
        let schema = answer
            .schema
            .map_or_else(|| json!({"type": "string"}), |make| make(generator).to_value());
        told["content"] = json!({answer.media: {"schema": schema}});
    }
    if answer.etag {
        told["headers"] = json!({"ETag": {
            "description": "The version; send it as `If-Match` to act on this version only",
            "schema": {"type": "string"},
        }});
    }
    told
}

/// The statuses of the refusals of an operation, each with its codes.
fn refusals(operation: &Operation) -> Vec<(u16, Vec<&'static str>)> {
    let mut words: Vec<&'static str> = [EVERYWHERE, operation.errors].concat();
    if !operation.public {
        words.extend(WITH_CREDENTIAL);
    }
    if operation.body.is_some() {
        words.extend(WITH_BODY);
    }
    if operation.query.is_some() {
        words.extend(WITH_QUERY);
    }
    if !operation.headers.is_empty() {
        words.push("invalid_request");
    }
    if operation.headers.contains(&repeats::HEADER) {
        words.extend(["idempotency_conflict", "invalid_value"]);
    }
    if operation.path.contains('{') {
        words.push("not_found");
    }
    words.sort_unstable();
    words.dedup();
    let mut found: Vec<(u16, Vec<&'static str>)> = Vec::new();
    for word in words {
        let status = codes::meaning(word).status;
        match found.iter_mut().find(|(known, _)| *known == status) {
            Some((_, codes)) => codes.push(word),
            None => found.push((status, vec![word])),
        }
    }
    found
}

fn path_parameters(path: &str) -> Vec<Value> {
    path.split('/')
        .filter_map(|part| part.strip_prefix('{')?.strip_suffix('}'))
        .map(|name| {
            json!({"name": name, "in": "path", "required": true, "schema": {"type": "string", "minLength": 1, "maxLength": outer::SEGMENT_CHARS}})
        })
        .collect()
}

/// The properties of a query's schema as parameters.
fn query_parameters(schema: &Value) -> Vec<Value> {
    let required: Vec<&str> = schema["required"]
        .as_array()
        .into_iter()
        .flatten()
        .filter_map(Value::as_str)
        .collect();
    let Some(properties) = schema["properties"].as_object() else {
        return Vec::new();
    };
    properties
        .iter()
        .map(|(name, schema)| {
            let mut schema = schema.clone();
            // A parameter that may be left out is absent, never null.
            if let Some(Value::Array(kinds)) = schema.get_mut("type") {
                kinds.retain(|kind| kind != "null");
                if let [only] = kinds.as_slice() {
                    let only = only.clone();
                    schema["type"] = only;
                }
            }
            let description = schema["description"].as_str().unwrap_or_default().to_owned();
            json!({
                "name": name,
                "in": "query",
                "required": required.contains(&name.as_str()),
                "description": description,
                "schema": schema,
            })
        })
        .collect()
}
