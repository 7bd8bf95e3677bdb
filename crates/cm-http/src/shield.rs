//! Finishes changes although the client that asked for them has gone.

use axum::response::{IntoResponse, Response};
use cm_runtime::Tasks;
use tracing::{Instrument, Span};

use crate::failure::Failure;

/// Runs a request that may change something as a task of its own.
///
/// When a client disconnects, its connection's future is dropped, and with it whatever runs inside. A change
/// of several steps must not stop between two of them; reads may. An upload whose client has gone still
/// ends: its body yields an error.
pub(crate) async fn shielded(
    tasks: &Tasks,
    is_safe: bool,
    answer: impl Future<Output = Response> + Send + 'static,
) -> Response {
    if is_safe {
        return answer.await;
    }
    // The task has a span of its own; who asks is recorded on the request's.
    match tasks.spawn("http-request", answer.instrument(Span::current())).await {
        Ok(response) => response,
        Err(error) => Failure::internal(error).into_response(),
    }
}
