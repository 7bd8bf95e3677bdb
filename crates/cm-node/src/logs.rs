//! From log settings to a log.

use cm_runtime::logging::{LogConfig, LogFile, LogFormat, LogGuard, Rotation, init};

use crate::NodeError;
use crate::config::{Config, Rotation as RotationSetting};

/// Begins logging for the whole process. Hold the guard until the process ends.
pub fn start_logging(config: &Config) -> Result<LogGuard, NodeError> {
    let log = &config.log;
    let file = log.dir.as_ref().map(|dir| LogFile {
        dir: dir.clone(),
        rotation: match log.rotation {
            RotationSetting::Minutely => Rotation::Minutely,
            RotationSetting::Hourly => Rotation::Hourly,
            RotationSetting::Daily => Rotation::Daily,
        },
        error_file: log.error_file,
        files_kept: log.files_max,
    });
    let format = if log.json { LogFormat::Json } else { LogFormat::Text };
    Ok(init(&LogConfig { level: log.level.clone(), format, file })?)
}
