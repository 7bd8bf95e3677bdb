//! API keys: credentials that last until they are revoked.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use cm_http::{Failure, JsonBody};
use cm_kernel::identity::{ApiKeyInfo, ApiKeyKind};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::failure::refusal;
use crate::listing::Listing;
use crate::record::place;

/// What an API key opens.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "lowercase")]
pub enum KeyKind {
    /// It is sent along as a bearer token.
    #[default]
    Bearer,
    /// Requests of S3 are signed with it.
    S3,
}

impl From<ApiKeyKind> for KeyKind {
    fn from(kind: ApiKeyKind) -> Self {
        match kind {
            ApiKeyKind::Bearer => Self::Bearer,
            ApiKeyKind::S3 => Self::S3,
        }
    }
}

/// An API key without its secret.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct ApiKeyView {
    /// Its id: the middle part of its text, or the access key id of S3.
    pub id: String,
    /// What it opens.
    pub kind: KeyKind,
    /// What it is for.
    pub label: String,
    /// When it was created, RFC 3339.
    #[schema(format = "date-time")]
    pub created_at: String,
}

impl From<ApiKeyInfo> for ApiKeyView {
    fn from(info: ApiKeyInfo) -> Self {
        let kind = info.kind.into();
        Self { id: info.id, kind, label: info.label, created_at: info.created_at.to_string() }
    }
}

/// An API key to be created.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ApiKeyCreation {
    /// What it is for.
    pub label: String,
    /// What it opens.
    #[serde(default)]
    pub kind: KeyKind,
}

/// A new API key. Its text is shown this once.
#[derive(Serialize, ToSchema)]
pub struct IssuedApiKey {
    /// The text, to be used as a bearer token; for S3, the secret access key.
    pub key: String,
    /// Its id; for S3, the access key id.
    pub id: String,
    /// What it opens.
    pub kind: KeyKind,
    /// What it is for.
    pub label: String,
    /// When it was created, RFC 3339.
    #[schema(format = "date-time")]
    pub created_at: String,
}

#[utoipa::path(
    get, path = "/principals/{id}/api-keys", operation_id = "list_api_keys", tag = "principals",
    params(("id" = String, Path, description = "The principal")),
    extensions(("x-permission" = json!("principal:grant"))),
    responses((status = 200, description = "All keys of the principal, without their secrets", body = Vec<ApiKeyView>))
)]
/// Lists a principal's API keys.
pub async fn list_api_keys(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<Listing<ApiKeyView>, Failure> {
    let (principal, permit) = api.kernel.look_up_credentials(&op, &id).await.map_err(refusal)?;
    let keys = api.kernel.list_api_keys(permit, &principal.id).await.map_err(refusal)?;
    Ok(Listing { items: keys.into_iter().map(ApiKeyView::from).collect(), next: None })
}

#[utoipa::path(
    post, path = "/principals/{id}/api-keys", operation_id = "create_api_key", tag = "principals",
    params(("id" = String, Path, description = "The principal")), request_body = ApiKeyCreation,
    extensions(("x-permission" = json!("principal:grant"))),
    responses((status = 201, description = "The key, shown this once", body = IssuedApiKey))
)]
/// Makes an API key: for oneself without a permission, or for somebody whose roles permit no more than the caller holds.
pub async fn create_api_key(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    body: JsonBody<ApiKeyCreation>,
) -> Result<Response, Failure> {
    api.kernel.look_up_credentials(&op, &id).await.map_err(refusal)?;
    let ApiKeyCreation { label, kind } = body.decode().await?;
    let op = op.again(&api.kernel).await?;
    let (principal, permit) = api.kernel.look_up_credentials(&op, &id).await.map_err(refusal)?;
    let made = match kind {
        KeyKind::Bearer => api.kernel.create_api_key(&op, permit, &principal, label).await,
        KeyKind::S3 => api.kernel.create_s3_key(&op, permit, &principal, label).await,
    };
    let (key, info) = made.map_err(refusal)?;
    let place = place(&format!("principals/{}/api-keys/{}", principal.id, info.id))?;
    let issued = IssuedApiKey {
        key: key.expose().clone(),
        id: info.id,
        kind,
        label: info.label,
        created_at: info.created_at.to_string(),
    };
    Ok((StatusCode::CREATED, [(header::LOCATION, place)], Json(issued)).into_response())
}

#[utoipa::path(
    delete, path = "/principals/{id}/api-keys/{key}", operation_id = "revoke_api_key", tag = "principals",
    params(
        ("id" = String, Path, description = "The principal"),
        ("key" = String, Path, description = "The key's id"),
    ),
    extensions(("x-permission" = json!("principal:grant"))),
    responses((status = 204, description = "It is no credential any more"))
)]
/// Revokes an API key, and with it every token made with it.
pub async fn revoke_api_key(
    State(api): State<Api>,
    Op(op): Op,
    Path((id, key)): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    let (principal, permit) = api.kernel.look_up_credentials(&op, &id).await.map_err(refusal)?;
    api.kernel.revoke_api_key(&op, permit, &principal.id, key).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_api_keys, create_api_key)).routes(routes!(revoke_api_key))
}
