//! Principals: who can authenticate.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Response};
use cm_http::{ETag, Failure, JsonBody, Params};
use cm_kernel::CredentialPermit;
use cm_kernel::identity::{EndedPasskeys, NewPrincipal, Principal, PrincipalChange};
use cm_kernel::policy::{Create, Delete, List, Read, Update};
use cm_types::{PrincipalId, ResourceId, ResourceKind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::deletion::NoParams;
use crate::document::ErrorBody;
use crate::failure::refusal;
use crate::listing::{Listing, cursor, page_limit};
use crate::record::{expected_generation, place};

/// Somebody or something that can authenticate.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct PrincipalView {
    /// Its id within the tenant.
    #[schema(value_type = String)]
    pub id: PrincipalId,
    /// The tenant that it belongs to.
    pub tenant: String,
    /// What people call it.
    pub display_name: String,
    /// The ids of the roles that it holds.
    #[schema(value_type = Vec<String>)]
    pub roles: Vec<ResourceId>,
    /// Whether it is barred from authenticating.
    pub disabled: bool,
    /// Whether it can log in with a password.
    pub has_password: bool,
    /// Counts its versions from 1; also the `ETag`.
    pub generation: u64,
    /// When it was created, RFC 3339.
    #[schema(format = "date-time")]
    pub created_at: String,
}

impl From<Principal> for PrincipalView {
    fn from(principal: Principal) -> Self {
        Self {
            id: principal.id,
            tenant: principal.tenant.to_string(),
            display_name: principal.display_name,
            roles: principal.roles,
            disabled: principal.disabled,
            has_password: principal.has_password,
            generation: principal.generation.0,
            created_at: principal.created_at.to_string(),
        }
    }
}

/// A principal to be created. It cannot authenticate before it is given a credential.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrincipalCreation {
    /// Its id within the tenant.
    #[schema(value_type = String)]
    pub id: PrincipalId,
    /// What people call it; the id, unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The ids of the roles that it shall hold; any at all ask for `principal:grant` too.
    #[serde(default)]
    #[schema(value_type = Vec<String>)]
    pub roles: Vec<ResourceId>,
}

/// What shall change about a principal; what is absent stays.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PrincipalPatch {
    /// What people call it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub display_name: Option<String>,
    /// The ids of all roles that it shall hold; asks for `principal:grant` too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<Vec<String>>)]
    pub roles: Option<Vec<ResourceId>>,
    /// Whether it is barred from authenticating. Barring ends all its tokens.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disabled: Option<bool>,
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewPassword {
    /// The password.
    #[schema(format = "password")]
    pub password: String,
    /// The one before, to change one's own without the permission to grant.
    #[serde(default)]
    #[schema(format = "password")]
    pub old_password: Option<String>,
    /// A code of the second factor, with the one before, if there is one.
    #[serde(default)]
    pub code: Option<String>,
}

/// What a new password did besides.
#[derive(Serialize, ToSchema)]
pub struct PasswordChanged {
    /// How many passkeys were removed, because a factor was shown.
    pub passkeys_removed: usize,
    /// How many passkeys log in no more, because none was shown. Who may grant resets them.
    pub passkeys_closed: usize,
}

/// Which part of the principals is wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct PrincipalListParams {
    /// The most principals to answer with, 1 to 1000; 100 unless told.
    pub limit: Option<usize>,
    /// Where to begin: `next` of the page before.
    pub after: Option<String>,
}

#[utoipa::path(
    get, path = "/principals", operation_id = "list_principals", tag = "principals", params(PrincipalListParams),
    extensions(("x-permission" = json!("principal:list"))),
    responses((status = 200, description = "One page of the tenant's principals, ordered by id", body = Vec<PrincipalView>))
)]
/// Lists principals.
pub async fn list_principals(
    State(api): State<Api>,
    Op(op): Op,
    params: Params<PrincipalListParams>,
) -> Result<Listing<PrincipalView>, Failure> {
    let permit = api.kernel.authorize::<List>(&op, ResourceKind::Principal).await.map_err(refusal)?;
    let params = params.decode()?;
    let (after, limit) = (cursor(params.after), page_limit(params.limit));
    let page = api.kernel.list_principals(&permit, after, limit).await.map_err(refusal)?;
    Ok(Listing::of(page, PrincipalView::from))
}

#[utoipa::path(
    post, path = "/principals", operation_id = "create_principal", tag = "principals", request_body = PrincipalCreation,
    extensions(("x-permission" = json!("principal:create"))),
    responses((status = 201, description = "The new principal; `Location` says where", body = PrincipalView))
)]
/// Creates a principal.
pub async fn create_principal(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<PrincipalCreation>,
) -> Result<Response, Failure> {
    api.kernel.authorize::<Create>(&op, ResourceKind::Principal).await.map_err(refusal)?;
    let body = body.decode().await?;
    let op = op.again(&api.kernel).await?;
    let permit = api.kernel.authorize::<Create>(&op, ResourceKind::Principal).await.map_err(refusal)?;
    let new = NewPrincipal { id: body.id, display_name: body.display_name, roles: body.roles };
    let principal = api.kernel.create_principal(&op, &permit, new).await.map_err(refusal)?;
    let headers = [(header::LOCATION, place(&format!("principals/{}", principal.id))?), etag(&principal)];
    Ok((StatusCode::CREATED, headers, Json(PrincipalView::from(principal))).into_response())
}

#[utoipa::path(
    get, path = "/principals/{id}", operation_id = "read_principal", tag = "principals",
    params(("id" = String, Path, description = "The principal")),
    extensions(("x-permission" = json!("principal:read"))),
    responses((status = 200, description = "The principal; `ETag` is its generation", body = PrincipalView))
)]
/// Reads a principal.
pub async fn read_principal(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<Response, Failure> {
    let (principal, _permit) = api.kernel.look_up_principal::<Read>(&op, &id).await.map_err(refusal)?;
    Ok(([etag(&principal)], Json(PrincipalView::from(principal))).into_response())
}

#[utoipa::path(
    patch, path = "/principals/{id}", operation_id = "change_principal", tag = "principals",
    params(("id" = String, Path, description = "The principal")), request_body = PrincipalPatch,
    extensions(("x-permission" = json!("principal:update"))),
    responses(
        (status = 200, description = "The principal as it is now", body = PrincipalView),
        (status = 412, description = "`If-Match` names another generation", body = ErrorBody),
    )
)]
/// Changes a principal.
pub async fn change_principal(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    headers: HeaderMap,
    body: JsonBody<PrincipalPatch>,
) -> Result<Response, Failure> {
    let (principal, _permit) = api.kernel.look_up_principal::<Update>(&op, &id).await.map_err(refusal)?;
    expected_generation(&headers, principal.generation)?;
    let body = body.decode().await?;
    let op = op.again(&api.kernel).await?;
    let (principal, permit) = api.kernel.look_up_principal::<Update>(&op, &id).await.map_err(refusal)?;
    let expected = expected_generation(&headers, principal.generation)?;
    let change = PrincipalChange {
        expected,
        display_name: body.display_name,
        roles: body.roles,
        disabled: body.disabled,
    };
    let principal =
        api.kernel.update_principal(&op, &permit, &principal.id, change).await.map_err(refusal)?;
    Ok(([etag(&principal)], Json(PrincipalView::from(principal))).into_response())
}

#[utoipa::path(
    delete, path = "/principals/{id}", operation_id = "delete_principal", tag = "principals",
    params(("id" = String, Path, description = "The principal")),
    extensions(("x-permission" = json!("principal:delete"))),
    responses(
        (status = 204, description = "It is gone, and so are its credentials"),
        (status = 412, description = "`If-Match` names another generation", body = ErrorBody),
    )
)]
/// Removes a principal.
pub async fn delete_principal(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    headers: HeaderMap,
    params: Params<NoParams>,
) -> Result<StatusCode, Failure> {
    let (principal, permit) = api.kernel.look_up_principal::<Delete>(&op, &id).await.map_err(refusal)?;
    params.decode()?;
    let expected = expected_generation(&headers, principal.generation)?;
    api.kernel.delete_principal(&op, &permit, &principal.id, expected).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    put, path = "/principals/{id}/password", operation_id = "set_password", tag = "principals",
    params(("id" = String, Path, description = "The principal")), request_body = NewPassword,
    extensions(("x-permission" = json!("principal:grant"))),
    responses(
        (status = 200, description = "Set by the old one; all tokens of the principal have ended, and so have its passkeys", body = PasswordChanged),
        (status = 204, description = "Set; all tokens of the principal have ended"),
        (status = 403, description = "The old password is wrong, or needed: `details.old_password` is `required` then", body = ErrorBody),
        (status = 429, description = "Too many wrong ones; `Retry-After` says when to try again", body = ErrorBody),
    )
)]
/// Sets a password: one's own by the old one, or somebody's whose roles permit no more than the caller holds.
pub async fn set_password(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    body: JsonBody<NewPassword>,
) -> Result<Response, Failure> {
    api.kernel.look_up_credentials(&op, &id).await.map_err(refusal)?;
    let NewPassword { password, old_password, code } = body.decode().await?;
    let op = op.again(&api.kernel).await?;
    let (principal, permit) = api.kernel.look_up_credentials(&op, &id).await.map_err(refusal)?;
    let ended = match (&permit, old_password) {
        (CredentialPermit::Own(_), Some(old)) => {
            let shown = (old.into(), code.map(Into::into));
            api.kernel.change_password(&op, &permit, &principal, shown, password.into()).await
        }
        _ => {
            let set = api.kernel.set_password(&op, permit, &principal, password.into()).await;
            set.map(|()| EndedPasskeys::default())
        }
    };
    let EndedPasskeys { removed, closed } = ended.map_err(refusal)?;
    if (removed, closed) == (0, 0) {
        return Ok(StatusCode::NO_CONTENT.into_response());
    }
    Ok(Json(PasswordChanged { passkeys_removed: removed, passkeys_closed: closed }).into_response())
}

fn etag(principal: &Principal) -> (header::HeaderName, axum::http::HeaderValue) {
    (header::ETAG, ETag::version(principal.generation.0).header())
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_principals, create_principal))
        .routes(routes!(read_principal, change_principal, delete_principal))
        .routes(routes!(set_password))
}
