//! What is where: pages and session in a frame of the console's, the API in its own.

use axum::http::header::{self, HeaderMap, HeaderValue};
use axum::http::{StatusCode, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::{Extension, Router};
use cm_http::{Failure, RequestLimits, frame};
use cm_runtime::Tasks;

use crate::relay::{Relay, relay};
use crate::{assets, session};

/// Where the console lies.
pub const PREFIX: &str = "/console";
/// Where its files lie.
const ASSETS: &str = "/console/assets/";

/// The console at [`PREFIX`], and everything else as `api` answers it: what the listener of the API serves. `api` is the API itself, with its frame.
pub fn beside(api: Router, limits: RequestLimits, tasks: &Tasks) -> Router {
    console(&api, limits, tasks).fallback_service(api)
}

/// The console at [`PREFIX`] and nothing besides but the way there: what a listener of its own serves.
pub fn alone(api: Router, limits: RequestLimits, tasks: &Tasks) -> Router {
    let elsewhere = frame(Router::new().route("/", get(to_console)), limits, cm_http::shape, tasks);
    console(&api, limits, tasks).fallback_service(elsewhere)
}

fn console(api: &Router, limits: RequestLimits, tasks: &Tasks) -> Router {
    let pages = Router::new()
        .route("/console", get(to_console))
        .route("/console/", get(page))
        .route("/console/assets/{*path}", get(asset))
        .route("/console/session", post(session::begin).delete(session::end))
        .with_state(api.clone());
    let pages = frame(pages, limits, cm_http::shape, tasks);
    // A frame answers by itself what no route matches.
    let refuse = any(|Extension(failure): Extension<Failure>| async move { failure });
    let refusals = Router::new().route("/{*path}", refuse);
    let refusals = frame(refusals, limits, cm_http::shape, tasks);
    Router::new()
        .route("/console", any_service(&pages))
        .route("/console/", any_service(&pages))
        .route("/console/{*rest}", any_service(&pages))
        .route("/console/api/v1/{*rest}", any(relay).with_state(Relay { api: api.clone(), refusals }))
}

fn any_service(pages: &Router) -> axum::routing::MethodRouter {
    axum::routing::any_service(pages.clone())
}

/// Relative, so that it holds behind a proxy that serves the node below a path of its own.
async fn to_console() -> Response {
    (StatusCode::PERMANENT_REDIRECT, [(header::LOCATION, HeaderValue::from_static("console/"))])
        .into_response()
}

async fn page(headers: HeaderMap) -> Result<Response, Failure> {
    assets::answer(assets::PAGE, &headers)
}

async fn asset(uri: Uri, headers: HeaderMap) -> Result<Response, Failure> {
    match uri.path().strip_prefix(ASSETS) {
        Some(path) if path != assets::PAGE => assets::answer(path, &headers),
        _ => Err(Failure::not_found()),
    }
}

#[cfg(test)]
mod tests;
