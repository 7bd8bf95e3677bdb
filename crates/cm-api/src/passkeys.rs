//! Passkeys of people (WebAuthn, level 3). Nobody needs a permission to guard themselves better.

use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use cm_http::{Failure, JsonBody};
use cm_kernel::PasskeyAnswer;
use cm_kernel::identity::{
    NewSession, PASSKEYS_MAX, PasskeyChallenge, PasskeyInfo, SessionKind, TOKEN_TTL_DEFAULT,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::auth::{BegunSession, no_credential};
use crate::authentication::Op;
use crate::document::ErrorBody;
use crate::failure::refusal;

/// Longest body of a login, in bytes: nobody is known yet who could be held to account for more. A signature has some hundred.
const LOGIN_BYTES_MAX: usize = 16 << 10;
/// Longest body of a registration, in bytes: it may hold certificates, and the ids of all passkeys that there are.
const REGISTRATION_BYTES_MAX: usize = 64 << 10;
/// How long either may take.
const BODY_TOTAL: Duration = Duration::from_secs(10);

/// A question for a device.
#[derive(Serialize, ToSchema)]
pub struct PasskeyChallengeView {
    /// To be sent back with the answer, within five minutes.
    pub state: String,
    /// For the browser: `PublicKeyCredentialCreationOptionsJSON` or `PublicKeyCredentialRequestOptionsJSON`.
    #[schema(value_type = Object)]
    pub options: Value,
    /// The origins whose pages may ask; browsers do on others what the node refuses.
    pub origins: Vec<String>,
}

impl From<PasskeyChallenge> for PasskeyChallengeView {
    fn from(challenge: PasskeyChallenge) -> Self {
        let PasskeyChallenge { state, options, origins } = challenge;
        Self { state, options, origins }
    }
}

/// What a device made: `RegistrationResponseJSON`. Further fields of browsers are ignored.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MadeCredential {
    /// The credential's id, base64url.
    pub id: String,
    /// The same.
    pub raw_id: String,
    /// `public-key`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The key.
    pub response: MadeResponse,
    /// What came of extensions.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub client_extension_results: Map<String, Value>,
}

/// A new key, and for what it was made.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct MadeResponse {
    /// The key, base64url.
    pub attestation_object: String,
    /// For which page and challenge it was made, base64url.
    #[serde(rename = "clientDataJSON")]
    pub client_data_json: String,
}

/// What a device signed: `AuthenticationResponseJSON`. Further fields of browsers are ignored.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignedCredential {
    /// The credential's id, base64url.
    pub id: String,
    /// The same.
    pub raw_id: String,
    /// `public-key`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The signature.
    pub response: SignedResponse,
    /// What came of extensions.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub client_extension_results: Map<String, Value>,
}

/// A signature, and what was signed.
#[derive(Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub struct SignedResponse {
    /// What the device says of itself, base64url.
    pub authenticator_data: String,
    /// For which page and challenge it was signed, base64url.
    #[serde(rename = "clientDataJSON")]
    pub client_data_json: String,
    /// The signature, base64url.
    pub signature: String,
    /// What the device knows the account by, base64url.
    #[serde(default)]
    pub user_handle: Option<String>,
}

/// A new passkey.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasskeyRegistration {
    /// Of the question.
    pub state: String,
    /// What its owner calls it.
    pub label: String,
    /// What the device made.
    pub credential: MadeCredential,
}

/// A login with a passkey.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasskeyLogin {
    /// Of the question.
    pub state: String,
    /// What the device signed.
    pub credential: SignedCredential,
}

/// What a passkey is called from now on.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct PasskeyPatch {
    /// In its owner's words.
    pub label: String,
}

/// A passkey without its key.
#[derive(Serialize, ToSchema)]
pub struct PasskeyView {
    /// Its id, which is no secret.
    pub id: String,
    /// What its owner calls it.
    pub label: String,
    /// When it was registered, RFC 3339.
    #[schema(format = "date-time")]
    pub created_at: String,
    /// When somebody logged in with it last, RFC 3339.
    #[schema(format = "date-time")]
    pub last_used_at: Option<String>,
    /// Whether it logs in no more: the password was changed without a factor since, and who may grant has to reset it.
    pub closed: bool,
}

impl From<PasskeyInfo> for PasskeyView {
    fn from(passkey: PasskeyInfo) -> Self {
        Self {
            id: passkey.id,
            label: passkey.label,
            created_at: passkey.created_at.to_string(),
            last_used_at: passkey.last_used_at.map(|at| at.to_string()),
            closed: passkey.closed,
        }
    }
}

/// The caller's passkeys.
#[derive(Serialize, ToSchema)]
pub struct Passkeys {
    /// The oldest first; sixteen at most.
    pub passkeys: Vec<PasskeyView>,
    /// The most that there may be.
    pub max: usize,
    /// Whether the credential in use was got with a passkey or a second factor: the `mfa` of permission policies.
    pub used: bool,
}

#[utoipa::path(
    get, path = "/auth/passkeys", operation_id = "list_passkeys", tag = "auth",
    extensions(("x-permission" = json!("self"))),
    responses((status = 200, description = "The caller's passkeys, without their keys", body = Passkeys))
)]
/// Lists the caller's passkeys.
pub async fn list_passkeys(State(api): State<Api>, Op(op): Op) -> Result<Json<Passkeys>, Failure> {
    let found = api.kernel.own_passkeys(&op).await.map_err(refusal)?;
    Ok(Json(Passkeys {
        passkeys: found.into_iter().map(PasskeyView::from).collect(),
        max: PASSKEYS_MAX,
        used: op.authenticated().is_some_and(|shown| shown.has_second_factor()),
    }))
}

#[utoipa::path(
    post, path = "/auth/passkeys", operation_id = "begin_passkey", tag = "auth",
    extensions(("x-permission" = json!("self"))),
    responses(
        (status = 200, description = "What a device is asked to make; nothing is kept before it answers", body = PasskeyChallengeView),
        (status = 403, description = "The credential in use began with no password or passkey, without the factor that there is, or more than ten minutes ago: log in again", body = ErrorBody),
        (status = 409, description = "The node has no passkeys, or there are as many as may be", body = ErrorBody),
    )
)]
/// Begins to register a passkey of the caller.
pub async fn begin_passkey(
    State(api): State<Api>,
    Op(op): Op,
) -> Result<Json<PasskeyChallengeView>, Failure> {
    Ok(Json(api.kernel.begin_passkey(&op).await.map_err(refusal)?.into()))
}

#[utoipa::path(
    post, path = "/auth/passkeys/finish", operation_id = "add_passkey", tag = "auth", request_body = PasskeyRegistration,
    extensions(("x-permission" = json!("self"))),
    responses(
        (status = 201, description = "The passkey; it logs in from now on", body = PasskeyView),
        (status = 403, description = "As for beginning", body = ErrorBody),
        (status = 409, description = "It is registered already, or there are as many as may be", body = ErrorBody),
        (status = 422, description = "What the device made is not accepted; the message says why", body = ErrorBody),
    )
)]
/// Registers a passkey of the caller.
pub async fn add_passkey(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<PasskeyRegistration>,
) -> Result<(StatusCode, Json<PasskeyView>), Failure> {
    op.authenticated().ok_or_else(|| Failure::unauthenticated("a bearer token is required"))?;
    let body = body.limited_to(REGISTRATION_BYTES_MAX, BODY_TOTAL).decode().await?;
    let op = op.again(&api.kernel).await?;
    let answer = PasskeyAnswer { state: body.state, credential: written(&body.credential)? };
    let added = api.kernel.add_passkey(&op, answer, body.label).await.map_err(refusal)?;
    Ok((StatusCode::CREATED, Json(added.into())))
}

#[utoipa::path(
    patch, path = "/auth/passkeys/{id}", operation_id = "rename_passkey", tag = "auth", request_body = PasskeyPatch,
    params(("id" = String, Path, description = "The passkey")),
    extensions(("x-permission" = json!("self"))),
    responses(
        (status = 200, description = "The passkey", body = PasskeyView),
        (status = 403, description = "The session in use began without a passkey or a second factor", body = ErrorBody),
    )
)]
/// Calls a passkey of the caller something else.
pub async fn rename_passkey(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    body: JsonBody<PasskeyPatch>,
) -> Result<Json<PasskeyView>, Failure> {
    let label = body.decode().await?.label;
    let op = op.again(&api.kernel).await?;
    Ok(Json(api.kernel.rename_passkey(&op, id, label).await.map_err(refusal)?.into()))
}

#[utoipa::path(
    delete, path = "/auth/passkeys/{id}", operation_id = "remove_passkey", tag = "auth",
    params(("id" = String, Path, description = "The passkey")),
    extensions(("x-permission" = json!("self"))),
    responses(
        (status = 204, description = "It is gone, and the sessions that it began have ended"),
        (status = 403, description = "The session in use began without a passkey or a second factor", body = ErrorBody),
    )
)]
/// Takes a passkey of the caller away.
pub async fn remove_passkey(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    api.kernel.remove_passkey(&op, id).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    delete, path = "/principals/{id}/passkeys", operation_id = "reset_passkeys", tag = "principals",
    params(("id" = String, Path, description = "The principal")),
    extensions(("x-permission" = json!("principal:grant"))),
    responses((status = 204, description = "The principal has no passkey any more; the sessions that they began have ended"))
)]
/// Takes all passkeys of somebody away who lost them.
pub async fn reset_passkeys(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    let (principal, permit) =
        api.kernel.look_up_principal::<cm_kernel::policy::Grant>(&op, &id).await.map_err(refusal)?;
    api.kernel.reset_passkeys(&op, &permit, &principal.id).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    post, path = "/auth/login/passkey", operation_id = "begin_passkey_login", tag = "auth", security(()),
    extensions(("x-permission" = json!("self"))),
    responses(
        (status = 200, description = "What a device is asked, the same for everybody", body = PasskeyChallengeView),
        (status = 409, description = "The node has no passkeys", body = ErrorBody),
    )
)]
/// Begins to log in with a passkey.
pub async fn begin_passkey_login(
    State(api): State<Api>,
    Op(_op): Op,
) -> Result<Json<PasskeyChallengeView>, Failure> {
    Ok(Json(api.kernel.begin_passkey_login().map_err(refusal)?.into()))
}

#[utoipa::path(
    post, path = "/auth/login/passkey/finish", operation_id = "finish_passkey_login", tag = "auth",
    request_body = PasskeyLogin, security(()),
    extensions(("x-permission" = json!("self"))),
    responses(
        (status = 200, description = "A session of the principal; it counts as one with a second factor", body = BegunSession),
        (status = 401, description = "Whatever is wrong with the answer", body = ErrorBody),
        (status = 429, description = "Too many failures; `Retry-After` says when to try again", body = ErrorBody),
    )
)]
/// Exchanges a passkey's answer for a session.
pub async fn finish_passkey_login(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<PasskeyLogin>,
) -> Result<Json<BegunSession>, Failure> {
    // Whatever is no answer of a passkey is no credential, hence the same as a wrong one.
    let body = body.limited_to(LOGIN_BYTES_MAX, BODY_TOTAL).decode().await.map_err(no_credential)?;
    let answer = PasskeyAnswer { state: body.state, credential: written(&body.credential)? };
    let authenticated = api.kernel.login_with_passkey(&op, answer).await.map_err(refusal)?;
    let session = NewSession { kind: SessionKind::Api, label: String::new(), ttl: TOKEN_TTL_DEFAULT };
    let tokens = api.kernel.begin_session(&op, &authenticated, session).await.map_err(refusal)?;
    Ok(Json(tokens.into()))
}

/// As the library reads it, and nothing besides.
fn written(credential: &impl Serialize) -> Result<Value, Failure> {
    serde_json::to_value(credential).map_err(Failure::internal)
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_passkeys, begin_passkey))
        .routes(routes!(add_passkey))
        .routes(routes!(rename_passkey, remove_passkey))
        .routes(routes!(reset_passkeys))
        .routes(routes!(begin_passkey_login))
        .routes(routes!(finish_passkey_login))
}
