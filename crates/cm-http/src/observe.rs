//! Span, access log and metrics of each request.
//!
//! Routes, never paths, label the metrics: paths are chosen by clients and would grow without bound.

use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::Method;
use axum::response::Response;
use cm_types::RequestId;
use metrics::{counter, gauge, histogram};
use tracing::{Span, field};

use crate::serve::Peer;

const UNMATCHED: &str = "unmatched";

/// A request as it is observed: a span that carries its id and, once known, who asks; afterwards one line in
/// the log, target `access`, and the metrics `http_requests_total`, `http_request_duration_seconds` (until
/// the head of the answer) and `http_requests_in_flight`.
pub(crate) struct Observation {
    span: Span,
    route: Option<MatchedPath>,
    method: &'static str,
    peer: Option<Peer>,
    began: Instant,
    _in_flight: InFlight,
}

impl Observation {
    /// The request begins.
    pub(crate) fn begin(request: &Request, id: &RequestId) -> Self {
        let method = method_label(request.method());
        let span = tracing::info_span!(
            "request",
            id = id.as_str(),
            method,
            path = request.uri().path(),
            tenant = field::Empty,
            principal = field::Empty,
        );
        Self {
            span,
            route: request.extensions().get().cloned(),
            method,
            peer: request.extensions().get().copied(),
            began: Instant::now(),
            _in_flight: InFlight::begin(),
        }
    }

    /// What everything is logged in that concerns the request.
    pub(crate) fn span(&self) -> &Span {
        &self.span
    }

    /// The request was answered.
    pub(crate) fn end(self, response: &Response) {
        let (duration, status, method) = (self.began.elapsed(), response.status(), self.method);
        let route = self.route.as_ref().map_or(UNMATCHED, MatchedPath::as_str);
        self.span.in_scope(|| {
            tracing::info!(
                target: "access",
                route,
                status = status.as_u16(),
                peer = self.peer.map(|peer| field::display(peer.0)),
                duration_us = u64::try_from(duration.as_micros()).unwrap_or(u64::MAX),
                "answered",
            );
        });
        let route = route.to_owned();
        counter!("http_requests_total", "route" => route.clone(), "method" => method, "status" => status.as_str().to_owned())
            .increment(1);
        histogram!("http_request_duration_seconds", "route" => route, "method" => method)
            .record(duration.as_secs_f64());
    }
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
