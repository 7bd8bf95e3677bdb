//! Endpoints as child processes of the node.
//!
//! The launcher starts the node's own executable with three sockets in the places of standard input, output and error:
//! the control socket and the two listeners. Handing them over so needs no code between fork and exec. The environment is
//! empty but for what names the endpoint; the process has a group of its own, so that a signal to the node's does not
//! reach it; and it asks the operating system to be killed with its node.

use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::process::ExitStatusExt as _;
use std::path::PathBuf;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use futures::FutureExt as _;
use futures::future::BoxFuture;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::process::{Child, Command};

use super::confine::confine;
use super::{Ended, LaunchError, LaunchSpec, Launched, Launcher};
use crate::News;
use crate::control::{Channel, FromServer, ToServer};

/// The command of the executable that becomes the server of an endpoint.
pub const COMMAND: &str = "serve-endpoint";
/// How long a server may take to make room for what it is told.
const TELL_TIMEOUT: Duration = Duration::from_secs(5);
/// The running program, also after its file was replaced.
const THIS_PROGRAM: &str = "/proc/self/exe";

/// Starts endpoints as processes.
#[derive(Clone, Debug)]
pub struct ProcessLauncher {
    executable: PathBuf,
}

impl ProcessLauncher {
    /// Starts this program anew for each endpoint.
    pub fn of_this_program() -> Self {
        Self::of(THIS_PROGRAM)
    }

    /// Starts another program.
    pub fn of(executable: impl Into<PathBuf>) -> Self {
        Self { executable: executable.into() }
    }

    async fn start(&self, spec: LaunchSpec) -> Result<Box<dyn Launched>, LaunchError> {
        let LaunchSpec { endpoint, name, cpu, ram, slot, moment, req_res, pubsub, .. } = spec;
        let (ours, theirs) = std::os::unix::net::UnixStream::pair().map_err(LaunchError::Start)?;
        let port = |listener: &std::net::TcpListener| Ok(listener.local_addr()?.port().to_string());
        let ports: io::Result<_> = port(&req_res).and_then(|req_res| Ok((req_res, port(&pubsub)?)));
        let (req_res_port, pubsub_port) = ports.map_err(LaunchError::Start)?;
        let child = Command::new(&self.executable)
            .arg0("cryptomesh")
            .arg(COMMAND)
            .env_clear()
            .env("ENDPOINT_ID", endpoint.as_str())
            .env("ENDPOINT_NAME", name.replace('\0', ""))
            .env("REQ_RES_PORT", req_res_port)
            .env("PUBSUB_PORT", pubsub_port)
            .stdin(Stdio::from(OwnedFd::from(theirs)))
            .stdout(Stdio::from(OwnedFd::from(req_res)))
            .stderr(Stdio::from(OwnedFd::from(pubsub)))
            .current_dir("/")
            .process_group(0)
            .kill_on_drop(true)
            .spawn()
            .map_err(LaunchError::Start)?;
        let pid = child.id().ok_or(LaunchError::EndedEarly(Ended::Unknown))?;
        let channel = Channel::new(ours).map_err(LaunchError::Start)?;
        let mut process = Process { child, channel };
        confine(pid, cpu, ram, slot).map_err(LaunchError::Start)?;
        let sent = process.channel.send(&ToServer::Start { endpoint_id: endpoint, name, moment }).await;
        // A server that ends early may close its end before it has read; how it ended says more then.
        match process.channel.receive::<FromServer>().await? {
            Some(FromServer::Ready) => {
                sent?;
                Ok(Box::new(process))
            }
            Some(FromServer::Failed { reason }) => Err(LaunchError::Refused(reason)),
            None => Err(LaunchError::EndedEarly(process.ended().await)),
        }
    }
}

impl Launcher for ProcessLauncher {
    fn name(&self) -> &'static str {
        "process"
    }

    fn runs_images(&self) -> bool {
        false
    }

    fn launch(&self, spec: LaunchSpec) -> BoxFuture<'_, Result<Box<dyn Launched>, LaunchError>> {
        self.start(spec).boxed()
    }
}

struct Process {
    child: Child,
    channel: Channel,
}

impl Process {
    async fn say(&mut self, message: &ToServer) -> Result<(), LaunchError> {
        let sent = tokio::time::timeout(TELL_TIMEOUT, self.channel.send(message)).await;
        Ok(sent.map_err(|_| LaunchError::Deaf)??)
    }
}

impl Launched for Process {
    fn tell<'a>(&'a mut self, news: &'a News) -> BoxFuture<'a, Result<(), LaunchError>> {
        async move { self.say(&ToServer::Tell { news: news.clone() }).await }.boxed()
    }

    fn drain(&mut self, within: Duration) -> BoxFuture<'_, ()> {
        let within_ms = u64::try_from(within.as_millis()).unwrap_or(u64::MAX);
        // If it cannot be asked, it is gone or will be killed.
        async move { drop(self.say(&ToServer::Drain { within_ms }).await) }.boxed()
    }

    fn kill(&mut self) {
        // Its id is not given to another process before this one has been waited for.
        let pid = self.child.id().and_then(|pid| Pid::from_raw(i32::try_from(pid).ok()?));
        if let Some(pid) = pid {
            // Already gone is as good.
            let _ = kill_process_group(pid, Signal::KILL);
        }
    }

    fn ended(&mut self) -> BoxFuture<'_, Ended> {
        async move { self.child.wait().await.map_or(Ended::Unknown, Ended::from) }.boxed()
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

impl From<ExitStatus> for Ended {
    fn from(status: ExitStatus) -> Self {
        match (status.code(), status.signal()) {
            (Some(code), _) => Ended::Exited(code),
            (None, Some(signal)) => Ended::Killed(signal),
            (None, None) => Ended::Unknown,
        }
    }
}
