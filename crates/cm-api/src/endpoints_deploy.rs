//! Deploying endpoints and detaching them.
//!
//! A deployment is answered before anything is launched, in state `warming`; what becomes of it is in the record's status
//! and in the endpoint's states.

use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use cm_door::endpoint_refusal;
use cm_http::{Failure, JsonBody, Params};
use cm_kernel::catalog::{Dependents, Record};
use cm_kernel::idempotency::IdempotencyKey;
use cm_kernel::policy::{Create, Delete, Permit, Update};
use cm_kernel::{Kernel, OpContext};
use cm_types::ResourceKind;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::deletion::DeleteParams;
use crate::document::ErrorBody;
use crate::endpoints::{EndpointBody, EndpointRecord, EndpointSpec};
use crate::failure::refusal;
use crate::fields::Fields;
use crate::record;

#[utoipa::path(
    post, path = "/endpoints/deploy", operation_id = "create_deployed_endpoint", tag = "endpoints",
    summary = "Creates an endpoint and deploys it", request_body = EndpointBody,
    params(("Idempotency-Key" = Option<String>, Header, description = "As when a record is created: who sends the same again gets what the first request made")),
    extensions(("x-permission" = json!("endpoint:create"))),
    responses(
        (status = 201, description = "The new record, in state `warming`; `Location` says where", body = EndpointRecord),
        (status = 409, description = "The id is taken", body = ErrorBody),
        (status = 422, description = "A field is wrong, or refers to nothing", body = ErrorBody),
        (status = 429, description = "The tenant has deployed as much as it may; the message names the limit", body = ErrorBody),
    )
)]
/// Creates an endpoint and deploys it: both or neither.
pub async fn create_deployed_endpoint(
    State(api): State<Api>,
    Op(op): Op,
    headers: HeaderMap,
    body: JsonBody<Fields>,
) -> Result<Response, Failure> {
    let kernel = &api.kernel;
    record::require_some_creation(kernel, &op, ResourceKind::Endpoint).await?;
    let fields = body.decode().await?;
    let key = record::idempotency_key(&headers, "endpoints/deploy", &fields)?;
    let new = record::new_record::<EndpointSpec>(kernel, fields)?;
    let op = op.again(kernel).await?;
    let permit = kernel.authorize_labelled::<Create>(&op, ResourceKind::Endpoint, &new.labels).await;
    let permit = permit.map_err(refusal)?;
    if let Some(answer) = deployed_before(kernel, &op, &permit, key.as_ref()).await? {
        return Ok(answer);
    }
    match api.endpoints.create_deployed(&op, &permit, new, key.clone()).await {
        Ok(record) => record::created::<EndpointSpec>(kernel, &op, record).await,
        // Perhaps the same request, sent twice, a moment ago.
        Err(error) => match deployed_before(kernel, &op, &permit, key.as_ref()).await? {
            Some(answer) => Ok(answer),
            None => Err(endpoint_refusal(error)),
        },
    }
}

/// What an earlier request made under the same key.
async fn deployed_before(
    kernel: &Kernel,
    op: &OpContext,
    permit: &Permit<Create>,
    key: Option<&IdempotencyKey>,
) -> Result<Option<Response>, Failure> {
    let Some(key) = key else { return Ok(None) };
    match kernel.created_under(op, permit, key).await.map_err(refusal)? {
        Some(record) => record::replayed::<EndpointSpec>(kernel, op, record).await.map(Some),
        None => Ok(None),
    }
}

#[utoipa::path(
    post, path = "/endpoints/{id}/deploy", operation_id = "deploy_endpoint", tag = "endpoints",
    summary = "Deploys an endpoint", params(("id" = String, Path, description = "The endpoint")),
    extensions(("x-permission" = json!("endpoint:update"))),
    responses(
        (status = 202, description = "The record, in state `warming`", body = EndpointRecord),
        (status = 409, description = "It is not cold", body = ErrorBody),
        (status = 429, description = "The tenant has deployed as much as it may; the message names the limit", body = ErrorBody),
    )
)]
/// Deploys an endpoint that is cold.
pub async fn deploy_endpoint(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let (record, permit) = look_up_to_update(&api, &op, &id).await?;
    let record = api.endpoints.deploy(&op, &record, &permit).await.map_err(endpoint_refusal)?;
    record::tagged::<EndpointSpec>(&api.kernel, &op, StatusCode::ACCEPTED, record).await
}

#[utoipa::path(
    post, path = "/endpoints/{id}/detach", operation_id = "detach_endpoint", tag = "endpoints",
    summary = "Ends the deployment of an endpoint", params(("id" = String, Path, description = "The endpoint")),
    extensions(("x-permission" = json!("endpoint:update"))),
    responses(
        (status = 200, description = "The record, in state `cold`", body = EndpointRecord),
        (status = 409, description = "It is cold already, or another node has deployed it", body = ErrorBody),
    )
)]
/// Lets an endpoint finish what is open, stops it and keeps its record. Answers once it is cold.
pub async fn detach_endpoint(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let (record, permit) = look_up_to_update(&api, &op, &id).await?;
    let record = api.endpoints.detach(&op, &record, &permit).await.map_err(endpoint_refusal)?;
    record::tagged::<EndpointSpec>(&api.kernel, &op, StatusCode::OK, record).await
}

#[utoipa::path(
    delete, path = "/endpoints/detach/{id}", operation_id = "detach_and_delete_endpoint", tag = "endpoints",
    summary = "Ends the deployment of an endpoint and deletes it",
    params(("id" = String, Path, description = "The endpoint"), DeleteParams),
    extensions(("x-permission" = json!("endpoint:delete"))),
    responses(
        (status = 200, description = "With `dry_run`: what would go", body = crate::deletion::DeletionPlan),
        (status = 204, description = "It is gone, deployed or not"),
        (status = 409, description = "Something depends on it, or another node has deployed it", body = ErrorBody),
        (status = 412, description = "`If-Match` names another generation", body = ErrorBody),
    )
)]
/// Lets an endpoint finish what is open, stops it and deletes its record, as clients of the earlier implementation do.
pub async fn detach_and_delete_endpoint(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    headers: HeaderMap,
    params: Params<DeleteParams>,
) -> Result<Response, Failure> {
    record::delete::<EndpointSpec>(&api, &op, &id, &headers, params).await
}

async fn look_up_to_update(api: &Api, op: &OpContext, id: &str) -> Result<(Record, Permit<Update>), Failure> {
    api.kernel.look_up::<Update>(op, ResourceKind::Endpoint, id).await.map_err(refusal)
}

/// Ends the deployment of an endpoint that is about to be deleted; the record as it is then.
pub(crate) async fn end(
    api: &Api,
    op: &OpContext,
    record: Record,
    permit: &Permit<Delete>,
    dependents: Dependents,
) -> Result<Record, Failure> {
    api.endpoints.end_before_deletion(op, &record, permit, dependents).await.map_err(endpoint_refusal)
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(create_deployed_endpoint))
        .routes(routes!(deploy_endpoint))
        .routes(routes!(detach_endpoint))
        .routes(routes!(detach_and_delete_endpoint))
}
