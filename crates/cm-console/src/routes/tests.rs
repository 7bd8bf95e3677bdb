use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::{HeaderMap, Method, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::any;
use axum::{Json, Router};
use cm_http::{RequestLimits, frame};
use cm_runtime::Tasks;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;

/// An API that logs in whoever says "right", and otherwise answers with what it was asked.
fn api(tasks: &Tasks) -> Router {
    async fn login(Json(body): Json<Value>) -> Response {
        match body["password"] == "right" {
            true => issued(),
            false => Failure::unauthenticated("the credential is not valid").into_response(),
        }
    }
    async fn passkey(Json(body): Json<Value>) -> Response {
        match body["state"] == "right" && body["credential"]["id"] == "x" {
            true => issued(),
            false => Failure::unauthenticated("the credential is not valid").into_response(),
        }
    }
    async fn tokens(headers: HeaderMap) -> Response {
        match headers.get("authorization").is_some_and(|value| value == "Bearer cmk_key") {
            true => issued(),
            false => Failure::unauthenticated("the credential is not valid").into_response(),
        }
    }
    fn issued() -> Response {
        Json(json!({ "token": "abc.def-1_2", "expires_at": "2999-01-01T00:00:00Z" })).into_response()
    }
    async fn echo(request: Request) -> Response {
        let text = |name: &str| request.headers().get(name).map(|value| value.to_str().unwrap().to_owned());
        let said = json!({
            "method": request.method().as_str(), "uri": request.uri().to_string(),
            "authorization": text("authorization"), "cookie": text("cookie"),
        });
        ([("content-security-policy", "default-src *")], Json(said)).into_response()
    }
    let routes = Router::new()
        .route("/api/v1/auth/login", post(login))
        .route("/api/v1/auth/login/passkey/finish", post(passkey))
        .route("/api/v1/auth/tokens", post(tokens))
        .route("/api/v1/auth/logout", post(|| async { StatusCode::NO_CONTENT }))
        .route("/api/v1/{*rest}", any(echo))
        .route("/health", get(|| async { "ok" }));
    frame(routes, RequestLimits::default(), cm_http::shape, tasks)
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: Value,
}

async fn ask(router: &Router, method: Method, uri: &str, headers: &[(&str, &str)], body: &str) -> Answer {
    let mut request = Request::builder().method(method).uri(uri).header("host", "localhost:5050");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let request = request.body(Body::from(body.to_owned())).unwrap();
    let response = router.clone().oneshot(request).await.unwrap();
    let (parts, body) = response.into_parts();
    let bytes = to_bytes(body, 1 << 20).await.unwrap();
    let body = serde_json::from_slice(&bytes).unwrap_or(Value::Null);
    Answer { status: parts.status, headers: parts.headers, body }
}

const OURS: (&str, &str) = ("x-cryptomesh-console", "1");
const JSON: (&str, &str) = ("content-type", "application/json");
const SESSION: (&str, &str) = ("cookie", "other=1; cryptomesh-console-5050=abc.def-1_2");

fn served() -> Router {
    let tasks = Tasks::new();
    beside(api(&tasks), RequestLimits::default(), &tasks)
}

#[tokio::test]
async fn a_login_becomes_a_cookie_that_pages_cannot_read() {
    let router = served();
    for body in [
        r#"{"principal":"ada","password":"right"}"#,
        r#"{"token":" cmk_key "}"#,
        r#"{"state":"right","credential":{"id":"x"}}"#,
    ] {
        let answer = ask(&router, Method::POST, "/console/session", &[OURS, JSON], body).await;
        assert_eq!(answer.status, StatusCode::OK, "{body}");
        assert_eq!(answer.body, json!({ "expires_at": "2999-01-01T00:00:00Z" }));
        let cookie = answer.headers["set-cookie"].to_str().unwrap();
        assert!(
            cookie.starts_with("cryptomesh-console-5050=abc.def-1_2; Path=/console; Max-Age="),
            "{cookie}"
        );
        assert!(cookie.ends_with("; HttpOnly; SameSite=Strict"), "{cookie}");
    }
    let secure = ("x-forwarded-proto", "https");
    let body = r#"{"token":"cmk_key"}"#;
    let answer = ask(&router, Method::POST, "/console/session", &[OURS, JSON, secure], body).await;
    assert!(answer.headers["set-cookie"].to_str().unwrap().ends_with("; Secure"));
}

#[tokio::test]
async fn who_is_refused_gets_the_apis_answer_and_no_cookie() {
    let router = served();
    for (headers, body, status) in [
        (&[OURS, JSON][..], r#"{"principal":"ada","password":"wrong"}"#, StatusCode::UNAUTHORIZED),
        (&[OURS, JSON], r#"{"token":"cmk_other"}"#, StatusCode::UNAUTHORIZED),
        (&[OURS, JSON], "{\"token\":\"cmk\\nkey\"}", StatusCode::UNAUTHORIZED),
        (&[OURS, JSON], r#"{"state":"wrong","credential":{"id":"x"}}"#, StatusCode::UNAUTHORIZED),
        (&[OURS, JSON], "{}", StatusCode::UNPROCESSABLE_ENTITY),
        (&[OURS], r#"{"token":"cmk_key"}"#, StatusCode::UNSUPPORTED_MEDIA_TYPE),
        // Nobody is logged in by a page of somebody else.
        (&[JSON], r#"{"token":"cmk_key"}"#, StatusCode::FORBIDDEN),
        (&[OURS, JSON, ("origin", "http://evil.example")], r#"{"token":"cmk_key"}"#, StatusCode::FORBIDDEN),
    ] {
        let answer = ask(&router, Method::POST, "/console/session", headers, body).await;
        assert_eq!(answer.status, status, "{body}");
        assert!(
            answer.body["error"]["message"].is_string() && answer.body["error"]["request_id"].is_string()
        );
        assert!(!answer.headers.contains_key("set-cookie"));
    }
}

#[tokio::test]
async fn the_api_is_asked_with_the_sessions_token_and_never_sees_a_cookie() {
    let router = served();
    let uri = "/console/api/v1/buckets/b/objects/a%2Fb?prefix=%2F";
    let answer = ask(&router, Method::GET, uri, &[SESSION, ("authorization", "Bearer other")], "").await;
    assert_eq!(answer.body["uri"], "/api/v1/buckets/b/objects/a%2Fb?prefix=%2F");
    assert_eq!(answer.body["authorization"], "Bearer abc.def-1_2");
    assert_eq!(answer.body["cookie"], Value::Null);
    // Whatever an object claims to be, it runs nowhere.
    assert!(answer.headers["content-security-policy"].to_str().unwrap().ends_with("sandbox"));
    let none = ask(&router, Method::GET, uri, &[("cookie", "cryptomesh-console-19000=abc")], "").await;
    assert_eq!(none.body["authorization"], Value::Null);
    let planted = ("cookie", "cryptomesh-console-5050=x; cryptomesh-console-5050=abc.def-1_2");
    assert_eq!(ask(&router, Method::GET, uri, &[planted], "").await.body["authorization"], Value::Null);
}

#[tokio::test]
async fn a_cookie_alone_changes_nothing_and_other_pages_read_nothing() {
    let router = served();
    let uri = "/console/api/v1/functions/f";
    for (method, headers) in [
        (Method::DELETE, &[SESSION][..]),
        (Method::POST, &[SESSION, JSON]),
        (Method::PUT, &[SESSION, OURS, ("sec-fetch-site", "same-site")]),
        (Method::GET, &[SESSION, ("sec-fetch-site", "cross-site")]),
        (Method::GET, &[SESSION, ("origin", "http://localhost:3000")]),
    ] {
        let answer = ask(&router, method.clone(), uri, headers, "").await;
        assert_eq!(answer.status, StatusCode::FORBIDDEN, "{method} {headers:?}");
        assert_eq!(answer.body["error"]["code"], "forbidden");
    }
    let answer =
        ask(&router, Method::DELETE, uri, &[SESSION, OURS, ("sec-fetch-site", "same-origin")], "").await;
    assert_eq!(answer.body["method"], "DELETE");
    // The API itself has no use for cookies.
    let direct = ask(&router, Method::DELETE, "/api/v1/functions/f", &[SESSION], "").await;
    assert_eq!(direct.body["authorization"], Value::Null);
}

#[tokio::test]
async fn pages_are_given_no_credential() {
    let router = served();
    for path in [
        "auth/login",
        "auth/login/passkey/finish",
        "auth/tokens",
        "auth/logout",
        "auth/",
        "auth/x/whoami/tokens",
        "auth/passkeysx",
    ] {
        let uri = format!("/console/api/v1/{path}");
        let answer = ask(&router, Method::POST, &uri, &[SESSION, OURS, JSON], "{}").await;
        assert_eq!(answer.status, StatusCode::NOT_FOUND, "{path}");
    }
    let me = ask(&router, Method::GET, "/console/api/v1/auth/whoami", &[SESSION], "").await;
    assert_eq!(me.body["uri"], "/api/v1/auth/whoami");
    for path in ["auth/login/passkey", "auth/passkeys", "auth/passkeys/x"] {
        let uri = format!("/console/api/v1/{path}");
        let asked = ask(&router, Method::POST, &uri, &[SESSION, OURS, JSON], "{}").await;
        assert_eq!(asked.body["uri"], format!("/api/v1/{path}"), "{path}");
        // Who logs in may have the cookie of a session that has ended.
        assert_eq!(asked.body["authorization"].is_null(), path == "auth/login/passkey", "{path}");
    }
}

#[tokio::test]
async fn an_address_has_no_steps_in_any_spelling() {
    let router = served();
    for path in [
        "buckets/b/objects/../../../principals/bob",
        "buckets/b/objects/%2e%2e/%2E./.%2e/principals/bob",
        "./roles",
        "roles/%2E",
        "auth/whoami/..",
    ] {
        let uri = format!("/console/api/v1/{path}");
        let answer = ask(&router, Method::DELETE, &uri, &[SESSION, OURS], "").await;
        assert_eq!(answer.status, StatusCode::BAD_REQUEST, "{path}");
    }
    for path in ["buckets/b/objects/...", "buckets/b/objects/.profile?prefix=../..", "roles/%252e%252e"] {
        let uri = format!("/console/api/v1/{path}");
        let answer = ask(&router, Method::GET, &uri, &[SESSION], "").await;
        assert_eq!(answer.body["uri"], format!("/api/v1/{path}"));
    }
}

#[tokio::test]
async fn a_session_ends_in_the_browser_and_at_the_node() {
    let router = served();
    let answer = ask(&router, Method::DELETE, "/console/session", &[SESSION, OURS], "").await;
    assert_eq!(answer.status, StatusCode::NO_CONTENT);
    assert!(
        answer.headers["set-cookie"]
            .to_str()
            .unwrap()
            .starts_with("cryptomesh-console-5050=; Path=/console; Max-Age=0")
    );
    assert_eq!(
        ask(&router, Method::DELETE, "/console/session", &[SESSION], "").await.status,
        StatusCode::FORBIDDEN
    );
}

#[tokio::test]
async fn the_console_is_found_and_the_api_beside_it() {
    let router = served();
    let page = ask(&router, Method::GET, "/console/", &[], "").await;
    assert_eq!(page.headers["content-security-policy"], crate::POLICY);
    assert_eq!(page.headers["x-frame-options"], "DENY");
    assert_eq!(
        ask(&router, Method::GET, "/console/assets/pages/audit.js", &[], "").await.status,
        StatusCode::OK
    );
    assert_eq!(
        ask(&router, Method::GET, "/console/assets/index.html", &[], "").await.status,
        StatusCode::NOT_FOUND
    );
    assert_eq!(ask(&router, Method::GET, "/console/nothing", &[], "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(ask(&router, Method::GET, "/console", &[], "").await.headers["location"], "console/");
    assert_eq!(ask(&router, Method::GET, "/health", &[], "").await.status, StatusCode::OK);
    let tasks = Tasks::new();
    let own = alone(api(&tasks), RequestLimits::default(), &tasks);
    assert_eq!(ask(&own, Method::GET, "/", &[], "").await.headers["location"], "console/");
    assert_eq!(ask(&own, Method::GET, "/health", &[], "").await.status, StatusCode::NOT_FOUND);
    assert_eq!(ask(&own, Method::GET, "/api/v1/roles", &[], "").await.status, StatusCode::NOT_FOUND);
    let through = ask(&own, Method::GET, "/console/api/v1/roles", &[SESSION], "").await;
    assert_eq!(through.body["uri"], "/api/v1/roles");
}
