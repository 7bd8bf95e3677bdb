//! A running node.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use cm_api::{Engines, Settings, ShieldX};
use cm_dialects::Veracruz;
use cm_dialects::evm::EvmAnchor;
use cm_dialects::feeds::{FeedLimits, HttpFeeds};
use cm_dialects::mictlanx::{self, MictlanX};
use cm_dialects::shamira::{self, Shamira};
use cm_dialects::taxii::{self, Taxii};
use cm_dialects::veracruz::{attestation, ccfaas, s3app, vaas};
use cm_dialects::xolo::{self, Xolo};
use cm_endpoints::{Endpoints, EndpointsConfig, ProcessLauncher};
use cm_functions::{Attestation, Functions, FunctionsConfig, LauncherConfig};
use cm_http::{RequestLimits, ServerLimits};
use cm_intel::Intel;
use cm_kernel::catalog::{Integrity, Limits};
use cm_kernel::identity::MasterKey;
use cm_kernel::{Access, Actor, Database, DeploymentQuota, Kernel, KernelConfig};
use cm_mpc::{Anchor, AnchorFile, Computations, MpcConfig};
use cm_net::{Identity, PeerKey};
use cm_runtime::{CancellationToken, Drained, SystemClock, Tasks};

use crate::config::{AnchorSettings, ApiSettings, Config, InstancePorts};
use crate::data_dir::{DataDir, write_private};
use crate::listeners::{Listeners, bind_discovery};
use crate::{NodeError, config};
use crate::{cluster, link_key};

/// The administrator's token, within the data directory.
pub(crate) const ADMIN_TOKEN_FILE: &str = "admin.token";
/// Which listeners there are, within the data directory, while the node runs.
const READY_FILE: &str = "ready.json";
/// The public half of the node's signing key, for those who verify evidence, within the data directory.
const VERIFYING_KEY_FILE: &str = "node.pub.pem";
/// Compiled modules, within the data directory.
const MODULES_DIR: &str = "modules";
/// Parts of the shutdown's deadline: for instances and endpoints to end, then for open requests to finish before their connections are
/// closed. What is left is for the work behind them.
const INSTANCES_SHARE: f64 = 0.3;
const DRAIN_SHARE: f64 = 0.5;
/// For links to end once nothing needs them.
const NETWORK_DRAIN: Duration = Duration::from_secs(2);
/// Of the share of instances and endpoints: for an endpoint to finish what is open, until it is killed.
const ENDPOINT_SHARE: f64 = 0.7;
/// Endpoints that are being launched at a time.
const ENDPOINT_LAUNCHES_MAX: usize = 4;
/// Connections to one instance at a time.
const INSTANCE_CONNECTIONS_MAX: u32 = 64;
/// For how long the policy of an instance holds.
const INSTANCE_LIFETIME: Duration = Duration::from_secs(180 * 24 * 3600);

/// A node: kernel, guests and faces, until it is stopped.
pub struct Node {
    config: Config,
    data_dir: DataDir,
    link: Identity,
    kernel: Kernel,
    functions: Functions,
    endpoints: Endpoints,
    intel: Intel,
    computations: Computations,
    tasks: Tasks,
    /// Those of the links of a network: the database needs them until it is closed.
    network_tasks: Tasks,
    listeners: BTreeMap<&'static str, SocketAddr>,
    first_start_token: Option<PathBuf>,
}

/// How a node stopped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stopped {
    /// All work finished.
    Clean,
    /// Some work had to be abandoned, or the database could not be closed.
    Failed,
}

impl Node {
    /// Starts everything. When this returns, every listener accepts. A node of a network waits for a majority of its nodes before.
    pub async fn start(config: Config) -> Result<Node, NodeError> {
        Node::start_unless(config, CancellationToken::new()).await
    }

    /// As [`Node::start`], but waits no more for others once told to stop ([`NodeError::Stopped`]).
    pub async fn start_unless(config: Config, stop: CancellationToken) -> Result<Node, NodeError> {
        tracing::info!(version = env!("CARGO_PKG_VERSION"), ?config, "starting");
        for (setting, reason) in &config.without_effect {
            tracing::warn!(%setting, %reason, "setting has no effect");
        }
        let data_dir = DataDir::hold(&config.data_dir)?;
        let link = open_link_key(&data_dir).await?;
        let metrics = cm_runtime::metrics::install();
        let (tasks, network_tasks) = (Tasks::new(), Tasks::new());
        let token_file = data_dir.path().join(ADMIN_TOKEN_FILE);
        let network = open_network(&config, &data_dir, link.clone(), &network_tasks, stop).await?;
        let database = network
            .as_ref()
            .map_or_else(|| config.database.clone(), |opened| Database::Opened(opened.db.clone()));
        let (kernel, first_start) =
            open_kernel(&config, database, &data_dir, token_file.clone(), &tasks).await?;
        if let Some(opened) = &network {
            cluster::tend(opened, &kernel, &tasks).await?;
            cluster::connect_storage(opened, &config, &data_dir, &kernel).await?;
        }
        kernel.objects().set_lifecycle_pace(config.lifecycle);
        if let Some(tier) = &config.cold_tier {
            let tier = tier.clone();
            kernel.objects().use_cold_tier(tier).expect("a kernel that was just opened has no cold tier");
        }
        data_dir.write_private(VERIFYING_KEY_FILE, &kernel.keys().verifying().to_spki_pem())?;
        let mut sockets = Listeners::bind(&config.listen, config.proxies.clone()).await?;
        let attestation_url = ["attestation", "api"].iter().find_map(|name| sockets.address(name));
        let attestation_url = attestation_url.map_or_else(String::new, |address| address.to_string());
        let functions = Functions::open(
            kernel.clone(),
            &tasks,
            functions_config(&config, &data_dir, attestation_url, &kernel),
        )
        .await?;
        let launcher = Arc::new(ProcessLauncher::of_this_program());
        let endpoints =
            Endpoints::open(kernel.clone(), &tasks, endpoints_config(&config, &kernel), launcher).await?;
        let discovery = config.listen.intel_discovery.map(bind_discovery).transpose()?;
        let told = config::intel::of(&config.intel, data_dir.path());
        let intel = Intel::open(kernel.clone(), &tasks, told, link.clone()).await?;
        let mut listeners = sockets.addresses();
        let pages =
            ["console", "api"].into_iter().filter_map(|name| listeners.get(name).map(SocketAddr::port));
        if let Some(party) = config.identity.passkeys.relying_party(pages) {
            let identity = kernel.identity();
            identity
                .use_relying_party(Arc::new(party))
                .expect("a kernel that was just opened is known to no browser");
        }
        let parties = sockets.take("mpc-peers");
        let computations = Computations::open(
            kernel.clone(),
            &tasks,
            mpc_config(&config, &data_dir, &kernel, &tasks)?,
            link.clone(),
            parties,
        )
        .await?;
        let calls = discovery.as_ref().and_then(|socket| socket.local_addr().ok());
        listeners.extend(calls.map(|address| ("intel-discovery", address)));
        listeners.extend(network.as_ref().map(|opened| ("peers", opened.listens)));
        let metrics: Arc<dyn Fn() -> String + Send + Sync> = Arc::new(move || metrics.render());
        let access = if config.open { Access::Open(Actor::node()) } else { Access::Credential };
        let api = Engines {
            kernel: kernel.clone(),
            functions: functions.clone(),
            endpoints: endpoints.clone(),
            computations: computations.clone(),
            intel: intel.clone(),
            access: access.clone(),
            metrics: metrics.clone(),
            settings: Arc::new(api_settings(&config.api)),
            shieldx: ShieldX::new(&config.choreography.shieldx_url)?,
        };
        let drain = config.shutdown_deadline.mul_f64(DRAIN_SHARE);
        let limits = ServerLimits { drain, ..ServerLimits::default() };
        let requests = RequestLimits::default;
        let veracruz =
            || Veracruz { kernel: kernel.clone(), functions: functions.clone(), access: access.clone() };
        let api = cm_api::router(api, requests());
        let taxii = Taxii::new(kernel.clone(), intel.clone(), access.clone());
        sockets.serve("console", &limits, &tasks, || cm_console::alone(api.clone(), requests(), &tasks));
        sockets.serve("api", &limits, &tasks, || {
            cm_console::beside(taxii::beside(taxii, api, requests()), requests(), &tasks)
        });
        sockets.serve("s3", &limits, &tasks, || {
            cm_s3::router(kernel.clone(), access.clone(), requests(), config.s3_domain.clone())
        });
        let mictlanx = MictlanX::new(
            kernel.clone(),
            endpoints.clone(),
            access.clone(),
            mictlanx_settings(&config, &kernel, listeners.get("mictlanx_peer").copied()),
            metrics,
        );
        sockets.serve("router", &limits, &tasks, || mictlanx::router(mictlanx.clone(), requests()));
        sockets
            .serve("mictlanx_peer", &limits, &tasks, || mictlanx::peer_router(mictlanx.clone(), requests()));
        sockets.serve("summoner", &limits, &tasks, || mictlanx::summoner_router(mictlanx, requests()));
        sockets.serve("vaas", &limits, &tasks, || vaas::router(veracruz(), requests()));
        sockets.serve("ccfaas", &limits, &tasks, || ccfaas::router(veracruz(), requests()));
        sockets.serve("s3app", &limits, &tasks, || {
            let own = listeners.get("s3").copied();
            s3app::router(veracruz(), s3app::Endpoints::new(config.s3_endpoints.clone(), own), requests())
        });
        sockets.serve("mpc", &limits, &tasks, || {
            let nodes = config.mpc.nodes.clone();
            let shamira = Shamira::new(kernel.clone(), access.clone(), computations.clone(), nodes);
            shamira::router(shamira, requests())
        });
        sockets.serve("xolo", &limits, &tasks, || {
            xolo::router(Xolo::new(kernel.clone(), access.clone()), requests())
        });
        let judge = || Attestation::new(kernel.clone(), functions.measurement(), config.attestation.clone());
        sockets.serve("attestation", &limits, &tasks, || {
            attestation::router(judge(), veracruz().gate(), requests())
        });
        intel.serve(sockets.take("intel"), discovery).await?;
        let feeds = HttpFeeds::new(kernel.clone(), FeedLimits::default())?;
        intel.follow_feeds(Arc::new(feeds));
        let first_start_token = first_start.then_some(token_file);
        let node = Node {
            config,
            data_dir,
            link,
            kernel,
            functions,
            endpoints,
            intel,
            computations,
            tasks,
            network_tasks,
            listeners,
            first_start_token,
        };
        node.data_dir.write_private(READY_FILE, &node.ready_line())?;
        tracing::info!(listeners = ?node.listeners, "ready");
        Ok(node)
    }

    /// The addresses that accept connections, by listener.
    pub fn listeners(&self) -> impl Iterator<Item = (&'static str, SocketAddr)> {
        self.listeners.iter().map(|(name, address)| (*name, *address))
    }

    /// Where the administrator's token was just written, on a first start.
    pub fn first_start_token(&self) -> Option<&Path> {
        self.first_start_token.as_deref()
    }

    /// The data directory.
    pub fn data_dir(&self) -> &Path {
        self.data_dir.path()
    }

    /// The key by which other nodes know this one.
    pub fn link_key(&self) -> PeerKey {
        self.link.key()
    }

    /// One line of JSON that says where the node listens.
    pub fn ready_line(&self) -> String {
        let listeners: BTreeMap<_, _> =
            self.listeners.iter().map(|(name, address)| (*name, address.to_string())).collect();
        serde_json::json!({
            "ready": true,
            "pid": std::process::id(),
            "data_dir": self.data_dir.path(),
            "link_key": self.link.key().to_string(),
            "listeners": listeners,
        })
        .to_string()
    }

    /// Stops accepting, ends instances and endpoints, lets work finish until the deadline, and closes the database.
    pub async fn stop(self) -> Stopped {
        let deadline = self.config.shutdown_deadline;
        tracing::info!(deadline_secs = deadline.as_secs(), "stopping");
        self.data_dir.remove(READY_FILE);
        let began = tokio::time::Instant::now();
        // Instances and endpoints first: their ends are recorded by tasks that are about to be drained.
        let share = deadline.mul_f64(INSTANCES_SHARE);
        let ended = async {
            tokio::join!(self.functions.drain(), self.endpoints.drain(share.mul_f64(ENDPOINT_SHARE)))
        };
        if tokio::time::timeout(share, ended).await.is_err() {
            tracing::warn!("instances or endpoints did not end in time");
        }
        let left = deadline.saturating_sub(began.elapsed());
        let drained = self.tasks.drain(left).await;
        if let Err(error) = self.intel.close().await {
            tracing::error!(error = &error as &dyn std::error::Error, "database of threats not closed");
        }
        if let Err(error) = self.computations.close().await {
            tracing::error!(error = &error as &dyn std::error::Error, "journal of computations not closed");
        }
        let closed = self.kernel.close().await;
        self.network_tasks.drain(NETWORK_DRAIN).await;
        match (drained, closed) {
            (Drained::All, Ok(())) => {
                tracing::info!("stopped");
                Stopped::Clean
            }
            (Drained::Abandoned { count }, _) => {
                tracing::error!(count, "stopped with work abandoned");
                Stopped::Failed
            }
            (Drained::All, Err(error)) => {
                tracing::error!(error = &error as &dyn std::error::Error, "database not closed");
                Stopped::Failed
            }
        }
    }
}

fn api_settings(api: &ApiSettings) -> Settings {
    // Origins were checked when the configuration was read.
    let origins = api.cors_origins.iter().filter_map(|origin| origin.parse().ok()).collect();
    let (prefix, title, version) = (api.prefix.clone(), api.title.clone(), api.version.clone());
    Settings { prefix, title, version, cors_origins: origins }
}

fn mictlanx_settings(config: &Config, kernel: &Kernel, peer: Option<SocketAddr>) -> mictlanx::Settings {
    // A socket that listens everywhere is reached by the machine's name.
    let host = match peer.map(|address| address.ip()) {
        Some(ip) if !ip.is_unspecified() => ip.to_string(),
        _ => kernel.config().node_name.clone(),
    };
    // The others of a network call it by its name there.
    let named = || kernel.objects().own_peer().map(|peer| peer.to_string());
    let peer_id =
        config.mictlanx.peer_id.clone().or_else(named).unwrap_or_else(|| kernel.node_id().to_string());
    mictlanx::Settings {
        peer_id,
        host,
        port: peer.map_or(0, |address| address.port()),
        overwrite: config.mictlanx.overwrite,
        endpoint_images: config.mictlanx.endpoint_images.clone(),
        data_dir: kernel.config().data_dir.clone(),
    }
}

async fn open_link_key(data_dir: &DataDir) -> Result<Identity, NodeError> {
    let path = data_dir.path().to_owned();
    let opened = tokio::task::spawn_blocking(move || link_key::open_or_create(&path));
    opened.await.map_err(|_| cm_db::DbError::Panicked)?
}

/// A node's part in its network, if the data directory says that it has one.
async fn open_network(
    config: &Config,
    data_dir: &DataDir,
    link: Identity,
    tasks: &Tasks,
    stop: CancellationToken,
) -> Result<Option<cluster::Opened>, NodeError> {
    if !matches!(config.database, Database::InDataDir) {
        return match cluster::is_member(data_dir.path()) {
            true => Err(NodeError::DatabaseServer),
            false => Ok(None),
        };
    }
    let opening = cluster::open(config, data_dir, link, tasks);
    let mut opening = std::pin::pin!(opening);
    tokio::select! {
        opened = &mut opening => opened,
        () = stop.cancelled() => {
            // Whoever waits there is told, and ends what it has begun.
            tasks.token().cancel();
            opening.await
        }
    }
}

async fn open_kernel(
    config: &Config,
    database: Database,
    data_dir: &DataDir,
    token_file: PathBuf,
    tasks: &Tasks,
) -> Result<(Kernel, bool), NodeError> {
    let limits = Limits {
        cpu_cores: config.limits.cpu.clone(),
        ram_bytes: config.limits.ram.clone(),
        name_chars_max: config.limits.name_chars_max,
        ..Limits::default()
    };
    let kernel_config = KernelConfig {
        data_dir: data_dir.path().to_owned(),
        limits,
        integrity: if config.open { Integrity::Open } else { Integrity::Enforced },
        objects: config.objects.clone(),
        node_name: rustix::system::uname().nodename().to_string_lossy().into_owned(),
    };
    let first_start = Arc::new(AtomicBool::new(false));
    let kept = first_start.clone();
    let keep = move |key: &cm_crypto::Secret<String>| {
        kept.store(true, Ordering::Relaxed);
        write_private(&token_file, &format!("{}\n", key.expose()))
    };
    let opened = Kernel::open_on(database, kernel_config, Arc::new(SystemClock), tasks, keep).await;
    let kernel = opened.map_err(|error| NodeError::of_opening(error, &config.database, data_dir.path()))?;
    if let Some(key) = &config.identity.master_key {
        kernel
            .identity()
            .use_master_key(MasterKey::new(key))
            .expect("a kernel that was just opened needed no key");
    }
    if let Some(issuer) = &config.identity.issuer {
        kernel.identity().use_issuer(issuer.clone()).expect("a kernel that was just opened issued nothing");
    }
    if let Some(domain) = &config.identity.trust_domain {
        kernel
            .identity()
            .use_trust_domain(domain.clone())
            .expect("a kernel that was just opened has no trust domain");
    }
    Ok((kernel, first_start.load(Ordering::Relaxed)))
}

fn functions_config(
    config: &Config,
    data_dir: &DataDir,
    attestation_url: String,
    kernel: &Kernel,
) -> FunctionsConfig {
    let instances = &config.instances;
    // Without a listener for instances there is room for none.
    let (address, ports, instances_max) = match config.listen.instances {
        Some(InstancePorts { address, first, last }) => {
            (address, (first != 0).then_some(first..=last), instances.max)
        }
        None => (IpAddr::V4(Ipv4Addr::LOCALHOST), None, 0),
    };
    FunctionsConfig {
        module_cache_dir: data_dir.path().join(MODULES_DIR),
        module_cache_bytes_max: instances.module_cache,
        launcher: LauncherConfig {
            address,
            ports,
            instances_max,
            start_timeout: instances.start_timeout,
            pool: instances.pool,
        },
        platform: crate::platform::platform(config, kernel.node_id().as_str()),
        public_host: instances.host.clone().unwrap_or_else(|| address.to_string()),
        attestation_url,
        memory_bytes: instances.memory,
        storage_bytes: instances.storage,
        run_timeout: instances.run_timeout,
        connections: INSTANCE_CONNECTIONS_MAX,
        lifetime: INSTANCE_LIFETIME,
        require_isolation: instances.require.clone(),
    }
}

fn mpc_config(
    config: &Config,
    data_dir: &DataDir,
    kernel: &Kernel,
    tasks: &Tasks,
) -> Result<MpcConfig, cm_mpc::ComputationError> {
    let mpc = &config.mpc;
    let anchor: Option<Arc<dyn Anchor>> = match &mpc.anchor {
        None => None,
        Some(AnchorSettings::File(path)) => Some(Arc::new(AnchorFile::new(path.clone(), tasks))),
        Some(AnchorSettings::Ledger { url, from, to }) => {
            Some(Arc::new(EvmAnchor::new(&url.0, from.clone(), to.clone())?))
        }
    };
    Ok(MpcConfig {
        data_dir: data_dir.path().to_owned(),
        name: mpc.name.clone().unwrap_or_else(|| kernel.node_id().to_string()),
        peers: mpc.peers.clone(),
        run_within: mpc.run_within,
        patience: mpc.patience,
        runs_max: mpc.runs_max,
        anchor,
    })
}

fn endpoints_config(config: &Config, kernel: &Kernel) -> EndpointsConfig {
    let endpoints = &config.endpoints;
    let quota = DeploymentQuota {
        endpoints_max: endpoints.deployed_max,
        cpu_max: endpoints.cpu_max.map(u64::from),
        ram_max: endpoints.ram_max,
    };
    EndpointsConfig {
        node: kernel.node_id().to_string(),
        quota,
        req_res_base_port: endpoints.req_res_base_port,
        pubsub_base_port: endpoints.pubsub_base_port,
        launches_max: ENDPOINT_LAUNCHES_MAX,
        launch_timeout: endpoints.start_timeout,
        drain_timeout: endpoints.drain_timeout,
    }
}
