//! Instances as child processes of the node.
//!
//! The launcher starts the measured executable with two sockets and nothing else: no arguments but the
//! command's name, no environment, no other descriptors. What it learns afterwards comes over the control
//! socket. A launched process never outlives its handle: dropping one kills it, and frees its port when it
//! is gone.

mod channel;
mod executable;
mod ports;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::ops::RangeInclusive;
use std::os::fd::OwnedFd;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use cm_instance::control::{ControlError, FromInstance, Launch, Ready, RunState, ToInstance};
use cm_types::Sha256Digest;
use tokio::process::{Child, Command};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use channel::Channel;
pub use executable::MeasuredExecutable;
use ports::{Port, Ports};

/// The command of the executable that becomes an instance.
const COMMAND: &str = "instance";
/// How long an instance that was told to end may take until it is killed.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// Settings of the launcher.
#[derive(Clone, Debug)]
pub struct LauncherConfig {
    /// The address on which instances listen.
    pub address: IpAddr,
    /// Their ports; without a range the operating system chooses.
    pub ports: Option<RangeInclusive<u16>>,
    /// Most instances at a time.
    pub instances_max: usize,
    /// From the start of the process until it must be ready.
    pub start_timeout: Duration,
}

/// Why an instance does not run.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// As many run as may.
    #[error("all {0} places for instances are taken")]
    TooMany(usize),
    /// There is no free port in the range.
    #[error("no port for another instance is free")]
    NoPort,
    /// The process could not be started or its sockets failed.
    #[error("the instance's process cannot be started")]
    Process(#[source] io::Error),
    /// The two processes do not understand each other.
    #[error("the instance's process cannot be understood")]
    Control(#[from] ControlError),
    /// It said why it could not begin.
    #[error("the instance cannot begin: {0}")]
    Refused(String),
    /// It ended without saying anything.
    #[error("the instance's process ended early")]
    EndedEarly,
    /// It was not ready in time.
    #[error("the instance was not ready in time")]
    Timeout,
}

/// A program for a new instance.
#[derive(Clone, Debug)]
pub struct ProgramFile {
    /// The module.
    pub wasm: Vec<u8>,
    /// Its sealed artefact, if the cache has one.
    pub artefact: Option<Vec<u8>>,
}

/// A compiled program that an instance sealed for the cache.
#[derive(Clone, Debug)]
pub struct Artefact {
    /// SHA-256 of the program.
    pub wasm_sha256: Sha256Digest,
    /// The artefact.
    pub sealed: Vec<u8>,
}

/// Starts instances.
#[derive(Debug)]
pub struct Launcher {
    config: LauncherConfig,
    executable: Arc<MeasuredExecutable>,
    ports: Ports,
    places: Arc<Semaphore>,
}

/// A place and a port for an instance that is about to be launched. Its address goes into the policy, so
/// it must be known first.
#[derive(Debug)]
pub struct Place {
    listener: std::net::TcpListener,
    address: SocketAddr,
    port: Port,
    permit: OwnedSemaphorePermit,
}

impl Place {
    /// Where the instance will listen.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

/// An instance that is ready.
#[derive(Debug)]
pub struct Launched {
    /// The process.
    pub instance: RunningInstance,
    /// What it said of itself.
    pub ready: Ready,
    /// What it compiled, for the cache.
    pub artefacts: Vec<Artefact>,
}

/// The process of an instance. Dropping it kills the process.
#[derive(Debug)]
pub struct RunningInstance {
    // The order of the fields is that of their dropping: first the process, then its port and place.
    child: Child,
    channel: Channel,
    _port: Port,
    _permit: OwnedSemaphorePermit,
}

/// Something that an instance tells while it runs.
#[derive(Debug)]
pub enum Told {
    /// A run changed its state.
    Run(RunState),
    /// The instance said that it ends, or its process is gone.
    Ended,
}

/// How an instance's process ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With an exit code; 0 after an orderly shutdown.
    Exited(i32),
    /// By a signal, its own fault's or ours.
    Killed,
}

impl Launcher {
    /// A launcher of one measured executable.
    pub fn new(config: LauncherConfig, executable: MeasuredExecutable) -> Self {
        let ports = Ports::new(config.address, config.ports.clone());
        let places = Arc::new(Semaphore::new(config.instances_max));
        Self { config, executable: Arc::new(executable), ports, places }
    }

    /// SHA-256 of the executable that every instance runs.
    pub fn measurement(&self) -> Sha256Digest {
        self.executable.measurement()
    }

    /// Takes a place and a port. Both are free again when the value, or what becomes of it, is dropped.
    pub fn reserve(&self) -> Result<Place, LaunchError> {
        let permit = self.places.clone().try_acquire_owned();
        let permit = permit.map_err(|_| LaunchError::TooMany(self.config.instances_max))?;
        let (listener, port) = self.ports.listen().map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => LaunchError::NoPort,
            _ => LaunchError::Process(error),
        })?;
        let address = SocketAddr::new(self.config.address, port.number());
        Ok(Place { listener, address, port, permit })
    }

    /// Starts an instance in a place and waits until it is ready. Dropping the future kills the process.
    pub async fn launch(
        &self,
        place: Place,
        launch: Launch,
        programs: &[ProgramFile],
        data_files: &[Vec<u8>],
    ) -> Result<Launched, LaunchError> {
        let starting = self.start(place, launch, programs, data_files);
        tokio::time::timeout(self.config.start_timeout, starting).await.map_err(|_| LaunchError::Timeout)?
    }

    async fn start(
        &self,
        place: Place,
        launch: Launch,
        programs: &[ProgramFile],
        data_files: &[Vec<u8>],
    ) -> Result<Launched, LaunchError> {
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(LaunchError::Process)?;
        // The two sockets take the places of standard input and output. Handing them over so needs no
        // code between fork and exec, and lets the child be started without copying our memory map.
        let child = Command::new(self.executable.path())
            .arg(COMMAND)
            .env_clear()
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(OwnedFd::from(place.listener)))
            .stderr(Stdio::null())
            .current_dir("/")
            .kill_on_drop(true)
            .spawn()
            .map_err(LaunchError::Process)?;
        let channel = Channel::new(ours).map_err(LaunchError::Process)?;
        let mut instance = RunningInstance { child, channel, _port: place.port, _permit: place.permit };
        let sent = instance.send_launch(launch, programs, data_files).await;
        // An instance that refuses early may close its end before everything was written; its own words
        // are the better answer then.
        let mut artefacts = Vec::new();
        loop {
            match instance.channel.receive().await? {
                Some(FromInstance::Artefact { wasm_sha256 }) => {
                    let sealed = instance.channel.receive_raw().await?.ok_or(LaunchError::EndedEarly)?;
                    artefacts.push(Artefact { wasm_sha256, sealed });
                }
                Some(FromInstance::Ready(ready)) => {
                    sent?;
                    return Ok(Launched { instance, ready, artefacts });
                }
                Some(FromInstance::Failed { reason }) => return Err(LaunchError::Refused(reason)),
                Some(FromInstance::State(_)) => {}
                Some(FromInstance::Exited { .. }) | None => return Err(LaunchError::EndedEarly),
            }
        }
    }
}

impl RunningInstance {
    async fn send_launch(
        &mut self,
        launch: Launch,
        programs: &[ProgramFile],
        data_files: &[Vec<u8>],
    ) -> Result<(), LaunchError> {
        self.channel.send(&ToInstance::Launch(Box::new(launch))).await?;
        for program in programs {
            self.channel.send_raw(&program.wasm).await?;
            if let Some(artefact) = &program.artefact {
                self.channel.send_raw(artefact).await?;
            }
        }
        for file in data_files {
            self.channel.send_raw(file).await?;
        }
        Ok(())
    }

    /// The next thing that the instance tells. Cancel-safe. A process that sends nonsense counts as ended.
    pub async fn told(&mut self) -> Told {
        loop {
            match self.channel.receive().await {
                Ok(Some(FromInstance::State(run))) => return Told::Run(run),
                Ok(Some(FromInstance::Artefact { .. })) => {
                    if self.channel.receive_raw().await.is_err() {
                        return Told::Ended;
                    }
                }
                Ok(Some(FromInstance::Ready(_))) => {}
                Ok(Some(FromInstance::Failed { .. } | FromInstance::Exited { .. }) | None) | Err(_) => {
                    return Told::Ended;
                }
            }
        }
    }

    /// Asks the instance to end. It tells its last states first.
    pub async fn ask_to_end(&mut self) {
        // If it cannot be asked, it is gone or will be killed.
        let _ = self.channel.send(&ToInstance::Shutdown).await;
    }

    /// Waits for the process to end, and kills it if it takes too long.
    pub async fn ended(mut self) -> Ended {
        let status = match tokio::time::timeout(SHUTDOWN_TIMEOUT, self.child.wait()).await {
            Ok(status) => status,
            Err(_) => {
                // Already gone is as good.
                let _ = self.child.start_kill();
                self.child.wait().await
            }
        };
        status.ok().as_ref().and_then(ExitStatus::code).map_or(Ended::Killed, Ended::Exited)
    }
}
