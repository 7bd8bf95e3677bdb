//! Trust domains of others, whose workloads are believed to be who they say; and the bundle of one's own.

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use cm_http::{Failure, FailureClass, JsonBody};
use cm_kernel::KernelError;
use cm_kernel::identity::{IdentityError, TrustedDomain};
use cm_kernel::policy::{List, Update};
use cm_types::{ResourceKind, TrustDomain};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::bundles::BundleError;
use crate::document::ErrorBody;
use crate::failure::refusal;

/// Where the bundle of the node's own trust domain is.
pub(crate) const BUNDLE_PATH: &str = "/.well-known/spiffe-bundle";

/// A trust domain of others, and how it is trusted.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TrustDomainSpec {
    /// Its bundle: the JSON document in the form of SPIFFE.
    #[schema(value_type = Object)]
    pub bundle: Value,
    /// Where newer bundles are, an https URL; without it the pinned one stays.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint: Option<String>,
    /// Certificates, in PEM, by which that place is known; those that the Web goes by unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub endpoint_certificates: Option<String>,
}

/// A trust domain under its name.
#[derive(Debug, Serialize, ToSchema)]
pub struct TrustDomainView {
    /// The name.
    pub domain: String,
    /// When its bundle was pinned, or found to be the newest, RFC 3339.
    #[schema(format = "date-time")]
    pub refreshed_at: String,
    /// How it is trusted.
    #[serde(flatten)]
    pub spec: TrustDomainSpec,
}

/// What asking for a newer bundle came to.
#[derive(Debug, Serialize, ToSchema)]
pub struct Refreshed {
    /// Whether there was another one.
    pub changed: bool,
}

impl From<TrustedDomain> for TrustDomainView {
    fn from(trusted: TrustedDomain) -> Self {
        let TrustedDomain { domain, bundle, endpoint, endpoint_certificates, refreshed_at } = trusted;
        let bundle = serde_json::from_str(&bundle).unwrap_or(Value::Null);
        let spec = TrustDomainSpec { bundle, endpoint, endpoint_certificates };
        Self { domain: domain.to_string(), refreshed_at: refreshed_at.to_string(), spec }
    }
}

fn domain_of(text: &str) -> Result<TrustDomain, Failure> {
    TrustDomain::parse(text).map_err(|error| Failure::new(FailureClass::Invalid, format!("domain: {error}")))
}

/// The bundle of the node's own trust domain.
///
/// # Errors
/// 404 on a node that has none.
pub(crate) async fn own_bundle(State(api): State<Api>) -> Result<Json<Value>, Failure> {
    match api.kernel.own_bundle().await {
        Ok(bundle) => Ok(Json(bundle)),
        Err(KernelError::Identity(error @ IdentityError::NoTrustDomain)) => {
            Err(Failure::new(FailureClass::NotFound, error.to_string()))
        }
        Err(error) => Err(refusal(error)),
    }
}

#[utoipa::path(
    get, path = "/trust-domains", operation_id = "list_trust_domains", tag = "workloads",
    extensions(("x-permission" = json!("tenant:list"))),
    responses((status = 200, description = "The trust domains of others that are trusted", body = Vec<TrustDomainView>))
)]
/// Lists the trust domains of others that are trusted.
pub async fn list_trust_domains(
    State(api): State<Api>,
    Op(op): Op,
) -> Result<Json<Vec<TrustDomainView>>, Failure> {
    api.kernel.authorize_of_node::<List>(&op, ResourceKind::Tenant).await.map_err(refusal)?;
    let all = api.kernel.trusted_domains().await.map_err(refusal)?;
    Ok(Json(all.into_iter().map(TrustDomainView::from).collect()))
}

#[utoipa::path(
    put, path = "/trust-domains/{domain}", operation_id = "set_trust_domain", tag = "workloads",
    params(("domain" = String, Path, description = "The trust domain's name")),
    request_body = TrustDomainSpec,
    extensions(("x-permission" = json!("tenant:update"))),
    responses(
        (status = 204, description = "The trust domain is trusted so"),
        (status = 422, description = "Something about it is not as it must be", body = ErrorBody),
    )
)]
/// Trusts a trust domain of others by this bundle, or says anew how.
pub async fn set_trust_domain(
    State(api): State<Api>,
    Op(op): Op,
    Path(domain): Path<String>,
    body: JsonBody<TrustDomainSpec>,
) -> Result<StatusCode, Failure> {
    api.kernel.authorize_of_node::<Update>(&op, ResourceKind::Tenant).await.map_err(refusal)?;
    let TrustDomainSpec { bundle, endpoint, endpoint_certificates } = body.decode().await?;
    let op = op.again(&api.kernel).await?;
    let permit = api.kernel.authorize_of_node::<Update>(&op, ResourceKind::Tenant).await.map_err(refusal)?;
    let (domain, bundle, refreshed_at) = (domain_of(&domain)?, bundle.to_string(), api.kernel.now());
    let trusted = TrustedDomain { domain, bundle, endpoint, endpoint_certificates, refreshed_at };
    api.kernel.trust_domain(&op, &permit, trusted).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    delete, path = "/trust-domains/{domain}", operation_id = "delete_trust_domain", tag = "workloads",
    params(("domain" = String, Path, description = "The trust domain's name")),
    extensions(("x-permission" = json!("tenant:update"))),
    responses((status = 204, description = "The trust domain is trusted no more"))
)]
/// Trusts a trust domain of others no more.
pub async fn delete_trust_domain(
    State(api): State<Api>,
    Op(op): Op,
    Path(domain): Path<String>,
) -> Result<StatusCode, Failure> {
    let permit = api.kernel.authorize_of_node::<Update>(&op, ResourceKind::Tenant).await.map_err(refusal)?;
    let domain = TrustDomain::parse(domain).map_err(|_| unknown())?;
    api.kernel.distrust_domain(&op, &permit, &domain).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    post, path = "/trust-domains/{domain}/refresh", operation_id = "refresh_trust_domain", tag = "workloads",
    params(("domain" = String, Path, description = "The trust domain's name")),
    extensions(("x-permission" = json!("tenant:update"))),
    responses(
        (status = 200, description = "The newest bundle is in force", body = Refreshed),
        (status = 409, description = "There is no place to ask", body = ErrorBody),
        (status = 503, description = "The place cannot be asked now", body = ErrorBody),
    )
)]
/// Asks for a newer bundle of a trust domain now. Nodes do so by themselves.
pub async fn refresh_trust_domain(
    State(api): State<Api>,
    Op(op): Op,
    Path(domain): Path<String>,
) -> Result<Json<Refreshed>, Failure> {
    api.kernel.authorize_of_node::<Update>(&op, ResourceKind::Tenant).await.map_err(refusal)?;
    let all = api.kernel.trusted_domains().await.map_err(refusal)?;
    let trusted = all.into_iter().find(|trusted| trusted.domain.as_str() == domain);
    let trusted = trusted.ok_or_else(unknown)?;
    match api.bundles.refresh(&api.kernel, &op, trusted).await {
        Ok(changed) => Ok(Json(Refreshed { changed })),
        Err(BundleError::Kernel(error)) => Err(refusal(error)),
        Err(error @ BundleError::NoEndpoint) => Err(Failure::new(FailureClass::Conflict, error.to_string())),
        Err(error) => Err(Failure::new(FailureClass::Unavailable, error.to_string()).with_cause(error)),
    }
}

fn unknown() -> Failure {
    refusal(IdentityError::NoSuchTrustDomain.into())
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_trust_domains))
        .routes(routes!(set_trust_domain, delete_trust_domain))
        .routes(routes!(refresh_trust_domain))
}
