//! What this node says of itself.

use axum::Json;
use axum::extract::State;
use cm_http::Failure;
use cm_kernel::policy::List;
use cm_types::{ResourceKind, Sha256Digest};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::failure::refusal;

/// What a node says of itself. A verifier takes the key from elsewhere: a liar would say its own.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NodeView {
    /// Its name.
    pub name: String,
    /// Its version.
    pub version: String,
    /// The key that signs its evidence and its log, PEM.
    pub verifying_key: String,
    /// Its certificate authority, PEM.
    pub ca_certificate: String,
    /// SHA-256 of the executable that its instances run.
    #[schema(value_type = String)]
    pub measurement: Sha256Digest,
}

#[utoipa::path(
    get, path = "/node", operation_id = "read_node", tag = "node",
    extensions(("x-permission" = json!("instance:list"))),
    responses((status = 200, description = "What the node says of itself", body = NodeView))
)]
/// Describes the node.
pub async fn read_node(State(api): State<Api>, Op(op): Op) -> Result<Json<NodeView>, Failure> {
    // It concerns whoever has to do with instances: they verify evidence that this node signs.
    api.kernel.authorize::<List>(&op, ResourceKind::Instance).await.map_err(refusal)?;
    let keys = api.kernel.keys();
    Ok(Json(NodeView {
        name: api.kernel.config().node_name.clone(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        verifying_key: keys.verifying().to_spki_pem(),
        ca_certificate: keys.ca().certificate_pem(),
        measurement: api.functions.measurement(),
    }))
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(read_node))
}
