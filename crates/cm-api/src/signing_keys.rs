//! Keys that sign what the node issues. They are of the whole node.

use axum::Json;
use axum::extract::{Path, State};
use cm_http::{Failure, FailureClass, JsonBody};
use cm_kernel::identity::{Purpose, SigningKeyInfo};
use cm_kernel::policy::{List, Update};
use cm_types::ResourceKind;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::failure::refusal;

/// A signing key, without the key.
#[derive(Debug, Serialize, ToSchema)]
pub struct SigningKeyView {
    /// What it signs: `tokens`, `xolo`, `workload-tokens` or `workloads`.
    pub purpose: String,
    /// With which algorithm.
    pub algorithm: String,
    /// Its name, the `kid` of tokens.
    pub id: String,
    /// Whether it signs; otherwise it only verifies what it signed before, or is an authority that is published and signs soon.
    pub active: bool,
    /// Since when it exists, RFC 3339.
    #[schema(format = "date-time")]
    pub created_at: String,
    /// Until when what it signed is accepted, RFC 3339.
    #[schema(format = "date-time")]
    pub ends_at: Option<String>,
    /// The name of the master key under which it is kept.
    pub master: String,
}

impl From<SigningKeyInfo> for SigningKeyView {
    fn from(key: SigningKeyInfo) -> Self {
        Self {
            purpose: key.purpose.to_string(),
            algorithm: key.purpose.algorithm().to_owned(),
            active: key.is_active,
            id: key.id,
            created_at: key.created_at.to_string(),
            ends_at: key.ends_at.map(|end| end.to_string()),
            master: key.master,
        }
    }
}

/// How a key is rotated.
#[derive(Debug, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct Rotation {
    /// Whether what earlier keys signed is refused from now on, because somebody else has them.
    pub at_once: bool,
}

#[utoipa::path(
    get, path = "/keys", operation_id = "list_signing_keys", tag = "keys",
    extensions(("x-permission" = json!("tenant:list"))),
    responses((status = 200, description = "The keys that sign or still verify", body = Vec<SigningKeyView>))
)]
/// Lists the signing keys.
pub async fn list_signing_keys(
    State(api): State<Api>,
    Op(op): Op,
) -> Result<Json<Vec<SigningKeyView>>, Failure> {
    let permit = api.kernel.authorize_of_node::<List>(&op, ResourceKind::Tenant).await.map_err(refusal)?;
    let keys = api.kernel.list_signing_keys(&permit).await.map_err(refusal)?;
    Ok(Json(keys.into_iter().map(SigningKeyView::from).collect()))
}

#[utoipa::path(
    post, path = "/keys/{purpose}/rotate", operation_id = "rotate_signing_key", tag = "keys",
    params(("purpose" = String, Path, description = "What it signs: `tokens`, `xolo`, `workload-tokens` or `workloads`")),
    request_body(content = Rotation, description = "May be absent"),
    extensions(("x-permission" = json!("tenant:update"))),
    responses((status = 200, description = "The key that signs from now on", body = SigningKeyView))
)]
/// Puts a new key in the place of the one that signs.
pub async fn rotate_signing_key(
    State(api): State<Api>,
    Op(op): Op,
    Path(purpose): Path<String>,
    body: JsonBody<Rotation>,
) -> Result<Json<SigningKeyView>, Failure> {
    api.kernel.authorize_of_node::<Update>(&op, ResourceKind::Tenant).await.map_err(refusal)?;
    let Rotation { at_once } = body.decode_or_default().await?;
    let purpose: Purpose =
        purpose.parse().map_err(|error| Failure::new(FailureClass::NotFound, format!("{error}")))?;
    let op = op.again(&api.kernel).await?;
    let permit = api.kernel.authorize_of_node::<Update>(&op, ResourceKind::Tenant).await.map_err(refusal)?;
    let key = api.kernel.rotate_signing_key(&op, &permit, purpose, at_once).await.map_err(refusal)?;
    Ok(Json(key.into()))
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_signing_keys)).routes(routes!(rotate_signing_key))
}
