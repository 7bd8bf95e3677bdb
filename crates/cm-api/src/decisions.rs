//! Explains who may do what, without doing it.

use axum::Json;
use axum::extract::State;
use cm_http::{Failure, JsonBody};
use cm_kernel::policy::Read;
use cm_types::{Action, PrincipalId, ResourceKind, ResourceRef};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::api::Api;
use crate::authentication::Op;
use crate::failure::refusal;

/// The question: may this principal do this?
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Question {
    /// Who.
    #[schema(value_type = String)]
    pub principal: PrincipalId,
    /// What: `create`, `read`, `list`, `update`, `delete`, `invoke` or `grant`.
    pub action: String,
    /// To which: `KIND/ID`, or `KIND/*` for the collection.
    #[schema(example = "function/regression")]
    pub resource: String,
}

/// The answer, and why.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub struct Decision {
    /// Whether it may.
    pub allowed: bool,
    /// What was weighed, in this order, for people.
    pub reasons: Vec<String>,
    /// The same for programs.
    pub codes: Vec<String>,
}

#[utoipa::path(
    post, path = "/decisions", operation_id = "decide", tag = "decisions", request_body = Question,
    extensions(("x-permission" = json!("principal:read"))),
    responses((status = 200, description = "The decision; nothing was done", body = Decision))
)]
/// Explains how a decision would go.
pub async fn decide(
    State(api): State<Api>,
    Op(op): Op,
    body: JsonBody<Question>,
) -> Result<Json<Decision>, Failure> {
    let kernel = &api.kernel;
    kernel.authorize::<Read>(&op, ResourceKind::Principal).await.map_err(refusal)?;
    let question = body.decode().await?;
    let op = op.again(kernel).await?;
    kernel.authorize::<Read>(&op, ResourceKind::Principal).await.map_err(refusal)?;
    let action: Action = question.action.parse().map_err(|error| invalid("action", &error))?;
    let resource: ResourceRef = question.resource.parse().map_err(|error| invalid("resource", &error))?;
    let explanation = kernel.explain(&op, &question.principal, action, &resource).await.map_err(refusal)?;
    Ok(Json(Decision {
        allowed: explanation.allowed,
        reasons: explanation.reasons.iter().map(ToString::to_string).collect(),
        codes: explanation.reasons.iter().map(|reason| reason.code().to_owned()).collect(),
    }))
}

fn invalid(path: &str, reason: &dyn std::error::Error) -> Failure {
    Failure::new(cm_http::FailureClass::Invalid, "the body has the wrong shape")
        .with_detail("path", path)
        .with_detail("reason", reason.to_string())
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(decide))
}
