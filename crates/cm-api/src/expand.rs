//! Reading a record together with what it refers to and what belongs to it.

use axum::Json;
use axum::response::{IntoResponse, Response};
use cm_http::Failure;
use cm_kernel::catalog::Record;
use cm_kernel::{Kernel, OpContext};
use cm_types::{PageLimit, ResourceKind, ResourceRef};
use serde::Deserialize;
use serde_json::{Map, Value};
use utoipa::IntoParams;

use crate::active_objects::ActiveObjectSpec;
use crate::buckets::BucketSpec;
use crate::endpoints::EndpointSpec;
use crate::failure::refusal;
use crate::functions::FunctionSpec;
use crate::history::{EndpointStateSpec, FunctionResultSpec, FunctionStateSpec};
use crate::instances::InstanceSpec;
use crate::intel_peers::IntelPeerSpec;
use crate::listing::bad_parameter;
use crate::measures::MeasureSpec;
use crate::microservices::MicroserviceSpec;
use crate::permission_policies::PermissionPolicySpec;
use crate::record::{WireSpec, view_of, views};
use crate::roles::RoleSpec;
use crate::security_policies::SecurityPolicySpec;
use crate::services::ServiceSpec;
use crate::storages::StorageSpec;
use crate::threat_collections::ThreatCollectionSpec;

/// Most fields that one request expands.
const FIELDS_MAX: usize = 16;
/// Most records of one expanded field.
const RECORDS_MAX: usize = 100;

/// What of a record is wanted besides.
#[derive(Clone, Debug, Default, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct ExpandParams {
    /// Fields that refer to other records, or list those that belong to this one, `field,field`; 16 at most. The answer
    /// has them in `expanded`: a record, `null` where there is none that the caller may read, or a list of the first
    /// hundred. It has no `ETag`, since it depends on more than this record.
    pub expand: Option<String>,
}

/// What a field leads to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Relation {
    /// One record that it names.
    One,
    /// Several records that it names.
    Many,
    /// The records of this kind that belong to the record.
    Parts(ResourceKind),
}

/// The fields of a kind that can be expanded.
fn relations(kind: ResourceKind) -> &'static [(&'static str, Relation)] {
    use Relation::{Many, One, Parts};
    const POLICY: (&str, Relation) = ("security_policy", One);
    const OWN_ROLES: (&str, Relation) = ("security_policy.roles", Many);
    match kind {
        ResourceKind::SecurityPolicy => &[("roles", Many)],
        ResourceKind::Service => &[POLICY, OWN_ROLES, ("microservices", Parts(ResourceKind::Microservice))],
        ResourceKind::Microservice => &[
            ("service_id", One),
            POLICY,
            OWN_ROLES,
            ("functions", Parts(ResourceKind::Function)),
            ("active_objects", Parts(ResourceKind::ActiveObject)),
        ],
        ResourceKind::Function => &[
            ("microservice_id", One),
            ("active_object_id", One),
            ("endpoint_id", One),
            ("storage", One),
            POLICY,
            OWN_ROLES,
        ],
        ResourceKind::ActiveObject => &[
            ("axo_microservice_id", One),
            ("axo_endpoint_id", One),
            ("functions", Parts(ResourceKind::Function)),
        ],
        ResourceKind::Endpoint | ResourceKind::Bucket => &[POLICY, OWN_ROLES],
        ResourceKind::EndpointState => &[("endpoint_id", One)],
        ResourceKind::FunctionState => &[("function_id", One)],
        ResourceKind::FunctionResult => &[("function_id", One), ("state_id", One)],
        ResourceKind::Instance => &[("function", One), POLICY, OWN_ROLES],
        _ => &[],
    }
}

/// The fields that were asked for, in that order and each once.
fn asked(kind: ResourceKind, text: &str) -> Result<Vec<(&'static str, Relation)>, Failure> {
    let mut fields: Vec<(&'static str, Relation)> = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let Some(field) = relations(kind).iter().find(|(known, _)| *known == name) else {
            let known: Vec<&str> = relations(kind).iter().map(|(name, _)| *name).collect();
            let reason = format!("`{name}` of a {kind} cannot be expanded; {} can", list(&known));
            return Err(bad_parameter("expand", &reason));
        };
        if !fields.contains(field) {
            fields.push(*field);
        }
    }
    if fields.len() > FIELDS_MAX {
        return Err(bad_parameter("expand", &format!("at most {FIELDS_MAX} fields")));
    }
    Ok(fields)
}

fn list(names: &[&str]) -> String {
    if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
}

/// The record with what was asked for besides.
///
/// # Errors
/// 400 for a field that cannot be expanded.
pub(crate) async fn expanded<S: WireSpec>(
    kernel: &Kernel,
    op: &OpContext,
    record: Record,
    text: &str,
) -> Result<Response, Failure> {
    let mut expanded = Map::new();
    for (name, relation) in asked(S::KIND, text)? {
        expanded.insert(name.to_owned(), value_of(kernel, op, &record, name, relation).await?);
    }
    let view = view_of::<S>(kernel, op, record).await?;
    let mut view = serde_json::to_value(view).map_err(Failure::internal)?;
    view["expanded"] = Value::Object(expanded);
    Ok(Json(view).into_response())
}

async fn value_of(
    kernel: &Kernel,
    op: &OpContext,
    record: &Record,
    name: &str,
    relation: Relation,
) -> Result<Value, Failure> {
    let records = match relation {
        Relation::Parts(kind) => {
            let limit = PageLimit::clamped(RECORDS_MAX);
            kernel.readable_referrers(op, record.resource(), kind, limit).await.map_err(refusal)?
        }
        Relation::One | Relation::Many => {
            let named = named_by(record, name);
            kernel.readable(op, named).await.map_err(refusal)?.into_iter().flatten().collect()
        }
    };
    let mut values = Vec::with_capacity(records.len());
    // What one field leads to is all of one kind.
    if let Some(kind) = records.first().map(|record| record.header.kind) {
        values = wire_values(kernel, op, kind, records).await?;
    }
    match relation {
        Relation::One => Ok(values.pop().unwrap_or(Value::Null)),
        Relation::Many | Relation::Parts(_) => Ok(Value::Array(values)),
    }
}

/// What a field names, `roles[1]` being a part of `roles`.
fn named_by(record: &Record, name: &str) -> Vec<ResourceRef> {
    let is_of_field =
        |field: &str| field.strip_prefix(name).is_some_and(|rest| rest.is_empty() || rest.starts_with('['));
    let references = record.references.iter().filter(|reference| is_of_field(&reference.field));
    references.map(|reference| reference.to.clone()).take(RECORDS_MAX).collect()
}

/// Records of a kind as they travel.
async fn wire_values(
    kernel: &Kernel,
    op: &OpContext,
    kind: ResourceKind,
    records: Vec<Record>,
) -> Result<Vec<Value>, Failure> {
    match kind {
        ResourceKind::Role => values::<RoleSpec>(kernel, op, records).await,
        ResourceKind::PermissionPolicy => values::<PermissionPolicySpec>(kernel, op, records).await,
        ResourceKind::SecurityPolicy => values::<SecurityPolicySpec>(kernel, op, records).await,
        ResourceKind::Service => values::<ServiceSpec>(kernel, op, records).await,
        ResourceKind::Microservice => values::<MicroserviceSpec>(kernel, op, records).await,
        ResourceKind::Function => values::<FunctionSpec>(kernel, op, records).await,
        ResourceKind::Endpoint => values::<EndpointSpec>(kernel, op, records).await,
        ResourceKind::Storage => values::<StorageSpec>(kernel, op, records).await,
        ResourceKind::ActiveObject => values::<ActiveObjectSpec>(kernel, op, records).await,
        ResourceKind::EndpointState => values::<EndpointStateSpec>(kernel, op, records).await,
        ResourceKind::FunctionState => values::<FunctionStateSpec>(kernel, op, records).await,
        ResourceKind::FunctionResult => values::<FunctionResultSpec>(kernel, op, records).await,
        ResourceKind::Instance => values::<InstanceSpec>(kernel, op, records).await,
        ResourceKind::Computation => {
            values::<crate::computations::ComputationSpec>(kernel, op, records).await
        }
        ResourceKind::Bucket => values::<BucketSpec>(kernel, op, records).await,
        ResourceKind::IntelPeer => values::<IntelPeerSpec>(kernel, op, records).await,
        ResourceKind::Measure => values::<MeasureSpec>(kernel, op, records).await,
        ResourceKind::ThreatCollection => values::<ThreatCollectionSpec>(kernel, op, records).await,
        ResourceKind::Tenant
        | ResourceKind::Principal
        | ResourceKind::Object
        | ResourceKind::Event
        | ResourceKind::ThreatEvent => Ok(Vec::new()),
    }
}

async fn values<S: WireSpec>(
    kernel: &Kernel,
    op: &OpContext,
    records: Vec<Record>,
) -> Result<Vec<Value>, Failure> {
    let views = views::<S>(kernel, op, records).await?;
    views.iter().map(|view| serde_json::to_value(view).map_err(Failure::internal)).collect()
}
