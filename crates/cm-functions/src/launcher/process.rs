//! Instances as child processes of the node.
//!
//! The launcher starts the measured executable with two sockets and nothing else: no arguments but the
//! command's name, no environment, no other descriptors. What it learns afterwards comes over the control
//! socket. A process never outlives its vessel, nor its node: the kernel ends it with the thread that started it
//! (`PDEATHSIG`), so processes are started on the runtime's own threads and never on those for blocking work, which come and
//! go.

use std::io;
use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;

use cm_runtime::Tasks;
use cm_types::Sha256Digest;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::process::{Child, Command};

use super::pool::Pool;
use super::ports::{Port, Ports};
use super::{
    COMMAND, Ended, LaunchError, Launcher, LauncherConfig, MeasuredExecutable, Order, Place, Started, Vessel,
};

/// Starts instances as processes, some of them before they are asked for.
pub struct ProcessLauncher {
    starter: Arc<Starter>,
    pool: Arc<Pool>,
}

/// What starting a process needs.
pub(super) struct Starter {
    executable: MeasuredExecutable,
    ports: Ports,
}

/// A process that waits for its launch message, and its port.
pub(super) struct Waiting {
    // The order of the fields is that of their dropping: first the process, then its port.
    child: Child,
    control: tokio::net::UnixStream,
    port: Port,
}

impl ProcessLauncher {
    /// A launcher of one measured executable. Processes of the pool are started in the background.
    ///
    /// # Panics
    /// Outside a tokio runtime.
    pub fn new(config: &LauncherConfig, executable: MeasuredExecutable, tasks: &Tasks) -> Self {
        let ports = Ports::new(config.address, config.ports.clone());
        let starter = Arc::new(Starter { executable, ports });
        // Who may run none needs none that wait.
        let pool = Pool::new(config.pool.min(config.instances_max));
        pool.clone().keep_filled(starter.clone(), tasks);
        Self { starter, pool }
    }
}

impl Launcher for ProcessLauncher {
    fn name(&self) -> &'static str {
        "process"
    }

    fn measurement(&self) -> Sha256Digest {
        self.starter.executable.measurement()
    }

    fn reserve(&self) -> BoxFuture<'_, Result<Box<dyn Place>, LaunchError>> {
        async {
            if let Some(waiting) = self.pool.take() {
                let place = Warm { waiting: Some(waiting), pool: self.pool.clone() };
                return Ok(Box::new(place) as Box<dyn Place>);
            }
            let (listener, port) = self.starter.listen()?;
            Ok(Box::new(Cold { listener, port, starter: self.starter.clone() }) as Box<dyn Place>)
        }
        .boxed()
    }

    fn sweep(&self) -> BoxFuture<'_, Result<usize, LaunchError>> {
        // Processes end with their node, whatever ended it.
        futures::future::ready(Ok(0)).boxed()
    }

    fn drain(&self) {
        self.pool.drain();
    }
}

impl Starter {
    fn listen(&self) -> Result<(TcpListener, Port), LaunchError> {
        self.ports.listen().map_err(|error| match error.kind() {
            io::ErrorKind::AddrInUse => LaunchError::NoPort,
            _ => LaunchError::Process(error),
        })
    }

    /// A process with a port of its own.
    pub(super) fn start_waiting(&self) -> Result<Waiting, LaunchError> {
        let (listener, port) = self.listen()?;
        self.start(listener, port).map_err(LaunchError::Process)
    }

    fn start(&self, listener: TcpListener, port: Port) -> io::Result<Waiting> {
        let (control, child) = spawn(&self.executable, listener)?;
        control.set_nonblocking(true)?;
        Ok(Waiting { child, control: tokio::net::UnixStream::from_std(control)?, port })
    }
}

/// Starts the executable with its two sockets, and returns our end of the control socket.
pub(super) fn spawn(
    executable: &MeasuredExecutable,
    listener: TcpListener,
) -> io::Result<(UnixStream, Child)> {
    let (ours, theirs) = UnixStream::pair()?;
    // The two sockets take the places of standard input and output. Handing them over so needs no
    // code between fork and exec, and lets the child be started without copying our memory map.
    let child = Command::new(executable.path())
        .arg(COMMAND)
        .env_clear()
        .stdin(Stdio::from(OwnedFd::from(theirs)))
        .stdout(Stdio::from(OwnedFd::from(listener)))
        .stderr(Stdio::null())
        .current_dir("/")
        .kill_on_drop(true)
        .spawn()?;
    Ok((ours, child))
}

impl Waiting {
    /// Whether the process still waits. One that has ended is reaped by the question.
    pub(super) fn is_alive(&mut self) -> bool {
        matches!(self.child.try_wait(), Ok(None))
    }

    fn into_started(self) -> Started {
        let Self { child, control, port } = self;
        Started { control: Box::new(control), vessel: Box::new(Process { child, _port: port }) }
    }
}

/// A process that waits already. It goes back to the others if nobody launches it.
struct Warm {
    waiting: Option<Waiting>,
    pool: Arc<Pool>,
}

impl Place for Warm {
    fn port(&self) -> u16 {
        self.waiting.as_ref().map_or(0, |waiting| waiting.port.number())
    }

    fn is_warm(&self) -> bool {
        true
    }

    fn start<'a>(mut self: Box<Self>, _: &'a Order) -> BoxFuture<'a, Result<Started, LaunchError>> {
        let started = self.waiting.take().map(Waiting::into_started);
        futures::future::ready(started.ok_or(LaunchError::EndedEarly)).boxed()
    }
}

impl Drop for Warm {
    fn drop(&mut self) {
        if let Some(waiting) = self.waiting.take() {
            self.pool.give_back(waiting);
        }
    }
}

/// A port without a process.
struct Cold {
    listener: TcpListener,
    port: Port,
    starter: Arc<Starter>,
}

impl Place for Cold {
    fn port(&self) -> u16 {
        self.port.number()
    }

    fn start<'a>(self: Box<Self>, _: &'a Order) -> BoxFuture<'a, Result<Started, LaunchError>> {
        async move {
            let Self { listener, port, starter } = *self;
            let waiting = starter.start(listener, port).map_err(LaunchError::Process)?;
            Ok(waiting.into_started())
        }
        .boxed()
    }
}

/// The process of an instance.
struct Process {
    // The order of the fields is that of their dropping: first the process, then its port.
    child: Child,
    _port: Port,
}

impl Vessel for Process {
    fn kill(&mut self) {
        // Already gone is as good.
        let _ = self.child.start_kill();
    }

    fn ended(&mut self) -> BoxFuture<'_, Ended> {
        async {
            let status = self.child.wait().await;
            status.ok().as_ref().map_or(Ended::Killed, ended)
        }
        .boxed()
    }
}

/// What an exit status says. The supervisor of a killed instance exits with 128 and the signal's number.
pub(super) fn ended(status: &ExitStatus) -> Ended {
    match status.code() {
        Some(code) if code > 128 => Ended::Killed,
        Some(code) => Ended::Exited(code),
        None => Ended::Killed,
    }
}

#[cfg(test)]
mod tests;
