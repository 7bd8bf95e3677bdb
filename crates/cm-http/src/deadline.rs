//! How long the work on a request may take.

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::Poll;
use std::time::Duration;

use axum::extract::FromRequestParts;
use axum::http::Extensions;
use axum::http::request::Parts;
use axum::response::{IntoResponse, Response};

use crate::failure::{Failure, FailureClass};

/// The deadline of a request, which a handler may lift whose work is long by its nature.
#[derive(Clone, Debug, Default)]
pub struct Deadline(Arc<AtomicBool>);

impl Deadline {
    /// The deadline that [`frame`](fn@crate::frame) gave the request; one that nobody enforces outside of a frame.
    pub(crate) fn of(extensions: &Extensions) -> Self {
        extensions.get().cloned().unwrap_or_default()
    }

    /// Lets the request take as long as it needs. Whoever lifts it bounds the work otherwise.
    pub fn lift(&self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

impl<S: Sync> FromRequestParts<S> for Deadline {
    type Rejection = Infallible;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Infallible> {
        Ok(Self::of(&parts.extensions))
    }
}

/// Answers 504 when the head of an answer is not there in time. The bodies of answers are bounded where they are
/// written. A change that was begun goes on, for it runs as a task of its own.
pub(crate) async fn within(
    limit: Duration,
    deadline: &Deadline,
    answer: impl Future<Output = Response>,
) -> Response {
    let mut answer = std::pin::pin!(answer);
    // Most answers are there before a timer would be set.
    if let Poll::Ready(answer) = futures::poll!(answer.as_mut()) {
        return answer;
    }
    match tokio::time::timeout(limit, answer.as_mut()).await {
        Ok(answer) => answer,
        Err(_) if deadline.0.load(Ordering::Relaxed) => answer.await,
        Err(_) => {
            Failure::new(FailureClass::DeadlineExceeded, "the work did not finish in time").into_response()
        }
    }
}
