//! Tenants: isolated namespaces of principals and resources. They are of the whole node; only the tenant `default` has a say
//! about them.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use cm_http::{Failure, JsonBody};
use cm_kernel::identity::{NewTenant, Tenant};
use cm_kernel::policy::{Create, Delete, List};
use cm_types::{PrincipalId, ResourceKind, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::failure::refusal;

/// A tenant to be created.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TenantRequest {
    /// Its id.
    #[schema(value_type = String)]
    pub id: TenantId,
    /// What people call it; the id unless told.
    #[serde(default)]
    pub name: Option<String>,
    /// Whether anybody may sign up by the Xolo dialect.
    #[serde(default)]
    pub open: bool,
    /// Its first administrator, who gets an API key; `admin` unless told.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub administrator: Option<PrincipalId>,
}

/// A tenant.
#[derive(Debug, Serialize, ToSchema)]
pub struct TenantView {
    /// Its id.
    pub id: String,
    /// What people call it.
    pub name: String,
    /// Whether anybody may sign up by the Xolo dialect.
    pub open: bool,
    /// When it was created, RFC 3339.
    #[schema(format = "date-time")]
    pub created_at: String,
}

impl From<Tenant> for TenantView {
    fn from(tenant: Tenant) -> Self {
        let (id, created_at) = (tenant.id.to_string(), tenant.created_at.to_string());
        Self { id, name: tenant.name, open: tenant.open, created_at }
    }
}

/// A tenant that was created.
#[derive(Serialize, ToSchema)]
pub struct CreatedTenant {
    /// The tenant.
    pub tenant: TenantView,
    /// The text of its administrator's API key. It is shown this once.
    pub administrator_key: String,
}

#[utoipa::path(
    post, path = "/tenants", operation_id = "create_tenant", tag = "tenants", request_body = TenantRequest,
    extensions(("x-permission" = json!("tenant:create"))),
    responses((status = 201, description = "The tenant, and a key for its administrator", body = CreatedTenant))
)]
/// Creates a tenant with its built-in roles and an administrator.
pub async fn create_tenant(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<TenantRequest>,
) -> Result<(StatusCode, Json<CreatedTenant>), Failure> {
    api.kernel.authorize_of_node::<Create>(&op, ResourceKind::Tenant).await.map_err(refusal)?;
    let TenantRequest { id, name, open, administrator } = body.decode().await?;
    let op = op.again(&api.kernel).await?;
    let permit = api.kernel.authorize_of_node::<Create>(&op, ResourceKind::Tenant).await.map_err(refusal)?;
    let administrator = Some(administrator.unwrap_or_else(PrincipalId::admin));
    let new = NewTenant { id, name, open, administrator };
    let (tenant, key) = api.kernel.create_tenant(&op, &permit, new).await.map_err(refusal)?;
    let administrator_key = key.map_or_else(String::new, |text| text.expose().clone());
    Ok((StatusCode::CREATED, Json(CreatedTenant { tenant: tenant.into(), administrator_key })))
}

#[utoipa::path(
    get, path = "/tenants", operation_id = "list_tenants", tag = "tenants",
    extensions(("x-permission" = json!("tenant:list"))),
    responses((status = 200, description = "All tenants, by id", body = Vec<TenantView>))
)]
/// Lists the tenants.
pub async fn list_tenants(State(api): State<Api>, Op(op): Op) -> Result<Json<Vec<TenantView>>, Failure> {
    let permit = api.kernel.authorize_of_node::<List>(&op, ResourceKind::Tenant).await.map_err(refusal)?;
    let tenants = api.kernel.list_tenants(&permit).await.map_err(refusal)?;
    Ok(Json(tenants.into_iter().map(TenantView::from).collect()))
}

#[utoipa::path(
    delete, path = "/tenants/{id}", operation_id = "delete_tenant", tag = "tenants",
    params(("id" = String, Path, description = "The tenant")),
    extensions(("x-permission" = json!("tenant:delete"))),
    responses(
        (status = 204, description = "The tenant is gone, with its principals and what its applications declared"),
        (status = 409, description = "It is the first one, or its principals own something", body = crate::document::ErrorBody),
    )
)]
/// Deletes a tenant whose principals own nothing.
pub async fn delete_tenant(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    let permit = api.kernel.authorize_of_node::<Delete>(&op, ResourceKind::Tenant).await.map_err(refusal)?;
    let id = TenantId::parse(id).map_err(|_| Failure::not_found())?;
    api.kernel.delete_tenant(&op, &permit, &id).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(list_tenants, create_tenant)).routes(routes!(delete_tenant))
}
