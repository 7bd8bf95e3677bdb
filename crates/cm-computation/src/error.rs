//! What is wrong with a program.

use crate::program::{ELEMENTS_MAX, NODE_ELEMENTS_MAX, NODES_MAX};
use crate::{Kind, Shape};

/// Why a program cannot be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProgramError {
    /// A name that stands for nothing.
    #[error("`{0}` is not known here; give it a value or declare it as an input first")]
    UnknownName(String),
    /// A second input or result of one name.
    #[error("`{0}` is there already; choose another name")]
    NameTaken(String),
    /// What is no name.
    #[error("`{0}` is no name; names are letters, digits and `_`, at most 64, and do not begin with a digit")]
    BadName(String),
    /// A principal or a party that is none.
    #[error(
        "`{0}` names nobody; names of people and parties have 1 to 128 characters of A-Z, a-z, 0-9 and -_.:@+"
    )]
    BadOwner(String),
    /// Steps that wait for each other.
    #[error("the steps {} wait for each other; a computation may not have a cycle", .0.join(", "))]
    Cycle(Vec<String>),
    /// A dependency that is no step.
    #[error("step `{step}` depends on `{on}`, which is no step of the job")]
    UnknownStep {
        /// Which step.
        step: String,
        /// What it names.
        on: String,
    },
    /// Two steps of one id.
    #[error("two steps have the id `{0}`")]
    StepTaken(String),
    /// A step that lacks what its operation needs.
    #[error("step `{step}` needs `{field}`")]
    MissingField {
        /// Which step.
        step: String,
        /// Which field.
        field: &'static str,
    },
    /// An operation that does not exist.
    #[error("there is no operation `{0}`")]
    UnknownOperation(String),
    /// An operation with the wrong number of operands.
    #[error("`{operation}` takes {takes}, not {given}")]
    Operands {
        /// Which operation.
        operation: String,
        /// What it takes.
        takes: &'static str,
        /// How many were given.
        given: usize,
    },
    /// Values that do not fit together.
    #[error("`{operation}` cannot combine {left} and {right}")]
    Shapes {
        /// Which operation.
        operation: &'static str,
        /// The shape of its first operand.
        left: Shape,
        /// The shape of its second operand.
        right: Shape,
    },
    /// A value whose shape an operation does not take.
    #[error("`{operation}` takes {takes}, not {given}")]
    Shape {
        /// Which operation.
        operation: &'static str,
        /// What it takes.
        takes: &'static str,
        /// What it was given.
        given: Shape,
    },
    /// A dimension that is zero, too many of them, or too many numbers.
    #[error("a value has at most two dimensions of at least 1, and at most {NODE_ELEMENTS_MAX} numbers")]
    BadShape,
    /// Elements that are not there.
    #[error("elements {from} to {to} of {shape} do not exist")]
    Range {
        /// The first element.
        from: usize,
        /// The element after the last.
        to: usize,
        /// Of what.
        shape: Shape,
    },
    /// A kind of numbers that an operation does not take.
    #[error("`{operation}` takes {takes}, not a value of kind {given}")]
    WrongKind {
        /// Which operation.
        operation: &'static str,
        /// What it takes.
        takes: &'static str,
        /// What it was given.
        given: Kind,
    },
    /// A number that a value of its kind cannot be.
    #[error("{0} does not fit; whole numbers must be below the field's order, real ones below 2^{1}")]
    NumberTooLarge(String, u32),
    /// Fixed-point numbers in a field that is not made for them.
    #[error("real numbers need the field f61, and fraction bits between 1 and 24")]
    NoReals,
    /// Something that must be a number, not a secret.
    #[error("`{0}` takes numbers that everybody knows, not a computed value")]
    NotPublic(&'static str),
    /// Nobody would learn anything.
    #[error("the computation reveals nothing; say what is revealed to whom, as in `reveal x to alice`")]
    NothingRevealed,
    /// More nodes than a program may have.
    #[error("a computation has at most {NODES_MAX} operations and {ELEMENTS_MAX} numbers in all")]
    TooLarge,
    /// A part of the settings that is none.
    #[error("`{value}` is no {setting}; it is one of {choices}")]
    Setting {
        /// Which setting.
        setting: &'static str,
        /// What was given.
        value: String,
        /// What it may be.
        choices: &'static str,
    },
}
