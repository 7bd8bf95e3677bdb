//! The composition root: from settings to a running node, and back down.
//!
//! It alone names implementations. [`Config`] is what the node is told; [`Node::start`] opens the kernel, then the guests,
//! then the faces, and [`Node::stop`] closes them in the opposite order.
//!
//! Reading order: [`config`], [`node`], [`data_dir`], [`mod@link_key`], [`cluster`], [`database`], [`offline`].

pub mod cluster;
pub mod config;
pub mod data_dir;
pub mod database;
pub mod environment;
pub mod error;
pub mod link_key;
mod listeners;
mod logs;
pub mod node;
pub mod offline;
mod platform;
mod process;

pub use cm_db::{BackupSummary, Versions};
pub use config::{Config, ConfigError, Overrides};
pub use error::NodeError;
pub use link_key::link_key;
pub use logs::start_logging;
pub use node::{Node, Stopped};
pub use offline::{VerifiedLog, reset_admin_token, verify_log};
pub use process::terminate;

/// The description of the native API as OpenAPI, in JSON.
pub fn openapi() -> String {
    cm_api::openapi_text()
}
