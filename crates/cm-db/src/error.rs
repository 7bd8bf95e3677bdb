//! What can go wrong, and whether the effect may have happened.

use std::path::PathBuf;
use std::sync::Arc;

use crate::{BackupError, InvalidKey, InvalidRow};

/// Why a read or a write failed.
#[derive(Clone, Debug, thiserror::Error)]
pub enum DbError {
    /// An insertion found its key taken.
    #[error("table `{table}` already has a row under this key")]
    Exists {
        /// The table.
        table: &'static str,
    },
    /// A key or row is longer than the tables allow.
    #[error("{what} of {bytes} bytes in table `{table}` is longer than {max} bytes")]
    TooLarge {
        /// The table.
        table: &'static str,
        /// "key" or "row".
        what: &'static str,
        /// How long it is.
        bytes: usize,
        /// How long it may be.
        max: usize,
    },
    /// The table is not part of the schema that the database was opened with.
    #[error("table `{table}` is not in the schema")]
    UnknownTable {
        /// The table.
        table: String,
    },
    /// A row cannot be written as JSON (a map with keys that are no text, for instance).
    #[error("row of table `{table}` cannot be encoded")]
    Encode {
        /// The table.
        table: &'static str,
        /// The reason.
        source: Arc<serde_json::Error>,
    },
    /// The data needs a newer version of the program; nothing was touched.
    #[error(
        "the data has schema version {found} and is for programs that know version {compatible_from}, \
         but this program knows versions up to {known}; \
         start the version of the program that wrote the data, or restore a backup made before the upgrade"
    )]
    NewerData {
        /// The version in the data.
        found: u32,
        /// The oldest version whose programs can still work with the data.
        compatible_from: u32,
        /// The newest version that this program knows.
        known: u32,
    },
    /// The file is no database of this product; nothing was touched.
    #[error("{} is no database of this program", path.display())]
    Foreign {
        /// The file.
        path: PathBuf,
    },
    /// The file is one node's copy of a database that several nodes keep together, or should not be one and has data; nothing was touched.
    #[error(
        "{} cannot be opened so: it is a node's copy of a database that several nodes keep together and has to be opened as one, \
         or it has data of its own and cannot become a copy of others' data",
        path.display()
    )]
    Replicated {
        /// The file.
        path: PathBuf,
    },
    /// A node's part in a database that several nodes keep together is gone; nothing was touched.
    #[error(
        "{} is gone, with what this node had promised the others to keep; restore both files as they were, or remove the node and \
         join again as a new one",
        path.display()
    )]
    Lost {
        /// The file that should be there.
        path: PathBuf,
    },
    /// A transaction changes more than nodes tell each other at once; it had no effect.
    #[error(
        "the transaction changes {bytes} bytes, more than the {max} that nodes tell each other at once; make several of it"
    )]
    TransactionTooLarge {
        /// How much it changes.
        bytes: usize,
        /// How much it may.
        max: usize,
    },
    /// A backup was to be restored into a database that has rows; nothing was touched.
    #[error("the database is not empty: table `{table}` has rows")]
    NotEmpty {
        /// The first such table.
        table: String,
    },
    /// A backup could not be written, or what was to be restored is no whole and unaltered backup; the data was not
    /// touched.
    #[error("the backup failed")]
    Backup(#[from] BackupError),
    /// What is stored cannot be what was written.
    #[error("the data is damaged")]
    Corrupt(#[source] Corruption),
    /// The storage refused; the transaction had no effect.
    #[error("the storage failed")]
    Storage(#[source] StorageError),
    /// The storage refused to commit.
    #[error("the transaction could not be committed and {effect}")]
    CommitFailed {
        /// Whether it may have happened nevertheless.
        effect: Effect,
        /// The reason.
        source: StorageError,
    },
    /// The closure panicked; its transaction had no effect.
    #[error("the transaction panicked and had no effect")]
    Panicked,
    /// The database was closed; the transaction had no effect.
    #[error("the database is closed")]
    Closed,
}

/// Whether the effect of a failed transaction may have happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It has not.
    NotDone,
    /// It may or may not have; look before trying again.
    Unknown,
}

impl std::fmt::Display for Effect {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Effect::NotDone => "had no effect",
            Effect::Unknown => "its effect is unknown",
        })
    }
}

impl DbError {
    /// Whether the failed transaction may have had its effect.
    pub fn effect(&self) -> Effect {
        match self {
            DbError::CommitFailed { effect, .. } => *effect,
            _ => Effect::NotDone,
        }
    }

    /// Whether the same call may succeed later without anybody repairing anything.
    pub fn retryable(&self) -> bool {
        match self {
            DbError::Storage(source) | DbError::CommitFailed { source, .. } => {
                matches!(source.class, StorageClass::Busy | StorageClass::Unreachable)
            }
            _ => false,
        }
    }

    pub(crate) fn invalid_key(table: &'static str, source: InvalidKey) -> Self {
        DbError::Corrupt(Corruption::Key { table, source })
    }

    pub(crate) fn invalid_row(table: &'static str, source: InvalidRow) -> Self {
        DbError::Corrupt(Corruption::Row { table, source })
    }
}

/// What is damaged.
#[derive(Clone, Debug, thiserror::Error)]
pub enum Corruption {
    /// The storage's own structure.
    #[error("the storage is malformed")]
    Storage(#[source] StorageError),
    /// The storage's self-check found something.
    #[error("the self-check found: {finding}")]
    Check {
        /// The engine's words.
        finding: String,
    },
    /// A stored key does not decode.
    #[error("table `{table}` holds an invalid key")]
    Key {
        /// The table.
        table: &'static str,
        /// What is wrong with it.
        source: InvalidKey,
    },
    /// A stored row does not decode.
    #[error("table `{table}` holds an invalid row")]
    Row {
        /// The table.
        table: &'static str,
        /// What is wrong with it.
        source: InvalidRow,
    },
}

/// A refusal by the storage beneath.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{class}")]
pub struct StorageError {
    /// What kind of refusal.
    pub class: StorageClass,
    /// The engine's own error.
    pub source: Arc<dyn std::error::Error + Send + Sync>,
}

/// Kinds of refusal that somebody acts differently on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StorageClass {
    /// No space left.
    Full,
    /// Somebody else holds a lock; worth trying again.
    Busy,
    /// Reading or writing failed: a permission, a broken disk.
    Io,
    /// The database server, or a majority of the nodes, cannot be reached, or the connection was lost; worth trying again.
    Unreachable,
    /// Anything else.
    Other,
}

impl std::fmt::Display for StorageClass {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            StorageClass::Full => "no space left",
            StorageClass::Busy => "the storage is busy",
            StorageClass::Io => "input or output failed",
            StorageClass::Unreachable => "the database cannot be reached",
            StorageClass::Other => "the storage engine refused",
        })
    }
}
