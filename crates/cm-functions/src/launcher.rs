//! How an instance comes to run: the seam, behind which processes, containers and pods stand.
//!
//! A [`Launcher`] knows one platform. It gives out a [`Place`], because the address of an instance goes into the policy and
//! must be known before the launch; from the place comes a [`Vessel`] with a connection on which the instance's own
//! protocol is spoken (`cm_instance::control`). What is said there is the same for all of them and lives in [`Launches`],
//! which also bounds how many run and how long a launch may take.
//!
//! | launcher | a vessel is | the connection is | seen as gone by |
//! | --- | --- | --- | --- |
//! | [`ProcessLauncher`] | a child process | an inherited socket | the operating system |
//! | [`DockerLauncher`] | a container that runs [`agent`] | TLS 1.3 with both certificates pinned | the daemon |
//! | [`KubernetesLauncher`] | a pod that runs [`agent`], and what belongs to it | the same | a watch |
//!
//! Whatever is dropped is undone: a place gives back its port, a vessel ends what runs in it. What a node that died could not
//! undo is found by [`Launcher::sweep`] when it returns.

pub mod agent;
mod channel;
pub mod docker;
mod executable;
pub mod kubernetes;
mod launches;
pub mod link;
mod pool;
mod ports;
mod process;
mod remote;

use std::fmt;
use std::io;
use std::net::IpAddr;
use std::ops::RangeInclusive;
use std::time::Duration;

use cm_instance::control::ControlError;
use cm_types::Sha256Digest;
use futures::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};

pub use docker::{DockerConfig, DockerError, DockerLauncher};
pub use executable::MeasuredExecutable;
pub use kubernetes::{KubernetesConfig, KubernetesError, KubernetesLauncher};
pub use launches::{Launched, Launches, Reserved, RunningInstance, Told};
pub use link::LinkError;
pub use process::ProcessLauncher;

/// The command of the executable that becomes an instance.
pub const COMMAND: &str = "instance";
/// How long an instance that was told to end may take until it is ended by force.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(5);

/// What every launcher is told.
#[derive(Clone, Debug)]
pub struct LauncherConfig {
    /// The address on which instances listen.
    pub address: IpAddr,
    /// Their ports; without a range the operating system chooses, where the platform lets it.
    pub ports: Option<RangeInclusive<u16>>,
    /// Most instances at a time.
    pub instances_max: usize,
    /// From the beginning of a launch until the instance must be ready.
    pub start_timeout: Duration,
    /// Vessels that are kept started, waiting for what they shall run. Only processes wait.
    pub pool: usize,
}

/// One platform on which instances run. Implementations must not block the thread that polls them for longer than it takes to
/// start a process.
pub trait Launcher: Send + Sync + 'static {
    /// What people call it: `process`, `docker`, `kubernetes`.
    fn name(&self) -> &'static str;

    /// SHA-256 of the executable that every instance runs, as policies name it.
    fn measurement(&self) -> Sha256Digest;

    /// Takes a port. It is free again when the place, or what becomes of it, is dropped and gone.
    fn reserve(&self) -> BoxFuture<'_, Result<Box<dyn Place>, LaunchError>>;

    /// Ends whatever an earlier life of this node left on the platform. Idempotent; returns how many vessels it ended.
    fn sweep(&self) -> BoxFuture<'_, Result<usize, LaunchError>>;

    /// Lets go of what waits for work, and starts nothing more that would. Instances that run go on.
    fn drain(&self);
}

/// A port for an instance that is about to be launched, and whatever of the instance is there already.
pub trait Place: Send {
    /// The port under which clients will reach the instance.
    fn port(&self) -> u16;

    /// The host under which they will, where the platform knows better than the node.
    fn host(&self) -> Option<&str> {
        None
    }

    /// Whether a vessel waits here already, so that a launch is over at once.
    fn is_warm(&self) -> bool {
        false
    }

    /// Starts the vessel and connects to the instance in it. The caller bounds the time; dropping the future leaves nothing.
    fn start<'a>(self: Box<Self>, order: &'a Order) -> BoxFuture<'a, Result<Started, LaunchError>>;
}

/// What a platform has to know of an instance.
#[derive(Clone, Debug)]
pub struct Order {
    /// The instance's id.
    pub instance: String,
    /// The exact text of its policy.
    pub policy_text: String,
    /// SHA-256 of that text.
    pub policy_hash: Sha256Digest,
    /// Memory of one program, in bytes, as the policy says.
    pub memory_bytes: u64,
    /// Most bytes of all its files.
    pub storage_bytes: u64,
}

/// Bytes in both directions between the node and an instance.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Connection for T {}

/// A vessel with an instance that waits for its launch message.
pub struct Started {
    /// On which the instance's protocol is spoken.
    pub control: Box<dyn Connection>,
    /// What it runs in.
    pub vessel: Box<dyn Vessel>,
}

impl fmt::Debug for Started {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Started").finish_non_exhaustive()
    }
}

/// What an instance runs in. Dropping it ends the instance, by force, and frees everything that belongs to it.
pub trait Vessel: Send {
    /// Ends it by force. Returns at once.
    fn kill(&mut self);

    /// Waits until it is gone. Cancel-safe, and may be called again.
    fn ended(&mut self) -> BoxFuture<'_, Ended>;
}

/// How an instance's vessel ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// With an exit code; 0 after an orderly shutdown.
    Exited(i32),
    /// By a signal, its own fault's or ours.
    Killed,
    /// The platform took it away, and says why.
    Removed(String),
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
    /// The key that it made is none that can be certified.
    #[error("the key that the instance made cannot be certified")]
    Certificate(#[source] cm_crypto::CryptoError),
    /// It has no record in the catalogue, and so may not begin to serve.
    #[error("the instance was not recorded")]
    NotRecorded,
    /// It sent what it had no reason to send: a second request for a certificate, or a compiled program that it was not given, sent
    /// before, or that is larger than compiling could have made it. It counts as taken over.
    #[error("the instance sent what was not expected of it")]
    Unexpected,
    /// It ended without saying anything.
    #[error("the instance's process ended early")]
    EndedEarly,
    /// It was not ready in time.
    #[error("the instance was not ready in time")]
    Timeout,
    /// The agent beside a remote instance cannot be reached or believed.
    #[error("the agent of the instance cannot be reached")]
    Link(#[from] LinkError),
    /// The daemon does not do its part.
    #[error(transparent)]
    Docker(#[from] DockerError),
    /// The cluster does not do its part.
    #[error(transparent)]
    Kubernetes(#[from] KubernetesError),
    /// The container or pod came to nothing.
    #[error("the platform ended the instance before it was ready: {0}")]
    Vessel(Ended),
    /// The credentials of the link cannot be made.
    #[error("the credentials of the instance's agent cannot be made")]
    Credentials(#[from] cm_crypto::CryptoError),
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Ended::Exited(code) => write!(f, "it exited with code {code}"),
            Ended::Killed => f.write_str("it was killed"),
            Ended::Removed(reason) => f.write_str(reason),
        }
    }
}

/// A program for a new instance.
#[derive(Clone, Debug)]
pub struct ProgramFile {
    /// The module.
    pub wasm: Vec<u8>,
    /// SHA-256 of the module.
    pub sha256: Sha256Digest,
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
