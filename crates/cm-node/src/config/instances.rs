//! Confidential instances: what they may take, and on which platform they run.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use cm_types::ByteCount;

use super::{ConfigError, DockerToml, InstancesToml, KubernetesToml, LAYERS, wrong};

const CONTROL_PORT: u16 = 3013;
const DOCKER_SOCKET: &str = "/var/run/docker.sock";
const NAMESPACE: &str = "default";
/// The name that the earlier service had.
const SERVICE: &str = "veracruz-nitro-server";
const CPU: &str = "500m";
/// Longest name of a Service, less what the names of pods have behind it.
const SERVICE_LEN_MAX: usize = 63 - "-65535".len();
const NAMESPACE_LEN_MAX: usize = 63;

/// Limits of confidential instances, and their platform.
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
    /// Processes that wait to become an instance.
    pub pool: usize,
    /// What starts them.
    pub launcher: LauncherSettings,
    /// The image of containers and pods; there is one if they are started.
    pub image: Option<String>,
    /// Under what host clients reach instances, if not under the address on which they listen.
    pub host: Option<String>,
    /// Where the agents in containers and pods take their node's connection.
    pub control_port: u16,
    /// Instances as containers.
    pub docker: DockerSettings,
    /// Instances as pods.
    pub kubernetes: KubernetesSettings,
}

/// What starts instances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LauncherSettings {
    /// The node itself.
    Process,
    /// A Docker daemon.
    Docker,
    /// A Kubernetes cluster.
    Kubernetes,
}

/// Instances as containers.
#[derive(Clone, Debug)]
pub struct DockerSettings {
    /// The daemon's socket.
    pub socket: PathBuf,
    /// The network that the node and its containers are in.
    pub network: Option<String>,
}

/// Instances as pods.
#[derive(Clone, Debug)]
pub struct KubernetesSettings {
    /// A file that says where the cluster is; without one it is the cluster that the node runs in.
    pub kubeconfig: Option<PathBuf>,
    /// Where objects are made.
    pub namespace: String,
    /// The Service that leads to instances.
    pub service: String,
    /// Processors that a pod asks for.
    pub cpu: String,
    /// Further resources that a pod asks for, with their amounts.
    pub resources: BTreeMap<String, String>,
    /// Whether the memory of programs is asked for in huge pages.
    pub hugepages: bool,
    /// Name and uid of the pod that the node runs in.
    pub owner: Option<(String, String)>,
}

pub(super) fn settings(
    instances: InstancesToml,
    docker: DockerToml,
    kubernetes: KubernetesToml,
) -> Result<InstanceSettings, ConfigError> {
    let InstancesToml {
        require,
        max,
        start_timeout,
        run_timeout,
        memory,
        storage,
        module_cache,
        pool,
        launcher,
        image,
        host,
        control_port,
    } = instances;
    let bytes = |count: Option<ByteCount>, default: u64| count.map_or(default, |count| count.bytes());
    let require = require.unwrap_or_default();
    if let Some(unknown) = require.iter().find(|name| !LAYERS.contains(&name.as_str())) {
        let problem = format!("`{unknown}` is no isolation layer, expected some of {}", LAYERS.join(", "));
        return Err(wrong("instances.require", problem));
    }
    if max == Some(0) {
        return Err(wrong("instances.max", "must be at least 1; `listen.instances=off` allows none"));
    }
    let launcher = match launcher.as_deref() {
        None | Some("process") => LauncherSettings::Process,
        Some("docker") => LauncherSettings::Docker,
        Some("kubernetes") => LauncherSettings::Kubernetes,
        Some(other) => {
            let problem = format!("`{other}` is no launcher, expected process, docker or kubernetes");
            return Err(wrong("instances.launcher", problem));
        }
    };
    if launcher != LauncherSettings::Process && image.is_none() {
        return Err(wrong("instances.image", "must name an image of this release for this launcher"));
    }
    if control_port == Some(0) {
        return Err(wrong("instances.control_port", "must be at least 1"));
    }
    let DockerToml { socket, network } = docker;
    Ok(InstanceSettings {
        require,
        max: max.unwrap_or(64),
        start_timeout: Duration::from_secs(start_timeout.unwrap_or(30)),
        run_timeout: Duration::from_secs(run_timeout.unwrap_or(300)),
        memory: bytes(memory, 256 << 20),
        storage: bytes(storage, 1 << 30),
        module_cache: bytes(module_cache, 1 << 30),
        pool: pool.unwrap_or(2),
        launcher,
        image,
        host,
        control_port: control_port.unwrap_or(CONTROL_PORT),
        docker: DockerSettings { socket: socket.unwrap_or_else(|| DOCKER_SOCKET.into()), network },
        kubernetes: kubernetes_settings(kubernetes)?,
    })
}

fn kubernetes_settings(kubernetes: KubernetesToml) -> Result<KubernetesSettings, ConfigError> {
    let KubernetesToml { kubeconfig, namespace, service, cpu, resources, hugepages, owner } = kubernetes;
    let name = |key: &str, given: Option<String>, default: &str, len_max: usize| {
        let name = given.unwrap_or_else(|| default.to_owned());
        let problem = format!("`{name}` is no name of lower-case letters, digits and `-`, {len_max} at most");
        if is_name(&name, len_max) { Ok(name) } else { Err(wrong(key, problem)) }
    };
    let pair = |key: &str, text: &str, separator: char, form: &str| {
        let pair = text.split_once(separator).filter(|(name, value)| !name.is_empty() && !value.is_empty());
        let pair = pair.map(|(name, value)| (name.to_owned(), value.to_owned()));
        pair.ok_or_else(|| wrong(key, format!("`{text}` is no {form}")))
    };
    let resources = resources.unwrap_or_default();
    let resources = resources.iter().map(|text| pair("kubernetes.resources", text, '=', "NAME=AMOUNT"));
    // Deployments give it from variables that are empty elsewhere.
    let owner = owner.filter(|owner| !owner.is_empty() && owner != "/");
    Ok(KubernetesSettings {
        kubeconfig,
        namespace: name("kubernetes.namespace", namespace, NAMESPACE, NAMESPACE_LEN_MAX)?,
        service: name("kubernetes.service", service, SERVICE, SERVICE_LEN_MAX)?,
        cpu: cpu.unwrap_or_else(|| CPU.to_owned()),
        resources: resources.collect::<Result<_, _>>()?,
        hugepages: hugepages.unwrap_or(false),
        owner: owner.map(|text| pair("kubernetes.owner", &text, '/', "NAME/UID")).transpose()?,
    })
}

/// Whether a text is a label as RFC 1035 has it, which names of Services are.
fn is_name(text: &str, len_max: usize) -> bool {
    let inner = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    text.len() <= len_max
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && !text.ends_with('-')
        && text.chars().all(inner)
}
