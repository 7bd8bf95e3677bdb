//! Says that this node is there, and ends what nodes left deployed that are not there any more.
//!
//! Each node that shares a catalogue holds a lease on its own name for as long as it lives. Whoever finds deployments of a
//! node without one ends them in their records: their servers died with their node, and their places under the limits are
//! somebody else's. A node that loses its lease, because it was cut off from the database for longer than that, ends its
//! own servers, for others say by then that they are gone.

use std::collections::BTreeSet;
use std::time::Duration;

use cm_kernel::leases::Lease;
use cm_runtime::{Backoff, Tasks, WorkState, Worker, spawn_worker};

use crate::EndpointError;
use crate::endpoints::Endpoints;
use crate::life::Stop;

/// How long a node that says nothing counts as there.
const LASTS: Duration = Duration::from_secs(30);
/// How often a node says that it is there; so that two failures in a row are survived.
const EVERY: Duration = Duration::from_secs(10);
const BACKOFF_FIRST: Duration = Duration::from_millis(200);
const BACKOFF_MAX: Duration = Duration::from_secs(5);

/// Keeps up the presence of a node in the background.
pub(crate) fn keep_up(endpoints: Endpoints, tasks: &Tasks) {
    let presence = Presence { endpoints, lease: None };
    spawn_worker(tasks, presence, Backoff::new(BACKOFF_FIRST, BACKOFF_MAX));
}

/// The name of a node's lease.
fn name_of(node: &str) -> String {
    format!("node/{node}")
}

struct Presence {
    endpoints: Endpoints,
    lease: Option<Lease>,
}

impl Worker for Presence {
    type Error = EndpointError;

    fn name(&self) -> &'static str {
        "endpoint-presence"
    }

    async fn work(&mut self) -> Result<WorkState, EndpointError> {
        self.say_so().await?;
        self.endpoints.end_abandoned().await?;
        Ok(WorkState::Idle)
    }

    async fn wait_for_work(&mut self) {
        tokio::time::sleep(EVERY).await;
    }
}

impl Presence {
    async fn say_so(&mut self) -> Result<(), EndpointError> {
        let leases = self.endpoints.0.kernel.leases();
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
        Ok(())
    }
}

impl Endpoints {
    /// Ends in their records what nodes deployed that are not there any more.
    pub(crate) async fn end_abandoned(&self) -> Result<(), EndpointError> {
        let kernel = &self.0.kernel;
        let others: BTreeSet<String> = kernel.deploying_nodes().await?;
        for node in others.into_iter().filter(|node| *node != self.0.config.node) {
            if kernel.leases().holder(&name_of(&node)).await?.is_some() {
                continue;
            }
            for deployment in kernel.deployments_on(&node).await? {
                tracing::warn!(%node, endpoint = %deployment.endpoint(), "its node is gone, the endpoint is cold");
                self.0.end_leftover(&deployment, "its node is gone").await?;
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
