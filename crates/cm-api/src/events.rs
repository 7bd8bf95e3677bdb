//! The event log: pages of it, its signed end, and its verification.

use axum::extract::State;
use axum::{Extension, Json};
use cm_http::{Deadline, Failure, FailureClass, JsonBody, Params};
use cm_kernel::OpContext;
use cm_kernel::events::{Event, EventFilter, Finding, Head, Outcome};
use cm_kernel::policy::List;
use cm_types::{PrincipalId, ResourceKind, ResourceRef};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::document::ErrorBody;
use crate::failure::refusal;
use crate::listing::{Listing, Order, bad_parameter, page_limit};
use crate::verifications::Verifications;

/// Something that happened.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct EventView {
    /// Its number, from 1 without gaps.
    pub seq: u64,
    /// When it was appended, RFC 3339.
    #[schema(format = "date-time")]
    pub at: String,
    /// To which tenant it happened.
    pub tenant: String,
    /// Who did it; `null` for somebody unknown.
    pub actor: Option<String>,
    /// What happened, such as `function.created`.
    pub verb: String,
    /// To what it happened, `KIND/ID`.
    pub resource: Option<String>,
    /// The request that led to it.
    pub request: Option<String>,
    /// How it ended: `allowed`, `denied` or `failed`.
    pub outcome: String,
    /// Details.
    pub facts: Map<String, Value>,
}

impl From<Event> for EventView {
    fn from(event: Event) -> Self {
        Self {
            seq: event.seq,
            at: event.at.to_string(),
            tenant: event.tenant.to_string(),
            actor: event.actor.map(String::from),
            verb: event.verb.as_str().to_owned(),
            resource: event.resource.map(|resource| resource.to_string()),
            request: event.request.map(String::from),
            outcome: outcome_name(event.outcome).to_owned(),
            facts: event.facts,
        }
    }
}

fn outcome_name(outcome: Outcome) -> &'static str {
    match outcome {
        Outcome::Allowed => "allowed",
        Outcome::Denied => "denied",
        Outcome::Failed => "failed",
    }
}

/// Which events are wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct EventParams {
    /// Where to begin: the `Next-Cursor` of the page before. Only events with a greater number or, newest first, with a
    /// smaller one; 0 for all.
    #[serde(default)]
    pub after: u64,
    /// `oldest-first`, unless told, or `newest-first`.
    #[param(inline)]
    pub order: Option<Order>,
    /// The most events to answer with, 1 to 1000; 100 unless told.
    pub limit: Option<usize>,
    /// Only this verb, or all that begin so: `function.`.
    pub verb: Option<String>,
    /// Only what happened to this resource, `KIND/ID`.
    pub resource: Option<String>,
    /// Only what this principal did.
    pub actor: Option<String>,
    /// Only those that ended so: `allowed`, `denied` or `failed`.
    pub outcome: Option<String>,
}

impl EventParams {
    /// What the log is asked. Nobody sees another tenant's events.
    pub(crate) fn filter(&self, op: &OpContext) -> Result<EventFilter, Failure> {
        let resource = self.resource.as_deref().map(str::parse::<ResourceRef>).transpose();
        let actor = self.actor.clone().map(PrincipalId::parse).transpose();
        let outcome = match self.outcome.as_deref() {
            None => None,
            Some("allowed") => Some(Outcome::Allowed),
            Some("denied") => Some(Outcome::Denied),
            Some("failed") => Some(Outcome::Failed),
            Some(_) => return Err(bad_parameter("outcome", "expected allowed, denied or failed")),
        };
        Ok(EventFilter {
            tenant: Some(op.tenant()),
            actor: actor.map_err(|error| bad_parameter("actor", &error.to_string()))?,
            verb_prefix: self.verb.clone(),
            resource: resource.map_err(|error| bad_parameter("resource", &error.to_string()))?,
            outcome,
            since: None,
        })
    }
}

#[utoipa::path(
    get, path = "/events", operation_id = "list_events", tag = "events", params(EventParams),
    extensions(("x-permission" = json!("event:list"))),
    responses((status = 200, description = "Events in the order of their numbers, or backwards", body = Vec<EventView>))
)]
/// Lists events.
pub async fn list_events(
    State(api): State<Api>,
    Op(op): Op,
    params: Params<EventParams>,
) -> Result<Listing<EventView>, Failure> {
    let permit = api.kernel.authorize::<List>(&op, ResourceKind::Event).await.map_err(refusal)?;
    let params = params.decode()?;
    let filter = params.filter(&op)?;
    let (kernel, limit) = (&api.kernel, page_limit(params.limit));
    let page = match params.order.is_some_and(Order::is_newest_first) {
        true => {
            let before = (params.after > 0).then_some(params.after);
            kernel.event_page_backwards(&permit, before, limit, filter).await
        }
        false => kernel.event_page(&permit, params.after, limit, filter).await,
    };
    Ok(Listing::of(page.map_err(refusal)?, EventView::from))
}

/// The signed end of the log.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct HeadView {
    /// The number of the last event; 0 for an empty log.
    pub seq: u64,
    /// The hash of the chain up to it; `null` for an empty log.
    pub hash: Option<String>,
    /// All of it in one line, to be kept elsewhere and given to a verification as its anchor.
    pub anchor: Option<String>,
}

impl HeadView {
    fn of(head: Option<Head>) -> Self {
        match head {
            None => Self { seq: 0, hash: None, anchor: None },
            Some(head) => {
                Self { seq: head.seq, hash: Some(head.hash.to_string()), anchor: Some(head.to_string()) }
            }
        }
    }
}

#[utoipa::path(
    get, path = "/events/head", operation_id = "read_events_head", tag = "events",
    extensions(("x-permission" = json!("event:list"))),
    responses((status = 200, description = "The signed end of the log", body = HeadView))
)]
/// Reads the signed end of the log.
pub async fn read_events_head(State(api): State<Api>, Op(op): Op) -> Result<Json<HeadView>, Failure> {
    let permit = api.kernel.authorize::<List>(&op, ResourceKind::Event).await.map_err(refusal)?;
    let head = api.kernel.event_head(&permit).await.map_err(refusal)?;
    Ok(Json(HeadView::of(head)))
}

/// What a verification starts from.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Verification {
    /// The `anchor` of a head that was kept elsewhere: everything up to it must still be there.
    #[serde(default)]
    pub anchor: Option<String>,
}

/// What came of a verification.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct VerificationReport {
    /// Whether every record is as it was written.
    pub intact: bool,
    /// How many records were checked.
    pub records: u64,
    /// The signed end of the log.
    pub head: HeadView,
    /// What is wrong, in the order of the log.
    pub findings: Vec<FindingView>,
}

/// One place where the log is not what was written.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct FindingView {
    /// The number of the record.
    pub seq: u64,
    /// What is wrong: `altered`, `missing`, `reordered`, `forged`, `rewritten`, `extra` or `rolled-back`.
    pub what: String,
    /// For people.
    pub detail: String,
}

impl From<Finding> for FindingView {
    fn from(finding: Finding) -> Self {
        Self { seq: finding.seq, what: finding.what.to_string(), detail: finding.detail }
    }
}

#[utoipa::path(
    post, path = "/events/verify", operation_id = "verify_events", tag = "events",
    request_body(content = Verification, description = "May be absent"),
    extensions(("x-permission" = json!("event:list"))),
    responses(
        (status = 200, description = "What came of it, also when something is wrong", body = VerificationReport),
        (status = 429, description = "Another verification is under way", body = ErrorBody),
    )
)]
/// Verifies all of the log.
pub async fn verify_events(
    State(api): State<Api>,
    Op(op): Op,
    Extension(verifications): Extension<Verifications>,
    deadline: Deadline,
    body: JsonBody<Verification>,
) -> Result<Json<VerificationReport>, Failure> {
    api.kernel.authorize::<List>(&op, ResourceKind::Event).await.map_err(refusal)?;
    let anchor = body.decode_or_default().await?.anchor.map(|text| text.parse::<Head>()).transpose();
    let anchor = anchor.map_err(|error| {
        Failure::new(FailureClass::Invalid, "the anchor is no head of a log")
            .with_detail("path", "anchor")
            .with_detail("reason", error.to_string())
    })?;
    let op = op.again(&api.kernel).await?;
    let permit = api.kernel.authorize::<List>(&op, ResourceKind::Event).await.map_err(refusal)?;
    let _turn = verifications.events()?;
    deadline.lift();
    let verified = api.kernel.verify_events(&permit, anchor).await.map_err(refusal)?;
    Ok(Json(VerificationReport {
        intact: verified.is_intact(),
        records: verified.records,
        head: HeadView::of(verified.head),
        findings: verified.findings.into_iter().map(FindingView::from).collect(),
    }))
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_events))
        .routes(routes!(read_events_head))
        .routes(routes!(verify_events))
}
