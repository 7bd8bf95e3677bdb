//! Copies of a bucket's chunks that follow the load.

use axum::Json;
use axum::extract::{Path, State};
use cm_http::{Failure, FailureClass, JsonBody};
use cm_kernel::objects::Elastic;
use cm_kernel::policy::{Read, Update};
use cm_types::{BucketName, ResourceKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::failure::refusal;

/// How copies of a bucket's chunks follow the load.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BucketElastic {
    /// Most holders of a chunk, the promised ones included, 1 to 64; `null` if copies do not follow the load.
    pub copies_max: Option<u8>,
    /// A policy of replication, which says who is to have copies besides, and when.
    pub policy: Option<String>,
}

fn invalid(reason: impl std::fmt::Display) -> Failure {
    Failure::new(FailureClass::Invalid, reason.to_string())
}

fn view(elastic: Option<Elastic>) -> BucketElastic {
    match elastic {
        Some(Elastic { copies_max, policy }) => BucketElastic { copies_max: Some(copies_max), policy },
        None => BucketElastic { copies_max: None, policy: None },
    }
}

#[utoipa::path(
    get, path = "/buckets/{id}/elastic", operation_id = "read_bucket_elastic", tag = "buckets",
    params(("id" = String, Path, description = "The bucket")),
    extensions(("x-permission" = json!("bucket:read"))),
    responses((status = 200, description = "How its copies follow the load", body = BucketElastic))
)]
/// Says how copies of a bucket's chunks follow the load in a storage network.
pub async fn read_bucket_elastic(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<Json<BucketElastic>, Failure> {
    let (_, permit) = api.kernel.look_up::<Read>(&op, ResourceKind::Bucket, &id).await.map_err(refusal)?;
    let bucket = BucketName::parse(&id).map_err(invalid)?;
    let elastic = api.kernel.objects().elastic(&permit, &bucket).await.map_err(|e| refusal(e.into()))?;
    Ok(Json(view(elastic)))
}

#[utoipa::path(
    put, path = "/buckets/{id}/elastic", operation_id = "change_bucket_elastic", tag = "buckets",
    params(("id" = String, Path, description = "The bucket")),
    request_body = BucketElastic,
    extensions(("x-permission" = json!("bucket:update"))),
    responses((status = 200, description = "How its copies follow the load from now on", body = BucketElastic))
)]
/// Lets copies of a bucket's chunks follow the load, or no longer: then those beyond the promised ones are dropped.
pub async fn change_bucket_elastic(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    body: JsonBody<BucketElastic>,
) -> Result<Json<BucketElastic>, Failure> {
    api.kernel.look_up::<Update>(&op, ResourceKind::Bucket, &id).await.map_err(refusal)?;
    let elastic = match body.decode().await? {
        BucketElastic { copies_max: Some(copies_max), policy } => Some(Elastic { copies_max, policy }),
        BucketElastic { copies_max: None, policy: None } => None,
        BucketElastic { .. } => return Err(invalid("`policy` means nothing without `copies_max`")),
    };
    let op = op.again(&api.kernel).await?;
    let (_, permit) = api.kernel.look_up::<Update>(&op, ResourceKind::Bucket, &id).await.map_err(refusal)?;
    let bucket = BucketName::parse(&id).map_err(invalid)?;
    let request = Some(op.request.clone());
    let set = api.kernel.objects().set_elastic(&permit, &bucket, elastic.clone(), request).await;
    set.map_err(|error| refusal(error.into()))?;
    Ok(Json(view(elastic)))
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(read_bucket_elastic, change_bucket_elastic))
}
