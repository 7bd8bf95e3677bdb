//! Manifests: many declarations, applied at once or compared with what is.

use axum::Json;
use axum::extract::State;
use cm_http::body::from_json;
use cm_http::{Failure, FailureClass, Params, Upload};
use cm_kernel::manifest::{Applied, ApplyError, Declaration, Effect, FieldChange};
use cm_kernel::policy::Create;
use cm_types::{Action, Labels, ResourceId, ResourceKind};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::{IntoParams, ToSchema};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;

use crate::active_objects::ActiveObjectSpec;
use crate::api::Api;
use crate::authentication::Op;
use crate::buckets::BucketSpec;
use crate::document::ErrorBody;
use crate::endpoints::EndpointSpec;
use crate::failure::refusal;
use crate::fields::{Fields, Unknown, decode_spec};
use crate::functions::FunctionSpec;
use crate::microservices::MicroserviceSpec;
use crate::permission_policies::PermissionPolicySpec;
use crate::record::{WireSpec, refuse_reserved_id, spec_value};
use crate::roles::RoleSpec;
use crate::security_policies::SecurityPolicySpec;
use crate::services::ServiceSpec;
use crate::storages::StorageSpec;

/// Longest manifest, in bytes.
const MANIFEST_BYTES_MAX: usize = 8 << 20;
/// The kinds that can be declared.
const DECLARABLE: [ResourceKind; 10] = [
    ResourceKind::Role,
    ResourceKind::SecurityPolicy,
    ResourceKind::PermissionPolicy,
    ResourceKind::Storage,
    ResourceKind::Bucket,
    ResourceKind::Service,
    ResourceKind::Microservice,
    ResourceKind::Endpoint,
    ResourceKind::ActiveObject,
    ResourceKind::Function,
];

/// What shall be so. What is not declared stays as it is.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ManifestBody {
    /// What is declared, in any order; at most 5000.
    pub resources: Vec<DeclaredResource>,
}

/// One record that shall be so.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct DeclaredResource {
    /// The kind, such as `service`.
    #[schema(value_type = String, example = "service")]
    pub kind: ResourceKind,
    /// The id.
    #[schema(value_type = String)]
    pub id: ResourceId,
    /// The name; without one, a new record has its id for a name and an old one keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub name: Option<String>,
    /// All labels; without any, an old record keeps its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<std::collections::BTreeMap<String, String>>)]
    pub labels: Option<Labels>,
    /// The whole spec: the fields of a record of the kind that are not of its header.
    #[serde(default)]
    #[schema(value_type = Object)]
    pub spec: Fields,
    /// Whether a record that exists is left as it is.
    #[serde(default)]
    pub if_absent: bool,
}

/// How a manifest is applied.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ApplyParams {
    /// Only say what would change.
    pub dry_run: Option<bool>,
}

/// What became of each declaration, in their order.
#[derive(Debug, Serialize, ToSchema)]
pub struct ManifestAnswer {
    /// One entry for each declaration.
    pub resources: Vec<AppliedResource>,
}

/// What became of one declaration.
#[derive(Debug, Serialize, ToSchema)]
pub struct AppliedResource {
    /// The kind.
    pub kind: String,
    /// The id.
    pub id: String,
    /// `created`, `changed` or `unchanged`.
    pub effect: String,
    /// The fields that change.
    pub changes: Vec<FieldDifference>,
}

/// One field that changes.
#[derive(Debug, Serialize, ToSchema)]
pub struct FieldDifference {
    /// Where: `name`, `labels.env`, `resources.cpu`.
    pub path: String,
    /// What it was; `null` if it was absent.
    pub before: Value,
    /// What it becomes; `null` if it goes.
    pub after: Value,
}

impl From<Applied> for AppliedResource {
    fn from(applied: Applied) -> Self {
        let (effect, changes) = match applied.effect {
            Effect::Created => ("created", Vec::new()),
            Effect::Changed(changes) => ("changed", changes),
            Effect::Unchanged => ("unchanged", Vec::new()),
        };
        let difference = |change: FieldChange| FieldDifference {
            path: change.path,
            before: change.before.unwrap_or_default(),
            after: change.after.unwrap_or_default(),
        };
        Self {
            kind: applied.resource.kind.to_string(),
            id: applied.resource.id,
            effect: effect.to_owned(),
            changes: changes.into_iter().map(difference).collect(),
        }
    }
}

#[utoipa::path(
    post, path = "/manifests", operation_id = "apply_manifest", tag = "manifests", params(ApplyParams),
    request_body = ManifestBody,
    extensions(("x-permission" = json!("service:create"))),
    responses(
        (status = 200, description = "All of it is so now; with `dry_run`, what would change", body = ManifestAnswer),
        (status = 422, description = "A declaration is refused, `details.index` says which, and nothing was changed", body = ErrorBody),
    )
)]
/// Makes everything so that is declared, in one transaction, or says what that would change. Asks for the permission to
/// create or update each of the records that it creates or updates.
pub async fn apply_manifest(
    State(api): State<Api>,
    Op(op): Op,
    params: Params<ApplyParams>,
    body: Upload,
) -> Result<Json<ManifestAnswer>, Failure> {
    // Whoever may declare something of some kind is judged by what it declares.
    let declares = |kind: &ResourceKind| {
        [Action::Create, Action::Update].iter().any(|action| op.subject().holds_some(*kind, *action))
    };
    if !DECLARABLE.iter().any(declares) {
        api.kernel.authorize::<Create>(&op, ResourceKind::Service).await.map_err(refusal)?;
    }
    body.require_json()?;
    let params = params.decode()?;
    let text = body.read_to_end(MANIFEST_BYTES_MAX).await?;
    let manifest: ManifestBody = from_json(&text)?;
    let op = op.again(&api.kernel).await?;
    let mut declarations = Vec::with_capacity(manifest.resources.len());
    for (index, resource) in manifest.resources.into_iter().enumerate() {
        declarations.push(declaration(resource).map_err(|failure| failure.with_detail("index", index))?);
    }
    let dry_run = params.dry_run == Some(true);
    let applied = api.kernel.apply(&op, declarations, dry_run).await.map_err(|error| match error {
        ApplyError::TooMany { .. } => Failure::new(FailureClass::Invalid, error.to_string()),
        ApplyError::Twice { index, .. } | ApplyError::WritesTooMuch { index } => {
            Failure::new(FailureClass::Invalid, error.to_string()).with_detail("index", index)
        }
        ApplyError::Refused { index, source } => refusal(source).with_detail("index", index),
        ApplyError::Kernel(error) => refusal(error),
    })?;
    Ok(Json(ManifestAnswer { resources: applied.into_iter().map(AppliedResource::from).collect() }))
}

fn declaration(resource: DeclaredResource) -> Result<Declaration, Failure> {
    let DeclaredResource { kind, id, name, labels, spec, if_absent } = resource;
    let spec = match kind {
        ResourceKind::Role => checked::<RoleSpec>(&id, spec),
        ResourceKind::PermissionPolicy => checked::<PermissionPolicySpec>(&id, spec),
        ResourceKind::SecurityPolicy => checked::<SecurityPolicySpec>(&id, spec),
        ResourceKind::Storage => checked::<StorageSpec>(&id, spec),
        ResourceKind::Bucket => checked::<BucketSpec>(&id, spec),
        ResourceKind::Service => checked::<ServiceSpec>(&id, spec),
        ResourceKind::Microservice => checked::<MicroserviceSpec>(&id, spec),
        ResourceKind::Endpoint => checked::<EndpointSpec>(&id, spec),
        ResourceKind::ActiveObject => checked::<ActiveObjectSpec>(&id, spec),
        ResourceKind::Function => checked::<FunctionSpec>(&id, spec),
        kind => {
            let message = format!("a {kind} cannot be declared");
            Err(Failure::new(FailureClass::Invalid, message).with_detail("path", "kind"))
        }
    }?;
    Ok(Declaration { kind, id, name, labels, spec, if_absent })
}

/// The spec as the catalogue has it. A field that is not known is refused in open mode too: a file is written by people.
fn checked<S: WireSpec>(id: &ResourceId, mut spec: Fields) -> Result<Value, Failure> {
    refuse_reserved_id::<S>(id)?;
    for field in S::READ_ONLY {
        spec.remove(*field);
    }
    let (spec, _) = decode_spec::<S>(None, spec, Unknown::Refused)?;
    spec.check()?;
    Ok(spec_value(&spec))
}

/// The routes of this module.
pub(crate) fn routes() -> OpenApiRouter<Api> {
    OpenApiRouter::new().routes(routes!(apply_manifest))
}
