//! What parties compute together on values that none of them sees: programs, the language and the JSON steps that they are
//! written in, and what clients do: splitting inputs and putting results together. Pure: no sockets, no clock, no database.
//!
//! A [`Program`] is a list of nodes, each of which uses only nodes before it: a directed graph without cycles by construction. The
//! one way to make it is the [`Builder`], which checks references, shapes and kinds of numbers, so that whoever holds a program knows
//! the size of everything in it before anything starts. Jobs come in two spellings, an expression language ([`parse`]) and the
//! JSON steps of the first system ([`Job`]); both are lowered through the same builder.
//!
//! Reading order: [`number`], [`shape`], [`program`], [`builder`], [`language`], [`steps`], [`mod@schedule`], [`mod@interpret`], [`plan`],
//! [`client`], [`proof`], [`mod@explain`], [`published`].

pub mod builder;
pub mod client;
pub mod error;
pub mod explain;
pub mod interpret;
pub mod language;
pub mod number;
pub mod plan;
pub mod program;
pub mod proof;
pub mod published;
pub mod schedule;
pub mod shape;
pub mod steps;

pub use builder::Builder;
pub use client::{ClientError, Opened};
pub use error::ProgramError;
pub use explain::{Explanation, explain};
pub use interpret::{Advance, Given, Released, carry_out, interpret};
pub use language::{SourceError, parse};
pub use number::{Kind, Literal};
pub use plan::{Agreed, Plan, PlanError, PlannedParty, SignatureKey};
pub use program::{
    ELEMENTS_MAX, FieldName, Id, NODES_MAX, Node, Op, Output, Owner, Program, Receivers, Settings, TierName,
};
pub use proof::{Proof, ProofError};
pub use schedule::{Batch, Layer, schedule};
pub use shape::Shape;
pub use steps::{Assigned, Job, Lowered};
