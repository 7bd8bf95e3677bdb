//! What can go wrong with threat intelligence.

use std::path::PathBuf;

use cm_crypto::CryptoError;
use cm_db::DbError;
use cm_kernel::KernelError;

use crate::{Invalid, NoEvent};

/// Why an operation failed.
#[derive(Debug, thiserror::Error)]
pub enum IntelError {
    /// The kernel refused or failed.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// The database of events failed.
    #[error(transparent)]
    Db(#[from] DbError),
    /// What was sent is no event.
    #[error(transparent)]
    NoEvent(#[from] NoEvent),
    /// What was sent was not signed by whom it names.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// A field of a report cannot be taken.
    #[error("`{field}` {problem}")]
    Field {
        /// Which.
        field: &'static str,
        /// What would be taken.
        problem: &'static str,
    },
    /// There is no such event.
    #[error("there is no event {0}; it may have been the oldest when others came")]
    NoSuchEvent(u64),
    /// There is no such feed.
    #[error("there is no feed `{0}`; `cryptomesh intel feed ls` lists those that there are")]
    NoSuchFeed(String),
    /// There is a feed of that name.
    #[error("there is a feed `{0}` already; remove it first, or give another name")]
    FeedExists(String),
    /// There are as many feeds as may be.
    #[error("there are 100 feeds, which is as many as may be; remove one first")]
    ManyFeeds,
    /// Nothing asks feeds here.
    #[error("this node asks no feeds")]
    NoFeeds,
    /// The event was not kept, because its reporter is not listened to or says too much.
    #[error("the event is signed as it should be, but not kept: {0}")]
    NotKept(&'static str),
    /// More events wait than are taken at a time.
    #[error("more events are waiting than this node takes at a time; try again later")]
    Busy,
    /// The reporter's key of this node cannot be read or made.
    #[error("{path} cannot be read or written")]
    KeyFile {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The reporter's key of this node is none.
    #[error(
        "{path} holds no RSA key in PKCS#8; restore it, or remove it and report under a new key from then on"
    )]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        source: CryptoError,
    },
    /// The key for links cannot be used.
    #[error("the key for links cannot be used")]
    Link(#[source] rustls::Error),
    /// The address of a peer cannot be dialled.
    #[error("`{0}` is no HOST:PORT")]
    Address(String),
    /// The node is ending.
    #[error("the node is shutting down")]
    ShuttingDown,
}
