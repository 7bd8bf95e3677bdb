//! Following the event log as it grows, by server-sent events.
//!
//! A watcher reads the log by cursor at its own pace: nothing is buffered for it, however slow it is, and it
//! misses nothing, for it can always resume after the last number that it has seen.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse;
use cm_door::Caller;
use cm_http::sse as http_sse;
use cm_http::{Failure, Params};
use cm_kernel::events::{Event, EventFilter};
use cm_kernel::policy::{List, Permit};
use cm_types::{PageLimit, ResourceKind};
use futures::{Stream, stream};
use tokio::sync::watch;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::events::{EventParams, EventView};
use crate::failure::refusal;
use crate::listing::{Order, bad_parameter};

/// How long a watcher is believed before its credential and its permission are looked at again. A watch
/// lasts for days; a revoked token must not.
const RECHECK_AFTER: Duration = Duration::from_secs(60);
/// Events read at a time.
const BATCH: usize = 100;

#[utoipa::path(
    get, path = "/events/watch", operation_id = "watch_events", tag = "events",
    params(
        EventParams,
        ("Last-Event-ID" = Option<u64>, Header, description = "Only events with a greater number; goes before `after`"),
    ),
    extensions(("x-permission" = json!("event:list"))),
    responses((
        status = 200, content_type = "text/event-stream", body = EventView,
        description = "One message per event: `id` is its number, `event` its verb, `data` the event as JSON. Ends when \
                       the node stops or the credential does; resume with `Last-Event-ID`."
    ))
)]
/// Follows the event log.
pub async fn watch_events(
    State(api): State<Api>,
    Op(op): Op,
    headers: HeaderMap,
    params: Params<EventParams>,
) -> Result<Response, Failure> {
    let permit = api.kernel.authorize::<List>(&op, ResourceKind::Event).await.map_err(refusal)?;
    let params = params.decode()?;
    if params.order.is_some_and(Order::is_newest_first) {
        return Err(bad_parameter("order", "events are followed in the order in which they happen"));
    }
    let filter = params.filter(&op)?;
    let after = http_sse::last_event_id(&headers).unwrap_or(params.after);
    let shutdown = api.kernel.tasks().token();
    let head = api.kernel.events().head();
    let checked = api.kernel.clock().monotonic();
    let watcher = Watcher { api, op, permit, filter, after, head, checked, ready: VecDeque::new() };
    Ok(http_sse::answer(watcher.messages(), shutdown))
}

/// One client that follows the log.
struct Watcher {
    api: Api,
    op: Caller,
    permit: Permit<List>,
    filter: EventFilter,
    /// Everything up to here was read.
    after: u64,
    /// The number of the last committed event.
    head: watch::Receiver<u64>,
    /// When the credential was last looked at.
    checked: Instant,
    /// Read, but not taken by the client.
    ready: VecDeque<Event>,
}

impl Watcher {
    fn messages(self) -> impl Stream<Item = sse::Event> + Send {
        stream::unfold(self, |mut watcher| async move {
            match watcher.next().await {
                Ok(event) => Some((message(event), watcher)),
                Err(error) => {
                    tracing::debug!(error = &error as &dyn std::error::Error, "watch ended");
                    None
                }
            }
        })
    }

    async fn next(&mut self) -> Result<Event, Failure> {
        loop {
            self.recheck().await?;
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            let committed = *self.head.borrow_and_update();
            if self.after < committed {
                self.read(committed).await?;
            } else {
                // A closed channel means that the log is gone with its node; the token ends the stream then.
                let changed = self.head.changed();
                let _woken = tokio::time::timeout(RECHECK_AFTER, changed).await;
            }
        }
    }

    async fn read(&mut self, committed: u64) -> Result<(), Failure> {
        let limit = PageLimit::clamped(BATCH);
        let page = self.api.kernel.event_page(&self.permit, self.after, limit, self.filter.clone());
        let page = page.await.map_err(refusal)?;
        let next = page.next.and_then(|cursor| cursor.0.parse().ok());
        let last = page.items.last().map_or(0, |event| event.seq);
        // Without a next page everything committed when the read began was looked at, matching or not.
        self.after = next.unwrap_or(committed).max(last);
        self.ready.extend(page.items);
        Ok(())
    }

    async fn recheck(&mut self) -> Result<(), Failure> {
        let now = self.api.kernel.clock().monotonic();
        if now.saturating_duration_since(self.checked) < RECHECK_AFTER {
            return Ok(());
        }
        self.op = self.op.clone().again(&self.api.kernel).await?;
        let permit = self.api.kernel.authorize::<List>(&self.op, ResourceKind::Event);
        self.permit = permit.await.map_err(refusal)?;
        self.checked = now;
        Ok(())
    }
}

fn message(event: Event) -> sse::Event {
    let (id, verb) = (event.seq.to_string(), event.verb.as_str().to_owned());
    let data = serde_json::to_string(&EventView::from(event)).expect("an event is plain data with text keys");
    sse::Event::default().id(id).event(verb).data(data)
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(watch_events))
}
