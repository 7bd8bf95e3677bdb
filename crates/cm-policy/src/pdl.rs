//! The permissions declaration language: who may do what with which, written by people.
//!
//! ```text
//! pdl 1
//!
//! allow role analyst to read, list on bucket "ct-scans/*" when mfa and time in 08:00..18:00
//! deny anyone to delete on object "ct-scans/*" unless role archivist
//! ```
//!
//! A document is a list of statements. What no statement allows is not allowed; what one denies is denied, whatever others
//! allow; the order of the statements has no meaning. The language is total: a decision visits each statement once at
//! most, there are neither loops nor calls, and nothing fails while a decision is made.
//!
//! **What is not known is taken for the worse.** A condition on something that is not known (the address of a request
//! that came by a way that does not tell it, an attribute that nobody set) neither holds nor fails. A statement that
//! allows needs a condition that holds; one that denies stands aside only for one that fails.
//!
//! Two implementations decide alike, which a property test demands: [`interpret`] reads the statements one by one, as the
//! guide explains them, and [`Compiled`] finds the few that can matter in an index.
//!
//! Everything is bounded: see [`BYTES_MAX`] and its neighbours.
//!
//! Reading order: [`syntax`] (what can be said), [`parse`], [`format()`], [`request`] (what is asked), [`interpreter`],
//! [`compiled`], [`check`](mod@check) (what is hardly meant), [`cases`] (expected decisions), [`diff`] (who gains and who loses),
//! [`import`] (policies of earlier systems).

pub mod cases;
pub mod check;
pub mod compiled;
pub mod diff;
mod error;
mod format;
mod glob;
pub mod import;
pub mod interpreter;
mod lexer;
mod neighbours;
mod parser;
pub mod request;
pub mod syntax;
pub mod time;

pub use cases::{Case, CaseError, CaseFile};
pub use check::{Finding, check};
pub use compiled::{Compiled, Place, Verdict};
pub use error::{PdlError, PdlErrors, Problem};
pub use format::format;
pub use interpreter::interpret;
pub use parser::parse;
pub use request::{Circumstances, Request, Requester};
pub use syntax::{Document, Effect, Position, Rule, Statement};

pub use crate::network::Network;

/// Longest document, in bytes. Five times what a thousand statements take.
pub const BYTES_MAX: usize = 512 * 1024;
/// Most statements of one document.
pub const STATEMENTS_MAX: usize = 8192;
/// Most entries of one list, and most parts of one chain of `and` or `or`.
pub const PARTS_MAX: usize = 256;
/// Deepest nesting of conditions: so many parentheses and `not` around a question.
pub const DEPTH_MAX: usize = 32;
/// Longest name, pattern or value, in bytes; the longest id of an object fits.
pub const TEXT_MAX: usize = 2048;
/// Most entries that a document takes in the index of [`Compiled`], where each statement has one for each of those it is for
/// with each of the things it speaks of.
pub const ENTRIES_MAX: usize = 100_000;
/// Most errors of one document that are told.
pub const ERRORS_MAX: usize = 20;

#[cfg(test)]
mod tests;
