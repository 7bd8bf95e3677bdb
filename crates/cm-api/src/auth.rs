//! Logging in and out, and who one is. Nobody needs a permission to speak for themselves.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use cm_http::{Failure, FailureClass, JsonBody};
use cm_kernel::identity::{
    Authenticated, Credential, NewSession, SessionKind, SessionTokens, TOKEN_TTL_DEFAULT,
};
use cm_kernel::{Actor, OpContext};
use cm_types::{PrincipalId, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::document::ErrorBody;
use crate::failure::refusal;

/// Longest body of a login, in bytes: nobody is known yet who could be held to account for more.
const LOGIN_BYTES_MAX: usize = 4 << 10;
/// How long the body of a login may take: it fits into one packet or a few.
const LOGIN_TOTAL: Duration = Duration::from_secs(10);

/// Who logs in.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Login {
    /// The tenant; `default` unless told.
    #[serde(default)]
    #[schema(value_type = Option<String>)]
    pub tenant: Option<TenantId>,
    /// The principal.
    #[schema(value_type = String)]
    pub principal: PrincipalId,
    /// Its password.
    #[schema(format = "password")]
    pub password: String,
    /// A code of its second factor, or a recovery code, if it has one.
    #[serde(default)]
    pub code: Option<String>,
}

/// A token to be issued.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenRequest {
    /// How long it is to last, in seconds; an hour unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ttl_seconds: Option<u64>,
}

/// A token that was issued. Its text is shown this once.
#[derive(Serialize, ToSchema)]
pub struct IssuedToken {
    /// The bearer token.
    pub token: String,
    /// When it ends, RFC 3339.
    #[schema(format = "date-time")]
    pub expires_at: String,
}

/// A session that was begun or carried on. Its texts are shown this once.
#[derive(Serialize, ToSchema)]
pub struct BegunSession {
    /// The bearer token, the only live one of the session.
    pub token: String,
    /// When it ends, RFC 3339.
    #[schema(format = "date-time")]
    pub expires_at: String,
    /// What carries the session on, once.
    pub refresh_token: String,
    /// When the session ends, however often it is carried on, RFC 3339.
    #[schema(format = "date-time")]
    pub session_ends_at: String,
    /// The session's id, which is no secret.
    pub session: String,
}

impl From<SessionTokens> for BegunSession {
    fn from(tokens: SessionTokens) -> Self {
        Self {
            token: tokens.token.expose().clone(),
            expires_at: tokens.expires_at.to_string(),
            refresh_token: tokens.refresh.map_or_else(String::new, |text| text.expose().clone()),
            session_ends_at: tokens.session_ends_at.to_string(),
            session: tokens.session,
        }
    }
}

/// A session to be carried on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct RefreshRequest {
    /// What the login, or the last refresh, gave.
    #[schema(format = "password")]
    pub refresh_token: String,
    /// How long the new token is to last, in seconds; an hour unless told.
    #[serde(default)]
    pub ttl_seconds: Option<u64>,
}

async fn issue(
    api: &Api,
    op: &OpContext,
    authenticated: &Authenticated,
    ttl: Duration,
) -> Result<Json<IssuedToken>, Failure> {
    let (token, info) = api.kernel.issue_token(op, authenticated, ttl).await.map_err(refusal)?;
    Ok(Json(IssuedToken { token: token.expose().clone(), expires_at: info.expires_at.to_string() }))
}

/// Who the node takes the caller for.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct WhoAmI {
    /// The principal.
    pub principal: String,
    /// Its tenant.
    pub tenant: String,
    /// The ids of the roles that it holds.
    pub roles: Vec<String>,
    /// What those roles permit.
    pub permissions: Vec<String>,
    /// What it authenticated with: `password`, `passkey`, `api-key`, `token`, or `none` on an open node.
    pub credential: String,
}

#[utoipa::path(
    post, path = "/auth/login", operation_id = "login", tag = "auth", request_body = Login, security(()),
    extensions(("x-permission" = json!("self"))),
    responses(
        (status = 200, description = "A session of the principal: a token, and what carries it on", body = BegunSession),
        (status = 401, description = "No such principal, another password, or no code where one is needed: `details.second_factor` is `required` then", body = ErrorBody),
        (status = 429, description = "Too many failures; `Retry-After` says when to try again", body = ErrorBody),
    )
)]
/// Exchanges a password for a session.
pub async fn login(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<Login>,
) -> Result<Json<BegunSession>, Failure> {
    // Whatever is no name and password is no credential, hence the same answer as a wrong one.
    let login = body.limited_to(LOGIN_BYTES_MAX, LOGIN_TOTAL).decode().await.map_err(|problem| {
        if matches!(problem.class(), FailureClass::TooLarge | FailureClass::RequestTimeout) {
            return problem;
        }
        let expected =
            "expected a JSON object with `principal`, `password` and, if it is not the first, `tenant`";
        Failure::unauthenticated(format!("no credentials: {}; {expected}", problem.message()))
    })?;
    let tenant = login.tenant.unwrap_or_else(TenantId::default_tenant);
    let password = login.password.into();
    let authenticated = {
        let shown = (password, login.code.map(Into::into));
        api.kernel.login_with_code(&op, (&tenant, &login.principal), shown).await.map_err(refusal)?
    };
    let session = NewSession { kind: SessionKind::Api, label: String::new(), ttl: TOKEN_TTL_DEFAULT };
    let tokens = api.kernel.begin_session(&op, &authenticated, session).await.map_err(refusal)?;
    Ok(Json(tokens.into()))
}

#[utoipa::path(
    post, path = "/auth/refresh", operation_id = "refresh_session", tag = "auth",
    request_body = RefreshRequest, security(()),
    extensions(("x-permission" = json!("self"))),
    responses(
        (status = 200, description = "The session carried on; the token and the refresh token before are no more", body = BegunSession),
        (status = 401, description = "The refresh token is not valid. One that was used before ends its session", body = ErrorBody),
    )
)]
/// Carries on a session.
pub async fn refresh_session(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<RefreshRequest>,
) -> Result<Json<BegunSession>, Failure> {
    let body = body.limited_to(LOGIN_BYTES_MAX, LOGIN_TOTAL).decode().await.map_err(no_credential)?;
    let ttl = body.ttl_seconds.map_or(TOKEN_TTL_DEFAULT, Duration::from_secs);
    let refresh = body.refresh_token.into();
    let (_, tokens) = api.kernel.refresh_session(&op, refresh, ttl).await.map_err(refusal)?;
    Ok(Json(tokens.into()))
}

/// Whatever is no credential is answered as a wrong one.
pub(crate) fn no_credential(problem: Failure) -> Failure {
    match problem.class() {
        FailureClass::TooLarge | FailureClass::RequestTimeout => problem,
        _ => Failure::unauthenticated(format!("no credentials: {}", problem.message())),
    }
}

#[utoipa::path(
    post, path = "/auth/logout", operation_id = "logout", tag = "auth",
    extensions(("x-permission" = json!("self"))),
    responses(
        (status = 204, description = "The token in use has ended"),
        (status = 422, description = "The credential in use is no token", body = ErrorBody),
    )
)]
/// Ends the token in use.
pub async fn logout(State(api): State<Api>, Op(op): Op) -> Result<StatusCode, Failure> {
    let authenticated = op.authenticated().ok_or_else(nothing_presented)?;
    api.kernel.revoke_token(&op, authenticated).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    get, path = "/auth/whoami", operation_id = "whoami", tag = "auth",
    extensions(("x-permission" = json!("self"))),
    responses((status = 200, description = "Who the node takes the caller for", body = WhoAmI))
)]
/// Says who the caller is.
pub async fn whoami(Op(op): Op) -> Result<Json<WhoAmI>, Failure> {
    let (facts, roles, credential) = match &op.actor {
        Actor::Anonymous => return Err(nothing_presented()),
        Actor::Node(facts) => (facts, &[][..], "none"),
        Actor::Principal(facts, authenticated) => {
            (facts, &authenticated.principal().roles[..], credential_name(authenticated.credential()))
        }
    };
    Ok(Json(WhoAmI {
        principal: facts.principal.to_string(),
        tenant: facts.tenant.to_string(),
        roles: roles.iter().map(ToString::to_string).collect(),
        permissions: facts.roles.iter().flat_map(|role| &role.permissions).map(ToString::to_string).collect(),
        credential: credential.to_owned(),
    }))
}

/// Without a credential there is nothing to end and nothing to derive a token from.
fn nothing_presented() -> Failure {
    Failure::unauthenticated("a bearer token is required")
}

fn credential_name(credential: &Credential) -> &'static str {
    match credential {
        Credential::Password => "password",
        Credential::Passkey { .. } => "passkey",
        Credential::ApiKey { .. } => "api-key",
        Credential::External { .. } => "external",
        Credential::Token { .. } => "token",
    }
}

#[utoipa::path(
    post, path = "/auth/tokens", operation_id = "issue_token", tag = "auth",
    request_body(content = TokenRequest, description = "May be absent"),
    extensions(("x-permission" = json!("self"))),
    responses((status = 200, description = "A token of the caller, no stronger than the credential in use", body = IssuedToken))
)]
/// Issues a short-lived token for the caller.
pub async fn issue_token(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<TokenRequest>,
) -> Result<Json<IssuedToken>, Failure> {
    op.authenticated().ok_or_else(nothing_presented)?;
    let ttl = body.decode_or_default().await?.ttl_seconds.map_or(TOKEN_TTL_DEFAULT, Duration::from_secs);
    let op = op.again(&api.kernel).await?;
    let authenticated = op.authenticated().ok_or_else(nothing_presented)?;
    issue(&api, &op, authenticated, ttl).await
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(login))
        .routes(routes!(refresh_session))
        .routes(routes!(logout))
        .routes(routes!(whoami))
        .routes(routes!(issue_token))
}
