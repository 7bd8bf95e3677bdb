//! What monitoring and tools ask without a credential: `/health`, `/ready`, `/metrics`, `/openapi.json`.

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cm_http::{Failure, FailureClass};
use cm_kernel::OpContext;
use cm_kernel::catalog::Query;
use cm_kernel::policy::List;
use cm_types::{PageLimit, ResourceKind};

use crate::api::Api;

/// The routes of this module. `document` is the text of the OpenAPI document.
pub(crate) fn routes(document: String) -> Router<Api> {
    let document = bytes::Bytes::from(document);
    let serve_document = move || {
        let document = document.clone();
        async move { ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], document) }
    };
    Router::new()
        .route("/health", get(health))
        .route("/ready", get(ready))
        .route("/metrics", get(metrics))
        .route("/openapi.json", get(serve_document))
}

/// The process answers.
async fn health() -> &'static str {
    "ok\n"
}

/// The process can do its work: it is not shutting down, and its tables can be read.
async fn ready(State(api): State<Api>) -> Result<&'static str, Failure> {
    if api.kernel.tasks().token().is_cancelled() {
        return Err(Failure::new(FailureClass::Unavailable, "shutting down"));
    }
    let not_ready = |error| Failure::new(FailureClass::Unavailable, "not ready").with_cause(error);
    let op = OpContext::node(api.kernel.tasks().token());
    let permit = api.kernel.authorize::<List>(&op, ResourceKind::Role).await.map_err(not_ready)?;
    let one = Query { limit: PageLimit::clamped(1), ..Query::of(ResourceKind::Role) };
    api.kernel.list_records(&op, &permit, one).await.map_err(not_ready)?;
    Ok("ready\n")
}

async fn metrics(State(api): State<Api>) -> Response {
    let content_type = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
    (StatusCode::OK, [(header::CONTENT_TYPE, content_type)], (api.metrics)()).into_response()
}
