//! Clients that wait for leave to send a body.
//!
//! The AWS command line and everything else that is built on botocore sends `Expect: 100-continue` with every file, an empty one
//! too. Given its answer without having been told to continue, it takes the status line of that answer for the next one on the
//! same connection as well, and finds no headers in it. Hence a connection ends with an answer before which
//! nothing of a body was taken. HTTP recommends so anyway: whether the body still comes is unknown.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};

use axum::body::{Body, HttpBody};
use axum::extract::Request;
use axum::http::{HeaderValue, Version, header};
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use http_body::{Frame, SizeHint};

/// Ends the connection if the client waited and nothing of its body was taken.
pub(crate) async fn settle(request: Request, next: Next) -> Response {
    let expectation = request.headers().get(header::EXPECT);
    let waits = expectation.is_some_and(|value| value.as_bytes().eq_ignore_ascii_case(b"100-continue"));
    if !waits || request.version() != Version::HTTP_11 {
        return next.run(request).await;
    }
    let taken = Arc::new(AtomicBool::new(false));
    let watched = request.map(|body| Body::new(Watched { body, taken: taken.clone() }));
    let mut answer = next.run(watched).await;
    if !taken.load(Ordering::Relaxed) {
        answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    answer
}

/// A body that tells when its first bytes were taken.
struct Watched {
    body: Body,
    taken: Arc<AtomicBool>,
}

impl HttpBody for Watched {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = Pin::new(&mut self.body).poll_frame(context);
        if let Poll::Ready(Some(Ok(_))) = &frame {
            self.taken.store(true, Ordering::Relaxed);
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}
