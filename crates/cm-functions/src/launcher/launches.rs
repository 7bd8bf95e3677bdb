//! Launching, whatever the platform: a bounded number, within bounded time, and what is said meanwhile.

use std::sync::Arc;
use std::time::Duration;

use cm_instance::Refused;
use cm_instance::control::{FromInstance, KeyProvided, Launch, Ready, RunState, ToInstance};
use cm_types::Sha256Digest;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use super::channel::Channel;
use super::{
    Artefact, Ended, LaunchError, Launcher, Order, Place, ProgramFile, SHUTDOWN_TIMEOUT, Started, Vessel,
};
use crate::certifier::Certifier;

/// Most bytes of a compiled program for each byte of its module. Optimising compilers make a few of one.
const ARTEFACT_EXPANSION_MAX: usize = 32;
/// And whatever is around the code: headers, tables, pages that begin where pages must.
const ARTEFACT_OVERHEAD_MAX: usize = 4 << 20;
/// Longest reason of a refusal that is passed on, in characters.
const REASON_CHARS_MAX: usize = 1000;

/// Starts instances by a launcher.
pub struct Launches {
    launcher: Arc<dyn Launcher>,
    places: Arc<Semaphore>,
    instances_max: usize,
    start_timeout: Duration,
}

impl std::fmt::Debug for Launches {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Launches").field("launcher", &self.launcher.name()).finish_non_exhaustive()
    }
}

/// A place among those that the node has, and one on the platform.
pub struct Reserved {
    place: Box<dyn Place>,
    permit: OwnedSemaphorePermit,
}

impl std::fmt::Debug for Reserved {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Reserved").field("port", &self.place.port()).finish_non_exhaustive()
    }
}

impl Reserved {
    /// The port under which clients will reach the instance.
    pub fn port(&self) -> u16 {
        self.place.port()
    }

    /// The host under which they will, where the platform knows better than the node.
    pub fn host(&self) -> Option<&str> {
        self.place.host()
    }

    /// Whether a launch from here is over at once.
    pub fn is_warm(&self) -> bool {
        self.place.is_warm()
    }
}

/// An instance that is ready.
#[derive(Debug)]
pub struct Launched {
    /// What runs.
    pub instance: RunningInstance,
    /// What it said of itself.
    pub ready: Ready,
    /// What it compiled, for the cache.
    pub artefacts: Vec<Artefact>,
}

/// An instance that runs. Dropping it ends it by force.
pub struct RunningInstance {
    // The order of the fields is that of their dropping: what runs, then the place that it had.
    vessel: Box<dyn Vessel>,
    channel: Channel,
    _permit: OwnedSemaphorePermit,
}

impl std::fmt::Debug for RunningInstance {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("RunningInstance").field("channel", &self.channel).finish_non_exhaustive()
    }
}

/// Something that an instance tells while it runs.
#[derive(Debug)]
pub enum Told {
    /// A run changed its state.
    Run(RunState),
    /// Something was refused for the sake of security.
    Refused(Refused),
    /// An identity handed over the key of a sealed file.
    KeyProvided(KeyProvided),
    /// The instance said that it ends, or is gone.
    Ended,
}

impl Launches {
    /// At most so many instances at a time, each ready within this time.
    pub fn new(launcher: Arc<dyn Launcher>, instances_max: usize, start_timeout: Duration) -> Self {
        Self { launcher, places: Arc::new(Semaphore::new(instances_max)), instances_max, start_timeout }
    }

    /// The platform.
    pub fn launcher(&self) -> &Arc<dyn Launcher> {
        &self.launcher
    }

    /// SHA-256 of the executable that every instance runs.
    pub fn measurement(&self) -> Sha256Digest {
        self.launcher.measurement()
    }

    /// Takes a place and a port. Both are free again when the value, or what becomes of it, is dropped.
    ///
    /// # Errors
    /// [`LaunchError::TooMany`] and [`LaunchError::NoPort`], and whatever the platform cannot do.
    pub async fn reserve(&self) -> Result<Reserved, LaunchError> {
        let permit = self.places.clone().try_acquire_owned();
        let permit = permit.map_err(|_| LaunchError::TooMany(self.instances_max))?;
        let reserving = tokio::time::timeout(self.start_timeout, self.launcher.reserve());
        let place = reserving.await.map_err(|_| LaunchError::Timeout)??;
        Ok(Reserved { place, permit })
    }

    /// Starts an instance in a place, has its key certified and waits until it is ready. Dropping the future ends it.
    pub async fn launch(
        &self,
        reserved: Reserved,
        order: &Order,
        launch: Launch,
        programs: &[ProgramFile],
        data_files: &[Vec<u8>],
        certifier: &Certifier,
    ) -> Result<Launched, LaunchError> {
        let Reserved { place, permit } = reserved;
        let starting = async {
            let Started { control, vessel } = place.start(order).await?;
            let instance = RunningInstance { vessel, channel: Channel::new(control), _permit: permit };
            instance.begin(launch, programs, data_files, certifier).await
        };
        tokio::time::timeout(self.start_timeout, starting).await.map_err(|_| LaunchError::Timeout)?
    }
}

impl RunningInstance {
    /// Hands everything over and waits until the instance is ready.
    async fn begin(
        mut self,
        launch: Launch,
        programs: &[ProgramFile],
        data_files: &[Vec<u8>],
        certifier: &Certifier,
    ) -> Result<Launched, LaunchError> {
        let sent = self.send_launch(launch, programs, data_files).await;
        // An instance that refuses early may close its end before everything was written; its own words
        // are the better answer then.
        let mut artefacts: Vec<Artefact> = Vec::new();
        let mut is_certified = false;
        loop {
            match self.channel.receive().await? {
                Some(FromInstance::Artefact { wasm_sha256 }) => {
                    let is_new = artefacts.iter().all(|artefact| artefact.wasm_sha256 != wasm_sha256);
                    let program = programs.iter().find(|program| is_new && program.sha256 == wasm_sha256);
                    let len_max = artefact_len_max(program.ok_or(LaunchError::Unexpected)?.wasm.len());
                    let sealed = self.channel.receive_raw(len_max).await?.ok_or(LaunchError::EndedEarly)?;
                    artefacts.push(Artefact { wasm_sha256, sealed });
                }
                Some(FromInstance::Ready(ready)) => {
                    sent?;
                    return Ok(Launched { instance: self, ready, artefacts });
                }
                Some(FromInstance::Failed { reason }) => {
                    return Err(LaunchError::Refused(reason.chars().take(REASON_CHARS_MAX).collect()));
                }
                Some(FromInstance::CertificateRequest { .. }) if is_certified => {
                    return Err(LaunchError::Unexpected);
                }
                Some(FromInstance::CertificateRequest { spki_der }) => {
                    let chain_der = certifier.certify(&spki_der).await?;
                    is_certified = true;
                    self.channel.send(&ToInstance::Certificate { chain_der }).await?;
                    self.channel.flush().await?;
                }
                Some(FromInstance::State(_) | FromInstance::Refused(_) | FromInstance::KeyProvided(_)) => {}
                Some(FromInstance::Exited { .. }) | None => return Err(LaunchError::EndedEarly),
            }
        }
    }

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
        self.channel.flush().await
    }

    /// The next thing that the instance tells. Cancel-safe. One that sends nonsense counts as ended, and so does one whose
    /// vessel is gone although somebody still holds the connection.
    pub async fn told(&mut self) -> Told {
        let Self { vessel, channel, .. } = self;
        tokio::select! {
            biased;
            told = heard(channel) => told,
            _ = vessel.ended() => Told::Ended,
        }
    }

    /// Asks the instance to end. It tells its last states first.
    pub async fn ask_to_end(&mut self) {
        // If it cannot be asked, it is gone or will be ended by force.
        let asking = async {
            self.channel.send(&ToInstance::Shutdown).await?;
            self.channel.flush().await
        };
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, asking).await;
    }

    /// Ends the instance by force.
    pub fn kill(&mut self) {
        self.vessel.kill();
    }

    /// Waits for the instance to be gone, and ends it by force if it takes too long.
    pub async fn ended(mut self) -> Ended {
        let ended = match tokio::time::timeout(SHUTDOWN_TIMEOUT, self.vessel.ended()).await {
            Ok(ended) => ended,
            Err(_) => {
                self.vessel.kill();
                let ended = tokio::time::timeout(SHUTDOWN_TIMEOUT, self.vessel.ended()).await;
                ended.unwrap_or(Ended::Killed)
            }
        };
        // What ran within what ended may take a moment longer, and has the port until then.
        let rest = async { while let Ok(Some(_)) = self.channel.receive().await {} };
        let _ = tokio::time::timeout(SHUTDOWN_TIMEOUT, rest).await;
        ended
    }
}

async fn heard(channel: &mut Channel) -> Told {
    loop {
        match channel.receive().await {
            Ok(Some(FromInstance::State(run))) => return Told::Run(run),
            Ok(Some(FromInstance::Refused(refused))) => return Told::Refused(refused),
            Ok(Some(FromInstance::KeyProvided(provided))) => return Told::KeyProvided(provided),
            // Said once, before it was ready.
            Ok(Some(FromInstance::Ready(_) | FromInstance::CertificateRequest { .. })) => {}
            // Programs are compiled for the cache before it is ready, and not afterwards.
            Ok(
                Some(
                    FromInstance::Failed { .. } | FromInstance::Exited { .. } | FromInstance::Artefact { .. },
                )
                | None,
            )
            | Err(_) => return Told::Ended,
        }
    }
}

/// How long the artefact of a module may be, in bytes.
fn artefact_len_max(wasm_len: usize) -> usize {
    wasm_len.saturating_mul(ARTEFACT_EXPANSION_MAX).saturating_add(ARTEFACT_OVERHEAD_MAX)
}
