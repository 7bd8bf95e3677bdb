//! What surrounds every request, whatever it asks for.
//!
//! From the outside in: its id and its limits; span, access log and metrics; rendering of failures; headers
//! that stop browsers from guessing; a shield that finishes changes although the client has gone; a net
//! under panics; the router; and, behind the routes, failures of the common shape.

use std::any::Any;
use std::time::Duration;

use axum::extract::Request;
use axum::http::{Extensions, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use cm_runtime::Tasks;
use tower_http::catch_panic::CatchPanicLayer;

use crate::failure::{Failure, FailureClass};
use crate::{observe, render, request_id, shield};

/// What one request may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// The longest JSON body, in bytes.
    pub json_bytes_max: usize,
    /// The longest pause while a body arrives.
    pub body_idle: Duration,
    /// How long the work on a request may take, uploads and downloads of streams apart. Whoever carries the
    /// work out looks at it.
    pub deadline: Duration,
}

impl Default for RequestLimits {
    /// 1 MiB of JSON (programs and data travel as streams), 30 s of silence, 60 s of work.
    fn default() -> Self {
        Self {
            json_bytes_max: 1 << 20,
            body_idle: Duration::from_secs(30),
            deadline: Duration::from_secs(60),
        }
    }
}

impl RequestLimits {
    /// The limits that [`frame`](fn@frame) gave the request; the defaults outside of a frame.
    pub fn of(extensions: &Extensions) -> Self {
        extensions.get().copied().unwrap_or_default()
    }
}

/// Surrounds a face's routes. To be called once, with all routes in place.
///
/// Requests that change something run as tasks of `tasks`, so that draining waits for them.
pub fn frame(router: Router, limits: RequestLimits, tasks: &Tasks) -> Router {
    router
        .fallback(unknown_route)
        .method_not_allowed_fallback(unknown_method)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::from_fn_with_state(tasks.clone(), shield::shield))
        .layer(middleware::from_fn(cautious_headers))
        .layer(middleware::from_fn(render::render))
        .layer(middleware::from_fn(observe::observe))
        .layer(middleware::from_fn(request_id::assign))
        .layer(Extension(limits))
}

/// Answers requests that no route matches.
pub async fn unknown_route() -> Failure {
    Failure::not_found()
}

/// Answers requests whose path is known, but not with that method.
pub async fn unknown_method() -> Failure {
    Failure::new(FailureClass::MethodNotAllowed, "the path does not have this method")
}

fn panicked(payload: Box<dyn Any + Send>) -> Response {
    let message = payload
        .downcast_ref::<String>()
        .map(String::as_str)
        .or_else(|| payload.downcast_ref::<&str>().copied())
        .unwrap_or("a panic without a message");
    Failure::internal(format!("panicked: {message}")).into_response()
}

/// Nothing is to be cached, guessed, framed or run by a browser unless the handler says otherwise.
async fn cautious_headers(request: Request, next: Next) -> Response {
    let mut response = next.run(request).await;
    let defaults = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; sandbox"),
    ];
    for (name, value) in defaults {
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
    response
}

#[cfg(test)]
mod tests;
