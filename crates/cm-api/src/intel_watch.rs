//! Following threat events as they come, by server-sent events.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse;
use cm_door::Caller;
use cm_http::sse as http_sse;
use cm_http::{Failure, Params};
use cm_intel::{EventFilter, Stored};
use cm_kernel::policy::{List, Permit};
use cm_types::{Page, PageLimit};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::intel::{ThreatEventParams, intel_refusal, may_list};
use crate::intel_views::ThreatEventView;
use crate::listing::{Order, bad_parameter};
use crate::watcher::{Source, Watcher};

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
    let watcher = Watcher::new(Threats(filter), api, op, permit, after, head);
    Ok(http_sse::answer(watcher.messages(), shutdown))
}

/// Threats, as far as somebody asked for them.
struct Threats(EventFilter);

impl Source for Threats {
    type Entry = Stored;

    async fn permit(&self, api: &Api, op: &Caller) -> Result<Permit<List>, Failure> {
        may_list(api, op).await
    }

    async fn page(
        &self,
        api: &Api,
        permit: &Permit<List>,
        after: u64,
        limit: PageLimit,
    ) -> Result<Page<Stored>, Failure> {
        api.intel.event_page(permit, after, limit, self.0.clone()).await.map_err(intel_refusal)
    }

    fn number(event: &Stored) -> u64 {
        event.seq
    }

    fn message(event: Stored) -> sse::Event {
        let view = ThreatEventView::from(event);
        let data = serde_json::to_string(&view).expect("an event is plain data with text keys");
        sse::Event::default().event("threat").data(data)
    }
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(watch_threat_events))
}
