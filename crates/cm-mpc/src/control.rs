//! What nodes tell each other about runs, beside the run itself: requests over the links of parties.

use std::collections::BTreeMap;

use cm_computation::Literal;
use cm_net::Kind;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::Failure;
use crate::party::{Ended, Told};

/// Who are you, and to which key are shares for you sealed?
pub(crate) const ABOUT: Kind = Kind::new("mpc.about");
/// Take part in this run.
pub(crate) const PROPOSE: Kind = Kind::new("mpc.propose");
/// Your sealed share of an input of a run.
pub(crate) const INPUT: Kind = Kind::new("mpc.input");
/// Start, and answer with your sealed shares of the results.
pub(crate) const RUN: Kind = Kind::new("mpc.run");

/// Longest proposal, in bytes: a plan as text within JSON.
pub(crate) const PROPOSAL_LEN_MAX: usize = 4 << 20;
/// Longest head of a stream.
pub(crate) const HEAD_LEN_MAX: usize = 4 << 10;

/// A node, as it presents itself.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct About {
    pub(crate) name: String,
    pub(crate) sealing_key: String,
    /// The key that clients of the first system encrypt to.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) client_key: Option<String>,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct Proposal {
    pub(crate) run: Uuid,
    pub(crate) plan: String,
    /// How long the run may take.
    pub(crate) within_ms: u64,
    /// How long a party may say nothing.
    pub(crate) patience_ms: u64,
}

/// What becomes of a proposal.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Reply {
    Accepted,
    Refused(String),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct InputHead {
    pub(crate) run: Uuid,
    pub(crate) input: String,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct RunHead {
    pub(crate) run: Uuid,
}

/// What precedes the sealed shares that a party answers with.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Outcome {
    Ended {
        told: Told,
        open: BTreeMap<String, Vec<Literal>>,
        /// Result, receiver and length of what follows, in this order.
        sealed: Vec<(String, String, usize)>,
    },
    Failed(Failure),
}

impl Outcome {
    /// The outcome, and the bytes that follow it.
    pub(crate) fn of(outcome: Result<Ended, Failure>) -> (Self, Vec<Vec<u8>>) {
        match outcome {
            Ok(ended) => {
                let heads = ended.sealed.iter();
                let heads =
                    heads.map(|((output, receiver), bytes)| (output.clone(), receiver.clone(), bytes.len()));
                let heads = heads.collect();
                let bodies = ended.sealed.into_values().collect();
                (Self::Ended { told: ended.told, open: ended.open, sealed: heads }, bodies)
            }
            Err(failure) => (Self::Failed(failure), Vec::new()),
        }
    }

    /// The party's end, with the bytes that followed.
    pub(crate) fn joined(self, bytes: &[u8]) -> Option<Result<Ended, Failure>> {
        match self {
            Self::Failed(failure) => Some(Err(failure)),
            Self::Ended { told, open, sealed } => {
                let (mut ended, mut rest) = (Ended { told, open, ..Ended::default() }, bytes);
                for (output, receiver, len) in sealed {
                    let (body, after) = rest.split_at_checked(len)?;
                    ended.sealed.insert((output, receiver), body.to_vec());
                    rest = after;
                }
                rest.is_empty().then_some(Ok(ended))
            }
        }
    }
}
