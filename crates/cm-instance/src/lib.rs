//! The contract of a confidential instance: what may be said about one, and to one.
//!
//! An instance holds files in memory and runs programs on them. A **policy** says who may do what to which
//! file; the SHA-256 of its exact text is what a client verifies before it sends anything. This crate is
//! the part of that which the node, the instance and the client must understand alike, and it is pure: it
//! does no I/O and reads no clock.
//!
//! Reading order: [`path`] (how files are named), [`rights`] (what can be done to one), [`pipeline`] (programs one
//! after the other), [`policy`] (the documents, their merging and their hash), [`draft`] (making them), [`review`] and
//! [`explain`] (what they mean, in words), [`table`] (who may do what, resolved), [`wire`] (what clients and an instance
//! say to each other), [`certificate`] (how a client knows it), [`refusal`] (what it would not do), [`release`] (to which instances
//! a key is released), [`report`] (how a
//! run ended), [`control`] (what the launcher and an instance say to each other).

pub mod certificate;
pub mod control;
pub mod draft;
pub mod explain;
pub mod path;
pub mod pipeline;
pub mod policy;
pub mod refusal;
pub mod release;
pub mod report;
pub mod review;
pub mod rights;
pub mod table;
pub mod wire;

pub use certificate::{InstanceClaims, InvalidClaims};
pub use path::{FileName, GuestPath, InvalidPath};
pub use pipeline::{InvalidPipeline, Pipeline};
pub use policy::{
    FullPolicy, Infrastructure, PolicyError, PolicyText, ProgramPolicy, UserPolicy, VaasPolicy, merge,
    policy_hash,
};
pub use refusal::{RefusalKind, Refused};
pub use report::{DeniedAccess, ExecutionReport, Limit, Outcome, StepReport, TrapKind};
pub use rights::{InvalidRights, Rights};
pub use table::{Grants, Principal, RightsTable};
