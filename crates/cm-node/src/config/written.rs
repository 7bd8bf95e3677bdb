//! What a configuration file may say: every key optional, unknown keys refused.

use std::path::PathBuf;

use cm_types::ByteCount;
use serde::Deserialize;

/// Every key that a configuration file may hold, in the order in which people want to read about them.
pub const KEYS: &[&str] = &[
    "data_dir",
    "database.url",
    "database.root_certificate",
    "listen.api",
    "listen.s3",
    "listen.vaas",
    "listen.ccfaas",
    "listen.s3app",
    "listen.attestation",
    "listen.instances",
    "api.title",
    "api.prefix",
    "api.version",
    "api.cors_origins",
    "limits.cpu_min",
    "limits.cpu_max",
    "limits.ram_min",
    "limits.ram_max",
    "limits.name_chars_max",
    "endpoints.deployed_max",
    "endpoints.cpu_max",
    "endpoints.ram_max",
    "endpoints.start_timeout",
    "endpoints.drain_timeout",
    "endpoints.req_res_base_port",
    "endpoints.pubsub_base_port",
    "choreography.shieldx_url",
    "instances.require",
    "instances.max",
    "instances.start_timeout",
    "instances.run_timeout",
    "instances.memory",
    "instances.storage",
    "instances.module_cache",
    "instances.pool",
    "objects.size_max",
    "log.level",
    "log.format",
    "log.to_file",
    "log.error_file",
    "log.dir",
    "log.rotation_when",
    "log.rotation_interval",
    "log.files_kept",
    "shutdown.deadline",
];

/// What a configuration file may say. All keys are optional.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ConfigToml {
    /// Where everything durable lives.
    pub data_dir: Option<PathBuf>,
    /// Where the catalogue is kept.
    pub database: DatabaseToml,
    /// Addresses to listen on.
    pub listen: ListenToml,
    /// How the native API presents itself.
    pub api: ApiToml,
    /// How to stop.
    pub shutdown: ShutdownToml,
    /// What to log, and where.
    pub log: LogToml,
    /// Confidential instances.
    pub instances: InstancesToml,
    /// Deployed endpoints.
    pub endpoints: EndpointsToml,
    /// Who is told of choreographies.
    pub choreography: ChoreographyToml,
    /// Stored objects.
    pub objects: ObjectsToml,
    /// Bounds of what one catalogue entry may ask for.
    pub limits: LimitsToml,
}

/// `[database]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DatabaseToml {
    /// The address of a PostgreSQL database; without one the catalogue is a file of the data directory.
    pub url: Option<DatabaseUrl>,
    /// What the server's certificate must descend from, in PEM.
    pub root_certificate: Option<PathBuf>,
}

/// The address of a database. It may carry a password, hence is not shown.
#[derive(Deserialize)]
#[serde(transparent)]
pub struct DatabaseUrl(pub String);

impl std::fmt::Debug for DatabaseUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DatabaseUrl(..)")
    }
}

/// `[listen]`: an address, a port alone, or `off`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ListenToml {
    /// The native API.
    pub api: Option<String>,
    /// S3.
    pub s3: Option<String>,
    /// VaaS.
    pub vaas: Option<String>,
    /// CCFaaS.
    pub ccfaas: Option<String>,
    /// The S3 app.
    pub s3app: Option<String>,
    /// The attestation service.
    pub attestation: Option<String>,
    /// The ports of confidential instances: `ADDRESS:FIRST-LAST`, `ADDRESS:0` for free ones, or `off`.
    pub instances: Option<String>,
}

/// `[api]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ApiToml {
    /// The title in its description.
    pub title: Option<String>,
    /// What its paths begin with.
    pub prefix: Option<String>,
    /// The version in its description.
    pub version: Option<String>,
    /// Origins whose pages may call it.
    pub cors_origins: Option<Vec<String>>,
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
    /// Whether to write all lines to a file besides standard error.
    pub to_file: Option<bool>,
    /// The folder of log files.
    pub dir: Option<PathBuf>,
    /// Whether to write errors to a file of their own.
    pub error_file: Option<bool>,
    /// `s`, `m`, `h`, `d` or `midnight`, `w0` to `w6`: the unit of `rotation_interval`.
    pub rotation_when: Option<String>,
    /// After how many units a new file begins.
    pub rotation_interval: Option<u32>,
    /// How many rotated files are kept of each log.
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
    /// Processes that wait to become an instance.
    pub pool: Option<usize>,
}

/// `[endpoints]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct EndpointsToml {
    /// Most endpoints of one tenant deployed at a time.
    pub deployed_max: Option<u32>,
    /// Most CPU cores of one tenant's deployed endpoints.
    pub cpu_max: Option<u32>,
    /// Most memory of one tenant's deployed endpoints.
    pub ram_max: Option<ByteCount>,
    /// Seconds within which a deployed endpoint must serve.
    pub start_timeout: Option<u64>,
    /// Seconds for a detached endpoint to finish what is open.
    pub drain_timeout: Option<u64>,
    /// The first port for requests and responses.
    pub req_res_base_port: Option<u16>,
    /// The first port for published messages.
    pub pubsub_base_port: Option<u16>,
}

/// `[choreography]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct ChoreographyToml {
    /// The base URL of ShieldX.
    pub shieldx_url: Option<String>,
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
    /// Longest name, in characters.
    pub name_chars_max: Option<usize>,
}
