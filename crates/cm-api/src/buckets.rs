//! Buckets: containers of objects.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use cm_http::{Failure, JsonBody, Params};
use cm_kernel::catalog::NewRecord;
use cm_kernel::policy::Create;
use cm_types::{BucketName, Labels, ResourceKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::document::ErrorBody;
use crate::failure::refusal;
use crate::listing::{FilterParams, ListParams, Listing};
use crate::record::{self, RecordView, WireSpec};

/// What a bucket is.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BucketSpec {
    /// What it is for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The security policy that guards it and its objects.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub security_policy: Option<String>,
}

impl WireSpec for BucketSpec {
    const KIND: ResourceKind = ResourceKind::Bucket;
}

/// A bucket to be created.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct BucketCreation {
    /// The name, which is also its id: 1 to 63 of a-z, 0-9, `-` and `.`.
    #[schema(value_type = String)]
    pub name: BucketName,
    /// Labels; its objects have them too.
    #[serde(default)]
    #[schema(value_type = std::collections::BTreeMap<String, String>)]
    pub labels: Labels,
    /// What it is.
    #[serde(default)]
    pub spec: BucketSpec,
}

#[utoipa::path(
    get, path = "/buckets", operation_id = "list_buckets", tag = "buckets", params(ListParams, FilterParams),
    extensions(("x-permission" = json!("bucket:list"))),
    responses((status = 200, description = "One page of the buckets that the caller may read", body = Listing<RecordView<BucketSpec>>))
)]
/// Lists buckets.
pub async fn list_buckets(
    State(api): State<Api>,
    Op(op): Op,
    params: Params<ListParams>,
) -> Result<Json<Listing<RecordView<BucketSpec>>>, Failure> {
    record::list(&api.kernel, &op, params).await
}

#[utoipa::path(
    post, path = "/buckets", operation_id = "create_bucket", tag = "buckets", request_body = BucketCreation,
    extensions(("x-permission" = json!("bucket:create"))),
    responses((status = 201, description = "The new bucket; `Location` says where", body = RecordView<BucketSpec>))
)]
/// Creates a bucket.
pub async fn create_bucket(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<BucketCreation>,
) -> Result<Response, Failure> {
    let kernel = &api.kernel;
    record::require_some_creation(kernel, &op, ResourceKind::Bucket).await?;
    let body = body.decode().await?;
    let op = op.again(kernel).await?;
    let permit = kernel
        .authorize_labelled::<Create>(&op, ResourceKind::Bucket, &body.labels)
        .await
        .map_err(refusal)?;
    let new = NewRecord {
        kind: ResourceKind::Bucket,
        id: None,
        name: body.name.to_string(),
        owner: None,
        labels: body.labels,
        spec: record::spec_value(&body.spec),
    };
    let bucket = kernel.create_record(&op, &permit, new).await.map_err(refusal)?;
    record::created::<BucketSpec>(bucket)
}

#[utoipa::path(
    get, path = "/buckets/{bucket}", operation_id = "read_bucket", tag = "buckets",
    params(("bucket" = String, Path, description = "The bucket")),
    extensions(("x-permission" = json!("bucket:read"))),
    responses(
        (status = 200, description = "The bucket; `ETag` is its generation", body = RecordView<BucketSpec>),
        (status = 304, description = "The version named by `If-None-Match`"),
    )
)]
/// Reads a bucket.
pub async fn read_bucket(
    State(api): State<Api>,
    Op(op): Op,
    Path(bucket): Path<String>,
    headers: HeaderMap,
) -> Result<Response, Failure> {
    record::read::<BucketSpec>(&api.kernel, &op, &bucket, &headers).await
}

#[utoipa::path(
    delete, path = "/buckets/{bucket}", operation_id = "delete_bucket", tag = "buckets",
    params(("bucket" = String, Path, description = "The bucket")),
    extensions(("x-permission" = json!("bucket:delete"))),
    responses(
        (status = 204, description = "It is gone"),
        (status = 409, description = "It is not empty", body = ErrorBody),
        (status = 412, description = "`If-Match` names another generation", body = ErrorBody),
    )
)]
/// Removes an empty bucket.
pub async fn delete_bucket(
    State(api): State<Api>,
    Op(op): Op,
    Path(bucket): Path<String>,
    headers: HeaderMap,
) -> Result<StatusCode, Failure> {
    record::delete(&api.kernel, &op, ResourceKind::Bucket, &bucket, &headers).await
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_buckets, create_bucket))
        .routes(routes!(read_bucket, delete_bucket))
}
