//! What a replica wants done.

use crate::{Base, Entry, Hard, Index, MemberId, Message, Request, SnapshotMeta, Term};

/// A message and its addressee.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Envelope {
    /// To whom.
    pub to: MemberId,
    /// What.
    pub message: Message,
}

/// Something that must be durable, in order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Write {
    /// What must never be forgotten.
    Hard(Hard),
    /// The entries from there on are void.
    Truncate {
        /// The first of them.
        from: Index,
    },
    /// One more entry.
    Append(Entry),
    /// The entries up to the base are not needed any more.
    Compact(Base),
    /// No entry is needed any more; the log begins anew after the base.
    Reset(Base),
}

/// Work beside the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// Make a copy of the data and say with [`crate::Replica::snapshot_made`] whether there is one.
    MakeSnapshot,
    /// Send a piece of the copy ([`Message::Piece`]).
    SendPiece {
        /// To whom.
        to: MemberId,
        /// The leader's time.
        term: Term,
        /// Of which copy.
        meta: Box<SnapshotMeta>,
        /// From where on.
        offset: u64,
    },
    /// The copy is not needed any more.
    DropSnapshot,
    /// Keep a piece of a copy that comes, and say with [`crate::Replica::kept`] whether it is. At the offset 0 a new one begins, and the
    /// one before is void.
    KeepPiece {
        /// Of which copy.
        meta: Box<SnapshotMeta>,
        /// Where it begins.
        offset: u64,
        /// The bytes.
        bytes: std::sync::Arc<[u8]>,
    },
    /// All pieces are there: after all that is still to be applied, put the copy in the place of the data, durably, and say so with
    /// [`crate::Replica::installed`] or [`crate::Replica::not_installed`].
    Install {
        /// Which.
        meta: Box<SnapshotMeta>,
    },
}

/// What became of what this node asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It is this node's turn, and its copy has all that it needs.
    Turn {
        /// The request.
        request: Request,
    },
    /// The batch had its effect, which can be read here.
    Done {
        /// The request.
        request: Request,
    },
    /// The batch had no effect and never will: somebody else's came first.
    Stale {
        /// The request.
        request: Request,
    },
    /// Nobody can say any more what became of the batch: a copy came in the place of the entries.
    Unknown {
        /// The request.
        request: Request,
    },
    /// All that was answered before the request can be read here.
    Barrier {
        /// The request.
        request: Request,
    },
}

/// What is to be done, in the order of the fields.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// To be sent at once, even before the writes are durable.
    pub first: Vec<Envelope>,
    /// To be made durable, all or nothing. [`crate::Replica::persisted`] is called afterwards.
    pub writes: Vec<Write>,
    /// To be sent once the writes are durable.
    pub after: Vec<Envelope>,
    /// To be applied in order, after what was to be applied before; each told with [`crate::Replica::applied`].
    pub apply: Vec<Entry>,
    /// To be done in order, after what is to be applied.
    pub tasks: Vec<Task>,
    /// To be told to who asked.
    pub answers: Vec<Answer>,
}

impl Effects {
    /// Whether there is nothing to do.
    pub fn is_empty(&self) -> bool {
        self.first.is_empty()
            && self.writes.is_empty()
            && self.after.is_empty()
            && self.apply.is_empty()
            && self.tasks.is_empty()
            && self.answers.is_empty()
    }
}
