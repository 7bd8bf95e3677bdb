//! Following threat events as they come, by server-sent events.
//!
//! As with the event log, a watcher reads by cursor at its own pace: nothing is buffered for it, and it misses nothing.

use std::collections::VecDeque;
use std::time::{Duration, Instant};

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse;
use cm_door::Caller;
use cm_http::sse as http_sse;
use cm_http::{Failure, Params};
use cm_intel::{EventFilter, Stored};
use cm_kernel::policy::{List, Permit};
use cm_types::PageLimit;
use futures::{Stream, stream};
use tokio::sync::watch;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::intel::{ThreatEventParams, intel_refusal, may_list};
use crate::intel_views::ThreatEventView;
use crate::listing::{Order, bad_parameter};

/// How long a watcher is believed before its credential and its permission are looked at again.
const RECHECK_AFTER: Duration = Duration::from_secs(60);
/// Events read at a time.
const BATCH: usize = 100;

#[utoipa::path(
    get, path = "/intel/events/watch", operation_id = "watch_threat_events", tag = "intel",
    summary = "Follows events as they come",
    params(
        ThreatEventParams,
        ("Last-Event-ID" = Option<u64>, Header, description = "Only events with a greater number; goes before `after`. Without either, events from now on"),
    ),
    extensions(("x-permission" = json!("threat-event:list"))),
    responses((
        status = 200, content_type = "text/event-stream", body = ThreatEventView,
        description = "One message per event: `id` is its number, `event` is `threat`, `data` the event as JSON. Ends when the node stops \
                       or the credential does; resume with `Last-Event-ID`."
    ))
)]
/// Follows events as they come.
pub async fn watch_threat_events(
    State(api): State<Api>,
    Op(op): Op,
    headers: HeaderMap,
    params: Params<ThreatEventParams>,
) -> Result<Response, Failure> {
    let permit = may_list(&api, &op).await?;
    let params = params.decode()?;
    if params.order.is_some_and(Order::is_newest_first) {
        return Err(bad_parameter("order", "events are followed in the order in which they come"));
    }
    let filter = params.filter()?;
    let head = api.intel.head();
    let now = *head.borrow();
    let after = http_sse::last_event_id(&headers).or(params.after).unwrap_or(now);
    let shutdown = api.kernel.tasks().token();
    let checked = api.kernel.clock().monotonic();
    let watcher = Watcher { api, op, permit, filter, after, head, checked, ready: VecDeque::new() };
    Ok(http_sse::answer(watcher.messages(), shutdown))
}

/// One client that follows.
struct Watcher {
    api: Api,
    op: Caller,
    permit: Permit<List>,
    filter: EventFilter,
    /// Everything up to here was read.
    after: u64,
    head: watch::Receiver<u64>,
    /// When the credential was last looked at.
    checked: Instant,
    /// Read, but not taken by the client.
    ready: VecDeque<Stored>,
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

    async fn next(&mut self) -> Result<Stored, Failure> {
        loop {
            self.recheck().await?;
            if let Some(event) = self.ready.pop_front() {
                return Ok(event);
            }
            let last = *self.head.borrow_and_update();
            if self.after < last {
                self.read(last).await?;
            } else {
                let _woken = tokio::time::timeout(RECHECK_AFTER, self.head.changed()).await;
            }
        }
    }

    async fn read(&mut self, last: u64) -> Result<(), Failure> {
        let limit = PageLimit::clamped(BATCH);
        let page = self.api.intel.event_page(&self.permit, self.after, limit, self.filter.clone());
        let page = page.await.map_err(intel_refusal)?;
        let next = page.next.and_then(|cursor| cursor.0.parse().ok());
        let newest = page.items.last().map_or(0, |event| event.seq);
        // Without a next page everything that was there when the read began was looked at, matching or not.
        self.after = next.unwrap_or(last).max(newest);
        self.ready.extend(page.items);
        Ok(())
    }

    async fn recheck(&mut self) -> Result<(), Failure> {
        let now = self.api.kernel.clock().monotonic();
        if now.saturating_duration_since(self.checked) < RECHECK_AFTER {
            return Ok(());
        }
        self.op = self.op.clone().again(&self.api.kernel).await?;
        self.permit = may_list(&self.api, &self.op).await?;
        self.checked = now;
        Ok(())
    }
}

fn message(event: Stored) -> sse::Event {
    let id = event.seq.to_string();
    let view = ThreatEventView::from(event);
    let data = serde_json::to_string(&view).expect("an event is plain data with text keys");
    sse::Event::default().id(id).event("threat").data(data)
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(watch_threat_events))
}
