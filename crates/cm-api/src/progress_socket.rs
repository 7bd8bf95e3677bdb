//! The progress of a computation over a WebSocket (RFC 6455): the same messages as server-sent events, for clients that have sockets.
//!
//! Browsers let any page open a socket and send no credential of their own with it, so that a page of somebody else could listen where a node asks for none:
//! whoever names an origin must be of this very address, or of the configuration's `api.cors_origins`. Sockets are counted, say nothing
//! to us but that they are alive, and end with the run.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Path, State};
use axum::http::{HeaderMap, HeaderValue, header};
use axum::response::Response;
use cm_http::{Failure, FailureClass};
use cm_kernel::policy::Read;
use cm_types::ResourceKind;
use futures::{Stream, StreamExt};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, timeout};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::computations::progress_messages;
use crate::document::ErrorBody;
use crate::failure::refusal;

/// Sockets at a time.
pub(crate) const SOCKETS_MAX: usize = 512;
/// How often the other end is asked whether it is there. Whoever has not answered by the next time is not.
const PING_EVERY: Duration = Duration::from_secs(15);
/// How long one message may take to leave.
const SENT_WITHIN: Duration = Duration::from_secs(15);
/// Longest message that is taken, in bytes: pings and good-byes have 125 at most, and nothing else is listened to.
const MESSAGE_LEN_MAX: usize = 1 << 10;

/// Whether whoever asks is no page of a stranger.
fn is_own_origin(headers: &HeaderMap, allowed: &[HeaderValue]) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return true };
    if allowed.iter().any(|allowed| allowed == "*" || allowed == origin) {
        return true;
    }
    let authority =
        origin.to_str().ok().and_then(|origin| origin.split_once("://")).map(|(_, authority)| authority);
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
    authority.zip(host).is_some_and(|(authority, host)| authority.eq_ignore_ascii_case(host))
}

#[utoipa::path(
    get, path = "/computations/{id}/progress/socket", operation_id = "follow_computation", tag = "computations",
    params(("id" = String, Path, description = "The computation")),
    extensions(("x-permission" = json!("computation:read"))),
    responses(
        (status = 101, description = "A WebSocket: text messages with `state`, `layers_done` and `layers`; it is closed with 1000 when the run has ended"),
        (status = 400, description = "No WebSocket was asked for", body = ErrorBody),
        (status = 403, description = "The page that asks is of another origin", body = ErrorBody),
        (status = 429, description = "There are too many sockets", body = ErrorBody),
    )
)]
/// Follows a run over a WebSocket.
pub async fn follow_computation(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    headers: HeaderMap,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
) -> Result<Response, Failure> {
    let (record, _) =
        api.kernel.look_up::<Read>(&op, ResourceKind::Computation, &id).await.map_err(refusal)?;
    if !is_own_origin(&headers, &api.settings.cors_origins) {
        let what = "pages of this origin may not open sockets here; `api.cors_origins` names those that may";
        return Err(Failure::new(FailureClass::Forbidden, what));
    }
    let upgrade =
        upgrade.map_err(|_| Failure::new(FailureClass::Malformed, "a WebSocket must be asked for"))?;
    let permit = Arc::clone(&api.sockets).try_acquire_owned();
    let permit = permit
        .map_err(|_| Failure::new(FailureClass::TooMany, "too many sockets are open; try again later"))?;
    let messages = progress_messages(api.computations.progress(&record));
    let tasks = api.kernel.tasks().clone();
    let shutdown = tasks.token().cancelled_owned();
    let upgrade = upgrade.max_message_size(MESSAGE_LEN_MAX).max_frame_size(MESSAGE_LEN_MAX);
    Ok(upgrade.on_upgrade(move |socket| async move {
        // A task of ours, so that it is waited for when the node goes down.
        tasks.spawn("progress-socket", follow(socket, messages, shutdown, PING_EVERY, permit));
    }))
}

async fn follow(
    mut socket: WebSocket,
    messages: impl Stream<Item = String> + Send,
    shutdown: impl Future<Output = ()> + Send,
    ping_every: Duration,
    _permit: OwnedSemaphorePermit,
) {
    let (mut messages, mut shutdown) = (std::pin::pin!(messages), std::pin::pin!(shutdown));
    let mut ping_at = Instant::now() + ping_every;
    let mut is_answered = true;
    let (code, reason) = loop {
        let message = tokio::select! {
            () = shutdown.as_mut() => break (close_code::AWAY, "the node is shutting down"),
            next = messages.next() => match next {
                Some(text) => Message::Text(text.into()),
                None => break (close_code::NORMAL, "the run has ended"),
            },
            () = tokio::time::sleep_until(ping_at) => {
                if !std::mem::replace(&mut is_answered, false) {
                    break (close_code::POLICY, "no answer");
                }
                ping_at = Instant::now() + ping_every;
                Message::Ping(Default::default())
            }
            heard = socket.recv() => match heard {
                Some(Ok(Message::Pong(_))) => {
                    is_answered = true;
                    continue;
                }
                // Pings are answered by the library.
                Some(Ok(Message::Ping(_))) => continue,
                Some(Ok(Message::Text(_) | Message::Binary(_))) => {
                    break (close_code::UNSUPPORTED, "nothing is listened to here");
                }
                Some(Ok(Message::Close(_)) | Err(_)) | None => return,
            },
        };
        if !matches!(timeout(SENT_WITHIN, socket.send(message)).await, Ok(Ok(()))) {
            return;
        }
    };
    let goodbye = Message::Close(Some(CloseFrame { code, reason: Utf8Bytes::from_static(reason) }));
    // Whoever does not take it finds the connection closed.
    let _ = timeout(SENT_WITHIN, socket.send(goodbye)).await;
}

/// The sockets that there may be.
pub(crate) fn sockets() -> Arc<Semaphore> {
    Arc::new(Semaphore::new(SOCKETS_MAX))
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(follow_computation))
}

#[cfg(test)]
mod tests;
