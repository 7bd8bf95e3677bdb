//! One threat event in the words of the field: STIX 2.1 and MISP.

use axum::Json;
use axum::extract::{Path, State};
use cm_http::Failure;
use cm_intel::{Stored, stix};
use serde_json::Value;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::intel::{intel_refusal, may_list};

#[utoipa::path(
    get, path = "/intel/events/{seq}/stix", operation_id = "read_threat_event_as_stix", tag = "intel", summary = "Reads an event as STIX",
    params(("seq" = u64, Path, description = "The number of the event")), extensions(("x-permission" = json!("threat-event:list"))),
    responses((
        status = 200, body = Value,
        description = "A bundle of STIX 2.1: identity, indicator with the signed original, sighting"
    ))
)]
/// Reads an event as STIX.
pub async fn read_threat_event_as_stix(
    State(api): State<Api>,
    Op(op): Op,
    Path(seq): Path<String>,
) -> Result<Json<Value>, Failure> {
    Ok(Json(stix::bundle(&stored(&api, &op, &seq).await?)))
}

#[utoipa::path(
    get, path = "/intel/events/{seq}/misp", operation_id = "read_threat_event_as_misp", tag = "intel", summary = "Reads an event as MISP has it",
    params(("seq" = u64, Path, description = "The number of the event")), extensions(("x-permission" = json!("threat-event:list"))),
    responses((status = 200, body = Value, description = "An event of MISP's core format, with the signed original"))
)]
/// Reads an event as MISP has it.
pub async fn read_threat_event_as_misp(
    State(api): State<Api>,
    Op(op): Op,
    Path(seq): Path<String>,
) -> Result<Json<Value>, Failure> {
    Ok(Json(stix::misp(&stored(&api, &op, &seq).await?)))
}

async fn stored(api: &Api, op: &cm_kernel::OpContext, seq: &str) -> Result<Stored, Failure> {
    let permit = may_list(api, op).await?;
    let seq = seq.parse::<u64>().map_err(|_| Failure::not_found())?;
    api.intel.event(&permit, seq).await.map_err(intel_refusal)?.ok_or_else(Failure::not_found)
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(read_threat_event_as_stix)).routes(routes!(read_threat_event_as_misp))
}
