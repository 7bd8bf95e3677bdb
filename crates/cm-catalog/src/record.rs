//! The one shape that every resource has.

use cm_types::{
    Generation, Labels, PrincipalId, RequestId, ResourceId, ResourceKind, ResourceRef, TenantId, Timestamp,
};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{CatalogError, FieldError, KindSpec};

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
    pub spec: Value,
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
            return Err(CatalogError::Invalid(vec![FieldError { path: "kind".to_owned(), message }]));
        }
        crate::kinds::parse(&self.spec).map_err(|error| CatalogError::Invalid(vec![error]))
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnDelete {
    /// The deletion is refused.
    Restrict,
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
    /// The name; of a state or result, whose name nobody needs, it may be empty.
    pub name: String,
    /// The owner; `None` is the permit's principal.
    pub owner: Option<PrincipalId>,
    /// Labels.
    pub labels: Labels,
    /// The spec.
    pub spec: Value,
}

impl NewRecord {
    /// A record of a typed spec, with a chosen id and without labels, owned by whoever creates it.
    pub fn of<S: KindSpec>(name: impl Into<String>, spec: &S) -> Self {
        let spec = serde_json::to_value(spec).expect("specs are plain data with text keys");
        Self { kind: S::KIND, id: None, name: name.into(), owner: None, labels: Labels::new(), spec }
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
    /// A new spec, all of it.
    pub spec: Option<Value>,
}

/// When and through which request a change happens.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Occasion {
    /// The time; becomes `created_at` and `updated_at`.
    pub at: Timestamp,
    /// The request, for the event.
    pub request: Option<RequestId>,
}
