//! One-time codes as a second factor of one's own password. Nobody needs a permission to guard themselves better.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use cm_http::{Failure, JsonBody};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::document::ErrorBody;
use crate::failure::refusal;

/// What a device needs to make codes. It is shown this once.
#[derive(Serialize, ToSchema)]
pub struct EnrolmentView {
    /// The secret in base32, to be typed.
    pub secret: String,
    /// The same as an `otpauth` URL, to be scanned.
    pub url: String,
}

/// A code of the device, or a recovery code.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShownCode {
    /// The code.
    #[schema(format = "password")]
    pub code: String,
}

/// Codes for the day the device is lost. They are shown this once.
#[derive(Serialize, ToSchema)]
pub struct RecoveryCodes {
    /// The codes, each of use once.
    pub recovery_codes: Vec<String>,
}

/// What is known of a second factor.
#[derive(Debug, Serialize, ToSchema)]
pub struct SecondFactorView {
    /// Whether codes are asked for.
    pub enabled: bool,
    /// Whether one was begun to be enrolled and not confirmed.
    pub pending: bool,
    /// Since when, RFC 3339.
    #[schema(format = "date-time")]
    pub created_at: Option<String>,
    /// How many recovery codes are left.
    pub recovery_left: usize,
    /// Whether the credential in use was got with a code or a passkey: the `mfa` of permission policies.
    pub used: bool,
}

#[utoipa::path(
    get, path = "/auth/mfa", operation_id = "get_second_factor", tag = "auth",
    extensions(("x-permission" = json!("self"))),
    responses((status = 200, description = "The caller's second factor", body = SecondFactorView))
)]
/// Says what the caller's second factor is.
pub async fn get_second_factor(
    State(api): State<Api>,
    Op(op): Op,
) -> Result<Json<SecondFactorView>, Failure> {
    let found = api.kernel.own_second_factor(&op).await.map_err(refusal)?;
    let confirmed = found.as_ref().is_some_and(|found| found.confirmed);
    Ok(Json(SecondFactorView {
        enabled: confirmed,
        pending: found.is_some() && !confirmed,
        created_at: found.as_ref().map(|found| found.created_at.to_string()),
        recovery_left: found.map_or(0, |found| found.recovery_left),
        used: op.authenticated().is_some_and(|shown| shown.has_second_factor()),
    }))
}

#[utoipa::path(
    post, path = "/auth/mfa", operation_id = "enrol_second_factor", tag = "auth",
    extensions(("x-permission" = json!("self"))),
    responses(
        (status = 200, description = "What a device needs; nothing is asked for before it is confirmed", body = EnrolmentView),
        (status = 403, description = "The credential in use began with no password or passkey, without the passkey that there is, or more than ten minutes ago: log in again", body = ErrorBody),
        (status = 409, description = "There is a second factor already", body = ErrorBody),
    )
)]
/// Begins to enrol a second factor of the caller's password.
pub async fn enrol_second_factor(State(api): State<Api>, Op(op): Op) -> Result<Json<EnrolmentView>, Failure> {
    let enrolment = api.kernel.enrol_second_factor(&op).await.map_err(refusal)?;
    let (secret, url) = (enrolment.secret.expose().clone(), enrolment.url.expose().clone());
    Ok(Json(EnrolmentView { secret, url }))
}

#[utoipa::path(
    post, path = "/auth/mfa/confirm", operation_id = "confirm_second_factor", tag = "auth", request_body = ShownCode,
    extensions(("x-permission" = json!("self"))),
    responses(
        (status = 200, description = "Codes are asked for from now on", body = RecoveryCodes),
        (status = 403, description = "As for beginning", body = ErrorBody),
        (status = 422, description = "The code is wrong", body = ErrorBody),
    )
)]
/// Confirms the caller's second factor by a code of the device.
pub async fn confirm_second_factor(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<ShownCode>,
) -> Result<Json<RecoveryCodes>, Failure> {
    let code = body.decode().await?.code;
    let op = op.again(&api.kernel).await?;
    let codes = api.kernel.confirm_second_factor(&op, code.into()).await.map_err(refusal)?;
    Ok(Json(RecoveryCodes { recovery_codes: codes.iter().map(|code| code.expose().clone()).collect() }))
}

#[utoipa::path(
    post, path = "/auth/mfa/remove", operation_id = "remove_second_factor", tag = "auth", request_body = ShownCode,
    extensions(("x-permission" = json!("self"))),
    responses(
        (status = 204, description = "The password alone is enough again"),
        (status = 422, description = "The code is wrong", body = ErrorBody),
        (status = 429, description = "Too many wrong codes; `Retry-After` says when to try again", body = ErrorBody),
    )
)]
/// Takes the caller's second factor away, which takes a code.
pub async fn remove_second_factor(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<ShownCode>,
) -> Result<StatusCode, Failure> {
    let code = body.decode().await?.code;
    let op = op.again(&api.kernel).await?;
    let own =
        op.principal().cloned().ok_or_else(|| Failure::unauthenticated("a bearer token is required"))?;
    let (_, permit) = api.kernel.look_up_credentials(&op, own.as_str()).await.map_err(refusal)?;
    api.kernel.remove_second_factor(&op, &permit, &own, Some(code.into())).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    delete, path = "/principals/{id}/mfa", operation_id = "reset_second_factor", tag = "principals",
    params(("id" = String, Path, description = "The principal")),
    extensions(("x-permission" = json!("principal:grant"))),
    responses((status = 204, description = "The principal's password alone is enough again"))
)]
/// Takes somebody's second factor away who lost it.
pub async fn reset_second_factor(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    let (principal, permit) =
        api.kernel.look_up_principal::<cm_kernel::policy::Grant>(&op, &id).await.map_err(refusal)?;
    api.kernel.remove_second_factor(&op, &permit, &principal.id, None).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(get_second_factor, enrol_second_factor))
        .routes(routes!(confirm_second_factor))
        .routes(routes!(remove_second_factor))
        .routes(routes!(reset_second_factor))
}
