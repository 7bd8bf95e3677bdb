//! Lists of grants on resources of applications, and groups of users.

use std::collections::BTreeSet;

use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use cm_http::Failure;
use cm_kernel::OpContext;
use cm_kernel::identity::{AccountScope, LiveSession};
use cm_kernel::policy::declared::DeclarationError;
use cm_kernel::policy::declared::grants::{Grantee, Group, Lists, Right};
use cm_kernel::policy::{List, Update};
use cm_types::ResourceKind;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Xolo;
use super::call::{Call, account};
use super::shape::{invalid, refused};

/// Entries of one page, at most.
const PAGE_MAX: usize = 1000;

pub(super) fn routes() -> Router<Xolo> {
    Router::new()
        .route("/acl/resources", get(resources))
        .route("/acl/claim", post(claim))
        .route("/acl/grant", post(grant))
        .route("/acl/revoke", delete(revoke))
        .route("/acl/check", post(check))
        .route("/acl/groups", post(create_group))
        .route("/acl/groups/list", get(list_groups))
        .route("/acl/groups/{group}", delete(delete_group))
        .route("/acl/groups/{group}/members", post(add_members).delete(remove_members))
}

#[derive(Deserialize)]
#[serde(default)]
struct Pages {
    owned_page: usize,
    owned_page_size: usize,
    shared_page: usize,
    shared_page_size: usize,
}

impl Default for Pages {
    fn default() -> Self {
        Self { owned_page: 1, owned_page_size: 10, shared_page: 1, shared_page_size: 10 }
    }
}

#[derive(Deserialize)]
struct Claim {
    resource_id: String,
}

#[derive(Deserialize)]
struct Grant {
    resource_id: String,
    principal_id: String,
    #[serde(default)]
    principal_type: Option<String>,
    permissions: Vec<String>,
}

#[derive(Deserialize)]
struct Question {
    resource_id: String,
    permissions: Vec<String>,
}

#[derive(Deserialize)]
struct NewGroup {
    name: String,
    #[serde(default)]
    description: Option<String>,
}

#[derive(Deserialize)]
struct Members {
    members: Vec<String>,
}

fn rights(texts: &[String]) -> Result<BTreeSet<Right>, Failure> {
    let parsed: Result<_, DeclarationError> = texts.iter().map(|text| Right::parse(text)).collect();
    parsed.map_err(|error| refused(error.into()))
}

async fn may_ask(call: &Call, id: &str) -> Result<(cm_kernel::Permit<List>, LiveSession), Failure> {
    let (op, live) = call.user_of(&account(id)?, AccountScope::Acl).await?;
    let permit = call.xolo.kernel().authorize::<List>(&op, ResourceKind::SecurityPolicy).await;
    Ok((permit.map_err(refused)?, live))
}

/// Besides the key's permission, the model itself asks whether this user may.
async fn may_change(
    call: &Call,
    id: &str,
) -> Result<(OpContext, cm_kernel::Permit<Update>, String), Failure> {
    let (op, live) = call.user_of(&account(id)?, AccountScope::Acl).await?;
    let permit = call.xolo.kernel().authorize::<Update>(&op, ResourceKind::SecurityPolicy).await;
    Ok((op, permit.map_err(refused)?, live.principal.id.to_string()))
}

async fn change<T: Send + 'static>(
    call: (&Xolo, &OpContext, &cm_kernel::Permit<Update>),
    told: (&'static str, String),
    change: impl FnOnce(&mut Lists) -> Result<T, DeclarationError> + Send + 'static,
) -> Result<T, Failure> {
    let (xolo, op, permit) = call;
    xolo.kernel().change_declared(op, permit, told, change).await.map_err(refused)
}

fn page(items: Vec<Value>, number: usize, size: usize) -> Value {
    let (size, total) = (size.clamp(1, PAGE_MAX), items.len());
    let from = number.max(1).saturating_sub(1).saturating_mul(size);
    json!({
        "items": items.into_iter().skip(from).take(size).collect::<Vec<_>>(),
        "total_count": total,
        "page": number.max(1),
        "page_size": size,
        "total_pages": total.div_ceil(size),
    })
}

async fn resources(
    Path(id): Path<String>,
    Query(pages): Query<Pages>,
    call: Call,
) -> Result<Json<Value>, Failure> {
    let (permit, live) = may_ask(&call, &id).await?;
    let user = live.principal.id.to_string();
    let shown = call.xolo.kernel().ask_declared(&permit, move |lists: &Lists| overview(lists, &user, &pages));
    Ok(Json(shown.await.map_err(refused)?))
}

fn overview(lists: &Lists, user: &str, pages: &Pages) -> Value {
    let names = |rights: BTreeSet<Right>| rights.into_iter().map(Right::as_str).collect::<Vec<_>>();
    let (mut owned, mut shared) = (Vec::new(), Vec::new());
    for (resource, grants) in &lists.resources {
        let held = lists.rights_of(user, resource);
        if held.is_empty() {
            continue;
        }
        let entry = |source: &str| json!({ "resource_id": resource, "access_source": source, "permissions": names(held.clone()) });
        if grants.owners.contains(user) {
            owned.push(entry("Owner"));
            continue;
        }
        let group = grants.granted.iter().find_map(|(grantee, _)| match grantee {
            Grantee::Group(id) => lists.groups.get(id).filter(|group| group.has(user)),
            Grantee::User(_) => None,
        });
        match group {
            Some(group) => shared.push(entry(&format!("Group: {}", group.name))),
            None => shared.push(entry("Direct")),
        }
    }
    let groups: Vec<Value> = lists
        .groups
        .iter()
        .filter(|(_, group)| group.has(user))
        .map(|(id, group)| {
            let role = if group.owner == user { "owner" } else { "member" };
            json!({ "id": id, "name": group.name, "my_role": role })
        })
        .collect();
    json!({
        "user_id": user,
        "groups": groups,
        "owned_resources": page(owned, pages.owned_page, pages.owned_page_size),
        "shared_resources": page(shared, pages.shared_page, pages.shared_page_size),
    })
}

async fn claim(Path(id): Path<String>, call: Call) -> Result<StatusCode, Failure> {
    let (op, permit, user) = may_change(&call, &id).await?;
    let xolo = call.xolo.clone();
    let Claim { resource_id } = call.body().await?;
    let told = ("resource.claimed", resource_id.clone());
    change((&xolo, &op, &permit), told, move |lists| lists.claim(&user, &resource_id)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn grant(Path(id): Path<String>, call: Call) -> Result<StatusCode, Failure> {
    let (op, permit, user) = may_change(&call, &id).await?;
    let xolo = call.xolo.clone();
    let Grant { resource_id, principal_id, principal_type, permissions } = call.body().await?;
    let rights = rights(&permissions)?;
    let kind = principal_type.unwrap_or_else(|| "USER".to_owned()).trim().to_uppercase();
    let grantee = match kind.as_str() {
        "USER" => Grantee::User(principal_id),
        "GROUP" => Grantee::Group(principal_id),
        _ => return Err(invalid("principal_type", "expected USER or GROUP")),
    };
    let told = ("resource.granted", resource_id.clone());
    change((&xolo, &op, &permit), told, move |lists| lists.grant(&user, &resource_id, grantee, &rights))
        .await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn revoke(Path(id): Path<String>, call: Call) -> Result<StatusCode, Failure> {
    let (op, permit, user) = may_change(&call, &id).await?;
    let xolo = call.xolo.clone();
    let Grant { resource_id, principal_id, permissions, .. } = call.body().await?;
    let rights = rights(&permissions)?;
    let told = ("resource.revoked", resource_id.clone());
    let done = change((&xolo, &op, &permit), told, move |lists| {
        lists.revoke(&user, &resource_id, &principal_id, &rights)
    });
    done.await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn check(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let (permit, live) = may_ask(&call, &id).await?;
    let (xolo, user) = (call.xolo.clone(), live.principal.id.to_string());
    let Question { resource_id, permissions } = call.body().await?;
    let rights = rights(&permissions)?;
    let answer =
        xolo.kernel().ask_declared(&permit, move |lists: &Lists| lists.check(&user, &resource_id, &rights));
    let answer = answer.await.map_err(refused)?;
    Ok(Json(json!({ "has_permission": answer.allowed, "reason": answer.reason })))
}

async fn create_group(Path(id): Path<String>, call: Call) -> Result<(StatusCode, Json<Value>), Failure> {
    let (op, permit, owner) = may_change(&call, &id).await?;
    let xolo = call.xolo.clone();
    let NewGroup { name, description } = call.body().await?;
    let group_id = Uuid::new_v4().to_string();
    let group = Group { name, description: description.unwrap_or_default(), owner, members: BTreeSet::new() };
    let (told, made) = (("group.created", group_id.clone()), group_id.clone());
    change((&xolo, &op, &permit), told, move |lists| lists.create_group(&made, group)).await?;
    Ok((StatusCode::CREATED, Json(json!({ "group_id": group_id }))))
}

async fn list_groups(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let (permit, _) = may_ask(&call, &id).await?;
    let all = call.xolo.kernel().ask_declared(&permit, |lists: &Lists| {
        lists.groups.iter().map(|(id, group)| json!({ "id": id, "name": group.name })).collect::<Vec<_>>()
    });
    Ok(Json(all.await.map_err(refused)?.into()))
}

async fn delete_group(Path((id, group)): Path<(String, String)>, call: Call) -> Result<StatusCode, Failure> {
    let (op, permit, user) = may_change(&call, &id).await?;
    let told = ("group.deleted", group.clone());
    change((&call.xolo, &op, &permit), told, move |lists| lists.delete_group(&user, &group)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn add_members(Path((id, group)): Path<(String, String)>, call: Call) -> Result<StatusCode, Failure> {
    let (op, permit, user) = may_change(&call, &id).await?;
    let xolo = call.xolo.clone();
    let Members { members } = call.body().await?;
    let told = ("group.joined", group.clone());
    change((&xolo, &op, &permit), told, move |lists| lists.add_members(&user, &group, &members)).await?;
    Ok(StatusCode::NO_CONTENT)
}

async fn remove_members(
    Path((id, group)): Path<(String, String)>,
    call: Call,
) -> Result<StatusCode, Failure> {
    let (op, permit, user) = may_change(&call, &id).await?;
    let xolo = call.xolo.clone();
    let Members { members } = call.body().await?;
    let told = ("group.left", group.clone());
    change((&xolo, &op, &permit), told, move |lists| lists.remove_members(&user, &group, &members)).await?;
    Ok(StatusCode::NO_CONTENT)
}
