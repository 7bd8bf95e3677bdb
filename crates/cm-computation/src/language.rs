//! The language of jobs.
//!
//! ```text
//! # A prediction from Ada's measurements and Bob's model.
//! input x[4] from ada as real
//! input w[4] from bob as real
//! input b from bob as real
//! r = dot(x, w) + b
//! reveal r to alice
//! ```
//!
//! | statement | meaning |
//! | --- | --- |
//! | `input NAME[ROWS, COLUMNS] from OWNER as KIND` | a value of somebody (`from ada`) or of a party (`from party node-1`); without brackets one number, without `as` an `integer` |
//! | `NAME = EXPRESSION` | gives the name a value, instead of the one it had |
//! | `reveal EXPRESSION as NAME to WHOM, WHOM` | a result; `all` is everybody; `as` may be left out after a name |
//! | `repeat N { … }` | the statements N times |
//! | `field secp256k1`, `tier robust`, `threshold 1`, `fraction 16` | before everything else |
//!
//! Operators, weakest first: `< <= > >= == !=`, `+ -`, `* / @` (`@` multiplies matrices), `-x`, `x[0]`, `x[1:3]`. Statements end with a
//! line or with `;`; within brackets lines go on. `#` begins a comment. Functions: see [`FUNCTIONS`].

mod call;
mod lexer;
mod parser;

pub use call::{Argument, FUNCTIONS, apply};
pub use lexer::Position;
pub use parser::parse_expression;

use crate::{Program, ProgramError};

/// Longest job, in bytes.
pub const SOURCE_LEN_MAX: usize = 1 << 20;

/// What is wrong with a job, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("line {}, column {}: {kind}", .at.line, .at.column)]
pub struct SourceError {
    /// Where.
    pub at: Position,
    /// What.
    pub kind: SourceErrorKind,
}

/// What is wrong with a job.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceErrorKind {
    /// Longer than a job may be.
    #[error("the job is longer than {SOURCE_LEN_MAX} bytes")]
    TooLong,
    /// A character that begins nothing.
    #[error("`{0}` has no meaning here")]
    Character(char),
    /// A number that is none.
    #[error("`{0}` is no number")]
    Number(String),
    /// Something else than what must come here.
    #[error("expected {expected}, found {found}")]
    Expected {
        /// What must come.
        expected: &'static str,
        /// What is there.
        found: String,
    },
    /// Brackets within brackets, too many of them.
    #[error("brackets are nested more than {0} deep")]
    TooDeep(usize),
    /// A setting after the first statement.
    #[error("settings come before everything else")]
    SettingLate,
    /// The program that it would be cannot be.
    #[error(transparent)]
    Program(#[from] ProgramError),
}

/// Reads a job.
///
/// # Errors
/// What is wrong with it first, with line and column.
pub fn parse(source: &str) -> Result<Program, SourceError> {
    if source.len() > SOURCE_LEN_MAX {
        return Err(SourceError { at: Position { line: 1, column: 1 }, kind: SourceErrorKind::TooLong });
    }
    parser::Parser::new(lexer::lex(source)?).program()
}

#[cfg(test)]
mod tests;
