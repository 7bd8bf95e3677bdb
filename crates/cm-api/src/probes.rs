//! What monitoring and tools ask without a credential: `/health`, `/ready`, `/metrics`, `/openapi.json`, and
//! `/docs`, a page that shows the last.

use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use cm_http::{Failure, FailureClass};
use cm_kernel::OpContext;
use cm_kernel::catalog::Query;
use cm_kernel::policy::List;
use cm_types::{PageLimit, RequestId, ResourceKind};

use crate::api::Api;
use crate::{tokens, trust_domains};

/// Shows the document; needs nothing but this node.
const DOCS: &str = include_str!("docs.html");

/// How long the other nodes may take until this one is not ready: shorter than the patience of what asks.
const FRESH_WITHIN: Duration = Duration::from_millis(800);

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
        .route("/docs", get(docs))
        .route("/.well-known/openid-configuration", get(tokens::configuration))
        .route(tokens::JWKS_PATH, get(tokens::key_set))
        .route(trust_domains::BUNDLE_PATH, get(trust_domains::own_bundle))
}

/// The page that shows the document. What it may run and fetch is named: a script and a style by a number that
/// nobody knew before, and this node.
async fn docs() -> Response {
    let nonce = RequestId::random();
    let policy = format!(
        "default-src 'none'; script-src 'nonce-{nonce}'; style-src 'nonce-{nonce}'; connect-src 'self'; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
    );
    let policy = HeaderValue::try_from(policy).expect("ids are visible ASCII");
    let html = HeaderValue::from_static("text/html; charset=utf-8");
    let page = DOCS.replace("{{nonce}}", nonce.as_str());
    ([(header::CONTENT_TYPE, html), (header::CONTENT_SECURITY_POLICY, policy)], page).into_response()
}

/// The process answers.
async fn health() -> &'static str {
    "ok\n"
}

/// The process can do its work: it is not shutting down, and its tables can be read as they are everywhere. A node of a network that reaches too
/// few others answers requests with errors, so that whoever spreads them should ask another one.
async fn ready(State(api): State<Api>) -> Result<&'static str, Failure> {
    if api.kernel.tasks().token().is_cancelled() {
        return Err(Failure::new(FailureClass::Unavailable, "shutting down"));
    }
    let not_ready = |error| Failure::new(FailureClass::Unavailable, "not ready").with_cause(error);
    let fresh = tokio::time::timeout(FRESH_WITHIN, api.kernel.freshen()).await;
    let silent =
        |_| Failure::new(FailureClass::Unavailable, "not ready: too few nodes of the network answer");
    fresh.map_err(silent)?.map_err(not_ready)?;
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
