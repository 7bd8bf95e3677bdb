//! Identity providers that tenants trust, and the exchange of their tokens for ours (RFC 8693).

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use cm_http::{Failure, FailureClass, JsonBody, Upload};
use cm_kernel::Exchanged;
use cm_kernel::identity::{CredentialProblem, Provider, TOKEN_TTL_DEFAULT, claimed_issuer};
use cm_kernel::policy::{List, Update};
use cm_types::{ResourceId, ResourceKind, TenantId};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::document::ErrorBody;
use crate::failure::refusal;
use crate::oauth::{OAuthError, OAuthRefusal, form_fields, scope_of};

/// Longest body of an exchange, in bytes: the token and little else.
const BODY_BYTES_MAX: usize = 32 << 10;
const GRANT: &str = "urn:ietf:params:oauth:grant-type:token-exchange";
const ACCESS_TOKEN: &str = "urn:ietf:params:oauth:token-type:access_token";
const JWT: &str = "urn:ietf:params:oauth:token-type:jwt";
const ID_TOKEN: &str = "urn:ietf:params:oauth:token-type:id_token";

/// An identity provider that a tenant trusts, and how far.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ProviderSpec {
    /// Its issuer, the very text that stands in its tokens: an https URL.
    pub issuer: String,
    /// Whom its tokens must be for: what this product is called there.
    pub audience: String,
    /// The algorithms that it signs with: some of RS256, PS256, ES256, ES384 and EdDSA.
    pub algorithms: Vec<String>,
    /// Where its keys are; found by its description under the issuer unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub keys_url: Option<String>,
    /// Which claim gives roles: `groups`, or `realm_access.roles` for one within another.
    pub claim: String,
    /// Which roles each value of the claim gives. Whoever gets none is not let in; none makes administrators.
    #[schema(value_type = BTreeMap<String, Vec<String>>)]
    pub roles: BTreeMap<String, Vec<ResourceId>>,
}

/// A provider under its id.
#[derive(Debug, Serialize, ToSchema)]
pub struct ProviderView {
    /// What the tenant calls it.
    pub id: String,
    /// How far it is trusted.
    #[serde(flatten)]
    pub spec: ProviderSpec,
}

impl From<Provider> for ProviderView {
    fn from(provider: Provider) -> Self {
        let Provider { id, issuer, audience, algorithms, keys_url, claim, roles } = provider;
        let spec = ProviderSpec { issuer, audience, algorithms, keys_url, claim, roles };
        Self { id: id.to_string(), spec }
    }
}

/// What a token was exchanged for (RFC 8693, section 2.2.1).
#[derive(Serialize, ToSchema)]
pub struct ExchangedToken {
    /// The bearer token. It is shown this once.
    pub access_token: String,
    /// `urn:ietf:params:oauth:token-type:access_token`.
    pub issued_token_type: String,
    /// `Bearer`.
    pub token_type: String,
    /// How long it lasts, in seconds.
    pub expires_in: i64,
    /// The roles of whose it is, with spaces between.
    pub scope: String,
}

/// A token to be exchanged (RFC 8693, section 2.1), as a form.
#[derive(ToSchema)]
#[allow(dead_code, reason = "it describes the form, whose fields are read one by one")]
pub struct Exchange {
    /// `urn:ietf:params:oauth:grant-type:token-exchange`.
    pub grant_type: String,
    /// The token of the provider.
    #[schema(format = "password")]
    pub subject_token: String,
    /// `urn:ietf:params:oauth:token-type:` with `jwt`, `id_token` or `access_token` behind it.
    pub subject_token_type: String,
    /// The tenant that trusts the provider; `default` unless told.
    pub tenant: Option<String>,
    /// Roles that are needed, with spaces between: it is refused if the token gives one of them not. It gives its others as well.
    pub scope: Option<String>,
    /// Whom the token is to be for: this node's issuer, which it is unless told.
    pub audience: Option<String>,
    /// As `audience`, by its address.
    pub resource: Option<String>,
}

fn tenant(text: &str) -> Result<TenantId, Failure> {
    TenantId::parse(text).map_err(|_| Failure::not_found())
}

#[utoipa::path(
    get, path = "/tenants/{id}/providers", operation_id = "list_providers", tag = "auth",
    params(("id" = String, Path, description = "The tenant")),
    extensions(("x-permission" = json!("tenant:list"))),
    responses((status = 200, description = "The identity providers that the tenant trusts", body = Vec<ProviderView>))
)]
/// Lists the identity providers that a tenant trusts.
pub async fn list_providers(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<Json<Vec<ProviderView>>, Failure> {
    let permit = api.kernel.authorize_of_node::<List>(&op, ResourceKind::Tenant).await.map_err(refusal)?;
    let all = api.kernel.list_providers(&permit, &tenant(&id)?).await.map_err(refusal)?;
    Ok(Json(all.into_iter().map(ProviderView::from).collect()))
}

#[utoipa::path(
    put, path = "/tenants/{id}/providers/{provider}", operation_id = "set_provider", tag = "auth",
    params(
        ("id" = String, Path, description = "The tenant"),
        ("provider" = String, Path, description = "What the tenant calls the provider"),
    ),
    request_body = ProviderSpec,
    extensions(("x-permission" = json!("tenant:update"))),
    responses(
        (status = 204, description = "The provider is trusted so far"),
        (status = 422, description = "Something about it is not as it must be", body = ErrorBody),
    )
)]
/// Trusts an identity provider in a tenant, or says anew how far.
pub async fn set_provider(
    State(api): State<Api>,
    Op(op): Op,
    Path((id, provider)): Path<(String, String)>,
    body: JsonBody<ProviderSpec>,
) -> Result<StatusCode, Failure> {
    api.kernel.authorize_of_node::<Update>(&op, ResourceKind::Tenant).await.map_err(refusal)?;
    let ProviderSpec { issuer, audience, algorithms, keys_url, claim, roles } = body.decode().await?;
    let op = op.again(&api.kernel).await?;
    let permit = api.kernel.authorize_of_node::<Update>(&op, ResourceKind::Tenant).await.map_err(refusal)?;
    let id = tenant(&id)?;
    let name = ResourceId::parse(provider)
        .map_err(|error| Failure::new(FailureClass::Invalid, format!("provider: {error}")))?;
    let provider = Provider { id: name, issuer, audience, algorithms, keys_url, claim, roles };
    api.kernel.set_provider(&op, &permit, &id, provider).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    delete, path = "/tenants/{id}/providers/{provider}", operation_id = "delete_provider", tag = "auth",
    params(
        ("id" = String, Path, description = "The tenant"),
        ("provider" = String, Path, description = "What the tenant calls the provider"),
    ),
    extensions(("x-permission" = json!("tenant:update"))),
    responses((status = 204, description = "The provider is trusted no more; what was made of its tokens has ended"))
)]
/// Trusts an identity provider no more.
pub async fn delete_provider(
    State(api): State<Api>,
    Op(op): Op,
    Path((id, provider)): Path<(String, String)>,
) -> Result<StatusCode, Failure> {
    let permit = api.kernel.authorize_of_node::<Update>(&op, ResourceKind::Tenant).await.map_err(refusal)?;
    let name = ResourceId::parse(provider).map_err(|_| Failure::not_found())?;
    api.kernel.delete_provider(&op, &permit, (&tenant(&id)?, &name)).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    post, path = "/auth/exchange", operation_id = "exchange_token", tag = "auth", security(()),
    request_body(content = Exchange, content_type = "application/x-www-form-urlencoded"),
    extensions(("x-permission" = json!("self"))),
    responses(
        (status = 200, description = "A token of this node, which ends no later than the one shown", body = ExchangedToken),
        (status = 400, description = "The request is wrong, or the token proves nothing here", body = OAuthError),
        (status = 503, description = "The provider cannot be asked for its keys", body = ErrorBody),
    )
)]
/// Exchanges a token of a trusted identity provider for one of this node (RFC 8693).
pub async fn exchange_token(
    State(api): State<Api>,
    Op(op): Op,
    body: Upload,
) -> Result<Json<ExchangedToken>, OAuthRefusal> {
    let fields = form_fields(body, BODY_BYTES_MAX).await?;
    let field = |name: &str| fields.get(name).map(String::as_str);
    let unsupported =
        |name: &str, expected: &str| OAuthRefusal::invalid_request(format!("`{name}` must be {expected}"));
    match field("grant_type") {
        Some(GRANT) => {}
        Some(_) => return Err(OAuthRefusal::unsupported_grant(format!("only {GRANT} is served here"))),
        None => return Err(unsupported("grant_type", GRANT)),
    }
    if !field("subject_token_type").is_some_and(|kind| [ACCESS_TOKEN, JWT, ID_TOKEN].contains(&kind)) {
        return Err(unsupported("subject_token_type", JWT));
    }
    if field("requested_token_type").is_some_and(|kind| kind != ACCESS_TOKEN) {
        return Err(unsupported("requested_token_type", ACCESS_TOKEN));
    }
    // What is made speaks for the subject alone: nobody may believe that it says who acts.
    if let Some(name) = ["actor_token", "actor_token_type"].into_iter().find(|name| field(name).is_some()) {
        return Err(OAuthRefusal::invalid_request(format!("`{name}` is not served here")));
    }
    let issuer = api.kernel.identity().issuer();
    if ["audience", "resource"].into_iter().filter_map(field).any(|target| target != issuer) {
        return Err(OAuthRefusal::invalid_target(format!("tokens are for {issuer} alone")));
    }
    let wanted: Vec<String> =
        field("scope").unwrap_or_default().split_ascii_whitespace().map(str::to_owned).collect();
    let token = field("subject_token").ok_or_else(|| unsupported("subject_token", "a token"))?;
    let tenant = match field("tenant") {
        Some(text) => TenantId::parse(text).map_err(|_| unsupported("tenant", "a tenant"))?,
        None => TenantId::default_tenant(),
    };
    let provider = api.kernel.provider_of(&op, &tenant, claimed_issuer(token)).await.map_err(refusal)?;
    let untrusted = async || {
        let problem = CredentialProblem::NotOurs;
        Err(refusal(api.kernel.refuse_credential(&op, &tenant, problem).await).into())
    };
    for anew in [false, true] {
        let Some(keys) = api.key_sets.of(&provider, anew).await? else { return untrusted().await };
        let shown = (token.to_owned().into(), keys);
        let terms = (EXCHANGED_TTL_MAX, wanted.clone());
        let done = api.kernel.exchange(&op, (&tenant, &provider), shown, terms).await;
        match done.map_err(refusal)? {
            Exchanged::Token { text, info, roles } => {
                let expires_in = info.expires_at.as_secs() - api.kernel.now().as_secs();
                return Ok(Json(ExchangedToken {
                    access_token: text.expose().clone(),
                    issued_token_type: ACCESS_TOKEN.to_owned(),
                    token_type: "Bearer".to_owned(),
                    expires_in,
                    scope: scope_of(&roles),
                }));
            }
            Exchanged::NotGranted => {
                return Err(OAuthRefusal::invalid_scope("the token does not give all of these roles"));
            }
            Exchanged::UnknownKey => {}
        }
    }
    untrusted().await
}

/// How long a token lives that was made of another's: it cannot be told when that one is revoked.
const EXCHANGED_TTL_MAX: Duration = TOKEN_TTL_DEFAULT;

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_providers))
        .routes(routes!(set_provider, delete_provider))
        .routes(routes!(exchange_token))
}
