//! What can go wrong in a computation on shares, and who is to blame where that is known.

use cm_crypto::CryptoError;

use crate::committee::{Party, Tier};
use crate::field::FieldKind;
use crate::operation::Operation;

/// Why a computation, or the making or putting together of shares, ended without a result.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MpcError {
    /// No such committee can compute.
    #[error("{parties} parties with threshold {threshold} cannot do this: {need}")]
    Committee {
        /// How many parties were asked for.
        parties: usize,
        /// How many of them may learn nothing together.
        threshold: usize,
        /// The condition that does not hold.
        need: &'static str,
    },
    /// The operation does not exist in that field or under that tier.
    #[error("`{operation}` is not available in {field} under `{tier}`: {why}")]
    Unsupported {
        /// The operation.
        operation: Operation,
        /// The field or ring.
        field: FieldKind,
        /// The tier.
        tier: Tier,
        /// What would have to be different.
        why: &'static str,
    },
    /// Operands that must be equally long are not, or a shape does not fit its elements.
    #[error("operands do not fit together: expected {expected} elements, got {got}")]
    Lengths {
        /// What would fit.
        expected: usize,
        /// What there is.
        got: usize,
    },
    /// A parameter is outside of what the operation is defined for.
    #[error("{0}")]
    Parameter(&'static str),
    /// The party cannot be reached any more.
    #[error("party {party} was lost")]
    Lost {
        /// Who.
        party: Party,
    },
    /// A frame of another job or out of its turn: repeated, or one before it is missing.
    #[error("party {party} sent a frame of another job or out of turn")]
    Replayed {
        /// Who.
        party: Party,
    },
    /// A frame that is not what the protocol asks for.
    #[error("party {party} sent a malformed frame")]
    Malformed {
        /// Who.
        party: Party,
    },
    /// More frames than anybody has reason to send ahead.
    #[error("party {party} sent too many frames ahead of the protocol")]
    Flooded {
        /// Who.
        party: Party,
    },
    /// The party deviated from the protocol, and there is no doubt about it.
    #[error("party {party} deviated from the protocol ({check}); nothing was opened")]
    Cheated {
        /// Who.
        party: Party,
        /// The check that failed.
        check: Check,
    },
    /// Somebody deviated from the protocol; among so few parties it cannot be said who.
    #[error("a party deviated from the protocol ({0}); nothing was opened")]
    Cheating(Check),
    /// The shares or masked values that a client gave to the parties do not belong together.
    #[error("what the owner of an input gave to the parties does not belong together; ask for it again")]
    InconsistentInput,
    /// The party whose input is needed did not provide it.
    #[error("party {party} did not provide its input")]
    MissingInput {
        /// Who.
        party: Party,
    },
    /// A divisor is zero.
    #[error("division by zero")]
    ZeroDivisor,
    /// Fewer shares than are needed.
    #[error("{have} shares are too few, {need} are needed")]
    TooFewShares {
        /// How many there are.
        have: usize,
        /// How many it takes.
        need: usize,
    },
    /// The shares contradict each other and there are too few to tell which are wrong.
    #[error("the shares contradict each other")]
    WrongShares,
    /// The stock of correlated randomness is used up, or its lease is.
    #[error("the stock of prepared randomness is used up: {asked} asked for, {left} left")]
    StockSpent {
        /// How many were asked for.
        asked: u64,
        /// How many are left.
        left: u64,
    },
    /// The bytes are no stock, commitment or set of shares.
    #[error("not a well-formed encoding of {0}")]
    Encoding(&'static str),
    /// A key could not be used.
    #[error("keys of the parties cannot be used")]
    Keys(#[from] CryptoError),
    /// More steps than one session may take.
    #[error("the computation takes more than 2^32 steps")]
    TooLong,
}

/// The checks that find cheating.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Check {
    /// An opened value does not lie on a polynomial of the right degree.
    Degree,
    /// A product is not the product of its factors.
    Products,
    /// What was announced to all was not the same for all.
    Echo,
    /// Seeds that are common to several parties differ.
    Seeds,
    /// A triple is none.
    Triples,
    /// What the parties say of the result that they sign differs.
    Result,
    /// A part in the making of the parties' key does not fit.
    Key,
    /// A share of a signature is wrong.
    Signature,
}

impl std::fmt::Display for Check {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Degree => "degree of an opening",
            Self::Products => "verification of products",
            Self::Echo => "echo of an announcement",
            Self::Seeds => "common seeds",
            Self::Triples => "prepared triples",
            Self::Result => "what is said of the result",
            Self::Key => "making of a key",
            Self::Signature => "share of a signature",
        })
    }
}
