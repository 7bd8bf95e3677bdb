//! What a node is told: defaults, then the file, then the environment, then `--set`, then flags.
//!
//! Two types, as everywhere in the product: [`ConfigToml`] is what may be written, every field optional and
//! unknown keys refused; [`Config`] is what the program uses, complete and validated.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::time::Duration;

use cm_types::ByteCount;

use crate::environment;

mod written;

pub use written::{ConfigToml, InstancesToml, LimitsToml, ListenToml, LogToml, ObjectsToml, ShutdownToml};

/// The isolation layers of an instance's process, as `cryptomesh instance` reports them.
pub const LAYERS: &[&str] = &[
    "user-namespace",
    "mount-namespace",
    "pid-namespace",
    "network-namespace",
    "ipc-namespace",
    "uts-namespace",
    "closed-descriptors",
    "empty-environment",
    "empty-root",
    "no-new-privileges",
    "landlock",
    "resource-limits",
    "no-capabilities",
    "not-dumpable",
    "seccomp",
];

/// Listeners of subsystems that this build does not have.
const ABSENT_LISTENERS: &[&str] = &[
    "console",
    "s3",
    "router",
    "xolo",
    "summoner",
    "vaas",
    "ccfaas",
    "s3app",
    "attestation",
    "mpc",
    "mpc-peers",
    "intel",
    "intel-discovery",
    "peers",
];

/// Complete and valid settings of a node.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything durable lives.
    pub data_dir: PathBuf,
    /// Serve without authentication, on loopback only.
    pub open: bool,
    /// The native API; `None` when switched off.
    pub api: Option<SocketAddr>,
    /// Where confidential instances listen; `None` when there are none.
    pub instance_ports: Option<InstancePorts>,
    /// How long to let work finish when told to stop.
    pub shutdown_deadline: Duration,
    /// What to log, and where.
    pub log: LogSettings,
    /// Confidential instances.
    pub instances: InstanceSettings,
    /// Largest object, in bytes.
    pub object_size_max: u64,
    /// Bounds of the resources that one catalogue entry may ask for.
    pub limits: ResourceLimits,
    /// Settings that were given and have no effect here, each with the reason.
    pub without_effect: Vec<(String, &'static str)>,
}

/// The addresses from which instances get their ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InstancePorts {
    /// The address to bind.
    pub address: IpAddr,
    /// The first port; 0 lets the system choose.
    pub first: u16,
    /// The last port, inclusive.
    pub last: u16,
}

/// Where log lines go.
#[derive(Clone, Debug)]
pub struct LogSettings {
    /// The filter.
    pub level: String,
    /// One JSON object a line instead of text.
    pub json: bool,
    /// The folder of log files, if any are written.
    pub dir: Option<PathBuf>,
    /// Whether errors also go to a file of their own.
    pub error_file: bool,
    /// The unit after which a new file begins.
    pub rotation: Rotation,
    /// How many log files are kept.
    pub files_max: usize,
}

/// When a new log file begins.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rotation {
    /// Every minute.
    Minutely,
    /// Every hour.
    Hourly,
    /// Every day.
    Daily,
}

/// Limits of confidential instances.
#[derive(Clone, Debug)]
pub struct InstanceSettings {
    /// Isolation layers without which no instance may start.
    pub require: Vec<String>,
    /// Most instances at a time.
    pub max: usize,
    /// Within what time an instance must be ready.
    pub start_timeout: Duration,
    /// How long one run may take.
    pub run_timeout: Duration,
    /// Memory of one program, in bytes, where its policy names none.
    pub memory: u64,
    /// Most bytes that one instance's files may hold.
    pub storage: u64,
    /// Most bytes that compiled modules may take on disk.
    pub module_cache: u64,
}

/// Bounds of the resources that one catalogue entry may ask for.
#[derive(Clone, Debug)]
pub struct ResourceLimits {
    /// CPU cores.
    pub cpu: std::ops::RangeInclusive<u32>,
    /// Memory, in bytes.
    pub ram: std::ops::RangeInclusive<u64>,
}

/// Flags of `cryptomesh up` that overrule everything else.
#[derive(Clone, Debug, Default)]
pub struct Overrides {
    /// `--data-dir`.
    pub data_dir: Option<PathBuf>,
    /// `--config`.
    pub file: Option<PathBuf>,
    /// `--set KEY=VALUE`, in order.
    pub set: Vec<String>,
    /// `--open`.
    pub open: bool,
}

/// Why settings were refused. Every message says which setting and what would be accepted.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// The file cannot be read.
    #[error("cannot read {path}")]
    Read {
        /// The file.
        path: PathBuf,
        /// Why not.
        source: std::io::Error,
    },
    /// The file is not TOML.
    #[error("{path} is no TOML")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// Where and why, with line and column.
        source: toml::de::Error,
    },
    /// A key is unknown or its value has the wrong type.
    #[error("setting `{key}`: {problem}")]
    Key {
        /// The dotted key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// `--set` without `=`.
    #[error("`--set {0}` must be KEY=VALUE")]
    Set(String),
    /// An environment variable beginning with `CRYPTOMESH_` that nothing knows.
    #[error("unknown environment variable `{0}`; `cryptomesh up --help` says what is known")]
    UnknownVariable(String),
    /// `--open` together with a listener that others can reach.
    #[error(
        "open mode serves without authentication and refuses `listen.{listener}` = {address}, which is not loopback"
    )]
    OpenBeyondLoopback {
        /// The listener.
        listener: &'static str,
        /// Its address.
        address: IpAddr,
    },
}

fn wrong(key: &str, problem: impl std::fmt::Display) -> ConfigError {
    ConfigError::Key { key: key.to_owned(), problem: problem.to_string() }
}

impl Config {
    /// Gathers all sources in their order of precedence and validates the outcome.
    ///
    /// `variables` are the process's environment variables; only those that begin with `CRYPTOMESH_` are
    /// looked at.
    pub fn gather(
        overrides: Overrides,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let mut table = match &overrides.file {
            Some(path) => read_file(path)?,
            None => toml::Table::new(),
        };
        let mut without_effect = environment::apply(&mut table, variables)?;
        for assignment in &overrides.set {
            let (key, value) =
                assignment.split_once('=').ok_or_else(|| ConfigError::Set(assignment.clone()))?;
            set(&mut table, key.trim(), parse_value(value))?;
        }
        without_effect.extend(absent_listeners(&mut table));
        let written: ConfigToml = serde_path_to_error::deserialize(toml::Value::Table(table))
            .map_err(|error| wrong(&error.path().to_string(), error.inner()))?;
        Config::validate(written, overrides, without_effect)
    }

    fn validate(
        written: ConfigToml,
        overrides: Overrides,
        without_effect: Vec<(String, &'static str)>,
    ) -> Result<Config, ConfigError> {
        // Destructured in full, so that the compiler demands a decision about each new key.
        let ConfigToml { data_dir, listen, shutdown, log, instances, objects, limits } = written;
        let ListenToml { api, instances: instance_ports } = listen;
        let ShutdownToml { deadline } = shutdown;
        let ObjectsToml { size_max } = objects;
        let mut without_effect = without_effect;
        let file_settings =
            [("log.dir", log.dir.is_some()), ("log.error_file", log.error_file == Some(true))];
        for (key, _) in file_settings.into_iter().filter(|(_, given)| *given && log.to_file != Some(true)) {
            without_effect.push((key.to_owned(), "log.to_file is not on"));
        }
        let config = Config {
            data_dir: overrides.data_dir.or(data_dir).unwrap_or_else(|| PathBuf::from(".cryptomesh")),
            open: overrides.open,
            api: listener("listen.api", api.as_deref(), 19000)?,
            instance_ports: port_range(instance_ports.as_deref())?,
            shutdown_deadline: Duration::from_secs(deadline.unwrap_or(10)),
            log: log_settings(log)?,
            instances: instance_settings(instances)?,
            object_size_max: size_max.map_or(5 << 40, |size| size.bytes()),
            limits: resource_limits(limits)?,
            without_effect,
        };
        config.check_open()?;
        Ok(config)
    }

    fn check_open(&self) -> Result<(), ConfigError> {
        let listeners = [
            ("api", self.api.map(|api| api.ip())),
            ("instances", self.instance_ports.map(|ports| ports.address)),
        ];
        for (listener, address) in listeners {
            if let Some(address) = address.filter(|address| self.open && !address.is_loopback()) {
                return Err(ConfigError::OpenBeyondLoopback { listener, address });
            }
        }
        Ok(())
    }
}

/// Takes out the settings of listeners whose subsystem this build does not have. They are no mistake: the same file may
/// serve other builds.
fn absent_listeners(table: &mut toml::Table) -> Vec<(String, &'static str)> {
    let Some(listen) = table.get_mut("listen").and_then(toml::Value::as_table_mut) else { return Vec::new() };
    let given = ABSENT_LISTENERS.iter().filter_map(|name| Some((*name, listen.remove(*name)?)));
    let switched_on = given.filter(|(_, value)| value.as_str() != Some("off"));
    switched_on.map(|(name, _)| (format!("listen.{name}"), "this build has no such subsystem")).collect()
}

fn read_file(path: &Path) -> Result<toml::Table, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|source| ConfigError::Syntax { path: path.to_owned(), source })
}

/// Reads a value as TOML if it is some, and as plain text otherwise, so that `--set log.level=debug` needs
/// no quotes.
fn parse_value(text: &str) -> toml::Value {
    toml::from_str::<toml::Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .filter(|value| !matches!(value, toml::Value::Datetime(_) | toml::Value::Table(_)))
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

/// Sets a dotted key.
pub(crate) fn set(table: &mut toml::Table, key: &str, value: toml::Value) -> Result<(), ConfigError> {
    match key.split_once('.') {
        None => {
            table.insert(key.to_owned(), value);
            Ok(())
        }
        Some((section, rest)) => {
            let inner = table
                .entry(section.to_owned())
                .or_insert_with(|| toml::Value::Table(toml::Table::new()))
                .as_table_mut()
                .ok_or_else(|| wrong(section, "is a section, not a value"))?;
            let value = match value {
                // A port alone is a number to TOML and an address to us.
                toml::Value::Integer(port) if section == "listen" => toml::Value::String(port.to_string()),
                // A list is written with commas where there are no brackets.
                toml::Value::String(text) if section == "instances" && rest == "require" => {
                    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
                    toml::Value::Array(names.map(|name| toml::Value::String(name.to_owned())).collect())
                }
                value => value,
            };
            set(inner, rest, value)
        }
    }
}

fn listener(key: &str, text: Option<&str>, port: u16) -> Result<Option<SocketAddr>, ConfigError> {
    let loopback = IpAddr::V4(Ipv4Addr::LOCALHOST);
    let Some(text) = text else { return Ok(Some(SocketAddr::new(loopback, port))) };
    if text == "off" {
        return Ok(None);
    }
    if let Ok(port) = text.parse::<u16>() {
        return Ok(Some(SocketAddr::new(loopback, port)));
    }
    text.parse().map(Some).map_err(|_| wrong(key, format!("`{text}` is no ADDRESS:PORT, PORT or `off`")))
}

fn port_range(text: Option<&str>) -> Result<Option<InstancePorts>, ConfigError> {
    let text = text.unwrap_or("127.0.0.1:3014-3213");
    if text == "off" {
        return Ok(None);
    }
    let refused = || {
        wrong(
            "listen.instances",
            format!("`{text}` is no ADDRESS:FIRST-LAST, FIRST-LAST, ADDRESS:0 or `off`"),
        )
    };
    let (address, ports) = text.rsplit_once(':').unwrap_or(("127.0.0.1", text));
    let address = address.trim_matches(['[', ']']).parse().map_err(|_| refused())?;
    let (first, last) = ports.split_once('-').unwrap_or((ports, ports));
    let first: u16 = first.parse().map_err(|_| refused())?;
    let last: u16 = last.parse().map_err(|_| refused())?;
    if last < first || (first == 0 && last != 0) {
        return Err(refused());
    }
    Ok(Some(InstancePorts { address, first, last }))
}

fn log_settings(log: LogToml) -> Result<LogSettings, ConfigError> {
    let LogToml { level, format, to_file, dir, error_file, rotation_when, files_kept } = log;
    let json = match format.as_deref() {
        None | Some("text") => false,
        Some("json") => true,
        Some(other) => return Err(wrong("log.format", format!("`{other}` is neither `text` nor `json`"))),
    };
    let rotation = match rotation_when.as_deref() {
        None | Some("h") => Rotation::Hourly,
        Some("m") => Rotation::Minutely,
        Some("d") => Rotation::Daily,
        Some(other) => return Err(wrong("log.rotation_when", format!("`{other}` is none of `m`, `h`, `d`"))),
    };
    Ok(LogSettings {
        level: log_filter(level.as_deref().unwrap_or("info"))?,
        json,
        dir: to_file.unwrap_or(false).then(|| dir.unwrap_or_else(|| PathBuf::from("./logs"))),
        error_file: error_file.unwrap_or(false),
        rotation,
        files_max: files_kept.unwrap_or(10).max(1),
    })
}

/// A filter for the log. A single word must be a level; the earlier implementation's names of levels are understood.
fn log_filter(text: &str) -> Result<String, ConfigError> {
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
            return Err(wrong(
                "log.level",
                format!("`{text}` is none of trace, debug, info, warn, error, off"),
            ));
        }
    };
    Ok(level.to_owned())
}

fn instance_settings(instances: InstancesToml) -> Result<InstanceSettings, ConfigError> {
    let InstancesToml { require, max, start_timeout, run_timeout, memory, storage, module_cache } = instances;
    let bytes = |count: Option<ByteCount>, default: u64| count.map_or(default, |count| count.bytes());
    let require = require.unwrap_or_default();
    if let Some(unknown) = require.iter().find(|name| !LAYERS.contains(&name.as_str())) {
        let problem = format!("`{unknown}` is no isolation layer, expected some of {}", LAYERS.join(", "));
        return Err(wrong("instances.require", problem));
    }
    if max == Some(0) {
        return Err(wrong("instances.max", "must be at least 1; `listen.instances=off` allows none"));
    }
    Ok(InstanceSettings {
        require,
        max: max.unwrap_or(64),
        start_timeout: Duration::from_secs(start_timeout.unwrap_or(30)),
        run_timeout: Duration::from_secs(run_timeout.unwrap_or(300)),
        memory: bytes(memory, 256 << 20),
        storage: bytes(storage, 1 << 30),
        module_cache: bytes(module_cache, 1 << 30),
    })
}

fn resource_limits(limits: LimitsToml) -> Result<ResourceLimits, ConfigError> {
    let LimitsToml { cpu_min, cpu_max, ram_min, ram_max } = limits;
    let cpu = cpu_min.unwrap_or(1)..=cpu_max.unwrap_or(4);
    let ram =
        ram_min.map_or(1_000_000_000, |ram| ram.bytes())..=ram_max.map_or(8_000_000_000, |ram| ram.bytes());
    if cpu.is_empty() {
        return Err(wrong("limits.cpu_max", "is less than `limits.cpu_min`"));
    }
    if ram.is_empty() {
        return Err(wrong("limits.ram_max", "is less than `limits.ram_min`"));
    }
    Ok(ResourceLimits { cpu, ram })
}

#[cfg(test)]
mod tests;
