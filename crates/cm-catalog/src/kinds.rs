//! The typed spec of every kind.
//!
//! A spec is what the owner wants. It is decoded strictly, so that a misspelt field is an error and
//! not a silent default, and stored with its defaults filled in. What the platform finds out goes into
//! the record's status instead.

mod active_object;
mod bucket;
mod computation;
mod endpoint;
mod endpoint_state;
mod function;
mod function_result;
mod function_state;
mod guarded_by;
mod instance;
mod intel_peer;
mod measure;
mod microservice;
mod permission_policy;
mod resources;
mod role;
mod security_policy;
mod service;
mod storage;
mod stored_in;
mod threat_collection;

use cm_types::{ResourceId, ResourceKind, ResourceRef};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::Value;

pub use active_object::{ActiveObject, METHODS_MAX};
pub use bucket::Bucket;
pub use computation::Computation;
pub use endpoint::Endpoint;
pub use endpoint_state::EndpointState;
pub use function::{Confidential, Executor, Function};
pub use function_result::FunctionResult;
pub use function_state::FunctionState;
pub use guarded_by::{GuardedBy, OwnPolicy};
pub use instance::{Instance, InstanceLimits};
pub use intel_peer::IntelPeer;
pub use measure::{Effect, Measure, Network};
pub use microservice::Microservice;
pub use permission_policy::PermissionPolicy;
pub use resources::Resources;
pub use role::Role;
pub use security_policy::SecurityPolicy;
pub use service::Service;
pub use storage::Storage;
pub use stored_in::{OwnStorage, Place, StoredIn};
pub use threat_collection::ThreatCollection;

use crate::sources::Sources;
use crate::{CatalogError, Fault, FieldError, Limits, OnDelete, Reference};

/// The spec of one kind.
pub trait KindSpec: Serialize + DeserializeOwned {
    /// The kind.
    const KIND: ResourceKind;

    /// Everything that is wrong with a spec that could be decoded; paths begin with `spec.`.
    fn validate(&self, limits: &Limits) -> Result<(), Vec<FieldError>>;

    /// Fills in what follows from the fields that were given, once they are valid.
    fn complete(&mut self, _: &Sources) -> Result<(), Vec<FieldError>> {
        Ok(())
    }

    /// What the spec refers to, in the order of its fields.
    fn references(&self) -> Vec<Reference>;

    /// The name of a record that is given none; without one, its id.
    fn default_name(&self) -> Option<&str> {
        None
    }

    /// The names of the functions that the record is made of, in the order in which they are declared.
    fn methods(&self) -> Vec<String> {
        Vec::new()
    }
}

/// A spec that was found good.
pub(crate) struct Checked {
    pub(crate) spec: Value,
    pub(crate) references: Vec<Reference>,
    /// As [`KindSpec::default_name`].
    pub(crate) default_name: Option<String>,
    /// As [`KindSpec::methods`].
    pub(crate) methods: Vec<String>,
}

/// Decodes a spec; the error names the field.
pub(crate) fn parse<S: KindSpec>(spec: &Value) -> Result<S, FieldError> {
    serde_path_to_error::deserialize(spec).map_err(|error| {
        let path = match error.path().to_string().as_str() {
            "." => "spec".to_owned(),
            inner => format!("spec.{inner}"),
        };
        FieldError::form(path, error.into_inner().to_string())
    })
}

fn check_as<S: KindSpec>(
    given: &Value,
    limits: &Limits,
    sources: &Sources,
) -> Result<Checked, Vec<FieldError>> {
    let mut typed: S = parse(given).map_err(|error| vec![error])?;
    typed.validate(limits)?;
    typed.complete(sources)?;
    let (references, methods) = (typed.references(), typed.methods());
    let default_name = typed.default_name().map(str::to_owned);
    let spec = serde_json::to_value(typed).expect("specs are plain data with text keys");
    if let Some(path) = list_for_object("spec".to_owned(), given, &spec) {
        return Err(vec![FieldError::form(path, "must be an object, not a list")]);
    }
    let bytes = spec.to_string().len();
    if bytes > limits.spec_bytes_max {
        let message = format!("is longer than {} bytes", limits.spec_bytes_max);
        return Err(vec![FieldError { path: "spec".to_owned(), message, fault: Fault::Limit }]);
    }
    Ok(Checked { spec, references, default_name, methods })
}

/// Where a list was given for an object, which serde accepts for every struct, field by field. Such a
/// spec would change its meaning when a field is added.
fn list_for_object(path: String, given: &Value, understood: &Value) -> Option<String> {
    match (given, understood) {
        (Value::Array(_), Value::Object(_)) => Some(path),
        (Value::Object(given), Value::Object(understood)) => given.iter().find_map(|(name, value)| {
            list_for_object(format!("{path}.{name}"), value, understood.get(name)?)
        }),
        _ => None,
    }
}

/// Decodes and validates the spec of a kind. `null` stands for a spec without any field.
pub(crate) fn check(
    kind: ResourceKind,
    spec: &Value,
    limits: &Limits,
    sources: &Sources,
) -> Result<Checked, CatalogError> {
    let empty = Value::Object(serde_json::Map::new());
    let spec = if spec.is_null() { &empty } else { spec };
    let checked = match kind {
        ResourceKind::Role => check_as::<Role>(spec, limits, sources),
        ResourceKind::SecurityPolicy => check_as::<SecurityPolicy>(spec, limits, sources),
        ResourceKind::PermissionPolicy => check_as::<PermissionPolicy>(spec, limits, sources),
        ResourceKind::Service => check_as::<Service>(spec, limits, sources),
        ResourceKind::Microservice => check_as::<Microservice>(spec, limits, sources),
        ResourceKind::Function => check_as::<Function>(spec, limits, sources),
        ResourceKind::Endpoint => check_as::<Endpoint>(spec, limits, sources),
        ResourceKind::Storage => check_as::<Storage>(spec, limits, sources),
        ResourceKind::ActiveObject => check_as::<ActiveObject>(spec, limits, sources),
        ResourceKind::EndpointState => check_as::<EndpointState>(spec, limits, sources),
        ResourceKind::FunctionState => check_as::<FunctionState>(spec, limits, sources),
        ResourceKind::FunctionResult => check_as::<FunctionResult>(spec, limits, sources),
        ResourceKind::Instance => check_as::<Instance>(spec, limits, sources),
        ResourceKind::Computation => check_as::<Computation>(spec, limits, sources),
        ResourceKind::Bucket => check_as::<Bucket>(spec, limits, sources),
        ResourceKind::IntelPeer => check_as::<IntelPeer>(spec, limits, sources),
        ResourceKind::Measure => check_as::<Measure>(spec, limits, sources),
        ResourceKind::ThreatCollection => check_as::<ThreatCollection>(spec, limits, sources),
        ResourceKind::Tenant
        | ResourceKind::Principal
        | ResourceKind::Object
        | ResourceKind::Event
        | ResourceKind::ThreatEvent => {
            return Err(CatalogError::NotCatalogued(kind));
        }
    };
    Ok(checked?)
}

/// Whether records of the kind are history: added and removed, never changed.
pub fn is_history(kind: ResourceKind) -> bool {
    matches!(kind, ResourceKind::EndpointState | ResourceKind::FunctionState | ResourceKind::FunctionResult)
}

fn refer(field: impl Into<String>, kind: ResourceKind, id: &ResourceId, on_delete: OnDelete) -> Reference {
    Reference { field: field.into(), to: ResourceRef::new(kind, id.as_str()), on_delete }
}

fn refer_optionally(
    field: &str,
    kind: ResourceKind,
    id: Option<&ResourceId>,
    on_delete: OnDelete,
) -> Option<Reference> {
    id.map(|id| refer(field, kind, id, on_delete))
}

#[cfg(test)]
mod tests;
