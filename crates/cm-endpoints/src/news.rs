//! What a deployed endpoint is told: its own state, and how far the functions on it are.

use cm_kernel::catalog::lifecycle::DEPLOYMENT_INITIATED;
use cm_kernel::catalog::{Query, Record};
use cm_kernel::policy::List;
use cm_kernel::{Kernel, KernelError, OpContext};
use cm_types::{PageLimit, ResourceId, ResourceKind, ResourceRef, Timestamp};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;
use tokio::time::{Duration, Instant};

/// Most functions that an endpoint is told of, in the order in which they were created.
pub(crate) const FUNCTIONS_MAX: usize = 1000;
/// The catalogue is looked at no more often than this, however often it changes.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);

/// Something that an endpoint shows to those who ask or listen.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "news", rename_all = "kebab-case")]
pub enum News {
    /// Its own state.
    State(Moment),
    /// All functions that are deployed on it.
    Functions {
        /// The functions, by when they were created.
        functions: Vec<FunctionStatus>,
    },
}

/// A state of an endpoint.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Moment {
    /// `warming`, `warm` or `draining`.
    pub state: String,
    /// Since when.
    pub since: Timestamp,
    /// Why, where that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// How far the deployment of a function is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct FunctionStatus {
    /// The function.
    pub function_id: ResourceId,
    /// `initiated`, `deploying`, `completed` or `failed`.
    pub deployment_status: String,
}

/// Follows the functions of one endpoint.
pub(crate) struct Functions {
    kernel: Kernel,
    op: OpContext,
    endpoint: ResourceRef,
    head: watch::Receiver<u64>,
    last: Vec<FunctionStatus>,
    /// When the catalogue may be looked at again.
    next_at: Instant,
    /// Whether something happened that was not looked at.
    pending: bool,
}

impl Functions {
    pub(crate) fn new(kernel: Kernel, op: OpContext, endpoint: &ResourceId) -> Self {
        let head = kernel.events().head();
        let endpoint = ResourceRef::new(ResourceKind::Endpoint, endpoint.as_str());
        Self { kernel, op, endpoint, head, last: Vec::new(), next_at: Instant::now(), pending: true }
    }

    /// The functions, as soon as they are others than were returned last. Cancel-safe.
    pub(crate) async fn changed(&mut self) -> Vec<FunctionStatus> {
        loop {
            if !self.pending {
                if self.head.changed().await.is_err() {
                    // The log is gone with its node, which is about to end this too.
                    std::future::pending::<()>().await;
                }
                self.pending = true;
            }
            tokio::time::sleep_until(self.next_at).await;
            let now = self.look().await;
            (self.pending, self.next_at) = (false, Instant::now() + LOOK_INTERVAL);
            match now {
                Ok(now) if now != self.last => {
                    self.last.clone_from(&now);
                    return now;
                }
                Ok(_) => {}
                Err(error) => {
                    // What is shown may be old until something else happens; nothing depends on it.
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(endpoint = %self.endpoint, error, "functions of an endpoint not read");
                }
            }
        }
    }

    async fn look(&self) -> Result<Vec<FunctionStatus>, KernelError> {
        let permit = self.kernel.authorize::<List>(&self.op, ResourceKind::Function).await?;
        let (mut found, mut after) = (Vec::new(), None);
        while found.len() < FUNCTIONS_MAX {
            let query = Query {
                referencing: Some(self.endpoint.clone()),
                limit: PageLimit::clamped(FUNCTIONS_MAX - found.len()),
                after,
                ..Query::of(ResourceKind::Function)
            };
            let page = self.kernel.list_records(&self.op, &permit, query).await?;
            found.extend(page.items.iter().map(status));
            after = page.next;
            if after.is_none() {
                break;
            }
        }
        Ok(found)
    }
}

fn status(function: &Record) -> FunctionStatus {
    let status = function.status.get("deployment_status").and_then(|status| status.as_str());
    FunctionStatus {
        function_id: function.header.id.clone(),
        deployment_status: status.unwrap_or(DEPLOYMENT_INITIATED).to_owned(),
    }
}
