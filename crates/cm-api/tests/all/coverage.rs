//! Every operation of the document refuses whom it must, whatever else is sent. A route cannot be forgotten here:
//! the document is made of the routes.

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use serde_json::Value;

use crate::support::Node;

/// Operations without a permission of their own. The list may only shrink.
const ASKS_NO_PERMISSION: &[&str] = &[
    "add_passkey",
    "begin_passkey",
    "begin_passkey_login",
    "confirm_second_factor",
    "enrol_second_factor",
    "exchange_token",
    "finish_passkey_login",
    "get_second_factor",
    "issue_token",
    "list_passkeys",
    "login",
    "logout",
    "refresh_session",
    "remove_passkey",
    "remove_second_factor",
    "rename_passkey",
    "revoke_credential",
    "whoami",
];
/// Operations that need no credential, for theirs is in the body. The list may only shrink.
const ASKS_NO_CREDENTIAL: &[&str] = &[
    "begin_passkey_login",
    "exchange_token",
    "finish_passkey_login",
    "login",
    "refresh_session",
    "revoke_credential",
];
/// Operations of clients on nodes in open mode only: elsewhere the platform alone writes history. The list may only
/// shrink.
const OF_THE_PLATFORM: &[&str] =
    &["create_endpoint_state", "create_function_result", "create_function_state"];
/// Bodies that no handler may look at before it knows who asks.
const BODIES: &[&str] = &["", "{", "{}", "\u{fffd}garbage", "null"];

/// One operation of the document, with its path's parameters filled in.
struct Operation {
    id: String,
    method: Method,
    path: String,
    permission: String,
    is_public: bool,
}

fn document() -> Value {
    serde_json::from_str(&cm_api::openapi_text()).unwrap()
}

fn operations() -> Vec<Operation> {
    let document = document();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().unwrap() {
        for (method, operation) in item.as_object().unwrap() {
            let Ok(method) = method.to_uppercase().parse::<Method>() else { panic!("{path}: {method}") };
            operations.push(Operation {
                id: operation["operationId"].as_str().unwrap().to_owned(),
                method,
                path: fill(path),
                permission: operation["x-permission"].as_str().unwrap_or_default().to_owned(),
                is_public: operation["security"].as_array().is_some_and(|security| {
                    security.iter().all(|requirement| requirement.as_object().unwrap().is_empty())
                }),
            });
        }
    }
    assert!(operations.len() > 50, "only {} operations: the document is not complete", operations.len());
    operations
}

/// The path with `x` for every parameter: a valid id of everything but versions.
fn fill(path: &str) -> String {
    let segments = path.split('/').map(|segment| if segment.starts_with('{') { "x" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

/// Refusals of `HEAD` have no body to show a code in.
fn check_code(method: &Method, answer: &crate::support::Answer, code: &str, what: &str) {
    if method == Method::HEAD {
        assert!(answer.body.is_empty(), "{what}");
    } else {
        assert_eq!(answer.code(), code, "{what}");
    }
}

#[tokio::test]
async fn without_a_valid_credential_every_operation_answers_401() {
    let node = Node::start().await;
    for operation in operations() {
        let is_exception = ASKS_NO_CREDENTIAL.contains(&operation.id.as_str());
        assert_eq!(operation.is_public, is_exception, "{}", operation.id);
        for token in [None, Some("garbage"), Some("cmk_x_y"), Some("a.b.c")] {
            if token.is_none() && is_exception {
                continue;
            }
            for body in BODIES {
                let answer = node.ask(operation.method.clone(), &operation.path, token, *body).await;
                let what = format!("{} with {token:?} and {body:?}", operation.id);
                assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{what}");
                let challenge = match token {
                    Some(_) => r#"Bearer error="invalid_token""#,
                    None => "Bearer",
                };
                assert_eq!(answer.header("www-authenticate"), challenge, "{what}");
                check_code(&operation.method, &answer, "unauthenticated", &what);
            }
        }
    }
}

#[tokio::test]
async fn with_a_role_that_permits_nothing_every_operation_answers_403() {
    let node = Node::start().await;
    let nobody = node.somebody("nobody", &[]).await;
    for operation in operations() {
        let is_exception = ASKS_NO_PERMISSION.contains(&operation.id.as_str());
        assert_eq!(operation.permission == "self", is_exception, "{}", operation.id);
        if is_exception {
            continue;
        }
        assert!(operation.permission.contains(':'), "{} names no permission", operation.id);
        for body in BODIES {
            let answer = node.ask(operation.method.clone(), &operation.path, Some(&nobody), *body).await;
            let what = format!("{} with {body:?}", operation.id);
            assert_eq!(answer.status, StatusCode::FORBIDDEN, "{what}: {answer:?}");
            check_code(&operation.method, &answer, "forbidden", &what);
        }
    }
}

#[tokio::test]
async fn the_permission_that_an_operation_names_is_the_one_that_it_asks_for() {
    let node = Node::start().await;
    for operation in operations().iter().filter(|operation| operation.permission != "self") {
        let name = format!("has-{}", operation.id);
        let permissions: Vec<_> = operation.permission.split(' ').collect();
        let somebody = node.somebody(&name, &permissions).await;
        // The body of an answer that is none of a refusal may be a stream without an end.
        let request = Request::builder()
            .method(operation.method.clone())
            .uri(&operation.path)
            .header("authorization", format!("Bearer {somebody}"));
        let status = node.send(request.body(Body::from("{")).unwrap()).await.status();
        let is_refused = OF_THE_PLATFORM.contains(&operation.id.as_str());
        assert_eq!(status == StatusCode::FORBIDDEN, is_refused, "{}", operation.id);
        assert_ne!(status, StatusCode::UNAUTHORIZED, "{}", operation.id);
    }
}

#[tokio::test]
async fn the_router_serves_exactly_what_is_documented() {
    let node = Node::start().await;
    let operations = operations();
    let methods = [Method::GET, Method::PUT, Method::POST, Method::DELETE, Method::PATCH, Method::OPTIONS];
    for operation in &operations {
        let answer = node.ask(operation.method.clone(), &operation.path, None, "").await;
        assert_ne!(answer.status, StatusCode::NOT_FOUND, "{}", operation.id);
        assert_ne!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{}", operation.id);
        for method in &methods {
            let is_documented =
                operations.iter().any(|other| other.path == operation.path && other.method == *method);
            if !is_documented {
                let answer = node.ask(method.clone(), &operation.path, Some(&node.admin), "").await;
                assert_eq!(answer.status, StatusCode::METHOD_NOT_ALLOWED, "{method} {}", operation.path);
                assert_eq!(answer.code(), "method-not-allowed");
                assert!(answer.headers.contains_key("allow"));
                let unknown = node.ask(method.clone(), &operation.path, None, "").await;
                assert_eq!(unknown.status, StatusCode::UNAUTHORIZED, "{method} {}", operation.path);
            }
        }
    }
}

#[tokio::test]
async fn an_unknown_path_is_nobodys_business_who_is_unknown() {
    let node = Node::start().await;
    for path in ["/api/v1/nothing", "/api/v1", "/api/v1/", "/api/v1/functions/x/nothing"] {
        for method in [Method::GET, Method::POST, Method::DELETE] {
            let answer = node.ask(method.clone(), path, None, "").await;
            assert_eq!(answer.status, StatusCode::UNAUTHORIZED, "{method} {path}");
            let known = node.ask(method.clone(), path, Some(&node.admin), Body::empty()).await;
            assert_eq!(known.status, StatusCode::NOT_FOUND, "{method} {path}");
            assert_eq!(known.code(), "not-found");
        }
    }
    assert_eq!(node.ask(Method::GET, "/nothing", None, "").await.expect(404).code(), "not-found");
}
