//! The instance's end of the control socket: blocking until it is sealed, within the loop afterwards.

use std::io::{self, Read as _, Write as _};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use cm_instance::control::{
    self, ControlError, ExitReason, FromInstance, HEADER_LEN, Launch, MESSAGE_LEN_MAX, RAW_LEN_MAX, RunState,
    ToInstance,
};
use cm_instance::{ExecutionReport, GuestPath, Outcome};
use cm_types::Sha256Digest;
use rustix::event::{PollFd, PollFlags, Timespec};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::sync::mpsc;

use crate::server::{Observe, Tell};

/// States and refusals that may wait to be told. A launcher that reads too slowly misses some.
const NEWS_WAITING_MAX: usize = 1024;

/// Why the launcher could not be understood or told.
#[derive(Debug, thiserror::Error)]
pub(super) enum ControlFailure {
    /// The socket failed or ended.
    #[error(transparent)]
    Io(#[from] io::Error),
    /// A frame is no message.
    #[error(transparent)]
    Message(#[from] ControlError),
    /// A message came that does not belong there.
    #[error("the launcher sent another message than expected")]
    Order,
}

/// A program as it came, with the artefact that the launcher had of it.
pub(super) struct ProgramBytes {
    pub(super) wasm: Vec<u8>,
    pub(super) artefact: Option<Vec<u8>>,
}

/// The launch message with the bytes that follow it.
pub(super) struct Launched {
    pub(super) launch: Launch,
    pub(super) programs: Vec<ProgramBytes>,
    pub(super) data_files: Vec<Vec<u8>>,
}

/// A compiled program, sealed for the launcher's cache.
pub(super) struct Artefact {
    pub(super) wasm_sha256: Sha256Digest,
    pub(super) sealed: Vec<u8>,
}

/// The control socket before the loop runs.
pub(super) struct Control(UnixStream);

impl Control {
    pub(super) fn new(socket: UnixStream, timeout: Duration) -> io::Result<Self> {
        socket.set_read_timeout(Some(timeout))?;
        socket.set_write_timeout(Some(timeout))?;
        Ok(Self(socket))
    }

    /// Whether something has arrived, or the launcher is gone.
    pub(super) fn is_waiting(&self) -> io::Result<bool> {
        self.poll(Some(&Timespec { tv_sec: 0, tv_nsec: 0 }))
    }

    /// Waits until something has arrived, or the launcher is gone, for as long as that takes.
    pub(super) fn wait(&self) -> io::Result<()> {
        while !self.poll(None)? {}
        Ok(())
    }

    fn poll(&self, timeout: Option<&Timespec>) -> io::Result<bool> {
        let mut sockets = [PollFd::new(&self.0, PollFlags::IN)];
        match rustix::event::poll(&mut sockets, timeout) {
            Ok(ready) => Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Reads the launch message and everything that it announces.
    pub(super) fn launch(&mut self) -> Result<Launched, ControlFailure> {
        let ToInstance::Launch(launch) = control::decode(&self.frame(MESSAGE_LEN_MAX)?)? else {
            return Err(ControlFailure::Order);
        };
        let mut programs = Vec::with_capacity(launch.programs.len());
        for program in &launch.programs {
            let wasm = self.frame(RAW_LEN_MAX)?;
            let artefact = if program.artefact { Some(self.frame(RAW_LEN_MAX)?) } else { None };
            programs.push(ProgramBytes { wasm, artefact });
        }
        let data_files =
            launch.data_files.iter().map(|_| self.frame(RAW_LEN_MAX)).collect::<Result<_, _>>()?;
        Ok(Launched { launch: *launch, programs, data_files })
    }

    fn frame(&mut self, len_max: usize) -> Result<Vec<u8>, ControlFailure> {
        let mut header = [0; HEADER_LEN];
        self.0.read_exact(&mut header)?;
        let mut frame = vec![0; control::announced(header, len_max)?];
        self.0.read_exact(&mut frame)?;
        Ok(frame)
    }

    pub(super) fn send(&mut self, message: &FromInstance) -> Result<(), ControlFailure> {
        Ok(self.0.write_all(&control::encode(message)?)?)
    }

    pub(super) fn send_artefact(&mut self, artefact: &Artefact) -> Result<(), ControlFailure> {
        self.send(&FromInstance::Artefact { wasm_sha256: artefact.wasm_sha256 })?;
        self.0.write_all(&control::raw_header(artefact.sealed.len(), RAW_LEN_MAX)?)?;
        Ok(self.0.write_all(&artefact.sealed)?)
    }

    /// Asks for the certificate of a key. The answer can be read later, and something else sent meanwhile.
    pub(super) fn request_certificate(&mut self, spki_der: &[u8]) -> Result<(), ControlFailure> {
        self.send(&FromInstance::CertificateRequest { spki_der: spki_der.to_vec() })
    }

    /// The certificates that were asked for, in DER.
    pub(super) fn certificate(&mut self) -> Result<Vec<Vec<u8>>, ControlFailure> {
        match control::decode(&self.frame(MESSAGE_LEN_MAX)?)? {
            ToInstance::Certificate { chain_der } => Ok(chain_der),
            ToInstance::Launch(_) | ToInstance::Shutdown => Err(ControlFailure::Order),
        }
    }

    /// A second handle, for the loop.
    pub(super) fn duplicate(&self) -> io::Result<UnixStream> {
        self.0.try_clone()
    }
}

/// The control socket within the loop.
pub(super) struct Later {
    socket: tokio::net::UnixStream,
    arrived: Vec<u8>,
}

impl Later {
    pub(super) fn new(socket: UnixStream) -> io::Result<Self> {
        socket.set_nonblocking(true)?;
        Ok(Self { socket: tokio::net::UnixStream::from_std(socket)?, arrived: Vec::new() })
    }

    pub(super) async fn send(&mut self, message: &FromInstance) -> Result<(), ControlFailure> {
        Ok(self.socket.write_all(&control::encode(message)?).await?)
    }

    /// Waits until the launcher ends the instance or is gone. Cancel-safe: what has arrived is kept.
    pub(super) async fn ended(&mut self) -> ExitReason {
        loop {
            match self.take() {
                Ok(Some(ToInstance::Shutdown)) => return ExitReason::Launcher,
                // A second launch or certificate, or bytes without meaning: whoever sends them is not our launcher.
                Ok(Some(ToInstance::Launch(_) | ToInstance::Certificate { .. })) | Err(_) => {
                    return ExitReason::Orphaned;
                }
                Ok(None) => {}
            }
            match self.socket.read_buf(&mut self.arrived).await {
                Ok(0) | Err(_) => return ExitReason::Orphaned,
                Ok(_) => {}
            }
        }
    }

    fn take(&mut self) -> Result<Option<ToInstance>, ControlError> {
        let Some(header) = self.arrived.first_chunk::<HEADER_LEN>() else { return Ok(None) };
        let end = HEADER_LEN + control::announced(*header, MESSAGE_LEN_MAX)?;
        if self.arrived.len() < end {
            return Ok(None);
        }
        let message = control::decode(&self.arrived[HEADER_LEN..end])?;
        self.arrived.drain(..end);
        Ok(Some(message))
    }
}

/// What happens in the instance, on its way to the launcher.
pub(super) type News = mpsc::Receiver<FromInstance>;

/// Where states of runs and refusals are told, and where both come out. Telling never waits.
pub(super) fn news() -> (Arc<Observe>, Box<Tell>, News) {
    let (tell, news) = mpsc::channel(NEWS_WAITING_MAX);
    let refuse = {
        let tell = tell.clone();
        // Full or closed: the launcher reads too slowly or is gone, and serving matters more.
        Box::new(move |message| drop(tell.try_send(message)))
    };
    let observe = move |state: RunState| {
        let state = RunState { report: state.report.map(sparse), ..state };
        // The same, and the run matters more.
        let _ = tell.try_send(FromInstance::State(state));
    };
    (Arc::new(observe), refuse, news)
}

/// What the launcher may know of a run's end. A program chooses what it is refused and could spell its inputs
/// that way, so the list stays inside.
fn sparse(report: ExecutionReport) -> ExecutionReport {
    let outcome = match report.outcome {
        Outcome::MissingRight { right, call, .. } => {
            Outcome::MissingRight { path: GuestPath::root(), right, call }
        }
        outcome => outcome,
    };
    ExecutionReport { outcome, denied: Vec::new(), denied_count: 0, ..report }
}

#[cfg(test)]
mod tests;
