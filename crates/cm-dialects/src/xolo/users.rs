//! Users: signing up, logging in and out, and what administers them.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::extract::rejection::QueryRejection;
use axum::extract::{Path, Query};
use axum::http::StatusCode;
use axum::routing::{delete, get, post};
use axum::{Json, Router};
use cm_crypto::Secret;
use cm_http::{Failure, FailureClass};
use cm_kernel::SignUp;
use cm_kernel::identity::{
    AccountScope, LiveSession, NewSession, Principal, PrincipalChange, Profile, SessionKind, SessionTokens,
};
use cm_kernel::policy::{Create, Delete, List, Update};
use cm_types::{Cursor, PageLimit, PrincipalId, ResourceKind};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Xolo;
use super::call::{Call, account, admit, ensure_account, inactive};
use super::duration;
use super::shape::{coded, invalid, refused, unauthorized};

/// Most users that one list shows.
const LISTED_MAX: usize = 10_000;

pub(super) fn routes() -> Router<Xolo> {
    Router::new()
        .route("/users", get(me).post(create))
        .route("/users/", get(me).post(create))
        .route("/users/all", get(list))
        .route("/users/list", get(list))
        .route("/users/signup", post(sign_up))
        .route("/users/auth", post(auth))
        .route("/users/verify", post(verify))
        .route("/users/refresh", post(refresh))
        .route("/users/logout", post(logout))
        .route("/users/password-recovery", post(recover))
        .route("/users/password-recovery/confirm", post(recover))
        .route("/users/{user}", delete(remove))
        .route("/users/{user}/block", post(block))
        .route("/users/{user}/unblock", post(unblock))
        .route("/users/{user}/enable", post(enable))
        .route("/users/{user}/disable", post(disable))
}

#[derive(Deserialize)]
struct NewUser {
    username: String,
    #[serde(default)]
    first_name: String,
    #[serde(default)]
    last_name: String,
    #[serde(default)]
    email: String,
    password: Secret<String>,
    #[serde(default)]
    profile_photo: String,
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    expiration: Option<String>,
}

impl NewUser {
    fn profile(&self) -> Profile {
        let text = |text: &str| text.trim().to_owned();
        Profile {
            first_name: text(&self.first_name),
            last_name: text(&self.last_name),
            email: text(&self.email),
            photo: text(&self.profile_photo),
            withdrawn: false,
            metadata: BTreeMap::new(),
        }
    }
}

pub(super) fn how_long(field: &str, text: Option<&str>, otherwise: &str) -> Result<Duration, Failure> {
    duration::parse(text.unwrap_or(otherwise)).map_err(|error| invalid(field, error))
}

fn name(text: &str) -> Result<PrincipalId, Failure> {
    PrincipalId::parse(text.trim()).map_err(|error| invalid("username", error))
}

fn view(principal: &Principal, profile: &Profile) -> Value {
    json!({
        "key": principal.id.as_str(),
        "username": principal.id.as_str(),
        "first_name": profile.first_name,
        "last_name": profile.last_name,
        "email": profile.email,
        "profile_photo": profile.photo,
        "disabled": principal.disabled || profile.withdrawn,
        "metadata": profile.metadata,
    })
}

async fn create(Path(id): Path<String>, call: Call) -> Result<(StatusCode, Json<Value>), Failure> {
    let op = call.admin(&account(&id)?).await?;
    make(call, op, false).await
}

async fn sign_up(Path(id): Path<String>, call: Call) -> Result<(StatusCode, Json<Value>), Failure> {
    let account = account(&id)?;
    ensure_account(&call.xolo, &call.op, &account).await?;
    let op = call.application(&account, AccountScope::Users).await?;
    make(call, op, true).await
}

async fn make(
    call: Call,
    op: cm_kernel::OpContext,
    for_scope: bool,
) -> Result<(StatusCode, Json<Value>), Failure> {
    let xolo = call.xolo.clone();
    let kernel = xolo.kernel();
    let permit = kernel.authorize::<Create>(&op, ResourceKind::Principal).await.map_err(refused)?;
    let body: NewUser = call.body().await?;
    let lasts = how_long("expiration", body.expiration.as_deref(), "1h")?;
    let scope = match &body.scope {
        Some(scope) if for_scope => Some((scope.clone(), kernel.now().after(lasts))),
        None if for_scope => return Err(invalid("scope", "expected the scope to sign up for")),
        _ => None,
    };
    let (id, profile) = (name(&body.username)?, body.profile());
    let new = SignUp { id, password: body.password, profile, scope };
    let made = kernel.sign_up(&op, &permit, new).await.map_err(refused)?;
    Ok((StatusCode::CREATED, Json(json!({ "key": made.id.as_str() }))))
}

#[derive(Deserialize)]
struct Auth {
    username: String,
    password: Secret<String>,
    #[serde(default)]
    scope: Option<String>,
    #[serde(default)]
    expiration: Option<String>,
    #[serde(default)]
    renew_token: Option<bool>,
}

async fn auth(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let account = account(&id)?;
    // The key opens the door only; what may be done behind it is said by the password.
    let application = call.application(&account, AccountScope::Users).await?;
    let xolo = call.xolo.clone();
    let kernel = xolo.kernel();
    kernel.authorize::<List>(&application, ResourceKind::Principal).await.map_err(refused)?;
    let op = call.op.clone();
    let body: Auth = call.body().await?;
    let ttl = how_long("expiration", body.expiration.as_deref(), "15min")?;
    let scope = body.scope.as_deref().unwrap_or("XOLO").trim().to_uppercase();
    let user = PrincipalId::parse(body.username.trim()).map_err(|_| unauthorized())?;
    let authenticated = kernel.login(&op, &account, &user, body.password).await.map_err(refused)?;
    admit(kernel, &op, &authenticated).await?;
    if !kernel.scope_admits(&account, user.as_str(), &scope).await.map_err(refused)? {
        let message = "the user does not have the scope, or its licence has ended";
        return Err(coded(FailureClass::Forbidden, "XOLO.ACCESS_DENIED", message));
    }
    let kept = match body.renew_token {
        Some(true) => None,
        _ => kernel.live_session(&authenticated, SessionKind::Xolo4, &scope).await.map_err(refused)?,
    };
    let tokens = match kept {
        Some(tokens) => tokens,
        None => {
            let session = NewSession { kind: SessionKind::Xolo4, label: scope, ttl };
            kernel.begin_session(&op, &authenticated, session).await.map_err(refused)?
        }
    };
    let live = kernel.xolo_session(&op, tokens.token.expose(), SessionKind::Xolo4, &account).await;
    authenticated_view(&xolo, &live.map_err(refused)?, &tokens).await
}

async fn authenticated_view(
    xolo: &Xolo,
    live: &LiveSession,
    tokens: &SessionTokens,
) -> Result<Json<Value>, Failure> {
    let kernel = xolo.kernel();
    let profile = kernel.own_profile(live).await.map_err(refused)?;
    if profile.withdrawn {
        return Err(inactive());
    }
    let secret = kernel.identity().temporal_secret(&tokens.session, &tokens.jti);
    Ok(Json(json!({
        "username": live.principal.id.as_str(),
        "first_name": profile.first_name,
        "last_name": profile.last_name,
        "email": profile.email,
        "profile_photo": profile.photo,
        "access_token": tokens.token.expose(),
        "metadata": profile.metadata,
        "temporal_secret": secret.expose(),
        "user_id": live.principal.id.as_str(),
    })))
}

#[derive(Deserialize)]
struct Verify {
    access_token: String,
    username: String,
    #[serde(default)]
    secret: String,
}

/// Whoever has all three may ask: they are the credential.
async fn verify(Path(id): Path<String>, call: Call) -> Result<StatusCode, Failure> {
    let account = account(&id).map_err(|_| unauthorized())?;
    let (xolo, op) = (call.xolo.clone(), call.op.clone());
    let body: Verify = call.body().await?;
    let kernel = xolo.kernel();
    kernel.freshen().await.map_err(refused)?;
    let live = kernel.xolo_session(&op, &body.access_token, SessionKind::Xolo4, &account).await;
    let live = live.map_err(refused)?;
    admit(kernel, &op, &live.authenticated()).await?;
    let whose = live.principal.id.as_str() == body.username.trim();
    if !whose || !kernel.identity().is_temporal_secret(&live, body.secret.trim()) {
        let problem = cm_kernel::identity::CredentialProblem::NotOurs;
        return Err(refused(kernel.refuse_credential(&op, &account, problem).await));
    }
    match kernel.own_profile(&live).await.map_err(refused)?.withdrawn {
        false => Ok(StatusCode::NO_CONTENT),
        true => Err(inactive()),
    }
}

#[derive(Deserialize)]
struct Refresh {
    #[serde(default)]
    expiration: Option<String>,
}

async fn refresh(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let account = account(&id)?;
    let live = call.session(&account).await?;
    let (xolo, op) = (call.xolo.clone(), call.op.clone());
    let body: Refresh = call.body().await?;
    let ttl = how_long("expiration", body.expiration.as_deref(), "15min")?;
    let kernel = xolo.kernel();
    // A refreshed session goes on for as long only as its user has the scope.
    if !kernel.scope_admits(&account, live.principal.id.as_str(), &live.label).await.map_err(refused)? {
        let message = "the user does not have the scope any more, or its licence has ended";
        return Err(coded(FailureClass::Forbidden, "XOLO.ACCESS_DENIED", message));
    }
    let tokens = kernel.renew_session(&op, &live, ttl).await.map_err(refused)?;
    authenticated_view(&xolo, &live, &tokens).await
}

#[derive(Deserialize)]
struct Logout {
    access_token: String,
    username: String,
}

async fn logout(Path(id): Path<String>, call: Call) -> Result<StatusCode, Failure> {
    let account = account(&id)?;
    let live = call.session_even_withdrawn(&account).await?;
    let (xolo, op) = (call.xolo.clone(), call.op.clone());
    let body: Logout = call.body().await?;
    if body.username.trim() != live.principal.id.as_str() {
        return Err(Failure::new(FailureClass::Forbidden, "only your own session can be ended"));
    }
    let kernel = xolo.kernel();
    let ended = kernel.xolo_session(&op, &body.access_token, SessionKind::Xolo4, &account).await;
    let ended = ended.map_err(refused)?;
    if ended.principal.id != live.principal.id {
        return Err(Failure::new(FailureClass::Forbidden, "only your own session can be ended"));
    }
    kernel.end_session(&op, &ended.id).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn me(Path(id): Path<String>, call: Call) -> Result<Json<Value>, Failure> {
    let live = call.session(&account(&id)?).await?;
    let profile = call.xolo.kernel().own_profile(&live).await.map_err(refused)?;
    Ok(Json(view(&live.principal, &profile)))
}

/// Which users a list is to show.
#[derive(Deserialize)]
struct Portion {
    #[serde(default)]
    limit: Option<usize>,
    #[serde(default)]
    after: Option<String>,
}

/// The users of an account. Earlier clients want all of them at once and get them, up to [`LISTED_MAX`]; beyond that a list is
/// asked for in portions, by `limit` and `after`, the name of the last one that was shown. It is never cut off in silence.
async fn list(
    Path(id): Path<String>,
    portion: Result<Query<Portion>, QueryRejection>,
    call: Call,
) -> Result<Json<Value>, Failure> {
    let op = call.application(&account(&id)?, AccountScope::Users).await?;
    let kernel = call.xolo.kernel();
    let permit = kernel.authorize::<List>(&op, ResourceKind::Principal).await.map_err(refused)?;
    let Query(portion) = portion.map_err(|error| invalid("limit", error.body_text()))?;
    let wanted = portion.limit.unwrap_or(LISTED_MAX);
    if wanted == 0 || wanted > LISTED_MAX {
        return Err(invalid("limit", format!("expected 1 to {LISTED_MAX}")));
    }
    let (mut all, mut after) = (Vec::new(), portion.after.map(Cursor));
    while all.len() < wanted {
        let limit = PageLimit::clamped(wanted - all.len());
        let page = kernel.list_profiles(&permit, after, limit).await.map_err(refused)?;
        all.extend(page.items.iter().map(|(principal, profile)| view(principal, profile)));
        match page.next {
            Some(next) => after = Some(next),
            None => return Ok(Json(all.into())),
        }
    }
    match portion.limit {
        Some(_) => Ok(Json(all.into())),
        None => {
            let rule = format!(
                "the account has more than {LISTED_MAX} users; ask in portions: ?limit=1000&after=NAME"
            );
            Err(invalid("limit", rule))
        }
    }
}

async fn remove(Path((id, user)): Path<(String, String)>, call: Call) -> Result<StatusCode, Failure> {
    let op = call.application(&account(&id)?, AccountScope::Users).await?;
    let kernel = call.xolo.kernel();
    let (principal, permit) = kernel.look_up_principal::<Delete>(&op, &user).await.map_err(refused)?;
    kernel.delete_principal(&op, &permit, &principal.id, None).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn block(path: Path<(String, String)>, call: Call) -> Result<StatusCode, Failure> {
    set_blocked(path, call, true).await
}

async fn unblock(path: Path<(String, String)>, call: Call) -> Result<StatusCode, Failure> {
    set_blocked(path, call, false).await
}

async fn set_blocked(
    Path((id, user)): Path<(String, String)>,
    call: Call,
    blocked: bool,
) -> Result<StatusCode, Failure> {
    let op = call.admin(&account(&id)?).await?;
    let kernel = call.xolo.kernel();
    let (principal, permit) = kernel.look_up_principal::<Update>(&op, &user).await.map_err(refused)?;
    let change = PrincipalChange { disabled: Some(blocked), ..PrincipalChange::default() };
    kernel.update_principal(&op, &permit, &principal.id, change).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

async fn enable(path: Path<(String, String)>, call: Call) -> Result<StatusCode, Failure> {
    set_withdrawn(path, call, false).await
}

async fn disable(path: Path<(String, String)>, call: Call) -> Result<StatusCode, Failure> {
    set_withdrawn(path, call, true).await
}

async fn set_withdrawn(
    Path((id, user)): Path<(String, String)>,
    call: Call,
    withdrawn: bool,
) -> Result<StatusCode, Failure> {
    let live = call.session_even_withdrawn(&account(&id)?).await?;
    if live.principal.id.as_str() != user {
        return Err(Failure::new(FailureClass::Forbidden, "only your own user can be enabled or disabled"));
    }
    let kernel = call.xolo.kernel();
    let op = kernel.as_session(&call.op, &live).await.map_err(refused)?;
    kernel.set_own_withdrawal(&op, &live, withdrawn).await.map_err(refused)?;
    Ok(StatusCode::NO_CONTENT)
}

/// This node sends no mail, so that there is nobody to whom a proof could be sent.
async fn recover(Path(id): Path<String>, _: Call) -> Result<StatusCode, Failure> {
    account(&id)?;
    let message = "this node sends no mail; ask who administers the account to set a new password";
    Err(coded(FailureClass::Conflict, "XOLO.CONFLICT", message))
}
