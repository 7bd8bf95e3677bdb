//! The life of one deployment, from `warming` to `cold`: a task of its own.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use cm_kernel::{Deployment, DeploymentStep, KernelError, OpContext};
use cm_runtime::Backoff;
use cm_types::{PrincipalId, Timestamp};
use tokio::sync::watch;
use tokio::time::Instant;

use crate::endpoints::Inner;
use crate::launcher::{Ended, LaunchError, LaunchSpec, Launched};
use crate::news::Functions;
use crate::ports::Pair;
use crate::{Moment, News};

/// How long a server that was killed may take to be gone.
const KILL_TIMEOUT: Duration = Duration::from_secs(5);
/// How often the end of a deployment is tried to be recorded. The next start of the node does it otherwise.
const RECORD_ATTEMPTS_MAX: u32 = 12;

/// Why a deployment shall end.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Stop {
    /// What its states say.
    pub(crate) reason: &'static str,
    /// Who asked for it, if it was a person.
    pub(crate) by: Option<PrincipalId>,
    /// How long its server may take to finish what is open.
    pub(crate) within: Duration,
}

/// One deployment and its task.
pub(crate) struct Life {
    pub(crate) inner: Arc<Inner>,
    pub(crate) deployment: Deployment,
    /// The node, within the tenant of the endpoint.
    pub(crate) op: OpContext,
    pub(crate) stop: watch::Receiver<Option<Stop>>,
    pub(crate) gone: watch::Sender<bool>,
    /// Held until the server is gone.
    pub(crate) ports: Pair,
}

/// How it came to an end.
struct End {
    reason: String,
    by: Option<PrincipalId>,
}

impl End {
    fn because(reason: impl std::fmt::Display) -> Self {
        Self { reason: reason.to_string(), by: None }
    }

    fn told(stop: Stop, how: Option<&str>) -> Self {
        let reason = how.map_or_else(|| stop.reason.to_owned(), |how| format!("{}; {how}", stop.reason));
        Self { reason, by: stop.by }
    }
}

impl Life {
    pub(crate) async fn run(mut self, spec: LaunchSpec) {
        let end = self.live(spec).await;
        tracing::info!(endpoint = %self.deployment.endpoint(), reason = %end.reason, "endpoint cold");
        // The server is gone, so its ports are free before the record says so.
        let Self { inner, deployment, op, gone, ports, .. } = self;
        drop(ports);
        record_end(&inner, &op, &deployment, end).await;
        inner.forget(&deployment);
        // Nobody may be waiting.
        let _ = gone.send(true);
    }

    /// Everything until the server is gone.
    async fn live(&mut self, spec: LaunchSpec) -> End {
        let inner = self.inner.clone();
        let launching = launch(&inner, spec);
        let launched = tokio::select! {
            biased;
            stop = asked(&mut self.stop) => return End::told(stop, Some("it did not come to serve")),
            launched = launching => launched,
        };
        let mut server = match launched {
            Ok(server) => server,
            Err(reason) => return End { reason, by: None },
        };
        let since = match self.advance(DeploymentStep::Warm, BTreeMap::new()).await {
            Ok(since) => since,
            Err(error) => {
                self.failed(&error);
                finish(&mut *server).await;
                return End::because("it could not be recorded that it serves");
            }
        };
        tracing::info!(endpoint = %self.deployment.endpoint(), "endpoint warm");
        match self.serve(&mut *server, moment(DeploymentStep::Warm, since, None)).await {
            Served::Asked(stop) => self.end(&mut *server, stop).await,
            Served::Ended(ended) => End::because(ended),
            Served::Deaf(error) => {
                finish(&mut *server).await;
                End::because(error)
            }
        }
    }

    async fn serve(&mut self, server: &mut dyn Launched, warm: Moment) -> Served {
        let mut news = News::State(warm);
        let kernel = self.inner.kernel.clone();
        let mut functions = Functions::new(kernel, self.op.clone(), self.deployment.endpoint());
        loop {
            if let Err(error) = server.tell(&news).await {
                // A server that is gone cannot be told anything either; how it ended says more.
                return match tokio::time::timeout(KILL_TIMEOUT, server.ended()).await {
                    Ok(ended) => Served::Ended(ended),
                    Err(_) => Served::Deaf(error),
                };
            }
            news = tokio::select! {
                biased;
                stop = asked(&mut self.stop) => return Served::Asked(stop),
                ended = server.ended() => return Served::Ended(ended),
                functions = functions.changed() => News::Functions { functions },
            };
        }
    }

    /// Lets the server finish, or ends it.
    async fn end(&mut self, server: &mut dyn Launched, stop: Stop) -> End {
        let mut facts = BTreeMap::from([("reason".to_owned(), stop.reason.to_owned())]);
        facts.extend(stop.by.as_ref().map(|by| ("by".to_owned(), by.to_string())));
        let deadline = Instant::now() + stop.within;
        let since = self.advance(DeploymentStep::Draining, facts).await.unwrap_or_else(|error| {
            self.failed(&error);
            self.inner.kernel.now()
        });
        let draining = moment(DeploymentStep::Draining, since, Some(stop.reason.to_owned()));
        // All of it within the time: a server that does not even listen gets no more of it.
        let finished = async {
            // Whoever listens should learn it; the server ends either way.
            let _ = server.tell(&News::State(draining)).await;
            server.drain(deadline.saturating_duration_since(Instant::now())).await;
            server.ended().await
        };
        match tokio::time::timeout_at(deadline, finished).await {
            Ok(_) => End::told(stop, None),
            Err(_) => {
                finish(server).await;
                let how = format!("the server did not finish within {} ms", stop.within.as_millis());
                End::told(stop, Some(&how))
            }
        }
    }

    /// Records a step; since when it holds.
    async fn advance(
        &self,
        step: DeploymentStep,
        facts: BTreeMap<String, String>,
    ) -> Result<Timestamp, KernelError> {
        let (kernel, facts) = (&self.inner.kernel, self.inner.with_facts(&self.deployment, facts));
        let record = kernel.advance_deployment(&self.op, &self.deployment, step, facts).await?;
        Ok(record.map_or_else(|| kernel.now(), |record| record.header.updated_at))
    }

    fn failed(&self, error: &KernelError) {
        let error = error as &dyn std::error::Error;
        tracing::error!(endpoint = %self.deployment.endpoint(), error, "state of an endpoint not recorded");
    }
}

fn moment(step: DeploymentStep, since: Timestamp, reason: Option<String>) -> Moment {
    Moment { state: step.state().to_owned(), since, reason }
}

/// How serving came to its end.
enum Served {
    Asked(Stop),
    Ended(Ended),
    Deaf(LaunchError),
}

/// Waits until somebody wants the end.
async fn asked(stop: &mut watch::Receiver<Option<Stop>>) -> Stop {
    if let Ok(stop) = stop.wait_for(Option::is_some).await
        && let Some(stop) = stop.clone()
    {
        return stop;
    }
    // The service keeps the sender for as long as the deployment lives.
    std::future::pending().await
}

/// Launches in turn and in time. The error is the reason, for people.
async fn launch(inner: &Inner, spec: LaunchSpec) -> Result<Box<dyn Launched>, String> {
    let _turn = inner.launches.acquire().await.expect("the semaphore is never closed");
    let timeout = inner.config.launch_timeout;
    match tokio::time::timeout(timeout, inner.launcher.launch(spec)).await {
        Ok(Ok(server)) => Ok(server),
        Ok(Err(error)) => Err(chain(&error)),
        Err(_) => Err(format!("the server did not serve within {} ms", timeout.as_millis())),
    }
}

/// Ends a server without waiting for what it does.
async fn finish(server: &mut dyn Launched) {
    server.kill();
    if tokio::time::timeout(KILL_TIMEOUT, server.ended()).await.is_err() {
        tracing::error!("the server of an endpoint was killed and is not gone");
    }
}

/// An error and what lies beneath it.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(reason) = next {
        text = format!("{text}: {reason}");
        next = reason.source();
    }
    text
}

async fn record_end(inner: &Inner, op: &OpContext, deployment: &Deployment, end: End) {
    let mut facts = BTreeMap::from([("reason".to_owned(), end.reason)]);
    facts.extend(end.by.map(|by| ("by".to_owned(), by.to_string())));
    let facts = inner.with_facts(deployment, facts);
    let mut backoff = Backoff::default();
    loop {
        let cold = DeploymentStep::Cold;
        let recorded = inner.kernel.advance_deployment(op, deployment, cold, facts.clone()).await;
        match recorded {
            Ok(_) | Err(KernelError::NotDeployed(_)) => return,
            Err(error) if error.retryable() && backoff.attempts() < RECORD_ATTEMPTS_MAX => {
                tokio::time::sleep(backoff.next_delay()).await;
            }
            Err(error) => {
                let error = &error as &dyn std::error::Error;
                tracing::error!(endpoint = %deployment.endpoint(), error, "end of an endpoint not recorded");
                return;
            }
        }
    }
}
