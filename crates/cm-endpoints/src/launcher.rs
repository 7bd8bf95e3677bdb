//! How a server comes to run: the seam, behind which processes stand today and other things later.
//!
//! The `process` launcher starts the node's own executable and does not run the endpoint's `image`, which is for
//! launchers of containers; the states that it leads to say so.

mod confine;
mod process;

use std::net::TcpListener;
use std::time::Duration;

use cm_types::{ResourceId, TenantId};
use futures::future::BoxFuture;

use crate::control::ControlError;
use crate::{Moment, News};

pub use process::{COMMAND, ProcessLauncher};

/// Starts the servers of endpoints. Implementations must not block the thread that polls them.
pub trait Launcher: Send + Sync + 'static {
    /// What people call it.
    fn name(&self) -> &'static str;

    /// Whether what it starts is the endpoint's image, rather than a server of this program.
    fn runs_images(&self) -> bool;

    /// Starts a server and returns when it serves. The caller bounds the time; dropping the future leaves nothing.
    fn launch(&self, spec: LaunchSpec) -> BoxFuture<'_, Result<Box<dyn Launched>, LaunchError>>;
}

/// A server that serves. Dropping it ends the server at once.
pub trait Launched: Send {
    /// Passes on what the endpoint shows. Bounded in time.
    ///
    /// # Errors
    /// The server does not listen to its node any more, and should be ended.
    fn tell<'a>(&'a mut self, news: &'a News) -> BoxFuture<'a, Result<(), LaunchError>>;

    /// Asks the server to take nothing new, to finish what is open, and to end within this time. Returns once it is asked.
    fn drain(&mut self, within: Duration) -> BoxFuture<'_, ()>;

    /// Ends the server at once.
    fn kill(&mut self);

    /// Waits until the server is gone. Cancel-safe, and may be called again.
    fn ended(&mut self) -> BoxFuture<'_, Ended>;
}

/// What is to be started.
#[derive(Debug)]
pub struct LaunchSpec {
    /// The endpoint.
    pub endpoint: ResourceId,
    /// Whose it is.
    pub tenant: TenantId,
    /// What people call it.
    pub name: String,
    /// The image, for launchers that run images.
    pub image: String,
    /// CPU cores that it may use at a time; without a number as many as there are.
    pub cpu: Option<u32>,
    /// Bytes of memory that it may use; without a number as many as there are.
    pub ram: Option<u64>,
    /// Its place among the endpoints of this node, from 0.
    pub slot: u16,
    /// The state that it begins in.
    pub moment: Moment,
    /// Where it takes requests; nobody else can listen there as long as this is open.
    pub req_res: TcpListener,
    /// Where it takes those who listen to it; likewise.
    pub pubsub: TcpListener,
}

/// How a server ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ended {
    /// By itself, with this status.
    Exited(i32),
    /// By this signal.
    Killed(i32),
    /// It is gone, and nobody knows how.
    Unknown,
}

impl std::fmt::Display for Ended {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Ended::Exited(status) => write!(f, "the server exited with status {status}"),
            Ended::Killed(signal) => write!(f, "the server was killed by signal {signal}"),
            Ended::Unknown => f.write_str("the server is gone"),
        }
    }
}

/// Why a server does not serve.
#[derive(Debug, thiserror::Error)]
pub enum LaunchError {
    /// It could not be started or confined.
    #[error("the server cannot be started")]
    Start(#[source] std::io::Error),
    /// It said why it could not begin.
    #[error("the server cannot begin: {0}")]
    Refused(String),
    /// It ended before it served.
    #[error("{0} before it served")]
    EndedEarly(Ended),
    /// It and the node do not understand each other.
    #[error("the server cannot be understood")]
    Control(#[from] ControlError),
    /// It does not take what it is told.
    #[error("the server does not listen to its node")]
    Deaf,
}
