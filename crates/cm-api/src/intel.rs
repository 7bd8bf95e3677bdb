//! Threat intelligence: events, who reports them, what they come to, and the peers that share them.

use axum::extract::{Path, State};
use axum::http::header;
use axum::response::{IntoResponse, Response};
use axum::{Json, http::StatusCode};
use cm_http::{Failure, FailureClass, JsonBody, Params};
use cm_intel::effects::{Format, export};
use cm_intel::{EventFilter, IntelError, KeyId, NewThreat, ThreatEvent};
use cm_kernel::OpContext;
use cm_kernel::policy::{Create, List, Permit};
use cm_types::{ResourceKind, Timestamp};
use serde::Deserialize;
use utoipa::IntoParams;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::document::ErrorBody;
use crate::failure::refusal;
use crate::intel_views::{
    ForgedView, ImportedView, IndicatorView, IntelStatusView, PeerView, ReputationView, SignedEventBody,
    ThreatBody, ThreatEventView, tlp,
};
use crate::listing::{Listing, Order, bad_parameter, cursor, page_limit};

/// Which events are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub struct ThreatEventParams {
    /// Only events after this number, or before it with the newest first.
    pub after: Option<u64>,
    /// The most events to answer with, 1 to 1000; 100 unless told.
    pub limit: Option<usize>,
    /// `oldest-first`, unless told, or `newest-first`.
    #[param(inline)]
    pub order: Option<Order>,
    /// Only of this source.
    pub source: Option<String>,
    /// Only of this type.
    #[serde(rename = "type")]
    #[param(rename = "type")]
    pub threat_type: Option<String>,
    /// Only of this severity.
    pub severity: Option<String>,
    /// Only of this reporter, the SHA-256 of its key.
    pub reporter: Option<String>,
    /// Only accepted at this moment or later, RFC 3339.
    pub since: Option<String>,
    /// Only accepted before this moment.
    pub until: Option<String>,
    /// Only with this in source or type, whatever the case.
    pub text: Option<String>,
}

impl ThreatEventParams {
    pub(crate) fn filter(&self) -> Result<EventFilter, Failure> {
        let moment = |name: &str, text: &Option<String>| -> Result<Option<Timestamp>, Failure> {
            let parsed = text.as_deref().map(str::parse).transpose();
            parsed.map_err(|error: cm_types::timestamp::InvalidTimestamp| {
                bad_parameter(name, &error.to_string())
            })
        };
        Ok(EventFilter {
            source: self.source.clone(),
            threat_type: self.threat_type.clone(),
            severity: self.severity.clone(),
            reporter: self.reporter.as_deref().map(key).transpose()?,
            since: moment("since", &self.since)?,
            until: moment("until", &self.until)?,
            text: self.text.clone(),
        })
    }
}

/// Which page of a collection is wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub struct IntelPageParams {
    /// The most entries to answer with, 1 to 1000; 100 unless told.
    pub limit: Option<usize>,
    /// Where to begin: the `Next-Cursor` of the page before.
    pub after: Option<String>,
}

/// In which form indicators are wanted.
#[derive(Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields, default)]
pub struct ExportParams {
    /// `plain` unless told, `nftables` or `sigma`.
    pub format: Option<String>,
    /// Only indicators of at least this confidence, 0 to 100; 50 unless told.
    pub confidence: Option<u8>,
}

/// What the node knows of its peers and of threats is the node's, and no tenant's.
pub(crate) async fn may_list(api: &Api, op: &OpContext) -> Result<Permit<List>, Failure> {
    api.kernel.authorize_of_node::<List>(op, ResourceKind::ThreatEvent).await.map_err(refusal)
}

fn key(text: &str) -> Result<KeyId, Failure> {
    text.parse()
        .map_err(|error: cm_types::digest::InvalidDigest| bad_parameter("reporter", &error.to_string()))
}

/// What the engine refused, as an answer.
pub(crate) fn intel_refusal(error: IntelError) -> Failure {
    let failure = |class| Failure::new(class, error.to_string());
    match &error {
        IntelError::Kernel(_) => match error {
            IntelError::Kernel(error) => refusal(error),
            error => Failure::internal(error),
        },
        IntelError::NoEvent(_)
        | IntelError::Invalid(_)
        | IntelError::Field { .. }
        | IntelError::Address(_) => failure(FailureClass::Invalid),
        IntelError::NoSuchEvent(_) | IntelError::NoSuchFeed(_) => failure(FailureClass::NotFound),
        IntelError::FeedExists(_) | IntelError::ManyFeeds | IntelError::NoFeeds => {
            failure(FailureClass::Conflict)
        }
        IntelError::NotKept(_) => failure(FailureClass::Conflict),
        IntelError::Busy | IntelError::ShuttingDown => {
            Failure::new(FailureClass::Unavailable, "try again later").with_cause(error)
        }
        IntelError::Db(_) | IntelError::KeyFile { .. } | IntelError::Key { .. } | IntelError::Link(_) => {
            Failure::internal(error)
        }
    }
}

#[utoipa::path(
    get, path = "/intel/status", operation_id = "read_intel_status", tag = "intel",
    summary = "How threat intelligence is doing", extensions(("x-permission" = json!("threat-event:list"))),
    responses((status = 200, description = "Figures", body = IntelStatusView))
)]
/// How threat intelligence is doing on this node.
pub async fn read_intel_status(State(api): State<Api>, Op(op): Op) -> Result<Json<IntelStatusView>, Failure> {
    let permit = may_list(&api, &op).await?;
    Ok(Json(api.intel.status(&permit).await.map_err(intel_refusal)?.into()))
}

#[utoipa::path(
    get, path = "/intel/events", operation_id = "list_threat_events", tag = "intel", summary = "Lists events",
    params(ThreatEventParams), extensions(("x-permission" = json!("threat-event:list"))),
    responses((
        status = 200, body = Vec<ThreatEventView>,
        description = "Events in the order of their numbers; `Next-Cursor` if there may be more. A page may be short where events are filtered"
    ))
)]
/// Lists events.
pub async fn list_threat_events(
    State(api): State<Api>,
    Op(op): Op,
    params: Params<ThreatEventParams>,
) -> Result<Listing<ThreatEventView>, Failure> {
    let permit = may_list(&api, &op).await?;
    let params = params.decode()?;
    let (limit, filter) = (page_limit(params.limit), params.filter()?);
    let page = if params.order.is_some_and(Order::is_newest_first) {
        api.intel.event_page_backwards(&permit, params.after, limit, filter).await
    } else {
        api.intel.event_page(&permit, params.after.unwrap_or(0), limit, filter).await
    };
    Ok(Listing::of(page.map_err(intel_refusal)?, ThreatEventView::from))
}

#[utoipa::path(
    get, path = "/intel/events/{seq}", operation_id = "read_threat_event", tag = "intel", summary = "Reads an event",
    params(("seq" = u64, Path, description = "Its number")),
    extensions(("x-permission" = json!("threat-event:list"))),
    responses((status = 200, description = "The event", body = ThreatEventView))
)]
/// Reads an event.
pub async fn read_threat_event(
    State(api): State<Api>,
    Op(op): Op,
    Path(seq): Path<String>,
) -> Result<Json<ThreatEventView>, Failure> {
    let permit = may_list(&api, &op).await?;
    let seq = seq.parse::<u64>().map_err(|_| Failure::not_found())?;
    let found = api.intel.event(&permit, seq).await.map_err(intel_refusal)?;
    Ok(Json(found.ok_or_else(|| intel_refusal(IntelError::NoSuchEvent(seq)))?.into()))
}

async fn may_create(api: &Api, op: &OpContext) -> Result<Permit<Create>, Failure> {
    api.kernel.authorize_of_node::<Create>(op, ResourceKind::ThreatEvent).await.map_err(refusal)
}

#[utoipa::path(
    post, path = "/intel/events", operation_id = "report_threat", tag = "intel", summary = "Reports a threat",
    request_body = ThreatBody, extensions(("x-permission" = json!("threat-event:create"))),
    responses(
        (status = 201, description = "The event, signed by this node and shared if it may be", body = ThreatEventView),
        (status = 422, description = "A field is wrong", body = ErrorBody),
    )
)]
/// Reports a threat.
pub async fn report_threat(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<ThreatBody>,
) -> Result<Response, Failure> {
    may_create(&api, &op).await?;
    let ThreatBody { source_ip, threat_type, severity, tlp: marking } = body.decode().await?;
    let op = op.again(&api.kernel).await?;
    let permit = may_create(&api, &op).await?;
    let new = NewThreat { source_ip, threat_type, severity, tlp: tlp(marking.as_deref())? };
    let stored = api.intel.report(&op, &permit, new).await.map_err(intel_refusal)?;
    let view = ThreatEventView::from(cm_intel::Stored::clone(&stored));
    let location = format!("{}/intel/events/{}", crate::document::PREFIX, view.seq);
    Ok((StatusCode::CREATED, [(header::LOCATION, location)], Json(view)).into_response())
}

#[utoipa::path(
    post, path = "/intel/events/import", operation_id = "import_threat_event", tag = "intel",
    summary = "Takes in an event that another node signed", request_body = SignedEventBody,
    extensions(("x-permission" = json!("threat-event:create"))),
    responses(
        (status = 200, description = "It was verified, and is kept", body = ImportedView),
        (status = 409, description = "It is valid, but its reporter is not listened to", body = ErrorBody),
        (status = 422, description = "It was not signed by whom it names", body = ErrorBody),
    )
)]
/// Takes in an event that another node signed.
pub async fn import_threat_event(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<SignedEventBody>,
) -> Result<Json<ImportedView>, Failure> {
    may_create(&api, &op).await?;
    let body = body.decode().await?;
    let op = op.again(&api.kernel).await?;
    let permit = may_create(&api, &op).await?;
    let marking = tlp(body.tlp.as_deref())?;
    let event = ThreatEvent {
        id: body.id,
        source_ip: body.source_ip,
        threat_type: body.threat_type,
        severity: body.severity,
        timestamp: body.timestamp,
        reporter_pubkey: body.reporter_pubkey,
        signature: body.signature,
    };
    let who = op.principal().map_or_else(|| "api".to_owned(), ToString::to_string);
    let imported = api.intel.import(&op, &permit, event, &who, marking).await;
    Ok(Json(imported.map_err(intel_refusal)?.into()))
}

#[utoipa::path(
    post, path = "/intel/events/{seq}/dismiss", operation_id = "dismiss_threat_event", tag = "intel",
    summary = "Says that an event is false", params(("seq" = u64, Path, description = "Its number")),
    extensions(("x-permission" = json!("threat-event:create threat-event:list"))),
    responses((status = 200, description = "What is held of its reporter now", body = ReputationView))
)]
/// Says that an event is false, which is held against its reporter.
pub async fn dismiss_threat_event(
    State(api): State<Api>,
    Op(op): Op,
    Path(seq): Path<String>,
) -> Result<Json<ReputationView>, Failure> {
    let permit = may_create(&api, &op).await?;
    let listing = may_list(&api, &op).await?;
    let seq = seq.parse::<u64>().map_err(|_| Failure::not_found())?;
    let reporter = api.intel.dismiss(&op, &permit, seq).await.map_err(intel_refusal)?;
    let found = api.intel.why(&listing, reporter).await.map_err(intel_refusal)?;
    Ok(Json(found.ok_or_else(Failure::not_found)?.into()))
}

#[utoipa::path(
    get, path = "/intel/reputations", operation_id = "list_reputations", tag = "intel",
    summary = "Lists reporters with what is held of them", params(IntelPageParams),
    extensions(("x-permission" = json!("threat-event:list"))),
    responses((status = 200, description = "Reporters in the order of their keys; `Next-Cursor` if there are more", body = Vec<ReputationView>))
)]
/// Lists reporters with what is held of them.
pub async fn list_reputations(
    State(api): State<Api>,
    Op(op): Op,
    params: Params<IntelPageParams>,
) -> Result<Listing<ReputationView>, Failure> {
    let permit = may_list(&api, &op).await?;
    let params = params.decode()?;
    let after = params.after.as_deref().filter(|after| !after.is_empty()).map(key).transpose()?;
    let page = api.intel.reputations(&permit, after, page_limit(params.limit)).await;
    Ok(Listing::of(page.map_err(intel_refusal)?, ReputationView::from))
}

#[utoipa::path(
    get, path = "/intel/reputations/{key}", operation_id = "read_reputation", tag = "intel",
    summary = "Says what is held of a reporter, and why",
    params(("key" = String, Path, description = "The SHA-256 of its key")),
    extensions(("x-permission" = json!("threat-event:list"))),
    responses((status = 200, description = "Score, standing and every reason", body = ReputationView))
)]
/// Says what is held of a reporter, and why.
pub async fn read_reputation(
    State(api): State<Api>,
    Op(op): Op,
    Path(text): Path<String>,
) -> Result<Json<ReputationView>, Failure> {
    let permit = may_list(&api, &op).await?;
    let key = text.parse().map_err(|_| Failure::not_found())?;
    let found = api.intel.why(&permit, key).await.map_err(intel_refusal)?;
    Ok(Json(found.ok_or_else(Failure::not_found)?.into()))
}

#[utoipa::path(
    get, path = "/intel/peers", operation_id = "list_intel_links", tag = "intel",
    summary = "Lists links to peers, and peers that cannot be reached",
    extensions(("x-permission" = json!("threat-event:list"))),
    responses((status = 200, description = "All of them", body = Vec<PeerView>))
)]
/// Lists links to peers, and peers that cannot be reached.
pub async fn list_intel_links(State(api): State<Api>, Op(op): Op) -> Result<Json<Vec<PeerView>>, Failure> {
    let permit = may_list(&api, &op).await?;
    Ok(Json(api.intel.peers(&permit).into_iter().map(PeerView::from).collect()))
}

#[utoipa::path(
    get, path = "/intel/indicators", operation_id = "list_indicators", tag = "intel",
    summary = "Lists sources of threats", params(IntelPageParams),
    extensions(("x-permission" = json!("threat-event:list"))),
    responses((status = 200, description = "Those that hold at present, by name; `Next-Cursor` if there may be more", body = Vec<IndicatorView>))
)]
/// Lists sources of threats that hold at present.
pub async fn list_indicators(
    State(api): State<Api>,
    Op(op): Op,
    params: Params<IntelPageParams>,
) -> Result<Listing<IndicatorView>, Failure> {
    let permit = may_list(&api, &op).await?;
    let params = params.decode()?;
    let after = cursor(params.after).map(|cursor| cursor.0);
    let page = api.intel.indicators(&permit, after, page_limit(params.limit)).await;
    Ok(Listing::of(page.map_err(intel_refusal)?, IndicatorView::from))
}

#[utoipa::path(
    get, path = "/intel/forged", operation_id = "list_forged_events", tag = "intel",
    summary = "Lists events that were not signed by whom they name", params(IntelPageParams),
    extensions(("x-permission" = json!("threat-event:list"))),
    responses((status = 200, description = "The newest first, at most 1000", body = Vec<ForgedView>))
)]
/// Lists events that were not signed by whom they name: evidence against those who brought them.
pub async fn list_forged_events(
    State(api): State<Api>,
    Op(op): Op,
    params: Params<IntelPageParams>,
) -> Result<Json<Vec<ForgedView>>, Failure> {
    let permit = may_list(&api, &op).await?;
    let params = params.decode()?;
    let forged = api.intel.forged(&permit, page_limit(params.limit)).await.map_err(intel_refusal)?;
    Ok(Json(forged.into_iter().map(ForgedView::from).collect()))
}

#[utoipa::path(
    get, path = "/intel/export", operation_id = "export_indicators", tag = "intel",
    summary = "Writes indicators for other tools", params(ExportParams),
    extensions(("x-permission" = json!("threat-event:list"))),
    responses((status = 200, content_type = "text/plain", description = "An nftables set, a plain list of addresses, or a Sigma rule", body = String))
)]
/// Writes indicators for other tools. What is marked red is left out.
pub async fn export_indicators(
    State(api): State<Api>,
    Op(op): Op,
    params: Params<ExportParams>,
) -> Result<Response, Failure> {
    let permit = may_list(&api, &op).await?;
    let params = params.decode()?;
    let format = params.format.as_deref().unwrap_or("plain").parse::<Format>();
    let format = format.map_err(|error| bad_parameter("format", &error.to_string()))?;
    let least = params.confidence.unwrap_or(50);
    let text = export(&api.intel, &permit, format, least).await.map_err(intel_refusal)?;
    Ok(([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], text).into_response())
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(read_intel_status))
        .routes(routes!(list_threat_events, report_threat))
        .routes(routes!(read_threat_event))
        .routes(routes!(import_threat_event))
        .routes(routes!(dismiss_threat_event))
        .routes(routes!(list_reputations))
        .routes(routes!(read_reputation))
        .routes(routes!(list_intel_links))
        .routes(routes!(list_indicators))
        .routes(routes!(list_forged_events))
        .routes(routes!(export_indicators))
}
