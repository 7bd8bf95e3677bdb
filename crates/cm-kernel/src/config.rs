//! What the kernel is told when it is opened.

use std::path::PathBuf;

use cm_catalog::{Integrity, Limits};
use cm_db::{Db, PostgresConfig};

/// Where the catalogue, the identities and the log are kept.
#[derive(Clone, Debug, Default)]
pub enum Database {
    /// In a file of the data directory, for one node.
    #[default]
    InDataDir,
    /// In a PostgreSQL database, which several nodes may share. They share the keys, too.
    Postgres(Box<PostgresConfig>),
    /// One that the caller has opened with [`crate::schema`]: nodes that agree by themselves need links before they can.
    Opened(Db),
}

/// Settings of the kernel. The node fills them from its own.
#[derive(Clone, Debug)]
pub struct KernelConfig {
    /// Where everything durable lives. It exists and belongs to nobody else: the caller holds it.
    pub data_dir: PathBuf,
    /// Bounds of what one catalogue entry may ask for.
    pub limits: Limits,
    /// How strictly catalogue entries are held together: not at all on a node in open mode.
    pub integrity: Integrity,
    /// How objects are kept.
    pub objects: cm_objects::Config,
    /// What people call the node; evidence carries it, and nobody relies on it.
    pub node_name: String,
}
