//! The life of an instance's process, from inherited sockets to exit.
//!
//! ```text
//! seclude ─ supervisor waits and ends as its child ended
//!    └──── confine, seal ─ wait ─ read Launch, bound
//!             └─ make a key ─ load and compile programs ─ certificate ─ Ready ─ serve ─ Exited
//! ```
//!
//! All walls but the limits, which the launch message names, stand before anything is read. Between them and the
//! launch message an instance may wait for as long as its launcher lives; what no launch changes is made ready
//! meanwhile (`prepared`).
//!
//! The launcher hands over two sockets: the control socket as standard input and the listening socket as
//! standard output. Any process start can place these two without running code of its own between fork
//! and exec, which lets the launcher start instances without copying its memory map first.

mod control;
mod inside;
mod prepared;

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, IntoRawFd as _};
use std::os::unix::net::UnixStream;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use cm_instance::control::{CONTROL_FD, ExitReason, FromInstance, IsolationLayer, LISTEN_FD, Ready};
use cm_runtime::Tasks;
use cm_types::Timestamp;
use rustls::pki_types::CertificateDer;
use tokio_util::sync::CancellationToken;

use crate::sandbox::{self, Bounds, Layer, Secluded};
use crate::server::{Allowed, HANDSHAKES_MAX, Identities, RUNNING_MAX, Refusals, Runs, Server, Service};
use control::{Control, Launched};
use prepared::Prepared;

/// The process was not started by a launcher, or lost it before anything could be said.
const EXIT_NO_LAUNCHER: u8 = 64;
/// The instance could not be launched; the launcher was told why.
const EXIT_FAILED: u8 = 65;
/// How long connections and runs may take to end after the instance was told to.
const DRAIN_TIMEOUT: Duration = Duration::from_secs(3);
/// How long the launch message may take to arrive, once its first byte has.
const LAUNCH_TIMEOUT: Duration = Duration::from_secs(30);

/// Why an instance does not begin.
#[derive(Debug, thiserror::Error)]
enum StartError {
    #[error("the launcher sent no usable launch message")]
    Launch(#[from] control::ControlFailure),
    #[error("the isolation layer `{name}` is required and does not stand: {reason}")]
    Isolation { name: String, reason: String },
    #[error("the policy cannot be used")]
    Policy(#[from] cm_instance::PolicyError),
    #[error("a program or data file cannot be loaded")]
    Load(#[from] inside::LoadError),
    #[error("the server cannot be set up")]
    Tls(#[from] crate::server::TlsError),
    #[error("a certificate of the policy cannot be used")]
    Certificate(#[from] cm_crypto::CryptoError),
    #[error("the policy has expired")]
    Expired,
    #[error("the process cannot be set up")]
    Io(#[from] io::Error),
}

/// The entry point of an instance's process. Call it first in `main`, while there is one thread.
///
/// Returns the process's exit code: 0 after a shutdown that the launcher or a client asked for.
pub fn main() -> ExitCode {
    match enter() {
        Ok(code) => ExitCode::from(code),
        Err(_) => ExitCode::from(EXIT_NO_LAUNCHER),
    }
}

fn enter() -> io::Result<u8> {
    let control = sandbox::adopt(CONTROL_FD)?;
    let listener = sandbox::adopt(LISTEN_FD)?;
    match sandbox::seclude(&[control.as_fd(), listener.as_fd()])? {
        Secluded::Supervisor(child) => {
            // The supervisor closes everything, these two included, without asking their owners.
            let _ = (control.into_raw_fd(), listener.into_raw_fd());
            Ok(sandbox::supervise(child))
        }
        Secluded::Instance(layers) => {
            let mut control = Control::new(UnixStream::from(control), LAUNCH_TIMEOUT)?;
            match inhabit(&mut control, listener.into(), layers) {
                Ok(()) => Ok(0),
                Err(error) => {
                    let reason = chain(&error);
                    control.send(&FromInstance::Failed { reason }).map_err(io::Error::other)?;
                    Ok(EXIT_FAILED)
                }
            }
        }
    }
}

/// From the launch message to the end.
fn inhabit(control: &mut Control, listener: TcpListener, mut layers: Vec<Layer>) -> Result<(), StartError> {
    sandbox::confine(&mut layers);
    // What the loop needs of the kernel is made before the filter forbids it.
    listener.set_nonblocking(true)?;
    let later = control.duplicate()?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_io().enable_time().build()?;
    sandbox::seal(&mut layers);
    // Threads inherit the walls, so that none may begin before they stand.
    let mut prepared = if control.is_waiting()? { Prepared::nothing() } else { Prepared::everything() };
    control.wait()?;
    let Launched { launch, programs, data_files } = control.launch()?;
    let limits = launch.limits.clone();
    let bounds = Bounds {
        data: limits.memory_bytes.saturating_mul(RUNNING_MAX as u64).saturating_add(limits.storage_bytes),
        connections: u64::from(limits.connections).saturating_add(HANDSHAKES_MAX as u64),
    };
    sandbox::bound(&mut layers, bounds);
    demand(&launch.require_isolation, &layers)?;

    let policy = launch.policy_text.parse()?;
    let lifetime = remaining(policy.enclave_cert_expiry.to_timestamp(), SystemTime::now())?;
    let (observe, refuse, news) = control::news();
    let key = prepared.key()?;
    // The node certifies while the programs are loaded here.
    control.request_certificate(key.spki_der())?;
    let engine = prepared.engine(policy.execution_strategy).map_err(inside::LoadError::from)?;
    let keep = |artefact: &control::Artefact| control.send_artefact(artefact);
    let loaded = inside::load(engine, &policy, &launch, programs, data_files, keep)?;
    let chain: Vec<CertificateDer<'static>> =
        control.certificate()?.into_iter().map(CertificateDer::from).collect();
    let isolation = layers.into_iter().map(described).collect();
    let ready = Ready {
        tls_spki_der: key.spki_der().to_vec(),
        tls_cert_der: chain.first().map(|leaf| leaf.to_vec()).unwrap_or_default(),
        isolation,
    };
    let certificates =
        policy.identities.iter().map(|identity| (identity.id, identity.certificate.der().to_vec()));
    let provider = prepared.provider();
    let identities = Arc::new(Identities::pin(certificates, provider)?);
    let doors = key.doors(chain, &identities, policy.ciphersuite)?;

    let stop = CancellationToken::new();
    let runs = Runs::new(loaded.clone(), observe, stop.clone());
    let time_max = Duration::from_millis(limits.wall_ms);
    let refusals = Arc::new(Refusals::new(refuse));
    let policy_hash = launch.policy_text.hash();
    let service = Service::new(loaded, runs, refusals.clone(), policy, policy_hash, time_max, stop.clone());
    let allowed = Allowed {
        connections: usize::try_from(limits.connections).unwrap_or(usize::MAX),
        file_bytes: limits.file_bytes,
    };
    let server = Arc::new(Server::new(doors, identities, Arc::new(service), refusals, allowed));

    runtime.block_on(async {
        let listener = tokio::net::TcpListener::from_std(listener)?;
        let mut control = control::Later::new(later)?;
        control.send(&FromInstance::Ready(ready)).await?;
        let reason = serve(server, listener, &mut control, news, &stop, lifetime).await;
        // A launcher that is gone cannot be told.
        let _ = control.send(&FromInstance::Exited { reason }).await;
        Ok(())
    })
}

/// Serves until somebody ends the instance.
async fn serve(
    server: Arc<Server>,
    listener: tokio::net::TcpListener,
    control: &mut control::Later,
    mut news: control::News,
    stop: &CancellationToken,
    lifetime: Duration,
) -> ExitReason {
    let expired = tokio::time::sleep(lifetime);
    tokio::pin!(expired);
    let tasks = Tasks::new();
    let accepting = {
        let inner = tasks.clone();
        tasks.spawn("accept", async move { server.accept(listener, &inner).await })
    };
    let reason = loop {
        tokio::select! {
            biased;
            Some(told) = news.recv() => {
                if control.send(&told).await.is_err() {
                    break ExitReason::Orphaned;
                }
            }
            reason = control.ended() => break reason,
            () = stop.cancelled() => break ExitReason::Client,
            () = &mut expired => break ExitReason::Expired,
        }
    };
    stop.cancel();
    tasks.drain(DRAIN_TIMEOUT).await;
    accepting.abort();
    while let Ok(told) = news.try_recv() {
        if control.send(&told).await.is_err() {
            break;
        }
    }
    reason
}

/// How long the policy still holds. No instance outlives it, nor does its certificate.
fn remaining(expiry: Timestamp, now: SystemTime) -> Result<Duration, StartError> {
    let left = expiry.since(now.into());
    if left.is_zero() { Err(StartError::Expired) } else { Ok(left) }
}

fn demand(required: &[String], layers: &[Layer]) -> Result<(), StartError> {
    for name in required {
        let layer = layers.iter().find(|layer| layer.name == name);
        let reason = match layer {
            Some(Layer { missing: None, .. }) => continue,
            Some(Layer { missing: Some(reason), .. }) => reason.clone(),
            None => "there is no layer of this name".to_owned(),
        };
        return Err(StartError::Isolation { name: name.clone(), reason });
    }
    Ok(())
}

fn described(layer: Layer) -> IsolationLayer {
    IsolationLayer { name: layer.name.to_owned(), active: layer.missing.is_none(), reason: layer.missing }
}

/// The error with everything beneath it, on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}

#[cfg(test)]
mod tests;
