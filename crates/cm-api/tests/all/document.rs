//! The OpenAPI document.

use std::collections::BTreeSet;

use axum::http::Method;
use serde_json::Value;

use crate::support::Node;

#[test]
fn the_document_is_the_same_each_time_and_complete() {
    let text = cm_api::openapi_text();
    assert_eq!(text, cm_api::openapi_text());
    assert!(text.ends_with("}\n"));
    let document: Value = serde_json::from_str(&text).unwrap();
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."));
    let mut ids = BTreeSet::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        assert!(path.starts_with("/api/v1/"), "{path}");
        assert!(!path.contains('*'), "{path}");
        for (method, operation) in item.as_object().unwrap() {
            let what = format!("{method} {path}");
            let id = operation["operationId"].as_str().unwrap_or_else(|| panic!("{what} has no id"));
            assert!(ids.insert(id.to_owned()), "{what} shares its id");
            assert_eq!(operation["tags"].as_array().map(Vec::len), Some(1), "{what}");
            assert!(operation["summary"].is_string(), "{what}");
            for response in ["401", "403", "default"] {
                let content = &operation["responses"][response]["content"]["application/json"];
                assert_eq!(content["schema"]["$ref"], "#/components/schemas/ErrorBody", "{what} {response}");
            }
            check_parameters(path, operation, &what);
        }
    }
    check_references(&document, &document);
}

/// Every parameter of the path is described, and no other.
fn check_parameters(path: &str, operation: &Value, what: &str) {
    let in_path: BTreeSet<_> =
        path.split('/').filter_map(|segment| segment.strip_prefix('{')?.strip_suffix('}')).collect();
    let parameters = operation["parameters"].as_array().map(Vec::as_slice).unwrap_or_default();
    let described: BTreeSet<_> = parameters
        .iter()
        .filter(|parameter| parameter["in"] == "path")
        .map(|parameter| parameter["name"].as_str().unwrap())
        .collect();
    assert_eq!(in_path, described, "{what}");
}

/// Every reference leads somewhere.
fn check_references(document: &Value, part: &Value) {
    match part {
        Value::Object(fields) => {
            for (name, value) in fields {
                if let ("$ref", Some(target)) = (name.as_str(), value.as_str()) {
                    let pointer = target.strip_prefix('#').unwrap();
                    assert!(document.pointer(pointer).is_some(), "{target} leads nowhere");
                }
                check_references(document, value);
            }
        }
        Value::Array(items) => items.iter().for_each(|item| check_references(document, item)),
        _ => {}
    }
}

#[tokio::test]
async fn the_document_is_served_as_it_is_generated() {
    let node = Node::start().await;
    let served = node.ask(Method::GET, "/openapi.json", None, "").await.expect(200);
    assert_eq!(served.header("content-type"), "application/json");
    assert_eq!(String::from_utf8(served.body).unwrap(), cm_api::openapi_text());
}
