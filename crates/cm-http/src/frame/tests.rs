use axum::Extension;
use axum::body::Body;
use axum::http::{Method, StatusCode};
use axum::routing::{get, post};
use serde_json::Value;
use tower::ServiceExt;

use super::*;

fn app(tasks: &Tasks) -> Router {
    let router = Router::new()
        .route("/thing/{id}", get(|| async { "here" }))
        .route("/kept", get(|| async { ([(header::ETAG, "\"1\"")], Extension(KeptAsSaid), "here") }))
        .route("/refuses", get(|| async { Failure::unauthenticated("who are you") }))
        .route("/panics", post(|| async { panic!("deliberate") as () }));
    frame(router, RequestLimits::default(), crate::shape, tasks)
}

async fn ask(method: Method, path: &str) -> Response {
    let request = Request::builder()
        .method(method)
        .uri(path)
        .header("x-request-id", "mine-1")
        .body(Body::empty())
        .unwrap();
    app(&Tasks::new()).oneshot(request).await.unwrap()
}

async fn check(method: Method, path: &str, status: StatusCode, code: &str) {
    let response = ask(method, path).await;
    assert_eq!(response.status(), status, "{path}");
    assert_eq!(response.headers()[header::CONTENT_TYPE], "application/json");
    let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let body: Value = serde_json::from_slice(&body).unwrap();
    assert_eq!(body["error"]["code"], code, "{path}");
    assert_eq!(body["error"]["request_id"], "mine-1", "{path}");
    assert!(body["error"]["details"].is_object(), "{path}");
    assert!(!body.to_string().contains("deliberate"), "a cause leaked");
}

#[tokio::test]
async fn every_failure_has_the_same_shape() {
    check(Method::GET, "/nowhere", StatusCode::NOT_FOUND, "not-found").await;
    check(Method::DELETE, "/thing/1", StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed").await;
    check(Method::GET, "/refuses", StatusCode::UNAUTHORIZED, "unauthenticated").await;
    check(Method::POST, "/panics", StatusCode::INTERNAL_SERVER_ERROR, "internal").await;
}

#[tokio::test]
async fn answers_carry_cautious_headers_and_the_request_id() {
    let response = ask(Method::GET, "/thing/1").await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(response.headers()["x-request-id"], "mine-1");
    assert_eq!(response.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(response.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    let kept = ask(Method::GET, "/kept").await;
    assert!(!kept.headers().contains_key(header::CACHE_CONTROL));
    assert_eq!(kept.headers()[header::X_CONTENT_TYPE_OPTIONS], "nosniff");
    let refused = ask(Method::GET, "/refuses").await;
    assert_eq!(refused.headers()[header::CACHE_CONTROL], "no-store");
    assert_eq!(refused.headers()[header::WWW_AUTHENTICATE], "Bearer");
    let allowed = ask(Method::DELETE, "/thing/1").await;
    assert_eq!(allowed.headers()[header::ALLOW], "GET,HEAD");
}

#[tokio::test]
async fn an_unusable_request_id_is_replaced() {
    for given in ["", "a b", "-x", &"x".repeat(65)] {
        let request =
            Request::builder().uri("/thing/1").header("x-request-id", given).body(Body::empty()).unwrap();
        let response = app(&Tasks::new()).oneshot(request).await.unwrap();
        assert_ne!(response.headers()["x-request-id"].to_str().unwrap(), given);
    }
}

#[tokio::test]
async fn head_answers_without_a_body() {
    for path in ["/thing/1", "/nowhere"] {
        let response = ask(Method::HEAD, path).await;
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        assert!(body.is_empty(), "{path}");
    }
}

#[tokio::test]
async fn a_change_is_finished_although_the_client_has_gone() {
    let tasks = Tasks::new();
    let (began, mut has_begun) = tokio::sync::mpsc::channel(1);
    let (go_on, may_go_on) = tokio::sync::watch::channel(false);
    let (done, mut is_done) = tokio::sync::mpsc::channel(1);
    let slow = move || {
        let (began, mut may_go_on, done) = (began.clone(), may_go_on.clone(), done.clone());
        async move {
            began.send(()).await.unwrap();
            may_go_on.wait_for(|go| *go).await.unwrap();
            done.send(()).await.unwrap();
        }
    };
    let app = frame(Router::new().route("/", post(slow)), RequestLimits::default(), crate::shape, &tasks);
    let request = Request::builder().method(Method::POST).uri("/").body(Body::empty()).unwrap();
    let mut asked = Box::pin(app.oneshot(request));
    tokio::select! {
        _ = &mut asked => panic!("answered too early"),
        begun = has_begun.recv() => assert!(begun.is_some()),
    }
    drop(asked);
    go_on.send(true).unwrap();
    let finished = tokio::time::timeout(Duration::from_secs(10), is_done.recv()).await.unwrap();
    assert!(finished.is_some());
}

#[tokio::test(start_paused = true)]
async fn work_without_an_end_is_answered_for_unless_its_deadline_is_lifted() {
    let router = Router::new()
        .route("/hangs", get(std::future::pending::<()>).post(std::future::pending::<()>))
        .route(
            "/long",
            get(async |deadline: crate::Deadline| {
                deadline.lift();
                tokio::time::sleep(Duration::from_secs(3600)).await;
            }),
        );
    let app = frame(router, RequestLimits::default(), crate::shape, &Tasks::new());
    for (method, path, status) in [
        (Method::GET, "/hangs", StatusCode::GATEWAY_TIMEOUT),
        (Method::POST, "/hangs", StatusCode::GATEWAY_TIMEOUT),
        (Method::GET, "/long", StatusCode::OK),
    ] {
        let request = Request::builder().method(method).uri(path).body(Body::empty()).unwrap();
        let asked = app.clone().oneshot(request);
        let response = tokio::time::timeout(Duration::from_secs(7200), asked).await.expect(path).unwrap();
        assert_eq!(response.status(), status, "{path}");
    }
}

/// Where a log goes that a test reads.
#[derive(Clone, Default)]
struct Kept(std::sync::Arc<std::sync::Mutex<Vec<u8>>>);

impl std::io::Write for Kept {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn the_access_log_says_who_asked_whatever_the_method() {
    let kept = Kept::default();
    let writer = kept.clone();
    let subscriber = tracing_subscriber::fmt().json().with_writer(move || writer.clone()).finish();
    let _guard = tracing::subscriber::set_default(subscriber);
    let handler = || async {
        let span = tracing::Span::current();
        span.record("tenant", "acme");
        span.record("principal", "ada");
    };
    let router = Router::new().route("/", get(handler).post(handler).delete(handler));
    let app = frame(router, RequestLimits::default(), crate::shape, &Tasks::new());
    for method in [Method::GET, Method::POST, Method::DELETE] {
        let request = Request::builder().method(method.clone()).uri("/").body(Body::empty()).unwrap();
        app.clone().oneshot(request).await.unwrap();
        let log = String::from_utf8(std::mem::take(&mut *kept.0.lock().unwrap())).unwrap();
        let line: Value = log
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .find(|line: &Value| line["target"] == "access")
            .unwrap_or_else(|| panic!("{method}: {log}"));
        assert_eq!(
            (&line["span"]["tenant"], &line["span"]["principal"]),
            (&"acme".into(), &"ada".into()),
            "{line}"
        );
    }
}
