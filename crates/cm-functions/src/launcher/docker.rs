//! Instances as containers.
//!
//! An instance is one container, made from the image with the agent as its command. The credentials of the link are uploaded
//! into it before it starts. Its port is published on the address of instances; the agent's on loopback, or nowhere if the
//! node shares a network with its containers. A container's end is heard from the daemon. Whatever goes wrong, the container is
//! removed by force; a node that returns removes those with its label.

use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bollard::errors::Error;
use bollard::models::{ContainerCreateBody, ContainerInspectResponse, HostConfig, PortBinding};
use bollard::query_parameters::{
    CreateContainerOptionsBuilder, InspectContainerOptions, ListContainersOptionsBuilder,
    RemoveContainerOptionsBuilder, StartContainerOptions, UploadToContainerOptionsBuilder,
};
use bollard::{API_DEFAULT_VERSION, Docker, body_full};
use cm_runtime::{Backoff, Tasks};
use cm_types::Sha256Digest;
use futures::future::BoxFuture;
use futures::{FutureExt as _, StreamExt as _};
use tokio::sync::oneshot;

use super::link::Credentials;
use super::ports::{Port, Ports};
use super::remote::{Kept, connect, unless_ended};
use super::{Ended, LaunchError, Launcher, Order, Place, Started, agent};

/// For one call to the daemon. Making a container may take a while on a busy host.
const CALL_TIMEOUT: Duration = Duration::from_secs(30);
/// Between two questions about a container whose end was not heard of.
const RETRY_FIRST: Duration = Duration::from_millis(50);
const RETRY_MAX: Duration = Duration::from_secs(5);
/// For how long the credentials of a link hold: longer than any policy.
const LINK_LIFETIME: Duration = Duration::from_secs(400 * 24 * 3600);
/// The label that says which node a container belongs to.
const NODE_LABEL: &str = "org.cryptomesh.node";
const INSTANCE_LABEL: &str = "org.cryptomesh.instance";
const POLICY_LABEL: &str = "org.cryptomesh.policy";
const CREDENTIALS_DIR: &str = "run/cryptomesh/link";
/// Who is not root in the image.
const USER: u32 = 65532;
/// Bytes that a process needs besides programs' memory and files.
const OVERHEAD: u64 = 512 << 20;
/// Processes and threads of a container.
const PIDS_MAX: i64 = 256;

/// What the launcher of containers is told.
#[derive(Clone, Debug)]
pub struct DockerConfig {
    /// This node's id, by which it knows its containers again.
    pub node: String,
    /// The daemon's socket.
    pub socket: PathBuf,
    /// The image of containers: one of this node's release.
    pub image: String,
    /// The address on which ports of instances are published.
    pub address: IpAddr,
    /// Ports of instances; without a range the operating system chooses.
    pub ports: Option<RangeInclusive<u16>>,
    /// Where agents take their node's connection.
    pub control_port: u16,
    /// The network that containers join, and the node itself is in. Without one the daemon's default, and agents are
    /// reached over a port that is published on loopback.
    pub network: Option<String>,
}

/// What a daemon cannot do.
#[derive(Debug, thiserror::Error)]
pub enum DockerError {
    /// The daemon refused, failed, or is not there.
    #[error("the Docker daemon does not do it")]
    Api(#[from] Box<Error>),
    /// The daemon did not answer.
    #[error("the Docker daemon does not answer")]
    Timeout,
    /// The credentials cannot be packed.
    #[error("the credentials cannot be packed")]
    Archive(#[source] io::Error),
    /// The daemon does not say where a container can be reached.
    #[error("the Docker daemon does not say where the container can be reached")]
    NoAddress,
}

impl DockerError {
    fn is_status(&self, code: u16) -> bool {
        let Self::Api(error) = self else { return false };
        matches!(&**error, Error::DockerResponseServerError { status_code, .. } if *status_code == code)
    }
}

/// Starts instances as containers.
pub struct DockerLauncher {
    engine: Arc<Engine>,
    ports: Ports,
    tasks: Tasks,
}

/// The daemon, and what this node knows about its part in it.
struct Engine {
    docker: Docker,
    config: DockerConfig,
    measurement: Sha256Digest,
}

impl DockerLauncher {
    /// A launcher of containers whose executables have this measurement.
    pub async fn new(
        config: DockerConfig,
        measurement: Sha256Digest,
        tasks: &Tasks,
    ) -> Result<Self, DockerError> {
        let socket = config.socket.to_string_lossy().into_owned();
        let docker = Docker::connect_with_unix(&socket, CALL_TIMEOUT.as_secs(), API_DEFAULT_VERSION);
        // A daemon that is not there, or is none, is noticed now. Requests name no version: each daemon answers as its newest.
        let docker = timed(docker.map_err(Box::new)?.negotiate_version()).await?;
        let ports = Ports::new(config.address, config.ports.clone());
        Ok(Self { engine: Arc::new(Engine { docker, config, measurement }), ports, tasks: tasks.clone() })
    }
}

impl Launcher for DockerLauncher {
    fn name(&self) -> &'static str {
        "docker"
    }

    fn measurement(&self) -> Sha256Digest {
        self.engine.measurement
    }

    fn reserve(&self) -> BoxFuture<'_, Result<Box<dyn Place>, LaunchError>> {
        async {
            // Nobody else may take the port until the daemon does.
            let (listener, port) = self.ports.listen().map_err(|error| match error.kind() {
                io::ErrorKind::AddrInUse => LaunchError::NoPort,
                _ => LaunchError::Process(error),
            })?;
            let (engine, tasks) = (self.engine.clone(), self.tasks.clone());
            Ok(Box::new(ContainerPlace { listener, port, engine, tasks }) as Box<dyn Place>)
        }
        .boxed()
    }

    fn sweep(&self) -> BoxFuture<'_, Result<usize, LaunchError>> {
        async { Ok(self.engine.sweep().await?) }.boxed()
    }

    fn drain(&self) {}
}

/// A port that a container shall have.
struct ContainerPlace {
    listener: TcpListener,
    port: Port,
    engine: Arc<Engine>,
    tasks: Tasks,
}

impl Place for ContainerPlace {
    fn port(&self) -> u16 {
        self.port.number()
    }

    fn start<'a>(self: Box<Self>, order: &'a Order) -> BoxFuture<'a, Result<Started, LaunchError>> {
        async move {
            let Self { listener, port, engine, tasks } = *self;
            let credentials = Credentials::generate(SystemTime::now().into(), LINK_LIFETIME)?;
            let connector = credentials.connector()?;
            let number = port.number();
            let name = engine.name(number);
            let (begun, waiting) = oneshot::channel();
            let (watching, cleaning) = (engine.clone(), engine.clone());
            let (watched, removed) = (name.clone(), name.clone());
            let life = async move {
                match waiting.await {
                    Ok(()) => watching.ended(&watched).await,
                    // It never starts; what there is goes when the place does.
                    Err(_) => std::future::pending().await,
                }
            };
            let mut kept = Kept::new(&tasks, life, async move {
                let _port = port;
                cleaning.remove(&removed).await;
            });
            engine.create(&name, number, order).await?;
            engine.upload(&name, &credentials).await?;
            // Now the daemon takes the port. Should a stranger be faster, the start fails.
            drop(listener);
            timed(engine.docker.start_container(&name, None::<StartContainerOptions>)).await?;
            let _ = begun.send(());
            let starting = async {
                let address = engine.control(&name).await?;
                connect(address, &connector, engine.measurement).await
            };
            let control = unless_ended(&mut kept, starting).await?;
            Ok(Started { control, vessel: Box::new(kept) })
        }
        .boxed()
    }
}

impl Engine {
    fn name(&self, port: u16) -> String {
        format!("cryptomesh-{}-{port}", self.config.node)
    }

    async fn create(&self, name: &str, port: u16, order: &Order) -> Result<(), DockerError> {
        let options = CreateContainerOptionsBuilder::new().name(name).build();
        let body = self.body(port, order);
        let created = timed(self.docker.create_container(Some(options.clone()), body.clone())).await;
        match created {
            // Of an earlier life, or of one that is being removed: the name is this node's alone.
            Err(error) if error.is_status(409) => {
                self.remove(name).await;
                timed(self.docker.create_container(Some(options), body)).await?;
                Ok(())
            }
            created => created.map(drop),
        }
    }

    fn body(&self, port: u16, order: &Order) -> ContainerCreateBody {
        let config = &self.config;
        let all = if config.address.is_ipv6() { "[::]" } else { "0.0.0.0" };
        let exposed = |port: u16| format!("{port}/tcp");
        let binding = |address: IpAddr, port: u16| {
            let host_port = if port == 0 { String::new() } else { port.to_string() };
            Some(vec![PortBinding { host_ip: Some(address.to_string()), host_port: Some(host_port) }])
        };
        let mut published = HashMap::from([(exposed(port), binding(config.address, port))]);
        if config.network.is_none() {
            published.insert(exposed(config.control_port), binding(Ipv4Addr::LOCALHOST.into(), 0));
        }
        let memory = order.memory_bytes.saturating_add(order.storage_bytes).saturating_add(OVERHEAD);
        let texts = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect::<Vec<_>>());
        ContainerCreateBody {
            image: Some(config.image.clone()),
            entrypoint: texts(&["cryptomesh", agent::COMMAND]),
            cmd: Some(vec![
                "--listen".to_owned(),
                format!("{all}:{port}"),
                "--control".to_owned(),
                format!("{all}:{}", config.control_port),
                "--credentials".to_owned(),
                format!("/{CREDENTIALS_DIR}"),
            ]),
            user: Some(format!("{USER}:{USER}")),
            exposed_ports: Some(vec![exposed(port), exposed(config.control_port)]),
            labels: Some(HashMap::from([
                (NODE_LABEL.to_owned(), config.node.clone()),
                (INSTANCE_LABEL.to_owned(), order.instance.clone()),
                (POLICY_LABEL.to_owned(), order.policy_hash.to_string()),
            ])),
            host_config: Some(HostConfig {
                port_bindings: Some(published),
                network_mode: config.network.clone(),
                memory: i64::try_from(memory).ok(),
                pids_limit: Some(PIDS_MAX),
                cap_drop: texts(&["ALL"]),
                security_opt: texts(&["no-new-privileges"]),
                ..HostConfig::default()
            }),
            ..ContainerCreateBody::default()
        }
    }

    async fn upload(&self, name: &str, credentials: &Credentials) -> Result<(), DockerError> {
        let archive = archive(credentials).map_err(DockerError::Archive)?;
        // Owners are those of the archive.
        let options = UploadToContainerOptionsBuilder::new().path("/").build();
        timed(self.docker.upload_to_container(name, Some(options), body_full(archive.into()))).await
    }

    /// Where the agent in a running container takes connections.
    async fn control(&self, name: &str) -> Result<SocketAddr, DockerError> {
        let container = self.inspect(name).await?;
        let networks = container.network_settings.ok_or(DockerError::NoAddress)?;
        let port = self.config.control_port;
        let address = match &self.config.network {
            Some(network) => {
                let joined = networks.networks.as_ref().and_then(|networks| networks.get(network));
                let ip = joined.and_then(|joined| joined.ip_address.as_deref()?.parse::<IpAddr>().ok());
                ip.map(|ip| SocketAddr::new(ip, port))
            }
            None => {
                let published = networks.ports.as_ref().and_then(|ports| ports.get(&format!("{port}/tcp")));
                let binding = published.and_then(|bindings| bindings.as_ref()?.first());
                let host_port = binding.and_then(|binding| binding.host_port.as_deref()?.parse().ok());
                host_port.map(|port| SocketAddr::new(Ipv4Addr::LOCALHOST.into(), port))
            }
        };
        address.ok_or(DockerError::NoAddress)
    }

    async fn inspect(&self, name: &str) -> Result<ContainerInspectResponse, DockerError> {
        timed(self.docker.inspect_container(name, None::<InspectContainerOptions>)).await
    }

    /// Waits for a container's end. Goes on while the daemon does not answer.
    async fn ended(&self, name: &str) -> Ended {
        let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX);
        loop {
            let mut waiting = std::pin::pin!(self.docker.wait_container(name, None));
            let code = match waiting.next().await {
                Some(Ok(response)) => Some(response.status_code),
                Some(Err(Error::DockerContainerWaitError { code, .. })) => Some(code),
                _ => None,
            };
            // Asked in any case: an exit code does not tell why.
            match self.inspect(name).await {
                Ok(container) => {
                    let state = container.state.unwrap_or_default();
                    if state.oom_killed == Some(true) {
                        return Ended::Removed("the container took more memory than it may".to_owned());
                    }
                    if let Some(code) =
                        code.or_else(|| state.exit_code.filter(|_| state.running == Some(false)))
                    {
                        return exited(code);
                    }
                }
                Err(error) if error.is_status(404) => {
                    return code
                        .map_or_else(|| Ended::Removed("the container was removed".to_owned()), exited);
                }
                Err(_) => {
                    if let Some(code) = code {
                        return exited(code);
                    }
                }
            }
            tokio::time::sleep(backoff.next_delay()).await;
        }
    }

    /// Removes a container by force. Idempotent. What cannot be removed is removed by the next sweep.
    async fn remove(&self, name: &str) {
        if let Err(error) = self.try_remove(name).await {
            let error = &error as &dyn std::error::Error;
            tracing::warn!(name, error, "container of an instance not removed");
        }
    }

    async fn try_remove(&self, name: &str) -> Result<(), DockerError> {
        let options = RemoveContainerOptionsBuilder::new().force(true).v(true).build();
        match timed(self.docker.remove_container(name, Some(options))).await {
            // Gone, or on its way.
            Err(error) if !error.is_status(404) && !error.is_status(409) => Err(error),
            _ => Ok(()),
        }
    }

    async fn sweep(&self) -> Result<usize, DockerError> {
        let label = format!("{NODE_LABEL}={}", self.config.node);
        let filters = HashMap::from([("label".to_owned(), vec![label])]);
        let options = ListContainersOptionsBuilder::new().all(true).filters(&filters).build();
        let found = timed(self.docker.list_containers(Some(options))).await?;
        for container in &found {
            if let Some(id) = &container.id {
                self.try_remove(id).await?;
            }
        }
        Ok(found.len())
    }
}

fn exited(code: i64) -> Ended {
    match i32::try_from(code) {
        Ok(137) | Err(_) => Ended::Killed,
        Ok(code) => Ended::Exited(code),
    }
}

async fn timed<T>(call: impl Future<Output = Result<T, Error>>) -> Result<T, DockerError> {
    Ok(tokio::time::timeout(CALL_TIMEOUT, call).await.map_err(|_| DockerError::Timeout)?.map_err(Box::new)?)
}

/// The files of the agent, readable by nobody else.
fn archive(credentials: &Credentials) -> io::Result<Vec<u8>> {
    let mut archive = tar::Builder::new(Vec::new());
    let mut dir = tar::Header::new_gnu();
    dir.set_entry_type(tar::EntryType::Directory);
    dir.set_mode(0o500);
    dir.set_uid(USER.into());
    dir.set_gid(USER.into());
    dir.set_size(0);
    archive.append_data(&mut dir, CREDENTIALS_DIR, io::empty())?;
    for (name, content) in credentials.agent_files() {
        let content = content.expose().as_bytes();
        let mut file = tar::Header::new_gnu();
        file.set_mode(0o400);
        file.set_uid(USER.into());
        file.set_gid(USER.into());
        file.set_size(content.len() as u64);
        archive.append_data(&mut file, format!("{CREDENTIALS_DIR}/{name}"), content)?;
    }
    archive.into_inner()
}
