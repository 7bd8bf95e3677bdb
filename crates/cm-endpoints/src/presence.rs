//! Says that this node is there, and ends what nodes left deployed that are not there any more.
//!
//! Each node that shares a catalogue holds a lease on its own name for as long as it lives. Whoever finds deployments of a
//! node without one ends them in their records: their servers died with their node, and their places under the limits are
//! somebody else's. A node that loses its lease, because it was cut off from the database for longer than that, ends its
//! own servers, for others say by then that they are gone.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use cm_kernel::KernelError;
use cm_kernel::leases::Lease;
use cm_runtime::{Backoff, Tasks, WorkState, Worker, spawn_worker};

use crate::EndpointError;
use crate::endpoints::Endpoints;
use crate::life::Stop;

/// How long a node that says nothing counts as there.
const LASTS: Duration = Duration::from_secs(30);
/// After how long without a word a node ends its servers: before its lease does, by as long as they may take.
const SILENT_MAX: Duration = Duration::from_secs(18);
/// How often a node says that it is there; so that two failures in a row are survived.
const EVERY: Duration = Duration::from_secs(10);
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Says that the node is there, and goes on saying so in the background.
pub(crate) async fn keep_up(endpoints: Endpoints, tasks: &Tasks) -> Result<(), EndpointError> {
    let said_at = endpoints.0.kernel.clock().monotonic();
    let mut presence = Presence { endpoints, lease: None, said_at };
    // Before anything can be deployed: what a node without a lease deploys is anybody's to end.
    presence.say_so().await?;
    spawn_worker(tasks, presence, Backoff::new(BACKOFF_FIRST, BACKOFF_MAX));
    Ok(())
}

/// The name of a node's lease.
fn name_of(node: &str) -> String {
    format!("node/{node}")
}

struct Presence {
    endpoints: Endpoints,
    lease: Option<Lease>,
    /// When the database last heard of this node.
    said_at: Instant,
}

impl Worker for Presence {
    type Error = EndpointError;

    fn name(&self) -> &'static str {
        "endpoint-presence"
    }

    async fn work(&mut self) -> Result<WorkState, EndpointError> {
        let kernel = self.endpoints.0.kernel.clone();
        let said = tokio::time::timeout(EVERY, self.say_so()).await;
        if matches!(said, Ok(Ok(()))) {
            self.endpoints.end_abandoned().await?;
            return Ok(WorkState::Idle);
        }
        let silent = kernel.clock().monotonic().saturating_duration_since(self.said_at);
        if silent >= SILENT_MAX {
            self.endpoints.stop_all("the node was cut off");
        }
        // Without an answer in time there is no error to tell of, and no time to wait either.
        said.unwrap_or(Ok(())).map(|()| WorkState::Busy)
    }

    async fn wait_for_work(&mut self) {
        tokio::time::sleep(EVERY).await;
    }
}

impl Presence {
    async fn say_so(&mut self) -> Result<(), EndpointError> {
        let kernel = &self.endpoints.0.kernel;
        let (leases, now) = (kernel.leases(), kernel.clock().monotonic());
        if let Some(lease) = &self.lease {
            self.lease = leases.renew(lease, LASTS).await?;
            if self.lease.is_none() {
                tracing::warn!("this node was taken for gone; its endpoints end");
                self.endpoints.stop_all("the node was cut off");
            }
        }
        if self.lease.is_none() {
            self.lease = leases.take_over(&name_of(&self.endpoints.0.config.node), LASTS).await?;
        }
        // The lease counts from before it was asked for.
        self.said_at = now;
        Ok(())
    }
}

impl Endpoints {
    /// Ends in their records what nodes deployed that are not there any more.
    pub(crate) async fn end_abandoned(&self) -> Result<(), EndpointError> {
        let kernel = &self.0.kernel;
        let others: BTreeSet<String> = kernel.deploying_nodes().await?;
        for node in others.into_iter().filter(|node| *node != self.0.config.node) {
            for deployment in kernel.deployments_on(&node).await? {
                let facts = BTreeMap::from([("reason".to_owned(), "its node is gone".to_owned())]);
                let facts = self.0.with_facts(&deployment, facts);
                let op = self.0.node_op(deployment.tenant());
                let ended = kernel.end_abandoned_deployment(&op, &deployment, &name_of(&node), facts).await;
                match ended {
                    Ok(false) | Err(KernelError::NotDeployed(_)) => {}
                    Ok(true) => {
                        tracing::warn!(%node, endpoint = %deployment.endpoint(), "the node of an endpoint is gone");
                    }
                    // One that cannot be ended must not keep the others.
                    Err(error) => {
                        let error = &error as &dyn std::error::Error;
                        tracing::error!(%node, endpoint = %deployment.endpoint(), error, "abandoned endpoint not ended");
                    }
                }
            }
        }
        Ok(())
    }

    /// Asks all servers of this node to end, and does not wait for them.
    fn stop_all(&self, reason: &'static str) {
        let within = self.0.config.drain_timeout;
        for live in self.0.live().values() {
            live.ask(Stop { reason, by: None, within });
        }
    }
}
