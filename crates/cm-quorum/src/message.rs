//! What members say to each other.

use std::sync::Arc;

use crate::{Batch, Entry, Index, Members, Position, Request, Term, Version};

/// Bytes of a copy that travel in one message, at most.
pub const PIECE_LEN_MAX: usize = 1 << 20;

/// Names a log, so that nodes of two of them never mix what they have. Chosen by lot by whoever founds it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClusterId(pub u128);

impl std::fmt::Display for ClusterId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{:032x}", self.0)
    }
}

/// A message as it travels.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// Of which log it speaks.
    pub cluster: ClusterId,
    /// What it says.
    pub message: Message,
}

/// A copy of the data, sent in pieces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SnapshotMeta {
    /// Tells copies apart; by lot.
    pub id: u64,
    /// The last entry that is in it.
    pub at: Position,
    /// The version of the data.
    pub version: Version,
    /// The members as of that entry.
    pub members: Members,
    /// Its length, in bytes.
    pub len: u64,
    /// Its SHA-256.
    pub digest: [u8; 32],
}

impl Message {
    /// The leader's time that it speaks of; `None` if of none, or of one that changes nothing.
    pub(crate) fn term(&self) -> Option<Term> {
        match self {
            Message::Vote { term, .. }
            | Message::VoteReply { term, .. }
            | Message::Append { term, .. }
            | Message::Appended { term, .. }
            | Message::Refused { term, .. }
            | Message::Piece { term, .. }
            | Message::PieceReply { term, .. }
            | Message::TakeOver { term } => Some(*term),
            Message::Ask { .. }
            | Message::Grant { .. }
            | Message::Renew { .. }
            | Message::Release { .. }
            | Message::Submit { .. }
            | Message::Submitted { .. }
            | Message::Barrier { .. }
            | Message::BarrierReply { .. } => None,
        }
    }
}

/// What one member says to another. Any message may be lost, come twice, late, and after later ones.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Message {
    /// Asks for a vote.
    Vote {
        /// The time that the candidate would lead in.
        term: Term,
        /// The end of its log.
        last: Position,
        /// Only asks whether it would get it.
        pre: bool,
        /// The leader asked it to.
        transfer: bool,
    },
    /// Answers `Vote`.
    VoteReply {
        /// The time that was asked about if granted, otherwise the voter's.
        term: Term,
        /// Whether it is granted.
        granted: bool,
        /// As asked.
        pre: bool,
    },
    /// A leader's entries, or the sign that it lives.
    Append {
        /// The leader's time.
        term: Term,
        /// What the entries follow.
        previous: Position,
        /// The entries.
        entries: Vec<Entry>,
        /// Up to where all is committed.
        commit: Index,
        /// Comes back with the answer.
        probe: u64,
    },
    /// Answers `Append`: the log agrees with the leader's up to there.
    Appended {
        /// The follower's time.
        term: Term,
        /// Up to where.
        matched: Index,
        /// As sent.
        probe: u64,
    },
    /// Answers `Append`: what the entries follow is not there.
    Refused {
        /// The follower's time.
        term: Term,
        /// From where on it would need entries, as far as it can tell.
        next: Index,
        /// As sent.
        probe: u64,
    },
    /// A piece of a copy of the data.
    Piece {
        /// The leader's time.
        term: Term,
        /// The copy.
        meta: Box<SnapshotMeta>,
        /// Where the piece begins.
        offset: u64,
        /// At most [`PIECE_LEN_MAX`] bytes.
        bytes: Arc<[u8]>,
    },
    /// Answers `Piece`.
    PieceReply {
        /// The follower's time.
        term: Term,
        /// Of which copy.
        id: u64,
        /// Where the next piece begins.
        offset: u64,
    },
    /// The leader asks a member to be elected at once.
    TakeOver {
        /// The leader's time.
        term: Term,
    },
    /// Asks the leader for a turn.
    Ask {
        /// What the asker calls it.
        request: Request,
    },
    /// It is the asker's turn once it has applied so much.
    Grant {
        /// As asked.
        request: Request,
        /// Up to where.
        index: Index,
    },
    /// The turn is still in use.
    Renew {
        /// As asked.
        request: Request,
    },
    /// The turn, or its request, is not needed any more.
    Release {
        /// As asked.
        request: Request,
    },
    /// What was computed.
    Submit {
        /// The batch; its request is that of the turn.
        batch: Batch,
    },
    /// `Submit` has arrived at a leader; the log will tell what became of it.
    Submitted {
        /// As submitted.
        request: Request,
        /// The leader's time.
        term: Term,
    },
    /// Asks how far a copy has to be to have all that was answered before.
    Barrier {
        /// What the asker calls it.
        request: Request,
    },
    /// Answers `Barrier`.
    BarrierReply {
        /// As asked.
        request: Request,
        /// So far.
        index: Index,
    },
}
