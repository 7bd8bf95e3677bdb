//! Who may do what to which: the permissions language and the one place where it is decided.
//!
//! A caller gathers facts, [`Subject`] (who asks, with which roles) and [`Target`] (what it is about,
//! whose it is, how it is labelled and guarded), and asks [`decide`] for one action. The answer is a
//! [`Permit`], the value without which no engine changes anything, or a [`Denied`] that says how to
//! refuse without telling more than the subject may know. [`explain`] walks the very same path and
//! gives the reasons as data.
//!
//! The rules, in the order in which they are weighed:
//!
//! 1. Nobody gets anything that no rule grants.
//! 2. An administrator, that is a subject with the role `admin` that permits `*:*`, may do everything
//!    in its tenant; the administrator of the tenant `default` may do so in every tenant.
//! 3. Nothing else crosses tenants.
//! 4. The owner may read, update, delete and invoke what it owns. Nobody else may delete an instance.
//! 5. A role's permission allows what it names, where its label selector matches. A guard narrows
//!    that: if it lists roles, the subject must hold one of them.
//! 6. A guard that demands no authentication opens its target, for reading and invoking only and as
//!    far as the permissions of its roles go, to anonymous callers and to everybody of the tenant.
//! 7. Changing labels or the security policy in force is a decision of its own, [`decide_change`]: nobody
//!    gains by it, and nothing gets where its mover could not have made it.
//! 8. Owners of buckets may share them, object by object, as S3 knows it: see [`sharing`].
//! 9. Permission policies, written in the permissions language ([`pdl`]), deny above all of this, and allow as roles do: see
//!    [`rules`].
//!
//! What applications declare about resources of their own is decided apart, in [`declared`].
//!
//! Nothing here does I/O, reads a clock or remembers anything.
//!
//! Reading order: [`permission`], [`facts`], [`decision`], [`change`], [`permit`], [`basis`], [`reason`],
//! [`action`], [`sharing`], [`pdl`], [`rules`].

pub mod action;
pub mod basis;
pub mod change;
pub mod decision;
pub mod declared;
pub mod facts;
pub mod network;
pub mod pdl;
pub mod permission;
pub mod permit;
pub mod reason;
pub mod rules;
pub mod sharing;

pub use action::{ActionKind, Create, Delete, Grant, Invoke, List, Read, Update};
pub use basis::{Basis, ObjectFacts};
pub use change::decide_change;
pub use decision::{Denied, absent, decide, explain};
pub use facts::{ADMIN_ROLE, Guard, RoleFacts, Subject, Target};
pub use permission::{InvalidPermission, Pattern, Permission};
pub use permit::Permit;
pub use reason::{Explanation, Reason};
pub use rules::Rules;
