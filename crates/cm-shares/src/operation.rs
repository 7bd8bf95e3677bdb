//! What can be computed, and under which terms.

mod algebra;
pub(crate) mod bits;
mod fixed;
mod order;
mod renew;

pub use fixed::{EXP_RANGE, QUOTIENT_BITS};
pub use order::INTERSECTION_PAIRS_MAX;
pub use renew::hand_over;

use crate::committee::{Terms, Tier};
use crate::error::MpcError;
use crate::field::FieldKind;

/// An operation on shared values.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Operation {
    /// Sums, differences, public factors and terms: local.
    Linear,
    /// A party's own values.
    Input,
    /// Shares that a client made.
    ClientShares,
    /// A client's values under masks of the parties.
    ClientMasks,
    /// Products, element by element.
    Multiply,
    /// Inner products.
    Dot,
    /// Products of matrices.
    Matmul,
    /// Values that nobody knows.
    Random,
    /// Bits that nobody knows.
    RandomBits,
    /// One divided by a value of the field.
    Inverse,
    /// A quotient in the field.
    Divide,
    /// Whether values are equal.
    Equal,
    /// Which value is less.
    Less,
    /// One value or another.
    Select,
    /// The least or greatest value.
    Extremum,
    /// Values in order.
    Sort,
    /// A value as bits.
    Bits,
    /// A value without its lowest bits.
    Truncate,
    /// Products of fractions.
    MultiplyFixed,
    /// Quotients of fractions.
    DivideFixed,
    /// The exponential function.
    Exp,
    /// The logistic function.
    Sigmoid,
    /// The greater of a value and zero.
    Relu,
    /// A polynomial at values.
    Polynomial,
    /// Mean and variance.
    Statistics,
    /// Values in an order that nobody knows.
    Shuffle,
    /// How many values two sets have in common.
    IntersectionSize,
    /// Values opened to parties.
    Open,
    /// Shares handed to a client.
    Release,
    /// Triples prepared ahead of time.
    Triples,
    /// Shares replaced by new ones of the same values.
    Refresh,
    /// Shares handed over to another committee.
    Reshare,
}

impl Operation {
    /// Every operation.
    pub const ALL: [Self; 32] = [
        Self::Linear,
        Self::Input,
        Self::ClientShares,
        Self::ClientMasks,
        Self::Multiply,
        Self::Dot,
        Self::Matmul,
        Self::Random,
        Self::RandomBits,
        Self::Inverse,
        Self::Divide,
        Self::Equal,
        Self::Less,
        Self::Select,
        Self::Extremum,
        Self::Sort,
        Self::Bits,
        Self::Truncate,
        Self::MultiplyFixed,
        Self::DivideFixed,
        Self::Exp,
        Self::Sigmoid,
        Self::Relu,
        Self::Polynomial,
        Self::Statistics,
        Self::Shuffle,
        Self::IntersectionSize,
        Self::Open,
        Self::Release,
        Self::Triples,
        Self::Refresh,
        Self::Reshare,
    ];

    /// Its name.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Linear => "linear",
            Self::Input => "input",
            Self::ClientShares => "client-shares",
            Self::ClientMasks => "client-masks",
            Self::Multiply => "multiply",
            Self::Dot => "dot",
            Self::Matmul => "matmul",
            Self::Random => "random",
            Self::RandomBits => "random-bits",
            Self::Inverse => "inverse",
            Self::Divide => "divide",
            Self::Equal => "equal",
            Self::Less => "less",
            Self::Select => "select",
            Self::Extremum => "extremum",
            Self::Sort => "sort",
            Self::Bits => "bits",
            Self::Truncate => "truncate",
            Self::MultiplyFixed => "multiply-fixed",
            Self::DivideFixed => "divide-fixed",
            Self::Exp => "exp",
            Self::Sigmoid => "sigmoid",
            Self::Relu => "relu",
            Self::Polynomial => "polynomial",
            Self::Statistics => "statistics",
            Self::Shuffle => "shuffle",
            Self::IntersectionSize => "intersection-size",
            Self::Open => "open",
            Self::Release => "release",
            Self::Triples => "triples",
            Self::Refresh => "refresh",
            Self::Reshare => "reshare",
        }
    }
}

impl std::fmt::Display for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Whether an operation exists in a field under these terms. To be asked before a computation starts; the operations themselves refuse likewise.
///
/// # Errors
///
/// [`MpcError::Unsupported`], with what would have to be different.
pub fn support(operation: Operation, field: FieldKind, terms: &Terms) -> Result<(), MpcError> {
    let refused = |why| Err(MpcError::Unsupported { operation, field, tier: terms.tier(), why });
    match field {
        FieldKind::F61 | FieldKind::Scalar => {
            if operation == Operation::ClientShares && terms.tier() == Tier::Robust {
                return refused(
                    "a client's wrong share cannot be told from a wrong party; let the client use masks",
                );
            }
            if operation == Operation::Reshare && terms.tier() == Tier::Robust {
                return refused(
                    "what an old party shares wrongly would prevent a result; take it over under `malicious-abort`",
                );
            }
            Ok(())
        }
        FieldKind::Ring64 | FieldKind::Bits => {
            if terms.tier() != Tier::SemiHonest {
                return refused(
                    "products in rings are not verified; take a field, or the tier `semi-honest`",
                );
            }
            if terms.committee().parties() != 3 || terms.committee().threshold() != 1 {
                return refused("replicated sharing is for three parties with threshold one");
            }
            let exists = match field {
                FieldKind::Ring64 => matches!(
                    operation,
                    Operation::Linear
                        | Operation::Input
                        | Operation::Multiply
                        | Operation::Dot
                        | Operation::Matmul
                        | Operation::Less
                        | Operation::Open
                ),
                _ => matches!(
                    operation,
                    Operation::Linear | Operation::Input | Operation::Multiply | Operation::Open
                ),
            };
            if exists { Ok(()) } else { refused("this operation exists in fields only") }
        }
    }
}
