//! What launchers of containers and pods have in common: the way to the agent, and cleaning up whatever happens.

use std::net::SocketAddr;
use std::time::Duration;

use cm_runtime::{Backoff, CancellationToken, Tasks};
use cm_types::Sha256Digest;
use futures::FutureExt as _;
use futures::future::BoxFuture;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_util::sync::DropGuard;

use super::link::Connector;
use super::{Connection, Ended, LaunchError, LinkError, Vessel};

/// For one attempt to connect.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Between two attempts.
const RETRY_FIRST: Duration = Duration::from_millis(20);
const RETRY_MAX: Duration = Duration::from_millis(500);

/// Connects to an agent that may not listen yet. Tries for as long as the caller waits.
pub(super) async fn connect(
    address: SocketAddr,
    connector: &Connector,
    measurement: Sha256Digest,
) -> Result<Box<dyn Connection>, LaunchError> {
    let mut backoff = Backoff::new(RETRY_FIRST, RETRY_MAX);
    loop {
        let connected = tokio::time::timeout(CONNECT_TIMEOUT, TcpStream::connect(address)).await;
        if let Ok(Ok(stream)) = connected {
            match connector.greet(stream, measurement).await {
                Ok(link) => return Ok(Box::new(link)),
                // Something in between may accept before the agent does.
                Err(LinkError::Io(error)) => {
                    let error = &error as &dyn std::error::Error;
                    tracing::debug!(%address, error, "the agent does not answer yet");
                }
                Err(error) => return Err(error.into()),
            }
        }
        tokio::time::sleep(backoff.next_delay()).await;
    }
}

/// Something on a platform that is taken away when nobody holds this any more.
///
/// A task of its own watches it and cleans up after it, so that neither a dropped future nor a vanished caller leaves
/// anything.
pub(super) struct Kept {
    kill: CancellationToken,
    ended: watch::Receiver<Option<Ended>>,
    _guard: DropGuard,
}

impl Kept {
    /// Watches by `life`, which ends when the thing does, and cleans up with `clean` afterwards, or when told to kill, or
    /// when the tasks are drained. `clean` bounds its own time, and is idempotent.
    pub(super) fn new(
        tasks: &Tasks,
        life: impl Future<Output = Ended> + Send + 'static,
        clean: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let kill = CancellationToken::new();
        let (tell, ended) = watch::channel(None);
        let (killed, drained) = (kill.clone(), tasks.token());
        tasks.spawn("instance-vessel", async move {
            let ended = tokio::select! {
                biased;
                () = killed.cancelled() => Ended::Killed,
                () = drained.cancelled() => Ended::Killed,
                ended = life => ended,
            };
            clean.await;
            // Nobody may be waiting.
            let _ = tell.send(Some(ended));
        });
        Self { _guard: kill.clone().drop_guard(), kill, ended }
    }
}

impl Vessel for Kept {
    fn kill(&mut self) {
        self.kill.cancel();
    }

    fn ended(&mut self) -> BoxFuture<'_, Ended> {
        async {
            let ended = self.ended.wait_for(Option::is_some).await;
            // An error means that the runtime took the task away.
            ended.ok().and_then(|ended| ended.clone()).unwrap_or(Ended::Killed)
        }
        .boxed()
    }
}

/// Waits for a start, and gives up as soon as what is started has ended.
pub(super) async fn unless_ended<T>(
    kept: &mut Kept,
    start: impl Future<Output = Result<T, LaunchError>>,
) -> Result<T, LaunchError> {
    tokio::select! {
        biased;
        started = start => started,
        ended = kept.ended() => Err(LaunchError::Vessel(ended)),
    }
}
