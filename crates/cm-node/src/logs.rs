//! From log settings to a log.

use cm_runtime::logging::{LogGuard, init};

use crate::NodeError;
use crate::config::Config;

/// Begins logging for the whole process. Hold the guard until the process ends.
pub fn start_logging(config: &Config) -> Result<LogGuard, NodeError> {
    Ok(init(&config.log)?)
}
