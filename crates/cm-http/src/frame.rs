//! What surrounds every request, whatever it asks for.
//!
//! From the outside in: its id and its limits; span, access log and metrics; headers that stop browsers from guessing;
//! rendering of failures; the deadline; a shield that finishes changes although the client has gone; a net under panics;
//! the router; and, behind the routes, failures of the common shape.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderValue, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use cm_runtime::Tasks;
use futures::FutureExt;
use tracing::Instrument;

use crate::failure::{Failure, FailureClass};
use crate::observe::Observation;
use crate::{Deadline, Shape, deadline, render, request_id, shield};

/// What one request may cost.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RequestLimits {
    /// The longest JSON body, in bytes.
    pub json_bytes_max: usize,
    /// The longest pause while a body arrives.
    pub body_idle: Duration,
    /// From the first to the last byte of a body that is held in memory, in waiting for the client.
    pub body_total: Duration,
    /// How long a streamed body may stay behind its rate.
    pub upload_grace: Duration,
    /// The slowest rate of a streamed body, in bytes per second of waiting for the client.
    pub upload_rate_min: u32,
    /// How long the work on a request may take until the head of its answer. Streamed uploads have none, nor what
    /// lifts its [`Deadline`].
    pub deadline: Duration,
}

impl Default for RequestLimits {
    /// 1 MiB of JSON (programs and data travel as streams), 30 s of silence, 30 s for all of a JSON body, streams of
    /// 1 KiB/s after a minute (a modem does better), 60 s of work.
    fn default() -> Self {
        Self {
            json_bytes_max: 1 << 20,
            body_idle: Duration::from_secs(30),
            body_total: Duration::from_secs(30),
            upload_grace: Duration::from_secs(60),
            upload_rate_min: 1 << 10,
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
/// Requests that change something run as tasks of `tasks`, so that draining waits for them. Failures look as `shape` says.
pub fn frame(router: Router, limits: RequestLimits, shape: Shape, tasks: &Tasks) -> Router {
    // One layer, and one function in it: each layer of a router boxes every route anew, each function of a layer boxes
    // its future, and every request pays for all of them.
    let surroundings = Arc::new(Surroundings { limits, shape, tasks: tasks.clone() });
    let surroundings = middleware::from_fn_with_state(surroundings, surround);
    router.fallback(unknown_route).method_not_allowed_fallback(unknown_method).layer(surroundings)
}

/// What every request is given.
struct Surroundings {
    limits: RequestLimits,
    shape: Shape,
    tasks: Tasks,
}

async fn surround(
    State(surroundings): State<Arc<Surroundings>>,
    mut request: Request,
    next: Next,
) -> Response {
    let Surroundings { limits, shape, tasks } = &*surroundings;
    let id = request_id::of(request.headers());
    let deadline = Deadline::default();
    let extensions = request.extensions_mut();
    extensions.insert(id.clone());
    extensions.insert(*limits);
    extensions.insert(deadline.clone());

    let observation = Observation::begin(&request, &id);
    let (method, uri) = (request.method().clone(), request.uri().clone());
    let answered = AssertUnwindSafe(next.run(request)).catch_unwind();
    let answered = answered.map(|answer| answer.unwrap_or_else(panicked));
    let shielded = shield::shielded(tasks, method.is_safe(), answered);
    let within = deadline::within(limits.deadline, &deadline, shielded);
    let mut response = within.instrument(observation.span().clone()).await;
    response = observation.span().in_scope(|| render::rendered(*shape, &id, method, &uri, response));
    cautious_headers(&mut response);
    observation.end(&response);
    request_id::name(&mut response, &id);
    response
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

/// Marks an answer that says itself how it may be kept, by saying nothing too: it is given no `Cache-Control`.
#[derive(Clone, Copy, Debug)]
pub struct KeptAsSaid;

/// Nothing is to be cached, guessed, framed or run by a browser unless the handler says otherwise.
fn cautious_headers(response: &mut Response) {
    let defaults = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (header::CONTENT_SECURITY_POLICY, "default-src 'none'; frame-ancestors 'none'; sandbox"),
    ];
    let is_kept_as_said = response.extensions().get::<KeptAsSaid>().is_some();
    for (name, value) in defaults {
        if is_kept_as_said && name == header::CACHE_CONTROL {
            continue;
        }
        response.headers_mut().entry(name).or_insert(HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests;
