//! How much buckets and tenants may keep.

use axum::Json;
use axum::extract::{Path, State};
use cm_http::{Failure, FailureClass, JsonBody};
use cm_kernel::objects::{Quota, Usage};
use cm_kernel::policy::{List, Read, Update};
use cm_types::{BucketName, ResourceKind, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::document::ErrorBody;
use crate::failure::refusal;

/// How much may be kept.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct QuotaBody {
    /// Bytes of all versions, and of parts of uploads under way; `null` or left out for as many as there is room for.
    pub bytes_max: Option<u64>,
    /// Versions of objects; `null` or left out for as many as there is room for.
    pub objects_max: Option<u64>,
}

/// How much may be kept, and how much is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct QuotaView {
    /// Bytes of all versions, and of parts of uploads under way; `null` for as many as there is room for.
    pub bytes_max: Option<u64>,
    /// Versions of objects; `null` for as many as there is room for.
    pub objects_max: Option<u64>,
    /// The bytes that there are; `null` as long as nobody has counted, which begins with the first quota.
    pub bytes: Option<u64>,
    /// The versions that there are.
    pub objects: Option<u64>,
}

fn view((quota, usage): (Quota, Option<Usage>)) -> QuotaView {
    QuotaView {
        bytes_max: quota.bytes_max,
        objects_max: quota.objects_max,
        bytes: usage.map(|usage| usage.bytes),
        objects: usage.map(|usage| usage.objects),
    }
}

fn quota(body: QuotaBody) -> Quota {
    Quota { bytes_max: body.bytes_max, objects_max: body.objects_max }
}

fn bucket(id: &str) -> Result<BucketName, Failure> {
    BucketName::parse(id).map_err(|error| Failure::new(FailureClass::Invalid, error.to_string()))
}

#[utoipa::path(
    get, path = "/buckets/{id}/quota", operation_id = "read_bucket_quota", tag = "buckets",
    params(("id" = String, Path, description = "The bucket")),
    extensions(("x-permission" = json!("bucket:read"))),
    responses((status = 200, description = "How much it may keep, and how much it does", body = QuotaView))
)]
/// Says how much a bucket may keep, and how much it does.
pub async fn read_bucket_quota(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<Json<QuotaView>, Failure> {
    let (_, permit) = api.kernel.look_up::<Read>(&op, ResourceKind::Bucket, &id).await.map_err(refusal)?;
    let found = api.kernel.objects().bucket_quota(&permit, &bucket(&id)?).await;
    Ok(Json(view(found.map_err(|error| refusal(error.into()))?)))
}

#[utoipa::path(
    put, path = "/buckets/{id}/quota", operation_id = "change_bucket_quota", tag = "buckets",
    params(("id" = String, Path, description = "The bucket")),
    request_body = QuotaBody,
    extensions(("x-permission" = json!("tenant:update"))),
    responses(
        (status = 200, description = "How much it may keep from now on", body = QuotaView),
        (status = 404, description = "There is no such bucket", body = ErrorBody),
    )
)]
/// Says how much a bucket may keep. That takes who may change the tenant: whoever may change the bucket is bound by it.
pub async fn change_bucket_quota(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    body: JsonBody<QuotaBody>,
) -> Result<Json<QuotaView>, Failure> {
    api.kernel.authorize::<Update>(&op, ResourceKind::Tenant).await.map_err(refusal)?;
    let quota = quota(body.decode().await?);
    let op = op.again(&api.kernel).await?;
    let permit = api.kernel.authorize::<Update>(&op, ResourceKind::Tenant).await.map_err(refusal)?;
    let usage = api
        .kernel
        .objects()
        .set_bucket_quota(&permit, &bucket(&id)?, quota, Some(op.request.clone()))
        .await
        .map_err(|error| refusal(error.into()))?;
    Ok(Json(view((quota, Some(usage)))))
}

#[utoipa::path(
    get, path = "/tenants/{id}/quota", operation_id = "read_tenant_quota", tag = "tenants",
    params(("id" = String, Path, description = "The tenant")),
    extensions(("x-permission" = json!("tenant:list"))),
    responses((status = 200, description = "How much its buckets may keep together, and how much they do", body = QuotaView))
)]
/// Says how much a tenant may keep in all its buckets, and how much it does.
pub async fn read_tenant_quota(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<Json<QuotaView>, Failure> {
    let permit = api.kernel.authorize_of_node::<List>(&op, ResourceKind::Tenant).await.map_err(refusal)?;
    let tenant = TenantId::parse(id).map_err(|_| Failure::not_found())?;
    Ok(Json(view(api.kernel.tenant_quota(&permit, &tenant).await.map_err(refusal)?)))
}

#[utoipa::path(
    put, path = "/tenants/{id}/quota", operation_id = "change_tenant_quota", tag = "tenants",
    params(("id" = String, Path, description = "The tenant")),
    request_body = QuotaBody,
    extensions(("x-permission" = json!("tenant:update"))),
    responses(
        (status = 200, description = "How much its buckets may keep together from now on", body = QuotaView),
        (status = 404, description = "There is no such tenant", body = ErrorBody),
    )
)]
/// Says how much a tenant may keep in all its buckets.
pub async fn change_tenant_quota(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    body: JsonBody<QuotaBody>,
) -> Result<Json<QuotaView>, Failure> {
    api.kernel.authorize_of_node::<Update>(&op, ResourceKind::Tenant).await.map_err(refusal)?;
    let quota = quota(body.decode().await?);
    let op = op.again(&api.kernel).await?;
    let permit = api.kernel.authorize_of_node::<Update>(&op, ResourceKind::Tenant).await.map_err(refusal)?;
    let tenant = TenantId::parse(id).map_err(|_| Failure::not_found())?;
    let usage = api.kernel.set_tenant_quota(&op, &permit, &tenant, quota).await.map_err(refusal)?;
    Ok(Json(view((quota, Some(usage)))))
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(read_bucket_quota, change_bucket_quota))
        .routes(routes!(read_tenant_quota, change_tenant_quota))
}
