//! Workloads and the documents of SPIFFE that they show to each other.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::Json;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use cm_http::{Failure, FailureClass, JsonBody, Params};
use cm_kernel::identity::svid::TrustBundle;
use cm_kernel::identity::{SVID_TTL_DEFAULT, SVID_TTL_MAX, Workload};
use cm_kernel::policy::{Grant, List};
use cm_kernel::{Judged, ShownSvid};
use cm_types::{PrincipalId, ResourceKind};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::document::ErrorBody;
use crate::failure::refusal;

/// How a principal is a workload.
#[derive(Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WorkloadSpec {
    /// The longest that its documents live, in seconds; a day unless told, and at most.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ttl_seconds_max: Option<u64>,
}

/// A workload.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkloadView {
    /// The principal.
    pub principal: String,
    /// The longest that its documents live, in seconds.
    pub ttl_seconds_max: u64,
    /// Since when it is one, RFC 3339.
    #[schema(format = "date-time")]
    pub created_at: String,
}

impl From<Workload> for WorkloadView {
    fn from(workload: Workload) -> Self {
        Self {
            principal: workload.principal.to_string(),
            ttl_seconds_max: workload.ttl_max.as_secs(),
            created_at: workload.created_at.to_string(),
        }
    }
}

/// What a workload is called towards others.
#[derive(Debug, Serialize, ToSchema)]
pub struct WorkloadName {
    /// Its SPIFFE id.
    pub spiffe_id: String,
}

/// Which part of the workloads is wanted.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct WorkloadListParams {
    /// The name behind which to begin; a page has at most a thousand.
    pub after: Option<String>,
}

/// A certificate that a workload asks for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CertificateAsked {
    /// A request (PKCS#10) in PEM for an ECDSA P-256 key, signed with that key. Of what it says only the key counts.
    pub csr: String,
    /// How long the certificate is to hold, in seconds; an hour unless told, a day at most.
    #[serde(default)]
    pub ttl_seconds: Option<u64>,
}

/// A certificate that was issued, and by what others are judged.
#[derive(Debug, Serialize, ToSchema)]
pub struct IssuedCertificate {
    /// The workload's SPIFFE id.
    pub spiffe_id: String,
    /// The certificate in PEM.
    pub certificate: String,
    /// When it ends, RFC 3339. Ask for the next one when half of its time has passed.
    #[schema(format = "date-time")]
    pub expires_at: String,
    /// The authorities of each trust domain, its own and those of others, as certificates in PEM. Each vouches for names of its own
    /// domain only.
    pub bundles: BTreeMap<String, String>,
}

/// A token that a workload asks for.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct TokenAsked {
    /// Whom it is for: those who are to believe it.
    pub audience: Vec<String>,
    /// How long it is to last, in seconds; five minutes unless told, a day at most.
    #[serde(default)]
    pub ttl_seconds: Option<u64>,
}

/// A token that was issued.
#[derive(Serialize, ToSchema)]
pub struct IssuedWorkloadToken {
    /// The workload's SPIFFE id.
    pub spiffe_id: String,
    /// The token. It is shown this once.
    pub token: String,
    /// When it ends, RFC 3339.
    #[schema(format = "date-time")]
    pub expires_at: String,
}

/// A document to be judged: certificates, or a token and for whom it has to be.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ShownDocument {
    /// A chain of certificates in PEM, the workload's first.
    #[serde(default)]
    pub certificates: Option<String>,
    /// A token.
    #[serde(default)]
    #[schema(format = "password")]
    pub token: Option<String>,
    /// For whom the token has to be.
    #[serde(default)]
    pub audience: Option<String>,
}

/// What a document is worth.
#[derive(Debug, Serialize, ToSchema)]
pub struct Verdict {
    /// Whether it vouches for somebody.
    pub valid: bool,
    /// For whom: a SPIFFE id.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub spiffe_id: Option<String>,
    /// Until when, RFC 3339.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(format = "date-time")]
    pub expires_at: Option<String>,
    /// Why it vouches for nobody.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How long tokens live unless told: as long as one conversation. They are cheap to get.
const TOKEN_TTL_DEFAULT: Duration = Duration::from_secs(300);

fn ttl(asked: Option<u64>, default: Duration) -> Duration {
    asked.map_or(default, Duration::from_secs)
}

#[utoipa::path(
    get, path = "/workloads", operation_id = "list_workloads", tag = "workloads", params(WorkloadListParams),
    extensions(("x-permission" = json!("principal:list"))),
    responses((status = 200, description = "Workloads of the tenant, by name, a thousand at most", body = Vec<WorkloadView>))
)]
/// Lists the principals that are workloads.
pub async fn list_workloads(
    State(api): State<Api>,
    Op(op): Op,
    params: Params<WorkloadListParams>,
) -> Result<Json<Vec<WorkloadView>>, Failure> {
    let permit = api.kernel.authorize::<List>(&op, ResourceKind::Principal).await.map_err(refusal)?;
    let after = params.decode()?.after.map(PrincipalId::parse).transpose();
    let after = after.map_err(|error| Failure::new(FailureClass::Invalid, format!("after: {error}")))?;
    let all = api.kernel.list_workloads(&permit, after).await.map_err(refusal)?;
    Ok(Json(all.into_iter().map(WorkloadView::from).collect()))
}

#[utoipa::path(
    put, path = "/principals/{id}/workload", operation_id = "register_workload", tag = "workloads",
    params(("id" = String, Path, description = "The principal")),
    request_body(content = WorkloadSpec, description = "May be absent"),
    extensions(("x-permission" = json!("principal:grant"))),
    responses(
        (status = 200, description = "The principal is a workload", body = WorkloadName),
        (status = 409, description = "The node has no trust domain", body = ErrorBody),
        (status = 422, description = "The name of the principal cannot be that of a workload", body = ErrorBody),
    )
)]
/// Makes a principal a workload, whose roles permit no more than the caller holds.
pub async fn register_workload(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    body: JsonBody<WorkloadSpec>,
) -> Result<Json<WorkloadName>, Failure> {
    api.kernel.look_up_principal::<Grant>(&op, &id).await.map_err(refusal)?;
    let longest = ttl(body.decode_or_default().await?.ttl_seconds_max, SVID_TTL_MAX);
    let op = op.again(&api.kernel).await?;
    let (principal, permit) = api.kernel.look_up_principal::<Grant>(&op, &id).await.map_err(refusal)?;
    let name = api.kernel.register_workload(&op, &permit, &principal.id, longest).await.map_err(refusal)?;
    Ok(Json(WorkloadName { spiffe_id: name.to_string() }))
}

#[utoipa::path(
    delete, path = "/principals/{id}/workload", operation_id = "remove_workload", tag = "workloads",
    params(("id" = String, Path, description = "The principal")),
    extensions(("x-permission" = json!("principal:grant"))),
    responses(
        (status = 204, description = "The principal gets no further documents; those that it has end by themselves"),
        (status = 403, description = "It is none", body = ErrorBody),
    )
)]
/// Makes a principal no workload any more.
pub async fn remove_workload(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
) -> Result<StatusCode, Failure> {
    let (principal, permit) = api.kernel.look_up_principal::<Grant>(&op, &id).await.map_err(refusal)?;
    api.kernel.remove_workload(&op, &permit, &principal.id).await.map_err(refusal)?;
    Ok(StatusCode::NO_CONTENT)
}

#[utoipa::path(
    post, path = "/principals/{id}/svids/x509", operation_id = "issue_svid", tag = "workloads",
    params(("id" = String, Path, description = "The principal")), request_body = CertificateAsked,
    extensions(("x-permission" = json!("principal:grant"))),
    responses(
        (status = 200, description = "A certificate for the key of the request", body = IssuedCertificate),
        (status = 403, description = "The principal is no workload", body = ErrorBody),
        (status = 422, description = "The request is none, or was not signed with its key", body = ErrorBody),
    )
)]
/// Issues a certificate (X.509-SVID): to a workload itself without a permission, or for one whose roles permit no more than the caller
/// holds.
pub async fn issue_svid(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    body: JsonBody<CertificateAsked>,
) -> Result<Json<IssuedCertificate>, Failure> {
    api.kernel.look_up_credentials(&op, &id).await.map_err(refusal)?;
    let CertificateAsked { csr, ttl_seconds } = body.decode().await?;
    let op = op.again(&api.kernel).await?;
    let (principal, permit) = api.kernel.look_up_credentials(&op, &id).await.map_err(refusal)?;
    let asked = (csr, ttl(ttl_seconds, SVID_TTL_DEFAULT));
    let issued = api.kernel.issue_svid(&op, permit, &principal.id, asked).await.map_err(refusal)?;
    Ok(Json(IssuedCertificate {
        bundles: bundles(&api, issued.id.domain().as_str()).await?,
        spiffe_id: issued.id.to_string(),
        certificate: issued.certificate,
        expires_at: issued.expires_at.to_string(),
    }))
}

/// The authorities of one's own domain and of those that are trusted.
async fn bundles(api: &Api, own: &str) -> Result<BTreeMap<String, String>, Failure> {
    let mut all = BTreeMap::new();
    let document = api.kernel.own_bundle().await.map_err(refusal)?.to_string();
    if let Ok(bundle) = TrustBundle::parse(document.as_bytes()) {
        all.insert(own.to_owned(), bundle.authorities_pem());
    }
    for trusted in api.kernel.trusted_domains().await.map_err(refusal)? {
        // Pinned before this node's own domain was called so.
        if trusted.domain.as_str() == own {
            continue;
        }
        api.bundles.keep_recent(&api.kernel, &trusted);
        if let Ok(bundle) = trusted.bundle() {
            all.insert(trusted.domain.to_string(), bundle.authorities_pem());
        }
    }
    Ok(all)
}

#[utoipa::path(
    post, path = "/principals/{id}/svids/jwt", operation_id = "issue_workload_token", tag = "workloads",
    params(("id" = String, Path, description = "The principal")), request_body = TokenAsked,
    extensions(("x-permission" = json!("principal:grant"))),
    responses(
        (status = 200, description = "A token for the audience", body = IssuedWorkloadToken),
        (status = 403, description = "The principal is no workload", body = ErrorBody),
    )
)]
/// Issues a token (JWT-SVID): to a workload itself without a permission, or for one whose roles permit no more than the caller holds.
pub async fn issue_workload_token(
    State(api): State<Api>,
    Op(op): Op,
    Path(id): Path<String>,
    body: JsonBody<TokenAsked>,
) -> Result<Json<IssuedWorkloadToken>, Failure> {
    api.kernel.look_up_credentials(&op, &id).await.map_err(refusal)?;
    let TokenAsked { audience, ttl_seconds } = body.decode().await?;
    let op = op.again(&api.kernel).await?;
    let (principal, permit) = api.kernel.look_up_credentials(&op, &id).await.map_err(refusal)?;
    let asked = (audience, ttl(ttl_seconds, TOKEN_TTL_DEFAULT));
    let issued = api.kernel.issue_workload_token(&op, permit, &principal.id, asked).await.map_err(refusal)?;
    Ok(Json(IssuedWorkloadToken {
        spiffe_id: issued.id.to_string(),
        token: issued.token.expose().clone(),
        expires_at: issued.expires_at.to_string(),
    }))
}

#[utoipa::path(
    post, path = "/svids/verify", operation_id = "verify_svid", tag = "workloads", request_body = ShownDocument,
    extensions(("x-permission" = json!("principal:list"))),
    responses((status = 200, description = "Whom the document vouches for, if for anybody", body = Verdict))
)]
/// Judges a document of a workload by the bundle of its trust domain: the node's own, or one that is trusted. That whoever shows a
/// certificate holds its key is proven in a handshake, not here.
pub async fn verify_svid(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<ShownDocument>,
) -> Result<Json<Verdict>, Failure> {
    api.kernel.authorize::<List>(&op, ResourceKind::Principal).await.map_err(refusal)?;
    let shown = match body.decode().await? {
        ShownDocument { certificates: Some(text), token: None, audience: None } => {
            ShownSvid::Certificates(text)
        }
        ShownDocument { certificates: None, token: Some(token), audience: Some(audience) } => {
            ShownSvid::Token(token.into(), audience)
        }
        _ => {
            let message = "expected `certificates`, or `token` and `audience`";
            return Err(Failure::new(FailureClass::Invalid, message));
        }
    };
    let op = op.again(&api.kernel).await?;
    let permit = api.kernel.authorize::<List>(&op, ResourceKind::Principal).await.map_err(refusal)?;
    let trusted = api.kernel.claimed_domain(&shown).await.map_err(refusal)?;
    let mut judged = api.kernel.judge_svid(&permit, shown.clone()).await.map_err(refusal)?;
    if let Some(trusted) = trusted {
        match judged {
            Judged::UnknownKey(_) => {
                if let Ok(true) = api.bundles.refresh(&api.kernel, &op, trusted).await {
                    judged = api.kernel.judge_svid(&permit, shown).await.map_err(refusal)?;
                }
            }
            _ => api.bundles.keep_recent(&api.kernel, &trusted),
        }
    }
    Ok(Json(verdict(judged)))
}

fn verdict(judged: Judged) -> Verdict {
    let refused =
        |reason: String| Verdict { valid: false, spiffe_id: None, expires_at: None, reason: Some(reason) };
    match judged {
        Judged::Vouches(workload) => Verdict {
            valid: true,
            spiffe_id: Some(workload.id.to_string()),
            expires_at: Some(workload.expires_at.to_string()),
            reason: None,
        },
        Judged::Refused(error) => refused(error.to_string()),
        Judged::UnknownKey(domain) => {
            refused(format!("signed by a key that is not in the bundle of {domain}"))
        }
    }
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new()
        .routes(routes!(list_workloads))
        .routes(routes!(register_workload, remove_workload))
        .routes(routes!(issue_svid))
        .routes(routes!(issue_workload_token))
        .routes(routes!(verify_svid))
}
