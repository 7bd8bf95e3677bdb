//! What can go wrong with the log.

use cm_db::DbError;

/// Why the log could not be written or read.
#[derive(Clone, Debug, thiserror::Error)]
pub enum EventError {
    /// The database failed.
    #[error("the event log's storage failed")]
    Db(#[from] DbError),
    /// The log was tampered with or damaged.
    #[error("the event log is broken")]
    Broken(#[source] Finding),
    /// The event is longer than a record may be; facts are small.
    #[error("event of {bytes} bytes is longer than {max} bytes")]
    TooLarge {
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// Records of a newer version of the program.
    #[error("record {seq} has version {version}, which this program does not know")]
    Version {
        /// The record.
        seq: u64,
        /// Its version.
        version: u8,
    },
}

impl From<Finding> for EventError {
    fn from(finding: Finding) -> Self {
        EventError::Broken(finding)
    }
}

/// One thing that is wrong with the log.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("record {seq} {what}: {detail}")]
pub struct Finding {
    /// The number of the record; for the head, the number that it gives or should give.
    pub seq: u64,
    /// What is wrong.
    pub what: What,
    /// For people.
    pub detail: String,
}

/// What is wrong with a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// Its bytes are not those that were written.
    Altered,
    /// It is not there, or its checkpoint or the head is not.
    Missing,
    /// Another record stands in its place.
    Reordered,
    /// The signature of its head or checkpoint is not of a trusted key.
    Forged,
    /// It or an earlier one was changed together with all hashes since; the signed hash tells.
    Rewritten,
    /// Nobody signed for it: it is beyond the head.
    Extra,
    /// The log ends before the anchor that was kept elsewhere.
    RolledBack,
}

impl What {
    /// A word for machines: `altered`, `rolled-back`.
    pub fn as_str(self) -> &'static str {
        match self {
            What::Altered => "altered",
            What::Missing => "missing",
            What::Reordered => "reordered",
            What::Forged => "forged",
            What::Rewritten => "rewritten",
            What::Extra => "extra",
            What::RolledBack => "rolled-back",
        }
    }
}

impl std::fmt::Display for What {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}
