//! What the standards around tokens ask for: introspection (RFC 7662), revocation (RFC 7009), the public keys (RFC 7517) and the
//! description by which clients of OpenID Connect find them.

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use cm_http::{Failure, FailureClass, Upload};
use cm_kernel::identity::{Credential, PublicKey, Purpose};
use cm_kernel::policy::List;
use cm_types::ResourceKind;
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::document::PREFIX;
use crate::failure::refusal;
use crate::oauth::{OAuthError, OAuthRefusal, form_fields, is_form, scope_of};

/// Where the public keys are.
pub(crate) const JWKS_PATH: &str = "/.well-known/jwks.json";
/// Longest body with a token, in bytes.
const BODY_BYTES_MAX: usize = 16 << 10;

/// A token that is asked about. As JSON, or as a form as the standards have it.
#[derive(Deserialize, ToSchema)]
pub struct ShownToken {
    /// The token.
    #[schema(format = "password")]
    pub token: String,
    /// `access_token` or `refresh_token`; it is found out anyway.
    #[serde(default)]
    pub token_type_hint: Option<String>,
}

/// What a token is.
#[derive(Debug, Serialize, ToSchema)]
pub struct TokenDescription {
    /// Whether it is of any use. If not, nothing else is said.
    pub active: bool,
    /// Whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sub: Option<String>,
    /// The tenant of whose it is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tid: Option<String>,
    /// The roles of whose it is, with spaces between.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scope: Option<String>,
    /// `Bearer`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub token_type: Option<String>,
    /// When it was issued, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iat: Option<i64>,
    /// When it ends, in seconds since 1970.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub exp: Option<i64>,
    /// Who issued it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub iss: Option<String>,
    /// Whom it is for.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub aud: Option<String>,
    /// Which client asked for it: the principal itself.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub client_id: Option<String>,
    /// Its id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub jti: Option<String>,
    /// Its session, if it is of one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sid: Option<String>,
}

impl TokenDescription {
    fn inactive() -> Self {
        Self {
            active: false,
            sub: None,
            tid: None,
            scope: None,
            token_type: None,
            iat: None,
            exp: None,
            iss: None,
            aud: None,
            client_id: None,
            jti: None,
            sid: None,
        }
    }
}

/// The token of a body: of a form, as the standards have it, or of JSON.
async fn shown(body: Upload) -> Result<String, Failure> {
    if is_form(&body) {
        let mut fields = form_fields(body, BODY_BYTES_MAX).await?;
        return fields
            .remove("token")
            .ok_or_else(|| Failure::new(FailureClass::Invalid, "the form has no `token`"));
    }
    body.require_json()?;
    let bytes = body.read_to_end(BODY_BYTES_MAX).await?;
    Ok(cm_http::body::from_json::<ShownToken>(&bytes)?.token)
}

#[utoipa::path(
    post, path = "/auth/introspect", operation_id = "introspect_token", tag = "auth", request_body = ShownToken,
    extensions(("x-permission" = json!("principal:list"))),
    responses(
        (status = 200, description = "What the token is; of another tenant's it is not told", body = TokenDescription),
        (status = 400, description = "The body holds no token", body = OAuthError),
    )
)]
/// Says what a token of the caller's tenant is (RFC 7662).
pub async fn introspect_token(
    State(api): State<Api>,
    Op(op): Op,
    body: Upload,
) -> Result<Json<TokenDescription>, OAuthRefusal> {
    let refused = |error| OAuthRefusal::of_caller(refusal(error));
    api.kernel.authorize::<List>(&op, ResourceKind::Principal).await.map_err(refused)?;
    let token = shown(body).await?;
    let op = op.again(&api.kernel).await.map_err(OAuthRefusal::of_caller)?;
    let permit = api.kernel.authorize::<List>(&op, ResourceKind::Principal).await.map_err(refused)?;
    let Some(found) = api.kernel.introspect(&permit, token.into()).await.map_err(refusal)? else {
        return Ok(Json(TokenDescription::inactive()));
    };
    let principal = found.authenticated.principal();
    let (jti, exp, sid) = match found.authenticated.credential() {
        Credential::Token { jti, expires_at, session, .. } => {
            (Some(jti.clone()), Some(expires_at.as_secs()), session.clone())
        }
        _ => (None, None, None),
    };
    Ok(Json(TokenDescription {
        active: true,
        sub: Some(principal.id.to_string()),
        tid: Some(principal.tenant.to_string()),
        scope: Some(scope_of(&principal.roles)),
        token_type: Some("Bearer".to_owned()),
        iat: Some(found.issued_at),
        exp,
        iss: Some(found.issuer.clone()),
        aud: found.audience.clone(),
        client_id: found.client.clone(),
        jti,
        sid,
    }))
}

#[utoipa::path(
    post, path = "/auth/revoke", operation_id = "revoke_credential", tag = "auth", request_body = ShownToken, security(()),
    extensions(("x-permission" = json!("self"))),
    responses(
        (status = 200, description = "Whatever it was, it is of no use any more"),
        (status = 400, description = "The body holds no token", body = OAuthError),
    )
)]
/// Revokes the token or refresh token in the body (RFC 7009). Whoever has it may.
pub async fn revoke_credential(
    State(api): State<Api>,
    Op(op): Op,
    body: Upload,
) -> Result<StatusCode, OAuthRefusal> {
    let token = shown(body).await?;
    api.kernel.revoke_shown(&op, token.into()).await.map_err(refusal)?;
    Ok(StatusCode::OK)
}

/// The public keys of the node's own tokens, as a JSON Web Key Set. Those of workloads' tokens are in the bundle of SPIFFE and not here:
/// such tokens name no issuer, and clients of OpenID Connect would take them for the node's.
pub(crate) async fn key_set(State(api): State<Api>) -> Result<Json<Value>, Failure> {
    let public = api.kernel.public_keys(Purpose::Tokens).await.map_err(refusal)?;
    let keys: Vec<Value> = public.iter().filter_map(|(id, key)| jwk(id, key)).collect();
    Ok(Json(json!({ "keys": keys })))
}

fn jwk(id: &str, key: &PublicKey) -> Option<Value> {
    match key {
        PublicKey::Ed25519(key) => Some(json!({
            "kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "use": "sig", "kid": id, "x": key.to_base64url(),
        })),
        PublicKey::P256(_) | PublicKey::Authority(_) => None,
    }
}

/// Where everything is, for clients of OpenID Connect. There is no endpoint for authorization, hence nothing of its types of responses:
/// what has no elements is left out (OpenID Connect Discovery 1.0, section 4.2).
///
/// # Errors
/// 404 on a node that was not told its own address: nobody could check what it says.
pub(crate) async fn configuration(State(api): State<Api>) -> Result<Json<Value>, Failure> {
    let issuer = api.kernel.identity().issuer();
    if !issuer.contains("://") {
        let message = "this node has no issuer; set `identity.issuer` to the URL under which it is reached";
        return Err(Failure::new(FailureClass::NotFound, message));
    }
    let at = |path: &str| format!("{}{path}", issuer.trim_end_matches('/'));
    Ok(Json(json!({
        "issuer": issuer,
        "jwks_uri": at(JWKS_PATH),
        "introspection_endpoint": at(&format!("{PREFIX}/auth/introspect")),
        "token_endpoint": at(&format!("{PREFIX}/auth/exchange")),
        "grant_types_supported": ["urn:ietf:params:oauth:grant-type:token-exchange"],
        "token_endpoint_auth_methods_supported": ["none"],
        "revocation_endpoint": at(&format!("{PREFIX}/auth/revoke")),
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["EdDSA"],
        "introspection_endpoint_auth_methods_supported": ["Bearer"],
        "revocation_endpoint_auth_methods_supported": ["none"],
    })))
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(introspect_token)).routes(routes!(revoke_credential))
}
