//! Scopes of users, and their licences.

use axum::extract::Path;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use cm_http::Failure;
use cm_kernel::OpContext;
use cm_kernel::applications::Scopes;
use cm_kernel::identity::AccountScope;
use cm_kernel::policy::{List, Update};
use cm_types::ResourceKind;
use serde::Deserialize;
use serde_json::{Value, json};

use super::Xolo;
use super::call::{Call, account, admit};
use super::shape::{refused, unauthorized};
use super::users::how_long;
use cm_kernel::identity::SessionKind;

pub(super) fn routes() -> Router<Xolo> {
    Router::new()
        .route("/scopes", get(list).post(create).delete(remove))
        .route("/scopes/assign", post(assign).delete(unassign))
        .route("/scopes/assignments", get(assignments))
        .route("/licenses", get(licences).post(license).delete(unlicense))
        .route("/licenses/", get(licences).post(license).delete(unlicense))
        .route("/licenses/self", delete(unlicense_self))
}

#[derive(Deserialize)]
struct Name {
    name: String,
}

#[derive(Deserialize)]
struct Assignment {
    name: String,
    username: String,
}

#[derive(Deserialize)]
struct Licence {
    username: String,
    scope: String,
    #[serde(default)]
    expires_in: Option<String>,
    #[serde(default)]
    force: Option<bool>,
}

#[derive(Deserialize)]
struct OwnLicence {
    token: String,
    tmp_secret_key: String,
    username: String,
    scope: String,
}

/// What the scopes of an account are to who asks for them.
async fn ask<T: Send + 'static>(
    call: &Call,
    id: &str,
    scope: AccountScope,
    ask: impl FnOnce(&Scopes) -> T + Send + 'static,
) -> Result<T, Failure> {
    let op = call.application(&account(id)?, scope).await?;
    let kernel = call.xolo.kernel();
    let permit = kernel.authorize::<List>(&op, ResourceKind::Role).await.map_err(refused)?;
    kernel.ask_declared::<Scopes, T>(&permit, ask).await.map_err(refused)
}

/// The proof that the caller may change scopes, before its body is looked at.
async fn may_change(
    call: &Call,
    id: &str,
    scope: AccountScope,
) -> Result<(OpContext, cm_kernel::Permit<Update>), Failure> {
    let op = call.application(&account(id)?, scope).await?;
    let permit = call.xolo.kernel().authorize::<Update>(&op, ResourceKind::Role).await;
    Ok((op, permit.map_err(refused)?))
}

async fn list(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let names =
        ask(&call, &id, AccountScope::Scopes, |scopes| scopes.users.keys().cloned().collect::<Vec<_>>());
    Ok(Json(names.await?.into_iter().map(|name| json!({ "name": name })).collect()))
}

async fn create(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let (op, permit) = may_change(&call, &id, AccountScope::Scopes).await?;
    let xolo = call.xolo.clone();
    let Name { name } = call.body().await?;
    let name = Scopes::name(&name);
    let (told, made) = (("scope.created", name.clone()), name.clone());
    let done =
        xolo.kernel().change_declared(&op, &permit, told, move |scopes: &mut Scopes| scopes.create(&made));
    done.await.map_err(refused)?;
    Ok(Json(json!({ "name": name })))
}

async fn remove(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let (op, permit) = may_change(&call, &id, AccountScope::Scopes).await?;
    let xolo = call.xolo.clone();
    let Name { name } = call.body().await?;
    let name = Scopes::name(&name);
    let (told, gone) = (("scope.deleted", name.clone()), name.clone());
    let done =
        xolo.kernel().change_declared(&op, &permit, told, move |scopes: &mut Scopes| scopes.remove(&gone));
    done.await.map_err(refused)?;
    Ok(Json(json!({ "name": name, "ok": true })))
}

async fn assign(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let (op, permit) = may_change(&call, &id, AccountScope::Scopes).await?;
    let xolo = call.xolo.clone();
    let Assignment { name, username } = call.body().await?;
    let name = Scopes::name(&name);
    xolo.kernel().assign_scope(&op, &permit, (&username, &name)).await.map_err(refused)?;
    Ok(Json(json!({ "ok": true, "username": username, "name": name })))
}

async fn unassign(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let (op, permit) = may_change(&call, &id, AccountScope::Scopes).await?;
    let xolo = call.xolo.clone();
    let Assignment { name, username } = call.body().await?;
    let name = Scopes::name(&name);
    let told = ("scope.unassigned", format!("{username}/{name}"));
    let (user, scope) = (username.clone(), name.clone());
    let done = xolo
        .kernel()
        .change_declared(&op, &permit, told, move |scopes: &mut Scopes| scopes.unassign(&user, &scope));
    done.await.map_err(refused)?;
    Ok(Json(json!({ "ok": true, "username": username, "name": name })))
}

async fn assignments(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let all = ask(&call, &id, AccountScope::Scopes, |scopes| {
        let of = |(name, users): (&String, &std::collections::BTreeSet<String>)| {
            let name = name.clone();
            users.iter().map(move |user| (name.clone(), user.clone())).collect::<Vec<_>>()
        };
        scopes.users.iter().flat_map(of).collect::<Vec<_>>()
    });
    let view = |(name, user)| json!({ "name": name, "username": user, "ok": true });
    Ok(Json(all.await?.into_iter().map(view).collect()))
}

async fn licences(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let all = ask(&call, &id, AccountScope::Licenses, |scopes| {
        scopes.licences.iter().map(|(key, end)| (key.clone(), *end)).collect::<Vec<_>>()
    });
    let view = |(key, end): (String, cm_types::Timestamp)| {
        let (user, scope) = key.rsplit_once('/').unwrap_or((&key, ""));
        json!({ "username": user, "scope": scope, "expires_at": end.to_string() })
    };
    Ok(Json(all.await?.into_iter().map(view).collect()))
}

async fn license(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let (op, permit) = may_change(&call, &id, AccountScope::Licenses).await?;
    let xolo = call.xolo.clone();
    let Licence { username, scope, expires_in, force } = call.body().await?;
    let lasts = how_long("expires_in", expires_in.as_deref(), "1h")?;
    let kernel = xolo.kernel();
    let now = kernel.now();
    let told = ("licence.given", format!("{username}/{}", Scopes::name(&scope)));
    let end = kernel
        .change_declared(&op, &permit, told, move |scopes: &mut Scopes| {
            scopes.license(&username, &scope, now.after(lasts), (now, force.unwrap_or(true)))
        })
        .await
        .map_err(refused)?;
    Ok(Json(json!({ "expires_at": end.to_string(), "ok": true })))
}

async fn unlicense(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let (op, permit) = may_change(&call, &id, AccountScope::Licenses).await?;
    let xolo = call.xolo.clone();
    let Licence { username, scope, .. } = call.body().await?;
    let told = ("licence.taken", format!("{username}/{}", Scopes::name(&scope)));
    let now = xolo.kernel().now();
    let done = xolo.kernel().change_declared(&op, &permit, told, move |scopes: &mut Scopes| {
        scopes.unlicense(&username, &scope, now)
    });
    done.await.map_err(refused)?;
    Ok(Json(json!({ "ok": true })))
}

/// Gives up one's own licence; the credential is in the body.
async fn unlicense_self(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let account = account(&id).map_err(|_| unauthorized())?;
    let (xolo, op) = (call.xolo.clone(), call.op.clone());
    let OwnLicence { token, tmp_secret_key, username, scope } = call.body().await?;
    let kernel = xolo.kernel();
    kernel.freshen().await.map_err(refused)?;
    let live = kernel.xolo_session(&op, &token, SessionKind::Xolo4, &account).await.map_err(refused)?;
    admit(kernel, &op, &live.authenticated()).await?;
    let own = live.principal.id.as_str() == username;
    if !own || !kernel.identity().is_temporal_secret(&live, &tmp_secret_key) {
        let problem = cm_kernel::identity::CredentialProblem::NotOurs;
        return Err(refused(kernel.refuse_credential(&op, &account, problem).await));
    }
    kernel.give_up_licence(&op, &live, &scope).await.map_err(refused)?;
    Ok(Json(json!({ "ok": true })))
}
