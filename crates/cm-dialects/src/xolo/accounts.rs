//! Accounts, and the keys of their applications.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use cm_http::Failure;
use cm_kernel::OpContext;
use cm_kernel::identity::{AccountKeyInfo, AccountScope, NewTenant, Tenant};
use cm_kernel::policy::{Create, Delete, Grant, List};
use cm_types::{ResourceKind, TenantId, Timestamp};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Xolo;
use super::call::{Call, account};
use super::shape::{invalid, refused};

pub(super) fn routes() -> Router<Xolo> {
    Router::new()
        .route("/api/v4/accounts", get(list).post(create))
        .route("/api/v4/accounts/", get(list).post(create))
        .route("/api/v4/accounts/{account}", delete(remove))
}

pub(super) fn key_routes() -> Router<Xolo> {
    Router::new()
        .route("/apikeys", get(list_keys).post(create_key))
        .route("/apikeys/{key}", get(read_key).delete(revoke_key))
        .route("/apikeys/{key}/rotate", post(rotate_key))
}

fn view(tenant: &Tenant) -> Value {
    json!({
        "account_id": tenant.id.as_str(),
        "name": tenant.name,
        "created_at": tenant.created_at.to_string(),
    })
}

async fn list(call: Call) -> Result<Json<Value>, Failure> {
    let (kernel, op) = (call.xolo.kernel(), call.operator().await?);
    let permit = kernel.authorize_of_node::<List>(&op, ResourceKind::Tenant).await.map_err(refused)?;
    let tenants = kernel.list_tenants(&permit).await.map_err(refused)?;
    Ok(Json(tenants.iter().map(view).collect()))
}

#[derive(Deserialize)]
struct NewAccount {
    account_id: TenantId,
    name: String,
}

async fn create(call: Call) -> Result<(StatusCode, Json<Value>), Failure> {
    let (xolo, op) = (call.xolo.clone(), call.operator().await?);
    let kernel = xolo.kernel();
    let permit = kernel.authorize_of_node::<Create>(&op, ResourceKind::Tenant).await.map_err(refused)?;
    let NewAccount { account_id, name } = call.body().await?;
    let new = NewTenant { id: account_id, name: Some(name), open: false, administrator: None };
    let (tenant, _) = kernel.create_tenant(&op, &permit, new).await.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(view(&tenant))))
}

async fn remove(Path(id): Path<String>, call: Call) -> Result<StatusCode, Failure> {
    let (kernel, op) = (call.xolo.kernel(), call.operator().await?);
    let permit = kernel.authorize_of_node::<Delete>(&op, ResourceKind::Tenant).await.map_err(refused)?;
    kernel.delete_tenant(&op, &permit, &account(&id)?).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

fn key_view(key: &AccountKeyInfo) -> Value {
    json!({
        "account_id": key.tenant.as_str(),
        "key_id": key.id,
        "key_prefix": key.prefix,
        "name": key.name,
        "scopes": key.scopes,
        "is_active": true,
        "created_at": key.created_at.to_string(),
        "expires_at": key.expires_at.map(|end| end.to_string()),
        "last_used_at": null,
    })
}

/// What is shown once: the key itself.
fn with_key(view: Value, text: &str) -> Value {
    let mut view = view;
    view["key"] = text.into();
    view
}

/// Who administers the account may make and end keys of its applications.
async fn keys_of(call: &Call, id: &str) -> Result<(OpContext, cm_kernel::Permit<Grant>), Failure> {
    let op = call.admin(&account(id)?).await?;
    let permit = call.xolo.kernel().authorize::<Grant>(&op, ResourceKind::Principal).await;
    Ok((op, permit.map_err(refused)?))
}

#[derive(Deserialize)]
struct NewKey {
    name: String,
    scopes: Vec<AccountScope>,
    #[serde(default)]
    expires_at: Option<String>,
}

async fn create_key(Path(id): Path<String>, call: Call) -> Result<(StatusCode, Json<Value>), Failure> {
    let (op, permit) = keys_of(&call, &id).await?;
    let xolo = call.xolo.clone();
    let NewKey { name, scopes, expires_at } = call.body().await?;
    let expires_at = expires_at.map(|text| moment(&text)).transpose()?;
    let made = xolo.kernel().create_account_key(&op, &permit, name, scopes, expires_at).await;
    let (text, key) = made.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(with_key(key_view(&key), text.expose()))))
}

/// Python writes moments without a zone, in which case they are of UTC.
fn moment(text: &str) -> Result<Timestamp, Failure> {
    let zoned = Timestamp::try_from(text.to_owned()).or_else(|_| Timestamp::try_from(format!("{text}Z")));
    zoned.map_err(|error| invalid("expires_at", error))
}

async fn list_keys(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let (_, permit) = keys_of(&call, &id).await?;
    let keys = call.xolo.kernel().list_account_keys(&permit).await.map_err(refused)?;
    Ok(Json(keys.iter().map(key_view).collect()))
}

async fn read_key(Path((id, key)): Path<(String, String)>, call: Call) -> Result<Json<Value>, Failure> {
    let (_, permit) = keys_of(&call, &id).await?;
    let keys = call.xolo.kernel().list_account_keys(&permit).await.map_err(refused)?;
    match keys.iter().find(|found| found.id == key) {
        Some(found) => Ok(Json(key_view(found))),
        None => Err(Failure::not_found()),
    }
}

async fn rotate_key(Path((id, key)): Path<(String, String)>, call: Call) -> Result<Json<Value>, Failure> {
    let (op, permit) = keys_of(&call, &id).await?;
    let (text, key) = call.xolo.kernel().rotate_account_key(&op, &permit, key).await.map_err(refused)?;
    Ok(Json(with_key(key_view(&key), text.expose())))
}

async fn revoke_key(Path((id, key)): Path<(String, String)>, call: Call) -> Result<StatusCode, Failure> {
    let (op, permit) = keys_of(&call, &id).await?;
    call.xolo.kernel().revoke_account_key(&op, &permit, key).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}
