//! Why computations fail, and why they are refused.

use std::time::Duration;

use cm_computation::{ClientError, PlanError, ProgramError};
use cm_db::DbError;
use cm_kernel::KernelError;
use cm_net::{DirectoryError, LinkError};
use cm_shares::MpcError;
use serde::{Deserialize, Serialize};

use crate::anchor::AnchorError;

/// Why something that was asked of the engine is refused or has failed.
#[derive(Debug, thiserror::Error)]
pub enum ComputationError {
    /// The kernel refused.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The plan cannot be carried out.
    #[error(transparent)]
    Plan(#[from] PlanError),
    /// The program cannot be.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// An input or a result is not what the plan says.
    #[error(transparent)]
    Client(#[from] ClientError),
    /// A party that this node does not know.
    #[error(
        "party `{0}` is not known here; add it with `cryptomesh mpc peer add`, or name one of those that are"
    )]
    UnknownParty(String),
    /// A party that this node knows and cannot reach.
    #[error("party `{party}` cannot be asked")]
    Party {
        /// Which.
        party: String,
        /// Why.
        #[source]
        source: LinkError,
    },
    /// This node is not among the parties.
    #[error("this node, `{0}`, must be one of the parties")]
    NotAParty(String),
    /// The node's listener for parties is switched off.
    #[error("this node takes no part in computations: `listen.mpc_peers` is off")]
    SwitchedOff,
    /// Inputs that nobody has sent.
    #[error("inputs are missing: {}", .0.join(", "))]
    InputsMissing(Vec<String>),
    /// An input that somebody else has.
    #[error("`{input}` is an input of {owner}; only they can give it")]
    NotYourInput {
        /// Which input.
        input: String,
        /// Whose it is.
        owner: String,
    },
    /// A computation in which they have no part.
    #[error("only the owner of a computation and the owners of its inputs start and end its runs")]
    NotYours,
    /// A share that is longer or shorter than a sealed share of the input is.
    #[error("a sealed share of `{input}` has {expected} bytes, not {given}")]
    ShareLength {
        /// Which input.
        input: String,
        /// How long it must be.
        expected: usize,
        /// How long it is.
        given: usize,
    },
    /// It runs already, or has run.
    #[error("the computation is {0}; it can be started once")]
    NotWaiting(String),
    /// It was begun, and goes on with the inputs that it was begun with.
    #[error("the computation was begun, and its inputs stay what they were; make a new one for other inputs")]
    InputsFixed,
    /// It has no result yet.
    #[error("the computation is {0}; it has no result")]
    NoResult(String),
    /// As many run as may.
    #[error("{0} computations run already; try again later")]
    TooMany(usize),
    /// A record whose plan is not one of this engine's.
    #[error("the computation has no plan that this node can read")]
    NoPlan,
    /// Peers that cannot be.
    #[error(transparent)]
    Directory(#[from] DirectoryError),
    /// A name of a peer that is none.
    #[error("`{0}` cannot be the name of a peer")]
    PeerName(String),
    /// The journal cannot be read or written.
    #[error("the journal of computations")]
    Journal(#[from] DbError),
    /// A file beside the journal cannot be read or written.
    #[error("a file of a computation")]
    File(#[from] std::io::Error),
    /// The key that shares are sealed to cannot be read.
    #[error("the key in `{0}` is none; it begins with `cmsec1`")]
    SealingKey(String),
    /// The key that clients of the first system know this node by cannot be read.
    #[error("the key in `{0}` is none; move it away, and the node makes another")]
    ClientKey(String),
    /// A key of parties that this node has no share of.
    #[error(
        "this node has no share of the parties' key `{0}`; `cryptomesh mpc keys` lists those that it has, and `fresh` makes one"
    )]
    NoGroupKey(String),
    /// A key that other parties have, or with another threshold.
    #[error("the key `{0}` belongs to other parties, or to these in another order or with another threshold")]
    OtherGroup(String),
    /// As many as are kept.
    #[error("this node has shares of {0} keys of parties already; sign by one of them")]
    TooManyKeys(usize),
    /// A share that does not open.
    #[error(
        "this node's share of the parties' key `{0}` cannot be used: it was sealed to another key than `mpc.key` has now"
    )]
    GroupKeyShare(String),
    /// A result that is not signed.
    #[error("the result is not signed; make the computation with `sign`")]
    NotSigned,
    /// Nowhere to record a result.
    #[error("this node records results nowhere: neither `mpc.anchor_file` nor `mpc.anchor_url` is set")]
    NoAnchor,
    /// It is being recorded.
    #[error("the result is being recorded at this moment")]
    Anchoring,
    /// It could not be recorded.
    #[error("the result was not recorded")]
    Anchor(#[from] AnchorError),
    /// Links cannot be made.
    #[error("links to parties cannot be made")]
    Links(#[from] LinkError),
}

/// What whoever asked can do about a refusal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ErrorClass {
    /// What was asked cannot be: something in it is wrong.
    Invalid,
    /// An input or a result that the plan does not have, or not for them.
    NoSuchPart,
    /// It is somebody else's.
    NotTheirs,
    /// Not in the state that the computation is in.
    Conflict,
    /// As much goes on as may; later.
    TooMany,
    /// Another party does not do its part.
    Party,
    /// This node does not compute.
    SwitchedOff,
    /// The kernel's own refusal.
    Kernel,
    /// A mistake of this node or its disk; nothing is said about the cause.
    Internal,
}

impl ComputationError {
    /// What kind of refusal it is. Faces choose their words and codes by it.
    pub fn class(&self) -> ErrorClass {
        match self {
            Self::Kernel(_) => ErrorClass::Kernel,
            Self::Plan(_)
            | Self::Program(_)
            | Self::UnknownParty(_)
            | Self::NotAParty(_)
            | Self::ShareLength { .. }
            | Self::NoGroupKey(_)
            | Self::OtherGroup(_)
            | Self::Directory(_)
            | Self::PeerName(_) => ErrorClass::Invalid,
            Self::Client(_) => ErrorClass::NoSuchPart,
            Self::NotYourInput { .. } | Self::NotYours => ErrorClass::NotTheirs,
            Self::InputsMissing(_)
            | Self::NotWaiting(_)
            | Self::InputsFixed
            | Self::NoResult(_)
            | Self::NotSigned
            | Self::Anchoring
            | Self::NoPlan => ErrorClass::Conflict,
            Self::TooMany(_) | Self::TooManyKeys(_) => ErrorClass::TooMany,
            Self::Party { .. } | Self::Anchor(_) => ErrorClass::Party,
            Self::NoAnchor | Self::SwitchedOff => ErrorClass::SwitchedOff,
            Self::Journal(_)
            | Self::File(_)
            | Self::SealingKey(_)
            | Self::ClientKey(_)
            | Self::GroupKeyShare(_)
            | Self::Links(_) => ErrorClass::Internal,
        }
    }

    /// Its message, with the cause where that belongs to the answer.
    pub fn told(&self) -> String {
        match (self.class(), std::error::Error::source(self)) {
            (ErrorClass::Party, Some(cause)) => format!("{self}: {cause}"),
            _ => self.to_string(),
        }
    }
}

/// How a run of a computation failed, as it is told to its owner: nothing in it is secret.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[serde(rename_all = "snake_case", tag = "reason")]
pub enum Failure {
    /// A party did not come, left, or said nothing for too long.
    #[error("party `{party}` was lost ({why}); start it again when the party is back")]
    Lost {
        /// Which.
        party: String,
        /// How that was noticed.
        why: String,
    },
    /// A party refused to take part.
    #[error("party `{party}` refused: {why}")]
    Refused {
        /// Which.
        party: String,
        /// Why.
        why: String,
    },
    /// Somebody cheated, and no result is given out.
    #[error("{what}; no result was given out")]
    Cheating {
        /// What was found.
        what: String,
        /// Who, if that is known.
        party: Option<String>,
    },
    /// The protocol could not go on.
    #[error("{what}")]
    Protocol {
        /// Why.
        what: String,
    },
    /// It took longer than it may.
    #[error("not finished within {seconds} s")]
    Deadline {
        /// How long it may take.
        seconds: u64,
    },
    /// Somebody asked for its end.
    #[error("cancelled")]
    Cancelled,
    /// The node was restarted while it ran.
    #[error("the node was restarted while it ran; start it again")]
    Restarted,
    /// Something of the node failed; its log says more.
    #[error("the node of party `{party}` failed; its log says why")]
    Internal {
        /// Whose node.
        party: String,
    },
}

impl Failure {
    /// What ended a protocol.
    pub(crate) fn of(error: &MpcError, parties: &[String]) -> Self {
        let name = |party: cm_shares::Party| {
            parties.get(party.index()).cloned().unwrap_or_else(|| party.to_string())
        };
        match error {
            MpcError::Lost { party } => {
                Self::Lost { party: name(*party), why: "its connection ended".to_owned() }
            }
            MpcError::Cheated { party, .. }
            | MpcError::Replayed { party }
            | MpcError::Malformed { party }
            | MpcError::Flooded { party } => {
                let what = error.to_string().replacen(
                    &format!("party {party}"),
                    &format!("party `{}`", name(*party)),
                    1,
                );
                Self::Cheating { what: what.replace("; nothing was opened", ""), party: Some(name(*party)) }
            }
            MpcError::Cheating(check) => {
                Self::Cheating { what: format!("a party deviated from the protocol ({check})"), party: None }
            }
            MpcError::MissingInput { party } => {
                Self::Protocol { what: format!("party `{}` has no input to give", name(*party)) }
            }
            other => Self::Protocol { what: other.to_string() },
        }
    }

    pub(crate) fn deadline(after: Duration) -> Self {
        Self::Deadline { seconds: after.as_secs() }
    }
}
