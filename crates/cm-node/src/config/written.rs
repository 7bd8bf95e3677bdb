//! What a configuration file may say: every key optional, unknown keys refused.

use std::path::PathBuf;

use cm_types::ByteCount;
use serde::Deserialize;

/// What a configuration file may say. All keys are optional.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigToml {
    /// Where everything durable lives.
    pub data_dir: Option<PathBuf>,
    /// Addresses to listen on.
    pub listen: ListenToml,
    /// How to stop.
    pub shutdown: ShutdownToml,
    /// What to log, and where.
    pub log: LogToml,
    /// Confidential instances.
    pub instances: InstancesToml,
    /// Stored objects.
    pub objects: ObjectsToml,
    /// Bounds of the resources that one catalogue entry may ask for.
    pub limits: LimitsToml,
}

/// `[listen]`: an address, a port alone, or `off`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenToml {
    /// The native API.
    pub api: Option<String>,
    /// The ports of confidential instances: `ADDRESS:FIRST-LAST`, `ADDRESS:0` for free ones, or `off`.
    pub instances: Option<String>,
}

/// `[shutdown]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ShutdownToml {
    /// Seconds to let work finish in.
    pub deadline: Option<u64>,
}

/// `[log]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LogToml {
    /// A filter such as `info` or `cm_api=debug,info`.
    pub level: Option<String>,
    /// `text` or `json`.
    pub format: Option<String>,
    /// Whether to write log files besides standard error.
    pub to_file: Option<bool>,
    /// The folder of log files.
    pub dir: Option<PathBuf>,
    /// Whether errors also go to a file of their own.
    pub error_file: Option<bool>,
    /// `m`, `h` or `d`: the unit after which a new file begins.
    pub rotation_when: Option<String>,
    /// How many log files are kept.
    pub files_kept: Option<usize>,
}

/// `[instances]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct InstancesToml {
    /// Isolation layers without which no instance may start, by name.
    pub require: Option<Vec<String>>,
    /// Most instances at a time.
    pub max: Option<usize>,
    /// Seconds within which an instance must be ready.
    pub start_timeout: Option<u64>,
    /// Seconds that one run may take.
    pub run_timeout: Option<u64>,
    /// Memory of one program, where its policy names none.
    pub memory: Option<ByteCount>,
    /// Most bytes that one instance's files may hold.
    pub storage: Option<ByteCount>,
    /// Most bytes that compiled modules may take on disk.
    pub module_cache: Option<ByteCount>,
}

/// `[objects]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ObjectsToml {
    /// Largest object.
    pub size_max: Option<ByteCount>,
}

/// `[limits]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct LimitsToml {
    /// Fewest CPU cores.
    pub cpu_min: Option<u32>,
    /// Most CPU cores.
    pub cpu_max: Option<u32>,
    /// Least memory.
    pub ram_min: Option<ByteCount>,
    /// Most memory.
    pub ram_max: Option<ByteCount>,
}
