//! Why a node did not start.

use std::net::SocketAddr;
use std::path::PathBuf;

/// Why a node did not start, or an offline command did not run.
#[derive(Debug, thiserror::Error)]
pub enum NodeError {
    /// The data directory cannot be used.
    #[error("cannot use {path}")]
    DataDir {
        /// The directory or file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// Another process holds the data directory.
    #[error("{path} is in use by {holder}; stop that process or choose another --data-dir")]
    Held {
        /// The directory.
        path: PathBuf,
        /// What the holder wrote of itself.
        holder: String,
    },
    /// The directory holds files that are not a node's.
    #[error("{0} holds other files; choose an empty or new --data-dir")]
    NotOurs(PathBuf),
    /// There is no data to look at.
    #[error("{0} holds no data of a node")]
    NoData(PathBuf),
    /// A listener cannot be bound.
    #[error("cannot listen on {address} (`listen.{listener}`)")]
    Bind {
        /// The listener.
        listener: &'static str,
        /// Its address.
        address: SocketAddr,
        /// Why not.
        source: std::io::Error,
    },
    /// The log cannot be written.
    #[error("logging")]
    Log(#[from] cm_runtime::logging::LogError),
    /// The kernel did not open.
    #[error("kernel")]
    Kernel(#[from] cm_kernel::KernelError),
    /// The functions did not open.
    #[error("functions")]
    Functions(#[from] cm_functions::FunctionError),
    /// The database did not open.
    #[error("database")]
    Database(#[from] cm_db::DbError),
    /// The keys cannot be read.
    #[error("keys")]
    Keys(#[from] cm_identity::NodeKeyError),
    /// The log cannot be read.
    #[error("event log")]
    Events(#[from] cm_events::EventError),
    /// The anchor is not one.
    #[error("`{0}` is no head of a log; `cryptomesh audit head` prints one")]
    Anchor(String),
}

impl NodeError {
    /// Whether the caller asked for something that makes no sense, rather than something having failed.
    pub fn is_usage(&self) -> bool {
        matches!(self, NodeError::Anchor(_) | NodeError::Log(cm_runtime::logging::LogError::Level { .. }))
    }
}
