//! Roles of applications, with parents.

use axum::extract::Path;
use axum::http::StatusCode;
use axum::routing::{get, post};
use axum::{Json, Router};
use cm_http::Failure;
use cm_kernel::OpContext;
use cm_kernel::identity::AccountScope;
use cm_kernel::policy::declared::DeclarationError;
use cm_kernel::policy::declared::roles::{Role, Roles};
use cm_kernel::policy::{List, Update};
use cm_types::ResourceKind;
use serde::Deserialize;
use serde_json::{Value, json};
use uuid::Uuid;

use super::Xolo;
use super::call::{Call, account};
use super::shape::refused;

pub(super) fn routes() -> Router<Xolo> {
    Router::new()
        .route("/rbac/roles", get(list).post(create))
        .route("/rbac/roles/list", get(list))
        .route("/rbac/roles/{role}", get(read).patch(describe).delete(remove))
        .route("/rbac/roles/{role}/permissions", post(permit).delete(forbid))
        .route("/rbac/roles/{role}/parents", post(add_parent).delete(remove_parent))
        .route("/rbac/assignments", post(assign).delete(unassign))
        .route("/rbac/subjects/{subject}/roles", get(of_subject))
        .route("/rbac/subjects/{subject}/permissions", get(permissions))
        .route("/rbac/check", post(check))
        .route("/rbac/has-role", post(has_role))
}

#[derive(Deserialize)]
struct NewRole {
    name: String,
    #[serde(default)]
    description: Option<String>,
    #[serde(default)]
    permissions: Vec<String>,
}

#[derive(Deserialize)]
struct Change {
    #[serde(default)]
    name: Option<String>,
    #[serde(default)]
    description: Option<String>,
}

#[derive(Deserialize)]
struct Permission {
    permission: String,
}

#[derive(Deserialize)]
struct Parent {
    parent_role_id: String,
}

#[derive(Deserialize)]
struct Assignment {
    subject_id: String,
    role_id: String,
}

#[derive(Deserialize)]
struct Question {
    subject_id: String,
    permission: String,
}

fn view(id: &str, role: &Role) -> Value {
    json!({
        "role_id": id,
        "name": role.name,
        "description": role.description,
        "permissions": role.permissions,
        "parent_role_ids": role.parents,
    })
}

async fn ask<T: Send + 'static>(
    call: &Call,
    id: &str,
    ask: impl FnOnce(&Roles) -> Result<T, DeclarationError> + Send + 'static,
) -> Result<T, Failure> {
    let (op, _) = call.user_of(&account(id)?, AccountScope::Rbac).await?;
    let kernel = call.xolo.kernel();
    let permit = kernel.authorize::<List>(&op, ResourceKind::Role).await.map_err(refused)?;
    let answer = kernel.ask_declared::<Roles, _>(&permit, ask).await.map_err(refused)?;
    answer.map_err(|error| refused(error.into()))
}

async fn may_change(call: &Call, id: &str) -> Result<(OpContext, cm_kernel::Permit<Update>), Failure> {
    let (op, _) = call.user_of(&account(id)?, AccountScope::Rbac).await?;
    let permit = call.xolo.kernel().authorize::<Update>(&op, ResourceKind::Role).await;
    Ok((op, permit.map_err(refused)?))
}

/// Changes a role and shows it.
async fn change(
    call: (&Xolo, &OpContext, &cm_kernel::Permit<Update>),
    what: &'static str,
    role: String,
    change: impl FnOnce(&mut Roles, &str) -> Result<(), DeclarationError> + Send + 'static,
) -> Result<Json<Value>, Failure> {
    let (xolo, op, permit) = call;
    let shown = xolo.kernel().change_declared(op, permit, (what, role.clone()), move |roles: &mut Roles| {
        change(roles, &role)?;
        roles.get(&role).map(|found| view(&role, found))
    });
    Ok(Json(shown.await.map_err(refused)?))
}

async fn create(Path(id): Path<String>, call: Call) -> Result<(StatusCode, Json<Value>), Failure> {
    let (op, permit) = may_change(&call, &id).await?;
    let xolo = call.xolo.clone();
    let NewRole { name, description, permissions } = call.body().await?;
    let role = Role {
        name,
        description,
        permissions: permissions.into_iter().collect(),
        parents: Default::default(),
    };
    let shown =
        change((&xolo, &op, &permit), "role.created", Uuid::new_v4().to_string(), move |roles, id| {
            roles.create(id, role)
        });
    Ok((StatusCode::CREATED, shown.await?))
}

async fn list(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let all =
        ask(&call, &id, |roles| Ok(roles.roles.iter().map(|(id, role)| view(id, role)).collect::<Vec<_>>()));
    Ok(Json(all.await?.into()))
}

async fn read(Path((id, role)): Path<(String, String)>, call: Call) -> Result<Json<Value>, Failure> {
    Ok(Json(ask(&call, &id, move |roles| roles.get(&role).map(|found| view(&role, found))).await?))
}

async fn describe(Path((id, role)): Path<(String, String)>, call: Call) -> Result<Json<Value>, Failure> {
    let (op, permit) = may_change(&call, &id).await?;
    let xolo = call.xolo.clone();
    let Change { name, description } = call.body().await?;
    change((&xolo, &op, &permit), "role.changed", role, |roles, id| roles.describe(id, name, description))
        .await
}

async fn remove(Path((id, role)): Path<(String, String)>, call: Call) -> Result<StatusCode, Failure> {
    let (op, permit) = may_change(&call, &id).await?;
    let told = ("role.deleted", role.clone());
    let kernel = call.xolo.kernel();
    let done = kernel.change_declared(&op, &permit, told, move |roles: &mut Roles| roles.remove(&role));
    done.await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn permit(Path((id, role)): Path<(String, String)>, call: Call) -> Result<Json<Value>, Failure> {
    let (op, proof) = may_change(&call, &id).await?;
    let xolo = call.xolo.clone();
    let Permission { permission } = call.body().await?;
    change((&xolo, &op, &proof), "role.permitted", role, move |roles, id| roles.permit(id, &permission)).await
}

async fn forbid(Path((id, role)): Path<(String, String)>, call: Call) -> Result<Json<Value>, Failure> {
    let (op, proof) = may_change(&call, &id).await?;
    let xolo = call.xolo.clone();
    let Permission { permission } = call.body().await?;
    change((&xolo, &op, &proof), "role.forbidden", role, move |roles, id| roles.forbid(id, &permission)).await
}

async fn add_parent(Path((id, role)): Path<(String, String)>, call: Call) -> Result<Json<Value>, Failure> {
    let (op, permit) = may_change(&call, &id).await?;
    let xolo = call.xolo.clone();
    let Parent { parent_role_id } = call.body().await?;
    let what = "role.parent-added";
    change((&xolo, &op, &permit), what, role, move |roles, id| roles.add_parent(id, &parent_role_id)).await
}

async fn remove_parent(Path((id, role)): Path<(String, String)>, call: Call) -> Result<Json<Value>, Failure> {
    let (op, permit) = may_change(&call, &id).await?;
    let xolo = call.xolo.clone();
    let Parent { parent_role_id } = call.body().await?;
    let what = "role.parent-removed";
    change((&xolo, &op, &permit), what, role, move |roles, id| roles.remove_parent(id, &parent_role_id)).await
}

async fn assign(Path(id): Path<String>, call: Call) -> Result<(StatusCode, Json<Value>), Failure> {
    let (op, permit) = may_change(&call, &id).await?;
    let xolo = call.xolo.clone();
    let Assignment { subject_id, role_id } = call.body().await?;
    let shown = json!({
        "assignment_id": format!("{subject_id}/{role_id}"),
        "subject_id": subject_id,
        "role_id": role_id,
    });
    let told = ("role.assigned", format!("{subject_id}/{role_id}"));
    let done = xolo
        .kernel()
        .change_declared(&op, &permit, told, move |roles: &mut Roles| roles.assign(&subject_id, &role_id));
    done.await.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(shown)))
}

async fn unassign(Path(id): Path<String>, call: Call) -> Result<StatusCode, Failure> {
    let (op, permit) = may_change(&call, &id).await?;
    let xolo = call.xolo.clone();
    let Assignment { subject_id, role_id } = call.body().await?;
    let told = ("role.unassigned", format!("{subject_id}/{role_id}"));
    let done = xolo
        .kernel()
        .change_declared(&op, &permit, told, move |roles: &mut Roles| roles.unassign(&subject_id, &role_id));
    done.await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn of_subject(Path((id, subject)): Path<(String, String)>, call: Call) -> Result<Json<Value>, Failure> {
    let all = ask(&call, &id, move |roles| {
        Ok(roles.roles_of(&subject).into_iter().map(|(id, role)| view(id, role)).collect::<Vec<_>>())
    });
    Ok(Json(all.await?.into()))
}

async fn permissions(
    Path((id, subject)): Path<(String, String)>,
    call: Call,
) -> Result<Json<Value>, Failure> {
    let shown = ask(&call, &id, move |roles| {
        Ok(json!({ "subject_id": subject, "permissions": roles.permissions_of(&subject) }))
    });
    Ok(Json(shown.await?))
}

async fn check(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let (op, _) = call.user_of(&account(&id)?, AccountScope::Rbac).await?;
    let xolo = call.xolo.clone();
    let kernel = xolo.kernel();
    let permit = kernel.authorize::<List>(&op, ResourceKind::Role).await.map_err(refused)?;
    let Question { subject_id, permission } = call.body().await?;
    let answer = kernel
        .ask_declared(&permit, move |roles: &Roles| {
            roles.check(&subject_id, &permission).map(|answer| {
                json!({
                    "subject_id": subject_id,
                    "permission": permission,
                    "has_access": answer.allowed,
                    "reason": answer.reason,
                })
            })
        })
        .await
        .map_err(refused)?;
    Ok(Json(answer.map_err(|error| refused(error.into()))?))
}

async fn has_role(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let (op, _) = call.user_of(&account(&id)?, AccountScope::Rbac).await?;
    let xolo = call.xolo.clone();
    let kernel = xolo.kernel();
    let permit = kernel.authorize::<List>(&op, ResourceKind::Role).await.map_err(refused)?;
    let Assignment { subject_id, role_id } = call.body().await?;
    let answer = kernel
        .ask_declared(&permit, move |roles: &Roles| {
            let has = roles.held.get(&subject_id).is_some_and(|held| held.contains(&role_id));
            json!({ "subject_id": subject_id, "role_id": role_id, "has_role": has })
        })
        .await
        .map_err(refused)?;
    Ok(Json(answer))
}
