//! What can be wrong with a change of the layout.

use cm_types::PeerId;

use crate::layout::{Epoch, PEERS_MAX};
use crate::peer::DOMAIN_LEN_MAX;
use crate::redundancy::WIDTH_MAX;

/// Why a layout cannot be changed in this way. The layout stays as it was.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LayoutError {
    /// The peer takes part already.
    #[error("peer {0} is in the layout already; change its capacity or state instead of adding it")]
    Exists(PeerId),
    /// No such peer takes part.
    #[error(
        "peer {0} is not in the layout; `storage status` names those that are, and `storage layout --add` adds one"
    )]
    Unknown(PeerId),
    /// A peer without capacity could never hold anything.
    #[error("the capacity of peer {0} is zero; name the bytes that it offers, or drain it")]
    NoCapacity(PeerId),
    /// Only who holds nothing any more may be forgotten.
    #[error(
        "peer {0} may still hold the only copy of something; drain it, or declare it gone, before removing it"
    )]
    StillHolds(PeerId),
    /// What drains must go somewhere, and so must what is written.
    #[error(
        "no peer would be left that takes data; add one, or take back that one drains, before peer {0} is drained, declared gone or removed"
    )]
    LastActive(PeerId),
    /// What is gone comes back with an empty disk at best.
    #[error("peer {0} is gone; remove it and add it anew")]
    Gone(PeerId),
    /// More peers than a layout may have.
    #[error("a layout has at most {PEERS_MAX} peers")]
    TooMany,
    /// Nothing was to be changed.
    #[error("nothing would change: it is like that already, or no change was named")]
    Nothing,
    /// The text names no failure domain.
    #[error("a failure domain is named by 1 to {DOMAIN_LEN_MAX} bytes without control characters")]
    Domain,
    /// There have been as many epochs as can be counted.
    #[error("there is no epoch after this one")]
    LastEpoch,
}

/// Why this is no redundancy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RedundancyError {
    /// Nothing would be stored.
    #[error("at least one copy is needed, or one data and one parity shard")]
    Nothing,
    /// More holders than one chunk may have.
    #[error("{0} holders were asked for; there may be {WIDTH_MAX} at most")]
    TooWide(usize),
}

/// Why a layout does not continue a history.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HistoryError {
    /// The epochs do not follow each other.
    #[error("epoch {found} does not follow epoch {current}")]
    NotNext {
        /// The newest epoch that is known.
        current: Epoch,
        /// The epoch that was given.
        found: Epoch,
    },
    /// Data still moves out of too many epochs.
    #[error(
        "data still moves out of {max} earlier epochs; wait until one is settled before changing the layout again"
    )]
    TooMany {
        /// The limit.
        max: usize,
    },
    /// The peer that would be forgotten may hold the only copy of something.
    #[error(
        "data still moves out of peer {0}; wait until that is over, or declare it gone and lose what only it has"
    )]
    StillMoving(PeerId),
}
