//! One record shape for everything that people declare: services, functions, endpoints, policies,
//! roles, buckets, instances, and the states and results that pile up while they work.
//!
//! A [`Record`] is a [`Header`] (who, what, whose, which generation), a spec (what its owner wants,
//! typed by kind in [`kinds`] and validated before it is stored), a status (what the platform found) and
//! the references that its spec makes.
//!
//! What holds after every transaction, because [`Catalog`] checks it inside:
//!
//! - every stored spec was valid under the limits of the time when it was written; a refused one leaves
//!   no trace, and later limits never make a stored record unreadable;
//! - every stored reference resolves within its tenant. Deleting what is referenced is refused, unless
//!   the reference says that its holder goes along, or the caller says what shall become of it
//!   ([`Dependents`]); then all of them go or none;
//! - every change raises the generation by one, and a caller who names an older one is refused;
//! - every change has an event in the log, in the same transaction;
//! - states and results are never changed, only added and removed;
//! - functions and endpoints go from state to state as [`lifecycle`] says;
//! - the index tables agree with the records.
//!
//! On a node in open mode ([`Integrity::Open`]) references, names and history are not held to this.
//!
//! Every mutation takes the [`cm_policy::Permit`] of its action and refuses one for anything else.
//!
//! Reading order: [`record`], [`kinds`], [`lifecycle`], [`integrity`], [`catalog`], [`query`], [`guard`], [`builtin`].

pub mod builtin;
pub mod catalog;
mod error;
pub mod guard;
mod index;
pub mod integrity;
pub mod kinds;
pub mod lifecycle;
pub mod limits;
pub mod query;
pub mod record;
mod sources;
mod spec;
mod tables;
mod trail;
mod validation;

#[cfg(test)]
mod tests;

pub use builtin::builtin_roles;
pub use catalog::Catalog;
pub use error::{CatalogError, Fault, FieldError};
pub use integrity::{Dependents, Integrity};
pub use kinds::KindSpec;
pub use limits::Limits;
pub use query::Query;
pub use record::{Change, Header, NewRecord, Occasion, OnDelete, Record, Reference, SpecChange};
pub use sources::Sources;
pub use spec::Spec;
pub use tables::TABLES;
