//! Why a node did not start.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use cm_identity::{IdentityError, NodeKeyError};
use cm_kernel::kernel::KEYS_DIR;
use cm_kernel::{Database, KernelError};

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
    /// There is no client for the services that requests are passed on to.
    #[error("HTTP client")]
    HttpClient(#[from] cm_api::HttpClientError),
    /// What an earlier process left of endpoints could not be cleared up.
    #[error("endpoints")]
    Endpoints(#[from] cm_endpoints::EndpointError),
    /// Computations did not open.
    #[error("computations")]
    Computations(#[from] cm_mpc::ComputationError),
    /// Threat intelligence did not open.
    #[error("threat intelligence")]
    Intel(#[from] cm_intel::IntelError),
    /// Feeds of threat intelligence cannot be asked.
    #[error(transparent)]
    Feeds(#[from] cm_dialects::feeds::NoClient),
    /// The database did not open.
    #[error("database")]
    Database(#[from] cm_db::DbError),
    /// The keys cannot be read.
    #[error("keys")]
    Keys(#[from] cm_identity::NodeKeyError),
    /// The catalogue of several nodes belongs to keys that this node does not have.
    #[error(
        "the catalogue in {database} belongs to key {expected}, which {} does not hold; copy that folder, with mode 0700, \
         from a node that serves the catalogue", keys.display()
    )]
    KeysOfCatalogue {
        /// The database.
        database: String,
        /// The id of the signing key that it belongs to.
        expected: String,
        /// Where the node's keys are, or would be.
        keys: PathBuf,
    },
    /// The node's key for links holds no key.
    #[error(
        "{path} holds no usable key for links; restore it, or remove it for a new one, which other nodes have to be told"
    )]
    LinkKey {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        source: cm_crypto::CryptoError,
    },
    /// Others may read the node's key for links.
    #[error("{path} has mode {mode:o}, and others may read it; set it to 600")]
    LinkKeyMode {
        /// The file.
        path: PathBuf,
        /// Its mode.
        mode: u32,
    },
    /// The file that says which part of a network the node is cannot be understood.
    #[error("{0} is damaged; restore it, or remove the data directory and join the network as a new node")]
    ClusterFile(PathBuf),
    /// The data directory is part of a network already.
    #[error("the data directory is part of a network already ({0})")]
    InNetwork(PathBuf),
    /// The node was to be let in, and was not, or nobody knows.
    #[error(
        "this node has asked to join a network and was not let in yet; run `cryptomesh cluster join` again"
    )]
    NotYetJoined,
    /// A directory with data cannot take over a network's.
    #[error("{0} has data of its own, which joining a network would replace; choose a new --data-dir")]
    HasData(PathBuf),
    /// Nodes of a database server are no network of this kind.
    #[error(
        "`database.url` is set: nodes that share a database server are found and joined there; leave it out for a network"
    )]
    DatabaseServer,
    /// Nobody could reach a node there.
    #[error("`{0}` is no HOST:PORT under which other nodes could reach this one")]
    PeerAddress(String),
    /// A node of a network has to be reached.
    #[error("this node is part of a network and needs `listen.peers`, which is off")]
    NoPeersListener,
    /// The text is no invitation.
    #[error(transparent)]
    Invitation(cm_kernel::InvalidInvitation),
    /// The network does not let the node in.
    #[error(
        "the network refuses: the invitation is unknown, used by another node, or has ended; ask an administrator for a new one"
    )]
    NotInvited,
    /// None of the nodes that an invitation names has answered.
    #[error(
        "none of the nodes that the invitation names lets this one in now; see that they run and can be reached from here, that most of \
         the network's nodes run, and try again"
    )]
    NobodyAnswers(#[source] Option<cm_net::LinkError>),
    /// The node was told to stop while it was starting.
    #[error("told to stop while waiting for the network")]
    Stopped,
    /// The links between nodes.
    #[error("links")]
    Links(#[from] cm_net::LinkError),
    /// Two parts want to answer the same.
    #[error("links")]
    Kinds(#[from] cm_net::KindTaken),
    /// What is asked for needs the running nodes.
    #[error(
        "{0} is a node's of a network: its database is changed by the running nodes together; run the command there"
    )]
    NetworkRuns(PathBuf),
    /// A backup cannot be written or read.
    #[error("cannot use {path}")]
    Backup {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The log cannot be read.
    #[error("event log")]
    Events(#[from] cm_events::EventError),
    /// The anchor is not one.
    #[error("`{0}` is no head of a log; `cryptomesh audit head` prints one")]
    Anchor(String),
}

impl NodeError {
    /// What it means that the kernel did not open on this database.
    pub(crate) fn of_opening(error: KernelError, database: &Database, data_dir: &Path) -> NodeError {
        match (error, database) {
            (
                KernelError::Identity(IdentityError::NodeKeys(
                    NodeKeyError::Missing { expected, .. } | NodeKeyError::Mismatch { expected, .. },
                )),
                Database::Postgres(config),
            ) => NodeError::KeysOfCatalogue {
                database: config.to_string(),
                expected,
                keys: data_dir.join(KEYS_DIR),
            },
            (error, _) => error.into(),
        }
    }

    /// Whether the caller asked for something that makes no sense, rather than something having failed.
    pub fn is_usage(&self) -> bool {
        matches!(
            self,
            NodeError::Anchor(_)
                | NodeError::KeysOfCatalogue { .. }
                | NodeError::DatabaseServer
                | NodeError::PeerAddress(_)
                | NodeError::NoPeersListener
                | NodeError::NotYetJoined
                | NodeError::Invitation(_)
                | NodeError::Log(cm_runtime::logging::LogError::Level { .. })
        )
    }

    /// Whether there is something already that must not be lost.
    pub fn is_conflict(&self) -> bool {
        matches!(
            self,
            NodeError::Database(cm_db::DbError::NotEmpty { .. })
                | NodeError::InNetwork(_)
                | NodeError::HasData(_)
        )
    }

    /// Whether the server of the database cannot be reached.
    pub fn is_unreachable(&self) -> bool {
        match self {
            NodeError::NobodyAnswers(_) => true,
            NodeError::Database(error) | NodeError::Kernel(KernelError::Db(error)) => error.retryable(),
            _ => false,
        }
    }
}
