//! The one shape that every resource has.

use cm_types::{
    Generation, Labels, PrincipalId, RequestId, ResourceId, ResourceKind, ResourceRef, TenantId, Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::{CatalogError, FieldError, KindSpec, Spec};

/// Longest name, in bytes.
pub const NAME_LEN_MAX: usize = 128;

/// What every resource has, whatever its kind.
#[derive(Clone, Debug, PartialEq)]
pub struct Header {
    /// The kind.
    pub kind: ResourceKind,
    /// Unique within tenant and kind.
    pub id: ResourceId,
    /// What people call it. Unique within tenant and kind for roles, security policies and buckets.
    pub name: String,
    /// The tenant that it belongs to.
    pub tenant: TenantId,
    /// Who owns it.
    pub owner: PrincipalId,
    /// What people and policies select it by.
    pub labels: Labels,
    /// Counts its versions.
    pub generation: Generation,
    /// When it was created.
    pub created_at: Timestamp,
    /// When it was last changed.
    pub updated_at: Timestamp,
}

/// One resource.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    /// What every resource has.
    pub header: Header,
    /// What its owner wants; valid for the kind, with defaults filled in.
    pub spec: Spec,
    /// What the platform found; `null` until it found something.
    pub status: Value,
    /// What the spec refers to.
    pub references: Vec<Reference>,
}

impl Record {
    /// The record's name for others.
    pub fn resource(&self) -> ResourceRef {
        ResourceRef::new(self.header.kind, self.header.id.as_str())
    }

    /// The spec, typed.
    ///
    /// # Errors
    ///
    /// [`CatalogError::Invalid`] if the record is of another kind.
    pub fn spec_as<S: KindSpec>(&self) -> Result<S, CatalogError> {
        if self.header.kind != S::KIND {
            let message = format!("is a {}, not a {}", self.header.kind, S::KIND);
            return Err(CatalogError::Invalid(vec![FieldError::form("kind", message)]));
        }
        // Once more if it is none: by the tree, to find out which field is wrong.
        self.spec
            .decode()
            .or_else(|_| crate::kinds::parse(&self.spec).map_err(|error| CatalogError::Invalid(vec![error])))
    }
}

/// A reference from one record to another of the same tenant.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Reference {
    /// The field of the spec that makes it: `service_id`, `roles[1]`.
    pub field: String,
    /// What it refers to.
    pub to: ResourceRef,
    /// What happens to the holder when that goes.
    pub on_delete: OnDelete,
}

/// What happens to the holder of a reference when what it refers to is deleted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDelete {
    /// The holder uses it: the deletion is refused.
    Restrict,
    /// The holder is a part of it: the deletion is refused unless it is asked to take the parts along.
    Part,
    /// The holder goes along.
    Cascade,
}

/// A record to be created. Its tenant is that of the permit.
#[derive(Clone, Debug, PartialEq)]
pub struct NewRecord {
    /// The kind.
    pub kind: ResourceKind,
    /// The id; `None` lets the catalogue choose: a bucket's name, a random one for everything else.
    pub id: Option<ResourceId>,
    /// The name; where it is empty, the id is the name.
    pub name: String,
    /// The owner; `None` is the permit's principal.
    pub owner: Option<PrincipalId>,
    /// Labels.
    pub labels: Labels,
    /// The spec.
    pub spec: Value,
    /// What is known about it from the start; `null` as a rule.
    pub status: Value,
}

impl NewRecord {
    /// A record of a typed spec, with a chosen id and without labels, owned by whoever creates it.
    pub fn of<S: KindSpec>(name: impl Into<String>, spec: &S) -> Self {
        let spec = serde_json::to_value(spec).expect("specs are plain data with text keys");
        Self {
            kind: S::KIND,
            id: None,
            name: name.into(),
            owner: None,
            labels: Labels::new(),
            spec,
            status: Value::Null,
        }
    }

    /// The same with an id.
    pub fn with_id(self, id: ResourceId) -> Self {
        Self { id: Some(id), ..self }
    }
}

/// What shall change of a record. What is `None` stays.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Change {
    /// The generation that the caller has read; `None` overwrites whatever is there.
    pub expected: Option<Generation>,
    /// A new name.
    pub name: Option<String>,
    /// New labels, all of them.
    pub labels: Option<Labels>,
    /// What becomes of the spec.
    pub spec: Option<SpecChange>,
    /// What becomes of the status: these fields get these values. For what clients may say of it, which is nothing
    /// unless the node is in open mode.
    pub status: Map<String, Value>,
}

/// What becomes of a spec.
#[derive(Clone, Debug, PartialEq)]
pub enum SpecChange {
    /// A new one.
    Replace(Value),
    /// These fields get these values, in whatever version of the record is the newest. `null` removes a field; of
    /// `resources`, `storage` and `confidential`, which are objects, the fields given replace theirs.
    Merge(Map<String, Value>),
}

/// Fields whose fields are merged one by one.
const MERGED_DEEPLY: [&str; 3] = ["resources", "storage", "confidential"];

impl SpecChange {
    /// The spec after the change.
    pub fn apply(self, spec: &Value) -> Value {
        match self {
            SpecChange::Replace(spec) => spec,
            SpecChange::Merge(fields) => {
                let mut merged = spec.as_object().cloned().unwrap_or_default();
                for (name, value) in fields {
                    merge_field(&mut merged, name, value);
                }
                Value::Object(merged)
            }
        }
    }
}

fn merge_field(into: &mut Map<String, Value>, name: String, value: Value) {
    match value {
        Value::Null => {
            into.remove(&name);
        }
        Value::Object(fields) if MERGED_DEEPLY.contains(&name.as_str()) => {
            let mut inner = match into.remove(&name) {
                Some(Value::Object(inner)) => inner,
                _ => Map::new(),
            };
            for (name, value) in fields {
                match value {
                    Value::Null => inner.remove(&name),
                    value => inner.insert(name, value),
                };
            }
            into.insert(name, Value::Object(inner));
        }
        value => {
            into.insert(name, value);
        }
    }
}

/// When and through which request a change happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occasion {
    /// The time; becomes `created_at` and `updated_at`.
    pub at: Timestamp,
    /// The request, for the event.
    pub request: Option<RequestId>,
}
