//! Server-sent events: one long answer made of small messages (WHATWG HTML, section 9.2).

use std::convert::Infallible;
use std::time::Duration;

use axum::http::{HeaderMap, HeaderName};
use axum::response::sse::{Event, KeepAlive, Sse};
use axum::response::{IntoResponse, Response};
use cm_runtime::CancellationToken;
use futures::{Stream, StreamExt};

/// A comment is sent after so much silence, so that proxies keep the connection and lost peers are noticed.
const KEEP_ALIVE: Duration = Duration::from_secs(15);

const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");

/// Sends each message of `source` as it comes; ends with it, or when shutdown begins.
///
/// `source` is pulled: it is asked for the next message only when the client has taken the last one. A
/// source that reads a log by cursor therefore needs no buffer, and a slow client lags without costing
/// memory; one that takes nothing at all is given up by
/// [`ServerLimits::write_stall`](crate::ServerLimits::write_stall).
pub fn answer(source: impl Stream<Item = Event> + Send + 'static, shutdown: CancellationToken) -> Response {
    let messages = source.map(Ok::<_, Infallible>).take_until(shutdown.cancelled_owned());
    Sse::new(messages).keep_alive(KeepAlive::new().interval(KEEP_ALIVE)).into_response()
}

/// The number after which a client that has been here before wants to go on.
pub fn last_event_id(headers: &HeaderMap) -> Option<u64> {
    headers.get(LAST_EVENT_ID)?.to_str().ok()?.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn messages_end_when_shutdown_begins() {
        let shutdown = CancellationToken::new();
        let first = futures::stream::iter([Event::default().id("7").event("created").data("{}")]);
        let response = answer(first.chain(futures::stream::pending()), shutdown.clone());
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        shutdown.cancel();
        let body = axum::body::to_bytes(response.into_body(), 1 << 10).await.unwrap();
        // Shutdown wins over a message that is ready: the client resumes by its last id.
        assert!(body.is_empty() || body.starts_with(b"id: 7\nevent: created\n"), "{body:?}");
    }

    #[test]
    fn only_a_number_is_a_position() {
        let mut headers = HeaderMap::new();
        assert_eq!(last_event_id(&headers), None);
        headers.insert(LAST_EVENT_ID, "41".parse().unwrap());
        assert_eq!(last_event_id(&headers), Some(41));
        headers.insert(LAST_EVENT_ID, "x".parse().unwrap());
        assert_eq!(last_event_id(&headers), None);
    }
}
