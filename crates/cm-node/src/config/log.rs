//! What to log, and where.

use std::num::NonZeroU32;
use std::path::PathBuf;

use cm_runtime::logging::{LogConfig, LogFile, LogFormat, Rotation, RotationUnit};

use super::{ConfigError, LogToml, WithoutEffect, wrong};

/// The adapter of S3 logs every refusal as an error, and what signatures should have been. What devices say that is wrong is logged as an
/// error by the library of passkeys; here it is an event.
const MUTED: &[&str] = &["s3s", "webauthn_rs", "webauthn_rs_core"];

/// The earlier implementation's folder.
const DIR: &str = "./logs";
/// A new file begins every ten hours, as in the earlier implementation.
const ROTATION_UNIT: RotationUnit = RotationUnit::Hour;
const ROTATION_INTERVAL: u32 = 10;
/// A period of weeks is then less than two hundred years.
const ROTATION_INTERVAL_MAX: u32 = 10_000;
const FILES_KEPT: usize = 10;
const FILES_KEPT_MAX: usize = 10_000;

/// The settings, and those given ones that have no effect with the reason.
pub(super) fn settings(log: LogToml) -> Result<(LogConfig, WithoutEffect), ConfigError> {
    let LogToml { level, format, to_file, dir, error_file, rotation_when, rotation_interval, files_kept } =
        log;
    let format = match format.as_deref() {
        None | Some("text") => LogFormat::Text,
        Some("json") => LogFormat::Json,
        Some(other) => return Err(wrong("log.format", format!("`{other}` is neither `text` nor `json`"))),
    };
    let given = [
        ("log.dir", dir.is_some()),
        ("log.rotation_when", rotation_when.is_some()),
        ("log.rotation_interval", rotation_interval.is_some()),
        ("log.files_kept", files_kept.is_some()),
    ];
    let file = LogFile {
        dir: dir.unwrap_or_else(|| PathBuf::from(DIR)),
        rotation: rotation(rotation_when.as_deref(), rotation_interval.unwrap_or(ROTATION_INTERVAL))?,
        all: to_file.unwrap_or(false),
        errors: error_file.unwrap_or(false),
        files_kept: files_kept.unwrap_or(FILES_KEPT),
    };
    if !(1..=FILES_KEPT_MAX).contains(&file.files_kept) {
        return Err(wrong("log.files_kept", format!("must be 1 to {FILES_KEPT_MAX}")));
    }
    let file = Some(file).filter(|file| file.all || file.errors);
    let mut without_effect = Vec::new();
    if file.is_none() {
        let given = given.into_iter().filter(|(_, given)| *given).map(|(key, _)| key.to_owned());
        without_effect.extend(given.map(|key| (key, "neither log.to_file nor log.error_file is on")));
    }
    let level = filter(level.as_deref().unwrap_or("info"))?;
    Ok((LogConfig { level, muted: MUTED, format, file }, without_effect))
}

fn rotation(unit: Option<&str>, interval: u32) -> Result<Rotation, ConfigError> {
    let unit = match unit {
        Some(text) => text.parse().map_err(|error| wrong("log.rotation_when", error))?,
        None => ROTATION_UNIT,
    };
    let interval = NonZeroU32::new(interval).filter(|interval| interval.get() <= ROTATION_INTERVAL_MAX);
    let problem = || wrong("log.rotation_interval", format!("must be 1 to {ROTATION_INTERVAL_MAX}"));
    Ok(Rotation { unit, interval: interval.ok_or_else(problem)? })
}

/// A filter for the log. A single word must be a level; Python's names of levels are understood.
fn filter(text: &str) -> Result<String, ConfigError> {
    if text.contains(['=', ',', '[']) {
        return Ok(text.to_owned());
    }
    let level = match text.trim().to_ascii_lowercase().as_str() {
        "trace" => "trace",
        "debug" => "debug",
        "info" => "info",
        "warn" | "warning" => "warn",
        "error" | "critical" | "fatal" => "error",
        "off" => "off",
        _ => {
            let problem = format!(
                "`{text}` is none of TRACE, DEBUG, INFO, WARNING, ERROR, CRITICAL, OFF, and no filter such as \
                 `info,cm_api=debug`"
            );
            return Err(wrong("log.level", problem));
        }
    };
    Ok(level.to_owned())
}
