//! Chunks that nobody has read for long, in another service.

use axum::Json;
use axum::extract::{Path, State};
use cm_http::{Failure, FailureClass, JsonBody};
use cm_kernel::objects::ColdStatus;
use cm_kernel::policy::{Read, Update};
use cm_types::{BucketName, ResourceKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::document::ErrorBody;
use crate::failure::refusal;

/// When chunks of a bucket may go to the cold tier.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BucketCold {
    /// After so many days without access, 0 to 36500; `null` if they stay.
    pub after_days: Option<u32>,
}

/// The cold tier.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ColdTierView {
    /// What the service is called; `null` if the node that was asked has none.
    pub place: Option<String>,
    /// Buckets that want their cold chunks there.
    pub buckets: u64,
    /// Chunks that lie there and nowhere else.
    pub chunks: u64,
    /// Their bytes, before they were sealed.
    pub bytes: u64,
    /// Names there that are not needed any more and wait to be deleted; counted up to 10,000.
    pub waiting: u64,
    /// When all cold chunks were last looked for, RFC 3339.
    #[schema(format = "date-time")]
    pub looked_at: Option<String>,
    /// Why the node that was asked has last failed to use the service, unless it succeeded since.
    pub failure: Option<String>,
}

impl From<ColdStatus> for ColdTierView {
    fn from(status: ColdStatus) -> Self {
        let ColdStatus { place, buckets, chunks, bytes, waiting, looked_at, failure } = status;
        let looked_at = looked_at.map(|at| at.to_string());
        Self { place, buckets, chunks, bytes, waiting, looked_at, failure }
    }
}

fn invalid(reason: impl std::fmt::Display) -> Failure {
    Failure::new(FailureClass::Invalid, reason.to_string())
}

#[utoipa::path(
    get, path = "/storage/cold", operation_id = "read_cold_tier", tag = "network",
    extensions(("x-permission" = json!("tenant:list"))),
    responses((status = 200, description = "The cold tier", body = ColdTierView))
)]
/// Describes the cold tier.
pub async fn read_cold_tier(State(api): State<Api>, Op(op): Op) -> Result<Json<ColdTierView>, Failure> {
    let permit = api.kernel.authorize_network_view(&op).await.map_err(refusal)?;
    Ok(Json(api.kernel.cold_status(&permit).await.map_err(refusal)?.into()))
}

#[utoipa::path(
    get, path = "/buckets/{id}/cold", operation_id = "read_bucket_cold", tag = "buckets",
    params(("id" = String, Path, description = "The bucket")),
    extensions(("x-permission" = json!("bucket:read"))),
    responses((status = 200, description = "When its chunks may go to the cold tier", body = BucketCold))
)]
/// Says when chunks of a bucket may go to the cold tier.
pub async fn read_bucket_cold(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<Json<BucketCold>, Failure> {
    let (_, permit) = api.kernel.look_up::<Read>(&op, ResourceKind::Bucket, &id).await.map_err(refusal)?;
    let bucket = BucketName::parse(&id).map_err(invalid)?;
    let after_days = api.kernel.objects().cold_after(&permit, &bucket).await;
    Ok(Json(BucketCold { after_days: after_days.map_err(|error| refusal(error.into()))? }))
}

#[utoipa::path(
    put, path = "/buckets/{id}/cold", operation_id = "change_bucket_cold", tag = "buckets",
    params(("id" = String, Path, description = "The bucket")),
    request_body = BucketCold,
    extensions(("x-permission" = json!("bucket:update"))),
    responses(
        (status = 200, description = "When its chunks may go from now on", body = BucketCold),
        (status = 409, description = "The node has no cold tier", body = ErrorBody),
    )
)]
/// Lets chunks of a bucket go to the cold tier, or no longer: those that are there then come back as they are read.
pub async fn change_bucket_cold(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    body: JsonBody<BucketCold>,
) -> Result<Json<BucketCold>, Failure> {
    api.kernel.look_up::<Update>(&op, ResourceKind::Bucket, &id).await.map_err(refusal)?;
    let BucketCold { after_days } = body.decode().await?;
    let op = op.again(&api.kernel).await?;
    let (_, permit) = api.kernel.look_up::<Update>(&op, ResourceKind::Bucket, &id).await.map_err(refusal)?;
    let bucket = BucketName::parse(&id).map_err(invalid)?;
    let request = Some(op.request.clone());
    let set = api.kernel.objects().set_cold_after(&permit, &bucket, after_days, request).await;
    set.map_err(|error| refusal(error.into()))?;
    Ok(Json(BucketCold { after_days }))
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(read_cold_tier)).routes(routes!(read_bucket_cold, change_bucket_cold))
}
