//! How the content of a bucket becomes chunks.

use axum::Json;
use axum::extract::{Path, State};
use cm_http::{Failure, FailureClass, JsonBody};
use cm_kernel::objects::{Compression, Cutting, Packing};
use cm_kernel::policy::{Read, Update};
use cm_types::{BucketName, ResourceKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::failure::refusal;

/// How the content of a bucket's objects becomes chunks that are written from now on.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BucketPacking {
    /// Where it is cut: every MiB (`fixed`, unless told), or where the bytes say so (`content`).
    #[serde(default)]
    #[schema(value_type = String)]
    pub cutting: Cutting,
    /// Whether chunks are compressed: `none`, unless told, or `zstd`.
    #[serde(default)]
    #[schema(value_type = String)]
    pub compression: Compression,
}

impl From<Packing> for BucketPacking {
    fn from(packing: Packing) -> Self {
        let Packing { cutting, compression } = packing;
        Self { cutting, compression }
    }
}

fn bucket(id: &str) -> Result<BucketName, Failure> {
    BucketName::parse(id).map_err(|error| Failure::new(FailureClass::Invalid, error.to_string()))
}

#[utoipa::path(
    get, path = "/buckets/{id}/packing", operation_id = "read_bucket_packing", tag = "buckets",
    params(("id" = String, Path, description = "The bucket")),
    extensions(("x-permission" = json!("bucket:read"))),
    responses((status = 200, description = "How content becomes chunks", body = BucketPacking))
)]
/// Says where the content of a bucket's objects is cut, and whether it is compressed.
pub async fn read_bucket_packing(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<Json<BucketPacking>, Failure> {
    let (_, permit) = api.kernel.look_up::<Read>(&op, ResourceKind::Bucket, &id).await.map_err(refusal)?;
    let packing = api.kernel.objects().packing(&permit, &bucket(&id)?).await;
    Ok(Json(packing.map_err(|error| refusal(error.into()))?.into()))
}

#[utoipa::path(
    put, path = "/buckets/{id}/packing", operation_id = "change_bucket_packing", tag = "buckets",
    params(("id" = String, Path, description = "The bucket")),
    request_body = BucketPacking,
    extensions(("x-permission" = json!("bucket:update"))),
    responses((status = 200, description = "How content becomes chunks that is written from now on", body = BucketPacking))
)]
/// Says where content is to be cut that is written from now on, and whether it is to be compressed.
pub async fn change_bucket_packing(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    body: JsonBody<BucketPacking>,
) -> Result<Json<BucketPacking>, Failure> {
    api.kernel.look_up::<Update>(&op, ResourceKind::Bucket, &id).await.map_err(refusal)?;
    let BucketPacking { cutting, compression } = body.decode().await?;
    let packing = Packing { cutting, compression };
    let op = op.again(&api.kernel).await?;
    let (_, permit) = api.kernel.look_up::<Update>(&op, ResourceKind::Bucket, &id).await.map_err(refusal)?;
    let request = Some(op.request.clone());
    let set = api.kernel.objects().set_packing(&permit, &bucket(&id)?, packing, request).await;
    set.map_err(|error| refusal(error.into()))?;
    Ok(Json(packing.into()))
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(read_bucket_packing, change_bucket_packing))
}
