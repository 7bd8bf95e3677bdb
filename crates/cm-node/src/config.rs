//! What a node is told: defaults, then the file, then the environment, then `--set`, then flags.
//!
//! Two types, as everywhere in the product: [`ConfigToml`] is what may be written, every field optional and
//! unknown keys refused; [`Config`] is what the program uses, complete and validated.

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use cm_functions::AttestationConfig;
use cm_kernel::Database;
use cm_kernel::objects::{ColdTier, LifecyclePace};
use cm_kernel::storage::Domain;
use cm_runtime::logging::LogConfig;
use cm_types::ByteCount;

use crate::environment;

mod api;
mod attestation;
mod bytes;
mod database;
mod endpoints;
mod identity;
mod instances;
pub(crate) mod intel;
mod listen;
mod log;
mod mpc;
mod objects;
mod written;

pub use api::ApiSettings;
pub use endpoints::{ChoreographySettings, EndpointSettings};
pub use identity::{IdentitySettings, IdentityToml, PasskeySettings, PasskeysToml};
pub use instances::{DockerSettings, InstanceSettings, KubernetesSettings, LauncherSettings};
pub use listen::{InstancePorts, ListenSettings};
pub use mpc::{AnchorSettings, MpcSettings};
pub use written::{
    AnchorUrl, ApiToml, AttestationToml, ChoreographyToml, ConfigToml, DatabaseToml, DatabaseUrl, DockerToml,
    EndpointsToml, InstancesToml, IntelToml, KEYS, KubernetesToml, LimitsToml, ListenToml, LogToml,
    MictlanXToml, MpcToml, ObjectsToml, S3AppToml, S3Toml, ShutdownToml,
};

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

/// Longest name that the catalogue can hold, whatever is configured.
const NAME_CHARS_MAX: usize = 128;

/// Keys whose value is a list; without brackets it is written with commas.
const LISTS: &[&str] = &[
    "instances.require",
    "attestation.measurements",
    "attestation.tcb_statuses",
    "s3app.endpoints",
    "kubernetes.resources",
    "listen.trusted_proxies",
    "api.cors_origins",
    "identity.passkeys.origins",
    "mictlanx.endpoint_images",
    "mpc.peers",
    "intel.anchors",
    "intel.organisations",
];
/// Keys whose value is a text even where it looks like a number.
const TEXTS: &[&str] = &[
    "api.title",
    "api.version",
    "attestation.snp_tcb_min",
    // Digits with an `e` among them are a number to TOML.
    "identity.master_key",
    "mictlanx.peer_id",
    "mpc.name",
    "mpc.anchor_from",
    "mpc.anchor_to",
    "objects.cold_bucket",
    "objects.cold_region",
    "objects.cold_prefix",
    "objects.cold_access_key_id",
];

/// Complete and valid settings of a node.
#[derive(Clone, Debug)]
pub struct Config {
    /// Where everything durable lives.
    pub data_dir: PathBuf,
    /// Where the catalogue is kept.
    pub database: Database,
    /// Serve without authentication, on loopback only.
    pub open: bool,
    /// Where to listen.
    pub listen: ListenSettings,
    /// Proxies that are believed about who asks through them.
    pub proxies: cm_http::Proxies,
    /// How the native API presents itself.
    pub api: ApiSettings,
    /// How long to let work finish when told to stop.
    pub shutdown_deadline: Duration,
    /// What to log, and where.
    pub log: LogConfig,
    /// Confidential instances.
    pub instances: InstanceSettings,
    /// What the attestation service accepts.
    pub attestation: AttestationConfig,
    /// Deployed endpoints.
    pub endpoints: EndpointSettings,
    /// Who is told of choreographies.
    pub choreography: ChoreographySettings,
    /// S3 services from which the S3 app may copy, `HOST` or `HOST:PORT`; the node's own and any public one if there is none.
    pub s3_endpoints: Vec<String>,
    /// How MictlanX's clients are answered.
    pub mictlanx: MictlanXSettings,
    /// Who the node says it is.
    pub identity: IdentitySettings,
    /// Computations on secret shares.
    pub mpc: MpcSettings,
    /// Threat intelligence, all but the directory.
    pub intel: cm_intel::IntelConfig,
    /// How objects are kept.
    pub objects: cm_kernel::objects::Config,
    /// How many bytes of chunks the node offers when it first takes part in a storage network; without it, most of the room that is free then.
    pub object_capacity: Option<u64>,
    /// What the node fails together with in a storage network; without it, nothing.
    pub object_zone: Option<Domain>,
    /// How often the rules by which objects end are followed, and how long their days are.
    pub lifecycle: LifecyclePace,
    /// Where cold chunks go, if they go anywhere.
    pub cold_tier: Option<ColdTier>,
    /// The domain below which buckets of S3 are hosts.
    pub s3_domain: Option<cm_s3::Domain>,
    /// Bounds of what one catalogue entry may ask for.
    pub limits: ResourceLimits,
    /// Settings that were given and have no effect here, each with the reason.
    pub without_effect: WithoutEffect,
}

/// How MictlanX's clients are answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MictlanXSettings {
    /// What this node is called as a peer; its id unless told.
    pub peer_id: Option<String>,
    /// Whether other bytes under a key replace those that are there although the client did not ask for it.
    pub overwrite: bool,
    /// Names of images, without tags, whose containers are endpoints although no label says so.
    pub endpoint_images: Vec<String>,
}

fn mictlanx(
    MictlanXToml { peer_id, overwrite, endpoint_images }: MictlanXToml,
) -> Result<MictlanXSettings, ConfigError> {
    let is_id = |id: &String| cm_types::ResourceId::parse(id.as_str()).is_ok();
    match peer_id.as_ref().filter(|id| !is_id(id)) {
        Some(id) => Err(wrong("mictlanx.peer_id", format!("`{id}` is no id: letters, digits and -_.:@+"))),
        None => Ok(MictlanXSettings {
            peer_id,
            overwrite: overwrite.unwrap_or(false),
            endpoint_images: endpoint_images.unwrap_or_default(),
        }),
    }
}

fn object_zone(zone: String) -> Result<Domain, ConfigError> {
    Domain::parse(zone).map_err(|error| wrong("objects.zone", error.to_string()))
}

/// Hosts, perhaps with ports.
fn s3_endpoints(S3AppToml { endpoints }: S3AppToml) -> Result<Vec<String>, ConfigError> {
    let endpoints = endpoints.unwrap_or_default();
    match endpoints.iter().find(|named| named.is_empty() || named.contains(['/', ' ', '@'])) {
        Some(wrong_one) => {
            Err(wrong("s3app.endpoints", format!("`{wrong_one}` is neither HOST nor HOST:PORT")))
        }
        None => Ok(endpoints),
    }
}

/// Names of settings or variables that were given and have no effect, each with the reason.
pub type WithoutEffect = Vec<(String, &'static str)>;

/// Bounds of what one catalogue entry may ask for.
#[derive(Clone, Debug)]
pub struct ResourceLimits {
    /// CPU cores.
    pub cpu: std::ops::RangeInclusive<u32>,
    /// Memory, in bytes.
    pub ram: std::ops::RangeInclusive<u64>,
    /// Longest name of an entry, in characters.
    pub name_chars_max: usize,
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
    #[error("{path}:{line}:{column} is no TOML: {reason}")]
    Syntax {
        /// The file.
        path: PathBuf,
        /// The line, from 1.
        line: usize,
        /// The column in characters, from 1.
        column: usize,
        /// Why not. It does not show the line, which may hold a password.
        reason: String,
    },
    /// A key is unknown or its value has the wrong type.
    #[error("setting `{key}`: {problem}")]
    Key {
        /// The dotted key.
        key: String,
        /// What is wrong with it.
        problem: String,
    },
    /// `--set` without `=`. What it was given is not shown; it may be a secret.
    #[error("`--set` takes KEY=VALUE; there is no `=` in what it was given")]
    Set,
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
    /// `variables` are the process's environment variables; only those that begin with `CRYPTOMESH_`, and
    /// `SHIELDX_CLIENT_BASE_URL`, are looked at.
    pub fn gather(
        overrides: Overrides,
        variables: impl IntoIterator<Item = (String, String)>,
    ) -> Result<Config, ConfigError> {
        let mut table = match &overrides.file {
            Some(path) => read_file(path)?,
            None => toml::Table::new(),
        };
        let without_effect = environment::apply(&mut table, variables)?;
        for assignment in &overrides.set {
            let (key, value) = assignment.split_once('=').ok_or(ConfigError::Set)?;
            set(&mut table, key.trim(), parse_value(key.trim(), value))?;
        }
        let written: ConfigToml =
            serde_path_to_error::deserialize(toml::Value::Table(table)).map_err(|error| {
                match error.path().to_string().as_str() {
                    // The reason would show the value, which is meant as the address and may hold a password.
                    "database" => wrong("database", "is a section; the address is its `url`"),
                    // Neither may be shown, since each may be meant as the key.
                    "identity" => wrong("identity", "is a section"),
                    "identity.master_key" => wrong(
                        "identity.master_key",
                        "must be a text of 64 hexadecimal digits, or name a file with them",
                    ),
                    key => wrong(key, error.inner()),
                }
            })?;
        Config::validate(written, overrides, without_effect)
    }

    fn validate(
        written: ConfigToml,
        overrides: Overrides,
        without_effect: WithoutEffect,
    ) -> Result<Config, ConfigError> {
        // Destructured in full, so that the compiler demands a decision about each new key.
        let ConfigToml {
            data_dir,
            database,
            mut listen,
            api,
            shutdown,
            log,
            instances,
            docker,
            kubernetes,
            attestation,
            endpoints,
            choreography,
            s3app,
            objects,
            s3,
            mictlanx: mictlanx_toml,
            identity: identity_toml,
            mpc: mpc_toml,
            intel: intel_toml,
            limits,
        } = written;
        let ShutdownToml { deadline } = shutdown;
        let S3Toml { domain: s3_domain } = s3;
        let (log, unused) = log::settings(log)?;
        let config = Config {
            data_dir: overrides.data_dir.or(data_dir).unwrap_or_else(|| PathBuf::from(".cryptomesh")),
            database: database::settings(database)?,
            open: overrides.open,
            proxies: listen::proxies(listen.trusted_proxies.take())?,
            listen: listen::settings(listen)?,
            api: api::settings(api)?,
            shutdown_deadline: Duration::from_secs(deadline.unwrap_or(10)),
            log,
            instances: instances::settings(instances, docker, kubernetes)?,
            attestation: attestation::settings(attestation)?,
            endpoints: endpoints::settings(endpoints)?,
            choreography: endpoints::choreography(choreography)?,
            s3_endpoints: s3_endpoints(s3app)?,
            mictlanx: mictlanx(mictlanx_toml)?,
            identity: identity::settings(identity_toml)?,
            mpc: mpc::settings(mpc_toml)?,
            intel: intel::settings(intel_toml)?,
            objects: objects::kept(&objects)?,
            object_capacity: objects.capacity.as_ref().map(|capacity| capacity.bytes()),
            object_zone: objects.zone.clone().map(object_zone).transpose()?,
            lifecycle: objects::lifecycle(objects.lifecycle_every, objects.lifecycle_day)?,
            cold_tier: objects::cold_tier(objects)?,
            s3_domain: s3_domain.as_deref().map(objects::s3_domain).transpose()?,
            limits: resource_limits(limits)?,
            without_effect: without_effect.into_iter().chain(unused).collect(),
        };
        if config.open {
            config.listen.check_open()?;
        }
        if config.instances.launcher == LauncherSettings::Kubernetes
            && config.listen.instances.is_some_and(|ports| ports.first == 0)
        {
            return Err(wrong("listen.instances", "must be a range of ports, those of the Service"));
        }
        Ok(config)
    }
}

fn read_file(path: &Path) -> Result<toml::Table, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    toml::from_str(&text).map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let (line, last) = before.split('\n').enumerate().last().unwrap_or_default();
        let (line, column) = (line + 1, last.chars().count() + 1);
        ConfigError::Syntax { path: path.to_owned(), line, column, reason: error.message().to_owned() }
    })
}

/// Reads a value as TOML if it is some, and as plain text otherwise, so that `--set log.level=debug` needs
/// no quotes.
pub(crate) fn parse_value(key: &str, text: &str) -> toml::Value {
    let fits = |value: &toml::Value| match value {
        toml::Value::Datetime(_) | toml::Value::Table(_) => false,
        toml::Value::String(_) => true,
        _ => !TEXTS.contains(&key),
    };
    toml::from_str::<toml::Table>(&format!("value = {text}"))
        .ok()
        .and_then(|mut table| table.remove("value"))
        .filter(fits)
        .unwrap_or_else(|| toml::Value::String(text.to_owned()))
}

/// Sets a dotted key.
pub(crate) fn set(table: &mut toml::Table, key: &str, value: toml::Value) -> Result<(), ConfigError> {
    let value = match value {
        // A port alone is a number to TOML and an address to us.
        toml::Value::Integer(port) if key.starts_with("listen.") => toml::Value::String(port.to_string()),
        toml::Value::String(text) if LISTS.contains(&key) => {
            let items = text.split(',').map(str::trim).filter(|item| !item.is_empty());
            toml::Value::Array(items.map(|item| toml::Value::String(item.to_owned())).collect())
        }
        value => value,
    };
    let mut path: Vec<&str> = key.split('.').collect();
    let last = path.pop().unwrap_or_default();
    let mut inner = table;
    for section in path {
        inner = inner
            .entry(section.to_owned())
            .or_insert_with(|| toml::Value::Table(toml::Table::new()))
            .as_table_mut()
            .ok_or_else(|| wrong(section, "is a section, not a value"))?;
    }
    inner.insert(last.to_owned(), value);
    Ok(())
}

fn resource_limits(limits: LimitsToml) -> Result<ResourceLimits, ConfigError> {
    let LimitsToml { cpu_min, cpu_max, ram_min, ram_max, name_chars_max } = limits;
    let bytes = |count: Option<ByteCount>, default: u64| count.map_or(default, |count| count.bytes());
    let cpu = cpu_min.unwrap_or(1)..=cpu_max.unwrap_or(4);
    let ram = bytes(ram_min, 1_000_000)..=bytes(ram_max, 8_000_000_000);
    let name_chars_max = name_chars_max.unwrap_or(32);
    if !(1..=NAME_CHARS_MAX).contains(&name_chars_max) {
        return Err(wrong("limits.name_chars_max", format!("must be 1 to {NAME_CHARS_MAX}")));
    }
    if cpu.is_empty() {
        return Err(wrong("limits.cpu_max", "is less than `limits.cpu_min`"));
    }
    if ram.is_empty() {
        return Err(wrong("limits.ram_max", "is less than `limits.ram_min`"));
    }
    Ok(ResourceLimits { cpu, ram, name_chars_max })
}

#[cfg(test)]
mod tests;
