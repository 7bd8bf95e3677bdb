//! Span, access log and metrics of each request.
//!
//! Routes, never paths, label the metrics: paths are chosen by clients and would grow without bound.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::middleware::Next;
use axum::response::Response;
use cm_types::RequestId;
use metrics::{counter, gauge, histogram};
use tracing::{Instrument, field};

use crate::serve::Peer;

const UNMATCHED: &str = "unmatched";

/// Surrounds a request with a span that carries its id and, once known, who asks; afterwards one line in
/// the log, target `access`, and the metrics `http_requests_total`, `http_request_duration_seconds` (until
/// the head of the answer) and `http_requests_in_flight`.
pub(crate) async fn observe(request: Request, next: Next) -> Response {
    let route = request.extensions().get::<MatchedPath>().cloned();
    let route = route.as_ref().map_or(UNMATCHED, MatchedPath::as_str).to_owned();
    let method = method_label(request.method());
    let id = request.extensions().get::<RequestId>().map(ToString::to_string);
    let peer = request.extensions().get::<Peer>().map(|peer| peer.0.to_string());
    let path = request.uri().path().to_owned();
    let span =
        tracing::info_span!("request", id, method, path, tenant = field::Empty, principal = field::Empty,);

    let _in_flight = InFlight::begin();
    let began = Instant::now();
    let response = next.run(request).instrument(span.clone()).await;
    let duration = began.elapsed();

    let status = response.status().as_u16();
    let _entered = span.enter();
    tracing::info!(
        target: "access",
        route,
        status,
        peer,
        duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
        "answered",
    );
    counter!("http_requests_total", "route" => route.clone(), "method" => method, "status" => status.to_string())
        .increment(1);
    histogram!("http_request_duration_seconds", "route" => route, "method" => method)
        .record(duration.as_secs_f64());
    response
}

/// Methods are chosen by clients too; those nobody serves share one label.
fn method_label(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::HEAD => "HEAD",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::OPTIONS => "OPTIONS",
        _ => "OTHER",
    }
}

/// Counts down when dropped, for a client that leaves drops the whole request.
struct InFlight;

impl InFlight {
    fn begin() -> Self {
        gauge!("http_requests_in_flight").increment(1.0);
        Self
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        gauge!("http_requests_in_flight").decrement(1.0);
    }
}
