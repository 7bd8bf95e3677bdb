//! What can go wrong.

use cm_db::DbError;
use cm_events::EventError;
use cm_types::{Generation, ResourceKind, ResourceRef};

/// One thing that is wrong with what was given.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FieldError {
    /// Where: `name`, `spec.resources.cpu`, `spec.permissions[2]`.
    pub path: String,
    /// What is wrong, for people.
    pub message: String,
    /// In which way.
    pub fault: Fault,
}

/// In which way a value is wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// It is not of the form that the field has.
    Form,
    /// It is of the form, but beyond what this node allows.
    Limit,
}

impl FieldError {
    /// A value that is not of the form that its field has.
    pub fn form(path: impl Into<String>, message: impl Into<String>) -> Self {
        Self { path: path.into(), message: message.into(), fault: Fault::Form }
    }
}

impl std::fmt::Display for FieldError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path, self.message)
    }
}

/// Why a read or a change was refused. No refusal leaves a trace in the tables, provided that the
/// transaction is given up, as [`cm_db::Db::write`] does with every closure that fails.
#[derive(Debug, thiserror::Error)]
pub enum CatalogError {
    /// There is no such record.
    #[error("`{0}` does not exist")]
    NotFound(ResourceRef),
    /// The id is taken, or the name where names identify; this is the record that has it.
    #[error("`{0}` already exists")]
    Exists(ResourceRef),
    /// What was given is not valid; all that is wrong with it.
    #[error("invalid: {}", list(.0))]
    Invalid(Vec<FieldError>),
    /// Somebody changed the record since the caller read it.
    #[error("expected generation {expected}, but the record has generation {found}")]
    Stale {
        /// The generation that the caller had read.
        expected: Generation,
        /// The generation that the record has.
        found: Generation,
    },
    /// A spec names a record that does not exist.
    #[error("`{field}` refers to `{to}`, which does not exist")]
    DanglingReference {
        /// The field of the spec.
        field: String,
        /// What it names.
        to: ResourceRef,
    },
    /// The record cannot go while others refer to it.
    #[error("still referenced by {}", referrers(.by))]
    StillReferenced {
        /// Who refers to it, or to something that would go along with it; at most
        /// [`crate::catalog::REFERRERS_SHOWN_MAX`]. Empty when the caller may know of none of them.
        by: Vec<ResourceRef>,
    },
    /// More records would go along than one transaction may remove.
    #[error("more than {max} records would be removed along with it")]
    TooManyCascades {
        /// The limit.
        max: usize,
    },
    /// A life cycle does not lead from the one state to the other.
    #[error("`{of}` cannot go from `{from}` to `{to}`; {}", following(.permitted))]
    IllegalTransition {
        /// Whose life.
        of: ResourceRef,
        /// The state that it is in.
        from: String,
        /// The state that was asked for.
        to: String,
        /// The states that may follow.
        permitted: &'static [&'static str],
    },
    /// States and results are history, which is not changed.
    #[error("a {0} is history and cannot be changed")]
    AppendOnly(ResourceKind),
    /// The built-in administrator role of the first tenant can be neither changed nor removed: without
    /// it nobody could repair anything.
    #[error("`{0}` is built in and cannot be changed or removed")]
    BuiltIn(ResourceRef),
    /// The kind has no records here: tenants, principals, objects and events live elsewhere.
    #[error("a {0} is no record of the catalogue")]
    NotCatalogued(ResourceKind),
    /// The permit is for something else; a mistake in this program, never the client's.
    #[error("the permit is not for `{wanted}`")]
    PermitMismatch {
        /// What a permit was needed for.
        wanted: ResourceRef,
    },
    /// The cursor was not returned by this query.
    #[error("the cursor does not belong to this query")]
    InvalidCursor,
    /// The tables failed.
    #[error("the catalogue's tables failed")]
    Db(#[from] DbError),
    /// The event could not be appended.
    #[error("the event of the change could not be appended")]
    Events(#[from] EventError),
}

fn following(permitted: &[&str]) -> String {
    if permitted.is_empty() {
        "nothing follows".to_owned()
    } else {
        format!("{} may follow", permitted.join(", "))
    }
}

fn referrers(by: &[ResourceRef]) -> String {
    if by.is_empty() { "what is not visible to the caller".to_owned() } else { list(by) }
}

fn list<T: std::fmt::Display>(items: &[T]) -> String {
    items.iter().map(T::to_string).collect::<Vec<_>>().join(", ")
}
