//! Following the event log as it grows, by server-sent events.

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;
use axum::response::sse;
use cm_door::Caller;
use cm_http::sse as http_sse;
use cm_http::{Failure, Params};
use cm_kernel::events::{Event, EventFilter};
use cm_kernel::policy::{List, Permit};
use cm_types::{Page, PageLimit, ResourceKind};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::events::{EventParams, EventView};
use crate::failure::refusal;
use crate::listing::{Order, bad_parameter};
use crate::watcher::{Source, Watcher};

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
    let watcher = Watcher::new(Log(filter), api, op, permit, after, head);
    Ok(http_sse::answer(watcher.messages(), shutdown))
}

/// The event log, as far as somebody asked for it.
struct Log(EventFilter);

impl Source for Log {
    type Entry = Event;

    async fn permit(&self, api: &Api, op: &Caller) -> Result<Permit<List>, Failure> {
        api.kernel.authorize::<List>(op, ResourceKind::Event).await.map_err(refusal)
    }

    async fn page(
        &self,
        api: &Api,
        permit: &Permit<List>,
        after: u64,
        limit: PageLimit,
    ) -> Result<Page<Event>, Failure> {
        api.kernel.event_page(permit, after, limit, self.0.clone()).await.map_err(refusal)
    }

    fn number(event: &Event) -> u64 {
        event.seq
    }

    fn message(event: Event) -> sse::Event {
        let verb = event.verb.as_str().to_owned();
        let data =
            serde_json::to_string(&EventView::from(event)).expect("an event is plain data with text keys");
        sse::Event::default().event(verb).data(data)
    }
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(watch_events))
}
