//! The network of nodes that this one is part of.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use cm_http::{Failure, FailureClass, JsonBody};
use cm_kernel::network::INVITATION_LASTS_MAX;
use cm_kernel::{KernelError, Standing};
use cm_types::PeerId;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::failure::refusal;

/// How long an invitation lasts unless told, in seconds.
const INVITATION_LASTS_SECS: u64 = 3600;

/// The network as this node sees it at present.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NetworkBody {
    /// What the network is called.
    pub name: String,
    /// The id of this node.
    pub node: String,
    /// Who leads; without a leader nothing can be written.
    pub leader: Option<String>,
    /// All nodes.
    pub nodes: Vec<NetworkNodeView>,
}

/// One node of the network.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct NetworkNodeView {
    /// Its id.
    pub id: String,
    /// Where others reach it.
    pub address: String,
    /// The public key of its links.
    pub link_key: String,
    /// Whether it counts in majorities.
    pub votes: bool,
    /// Whether it leads.
    pub leads: bool,
    /// Whether this node reaches it; `null` for this node.
    pub reached: Option<bool>,
}

/// A wish to invite a node.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct InvitationWish {
    /// How long the invitation lasts, in seconds: an hour unless told, a week at most.
    pub lasts_secs: Option<u64>,
}

/// An invitation for one node.
#[derive(Serialize, ToSchema)]
pub struct InvitationView {
    /// Its id.
    pub id: String,
    /// The text for `cryptomesh cluster join`. It is a secret, and shown this once.
    pub invitation: String,
    /// When it ends, RFC 3339.
    #[schema(format = "date-time")]
    pub expires_at: String,
}

fn view(standing: Standing, leader: Option<&PeerId>) -> NetworkNodeView {
    let Standing { door, votes, is_reached } = standing;
    NetworkNodeView {
        leads: leader == Some(&door.id),
        id: door.id.to_string(),
        address: door.address,
        link_key: door.key,
        votes,
        reached: is_reached,
    }
}

#[utoipa::path(
    get, path = "/network", operation_id = "read_network", tag = "network",
    extensions(("x-permission" = json!("tenant:list"))),
    responses(
        (status = 200, description = "The network as this node sees it", body = NetworkBody),
        (status = 409, description = "This node is part of no network", body = crate::document::ErrorBody),
    )
)]
/// Describes the network. It is answered by this node alone, hence also when no other can be reached.
pub async fn read_network(State(api): State<Api>, Op(op): Op) -> Result<Json<NetworkBody>, Failure> {
    api.kernel.authorize_network_view(&op).await.map_err(refusal)?;
    let seen = api.kernel.network().ok_or(KernelError::NoNetwork).map_err(refusal)?;
    Ok(Json(NetworkBody {
        name: seen.name,
        node: seen.own.map(|own| own.to_string()).unwrap_or_default(),
        nodes: seen.members.into_iter().map(|one| view(one, seen.leader.as_ref())).collect(),
        leader: seen.leader.map(|leader| leader.to_string()),
    }))
}

#[utoipa::path(
    post, path = "/network/invitations", operation_id = "invite_node", tag = "network",
    request_body = InvitationWish,
    extensions(("x-permission" = json!("tenant:update"))),
    responses(
        (status = 201, description = "The invitation, shown this once", body = InvitationView),
        (status = 409, description = "This node is part of no network", body = crate::document::ErrorBody),
    )
)]
/// Makes an invitation, by which one node can join the network.
pub async fn invite_node(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<InvitationWish>,
) -> Result<Response, Failure> {
    api.kernel.authorize_network(&op).await.map_err(refusal)?;
    let InvitationWish { lasts_secs } = body.decode().await?;
    let lasts = Duration::from_secs(lasts_secs.unwrap_or(INVITATION_LASTS_SECS));
    if lasts.is_zero() || lasts > INVITATION_LASTS_MAX {
        let max = INVITATION_LASTS_MAX.as_secs();
        return Err(Failure::new(FailureClass::Invalid, format!("`lasts_secs` must be 1 to {max}")));
    }
    let op = op.again(&api.kernel).await?;
    let permit = api.kernel.authorize_network(&op).await.map_err(refusal)?;
    let (invitation, expires_at) = api.kernel.invite_node(&op, &permit, lasts).await.map_err(refusal)?;
    let view = InvitationView {
        invitation: invitation.to_text().expose().clone(),
        id: invitation.id,
        expires_at: expires_at.to_string(),
    };
    Ok((StatusCode::CREATED, Json(view)).into_response())
}

#[utoipa::path(
    delete, path = "/network/nodes/{id}", operation_id = "remove_node", tag = "network",
    params(("id" = String, Path, description = "The node")),
    extensions(("x-permission" = json!("tenant:update"))),
    responses(
        (status = 202, description = "It will be taken out"),
        (status = 409, description = "It is the last one, or this node is part of no network", body = crate::document::ErrorBody),
    )
)]
/// Takes a node out of the network. It never comes back under this id.
pub async fn remove_node(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    let permit = api.kernel.authorize_network(&op).await.map_err(refusal)?;
    api.kernel.network().ok_or(KernelError::NoNetwork).map_err(refusal)?;
    let unknown = || Failure::new(FailureClass::NotFound, format!("the network has no node `{id}`"));
    let id: PeerId = id.parse().map_err(|_| unknown())?;
    api.kernel.remove_node(&op, &permit, &id).await.map_err(refusal)?;
    Ok(StatusCode::ACCEPTED)
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(read_network))
        .routes(routes!(invite_node))
        .routes(routes!(remove_node))
}
