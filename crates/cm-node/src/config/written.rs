//! What a configuration file may say: every key optional, unknown keys refused.

use std::path::PathBuf;

use cm_types::ByteCount;
use serde::Deserialize;

use super::identity::IdentityToml;

/// Every key that a configuration file may hold, in the order in which people want to read about them.
pub const KEYS: &[&str] = &[
    "data_dir",
    "database.url",
    "database.root_certificate",
    "listen.api",
    "listen.console",
    "listen.s3",
    "listen.router",
    "listen.mictlanx_peer",
    "listen.summoner",
    "listen.vaas",
    "listen.ccfaas",
    "listen.s3app",
    "listen.attestation",
    "listen.xolo",
    "listen.peers",
    "listen.mpc",
    "listen.mpc_peers",
    "listen.intel",
    "listen.intel_discovery",
    "listen.instances",
    "listen.trusted_proxies",
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
    "instances.launcher",
    "instances.image",
    "instances.host",
    "instances.control_port",
    "docker.socket",
    "docker.network",
    "kubernetes.kubeconfig",
    "kubernetes.namespace",
    "kubernetes.service",
    "kubernetes.cpu",
    "kubernetes.resources",
    "kubernetes.hugepages",
    "kubernetes.owner",
    "attestation.allow_insecure",
    "attestation.measurements",
    "attestation.tcb_statuses",
    "attestation.snp_tcb_min",
    "attestation.challenge_lifetime",
    "s3app.endpoints",
    "objects.size_max",
    "objects.inline_max",
    "objects.capacity",
    "objects.zone",
    "objects.lifecycle_every",
    "objects.lifecycle_day",
    "objects.cold_endpoint",
    "objects.cold_bucket",
    "objects.cold_region",
    "objects.cold_prefix",
    "objects.cold_access_key_id",
    "objects.cold_secret_access_key",
    "objects.cold_look_every",
    "objects.cold_bytes_per_second",
    "s3.domain",
    "mictlanx.peer_id",
    "mictlanx.overwrite",
    "mictlanx.endpoint_images",
    "identity.issuer",
    "identity.master_key",
    "identity.trust_domain",
    "identity.passkeys.origins",
    "identity.passkeys.rp_id",
    "mpc.name",
    "mpc.peers",
    "mpc.nodes",
    "mpc.run_within",
    "mpc.patience",
    "mpc.runs_max",
    "mpc.anchor_file",
    "mpc.anchor_url",
    "mpc.anchor_from",
    "mpc.anchor_to",
    "intel.mode",
    "intel.legacy",
    "intel.anchors",
    "intel.organisations",
    "intel.probation_hours",
    "intel.new_key_rate",
    "intel.known_key_rate",
    "intel.events_max",
    "intel.indicator_days",
    "intel.own_events",
    "intel.measure_effect",
    "intel.measure_confidence",
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
    /// Instances as containers.
    pub docker: DockerToml,
    /// Instances as pods.
    pub kubernetes: KubernetesToml,
    /// What the attestation service accepts.
    pub attestation: AttestationToml,
    /// Deployed endpoints.
    pub endpoints: EndpointsToml,
    /// Who is told of choreographies.
    pub choreography: ChoreographyToml,
    /// The S3 app.
    pub s3app: S3AppToml,
    /// Stored objects.
    pub objects: ObjectsToml,
    /// How S3 is spoken.
    pub s3: S3Toml,
    /// MictlanX.
    pub mictlanx: MictlanXToml,
    /// Who the node says it is.
    pub identity: IdentityToml,
    /// Computations on secret shares.
    pub mpc: MpcToml,
    /// Threat intelligence.
    pub intel: IntelToml,
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
    /// The web console.
    pub console: Option<String>,
    /// S3.
    pub s3: Option<String>,
    /// MictlanX's router.
    pub router: Option<String>,
    /// MictlanX's peer.
    pub mictlanx_peer: Option<String>,
    /// MictlanX's Summoner.
    pub summoner: Option<String>,
    /// VaaS.
    pub vaas: Option<String>,
    /// CCFaaS.
    pub ccfaas: Option<String>,
    /// The S3 app.
    pub s3app: Option<String>,
    /// The attestation service.
    pub attestation: Option<String>,
    /// Xolo.
    pub xolo: Option<String>,
    /// The links of a network's nodes.
    pub peers: Option<String>,
    /// The ports of confidential instances: `ADDRESS:FIRST-LAST`, `ADDRESS:0` for free ones, or `off`.
    pub instances: Option<String>,
    /// Proxies that are believed about who asks through them.
    pub trusted_proxies: Option<Vec<String>>,
    /// Clients of the earlier system of computations.
    pub mpc: Option<String>,
    /// Other parties of computations.
    #[serde(alias = "mpc-peers")]
    pub mpc_peers: Option<String>,
    /// Peers with which reports of threats are shared.
    pub intel: Option<String>,
    /// Datagrams by which such peers find each other.
    #[serde(alias = "intel-discovery")]
    pub intel_discovery: Option<String>,
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
    #[serde(deserialize_with = "super::bytes::read")]
    pub memory: Option<ByteCount>,
    /// Most bytes that one instance's files may hold.
    #[serde(deserialize_with = "super::bytes::read")]
    pub storage: Option<ByteCount>,
    /// Most bytes that compiled modules may take on disk.
    #[serde(deserialize_with = "super::bytes::read")]
    pub module_cache: Option<ByteCount>,
    /// Processes that wait to become an instance.
    pub pool: Option<usize>,
    /// `process`, `docker` or `kubernetes`.
    pub launcher: Option<String>,
    /// The image of containers and pods.
    pub image: Option<String>,
    /// The host name or address under which clients reach instances.
    pub host: Option<String>,
    /// Where the agents in containers and pods take their node's connection.
    pub control_port: Option<u16>,
}

/// `[docker]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct DockerToml {
    /// The daemon's socket.
    pub socket: Option<PathBuf>,
    /// The network that the node and its containers are in.
    pub network: Option<String>,
}

/// `[kubernetes]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct KubernetesToml {
    /// A file that says where the cluster is.
    pub kubeconfig: Option<PathBuf>,
    /// Where objects are made.
    pub namespace: Option<String>,
    /// The Service that leads to instances.
    pub service: Option<String>,
    /// Processors that a pod asks for.
    pub cpu: Option<String>,
    /// Further resources that a pod asks for, each as `NAME=AMOUNT`.
    pub resources: Option<Vec<String>>,
    /// Whether the memory of programs is asked for in huge pages.
    pub hugepages: Option<bool>,
    /// The pod that the node runs in, as `NAME/UID`.
    pub owner: Option<String>,
}

/// `[attestation]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct AttestationToml {
    /// Whether a node's own word about its instances is enough.
    pub allow_insecure: Option<bool>,
    /// Measurements that may run beside this node's own executable.
    pub measurements: Option<Vec<String>>,
    /// Statuses of Intel's platforms that are good enough.
    pub tcb_statuses: Option<Vec<String>>,
    /// The least versions of AMD's platforms: `BOOTLOADER.TEE.SNP.MICROCODE`.
    pub snp_tcb_min: Option<String>,
    /// Seconds for which a challenge can be answered.
    pub challenge_lifetime: Option<u64>,
}

/// `[s3app]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3AppToml {
    /// Which S3 services may be asked, `HOST` or `HOST:PORT`.
    pub endpoints: Option<Vec<String>>,
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
    #[serde(deserialize_with = "super::bytes::read")]
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
    #[serde(deserialize_with = "super::bytes::read")]
    pub size_max: Option<ByteCount>,
    /// Up to which size objects are kept in the database, without chunks.
    #[serde(deserialize_with = "super::bytes::read")]
    pub inline_max: Option<ByteCount>,
    /// How much of other nodes' chunks fits here.
    #[serde(deserialize_with = "super::bytes::read")]
    pub capacity: Option<ByteCount>,
    /// What the node fails together with.
    pub zone: Option<String>,
    /// How often the rules by which objects end are followed, in seconds.
    pub lifecycle_every: Option<u64>,
    /// How long a day of these rules is, in seconds.
    pub lifecycle_day: Option<u64>,
    /// The URL of the service that takes cold chunks.
    pub cold_endpoint: Option<String>,
    /// The bucket there.
    pub cold_bucket: Option<String>,
    /// Its region.
    pub cold_region: Option<String>,
    /// Begins all names there.
    pub cold_prefix: Option<String>,
    /// The id of the key.
    pub cold_access_key_id: Option<String>,
    /// A file with the secret of the key.
    pub cold_secret_access_key: Option<PathBuf>,
    /// How often is looked for cold chunks, in seconds.
    pub cold_look_every: Option<u64>,
    /// How many bytes in a second are moved at most.
    #[serde(deserialize_with = "super::bytes::read")]
    pub cold_bytes_per_second: Option<ByteCount>,
}

/// `[s3]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct S3Toml {
    /// The domain below which buckets are hosts.
    pub domain: Option<String>,
}

/// `[mictlanx]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MictlanXToml {
    /// What this node is called as a peer.
    pub peer_id: Option<String>,
    /// Whether other bytes under a key replace those that are there.
    pub overwrite: Option<bool>,
    /// Names of images whose containers are endpoints.
    pub endpoint_images: Option<Vec<String>>,
}

/// `[mpc]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct MpcToml {
    /// What this node is called among parties.
    pub name: Option<String>,
    /// Other nodes that may be parties, each `NAME=HOST:PORT#KEY`.
    pub peers: Option<Vec<String>>,
    /// A file `initial_node_list.yaml`: which number each party has in jobs of the earlier system.
    pub nodes: Option<PathBuf>,
    /// Seconds that a run may take.
    pub run_within: Option<u64>,
    /// Seconds for which a party may say nothing while it is waited for.
    pub patience: Option<u64>,
    /// Most runs at a time.
    pub runs_max: Option<usize>,
    /// A file at whose end the digests of signed results are written.
    pub anchor_file: Option<PathBuf>,
    /// The JSON-RPC endpoint of a ledger of the Ethereum kind in which they are recorded.
    pub anchor_url: Option<AnchorUrl>,
    /// The account there.
    pub anchor_from: Option<String>,
    /// The address that transactions go to.
    pub anchor_to: Option<String>,
}

/// The address of a ledger's node. Its path often is a secret, hence only its host is shown.
#[derive(Clone, PartialEq, Eq, Deserialize)]
#[serde(transparent)]
pub struct AnchorUrl(pub String);

impl std::fmt::Debug for AnchorUrl {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let rest = self.0.split_once("://").map_or(self.0.as_str(), |(_, rest)| rest);
        let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
        let host = authority.rsplit('@').next().unwrap_or_default();
        write!(f, "AnchorUrl({host})")
    }
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
    #[serde(deserialize_with = "super::bytes::read")]
    pub ram_min: Option<ByteCount>,
    /// Most memory.
    #[serde(deserialize_with = "super::bytes::read")]
    pub ram_max: Option<ByteCount>,
    /// Longest name, in characters.
    pub name_chars_max: Option<usize>,
}

/// `[intel]`.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct IntelToml {
    /// How reporters are judged: `hardened` or `seed`.
    pub mode: Option<String>,
    /// Whether peers that speak in the clear are spoken to.
    pub legacy: Option<bool>,
    /// Keys whose reports count in full.
    pub anchors: Option<Vec<String>>,
    /// Which keys belong together, `KEY=ORGANISATION` each.
    pub organisations: Option<Vec<String>>,
    /// For how long a newcomer is on probation at least.
    pub probation_hours: Option<u64>,
    /// What a key on probation may report, an hour.
    pub new_key_rate: Option<u32>,
    /// What other keys may report, an hour.
    pub known_key_rate: Option<u32>,
    /// Events that are kept.
    pub events_max: Option<u64>,
    /// For how many days an indicator holds after it was last seen.
    pub indicator_days: Option<u64>,
    /// Whether what happens to the node itself becomes events.
    pub own_events: Option<bool>,
    /// What is done about addresses of indicators by itself: `off`, `deny` or `challenge`.
    pub measure_effect: Option<String>,
    /// From which confidence on.
    pub measure_confidence: Option<u8>,
}
