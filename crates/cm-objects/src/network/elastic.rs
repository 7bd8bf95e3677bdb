//! Copies that follow the load: what [`cm_placement::elastic`] plans is done here.
//!
//! ```text
//! counts      how often this node has read what; bounded memory, halved with time
//! settings    which buckets want it, and their policies of replication
//! demands     what policies demand now
//! sight       what the planner is to know: who is there, what is hot, which extra copies there are
//! execute     the plan: copies made and dropped
//! ```
//!
//! **Extra copies** are whole chunks on peers that placement does not want there. A row names them, so that readers ask them too and nobody takes
//! them for misplaced. They promise nothing: a write never counts on the row, repair never looks at it. Making one is a pull, as repair does it. Dropping
//! one takes it off the row; its peer then finds a part that belongs elsewhere and deletes it as any such part, which is once all its
//! holders have said that they have theirs. So an extra copy on which somebody happens to count outlives that.
//!
//! **Who plans** is the peer that surveys. It forgets nothing that matters when it changes: rows are in the database, and rates are asked of all peers each
//! time. What is wrong with rows (a peer lost its copy, left, or is wanted there by now) is put right before each plan.

pub(super) mod counts;
mod demands;
mod execute;
pub mod settings;
mod sight;

use std::sync::Arc;
use std::time::Duration;

use cm_placement::elastic::{Planner, PlannerConfig};
use cm_runtime::{WorkState, Worker};
use tokio::time::Instant;

use self::demands::Demands;
use super::Network;
use super::tables::Survey;
use crate::ObjectError;

/// Chunks that may have extra copies at once.
pub const EXTRA_CHUNKS_MAX: usize = 8192;
/// How full a peer may be for it to get extra copies, in percent of what it offers; those that it has go when it is as full as
/// [`CLEARED_PERCENT`].
const FILLED_PERCENT: u64 = 90;
const CLEARED_PERCENT: u64 = 97;
/// How many ticks' worth of bytes may be saved up for a larger copy.
const SAVED_TICKS: u32 = 6;

/// How fast copies follow the load.
#[derive(Clone, Debug, PartialEq)]
pub struct ElasticPace {
    /// How often copies are planned. 10 s unless told.
    pub every: Duration,
    /// How many bytes in a second are copied at most. 32 MB unless told.
    pub bytes_per_second: u64,
    /// How the planner behaves.
    pub planner: PlannerConfig,
}

impl Default for ElasticPace {
    fn default() -> Self {
        Self {
            every: Duration::from_secs(10),
            bytes_per_second: 32_000_000,
            planner: PlannerConfig::default(),
        }
    }
}

/// Plans and executes while this peer surveys.
pub(super) struct Replicator {
    network: Arc<Network>,
    planner: Planner,
    demands: Demands,
    /// Bytes that may be sent now.
    allowance: u64,
    allowed_at: Instant,
}

impl Replicator {
    pub(super) fn new(network: Arc<Network>) -> Self {
        let planner = Planner::new(network.pace.elastic.planner.clone());
        Self { network, planner, demands: Demands::default(), allowance: 0, allowed_at: Instant::now() }
    }

    /// What may be sent since the last time is added to what may still be sent.
    fn allow(&mut self) {
        let pace = &self.network.pace.elastic;
        let passed = self.allowed_at.elapsed().max(pace.every);
        self.allowed_at = Instant::now();
        let earned = (passed.as_secs_f64() * pace.bytes_per_second as f64) as u64;
        let most = (pace.every * SAVED_TICKS).as_secs_f64() * pace.bytes_per_second as f64;
        self.allowance = self.allowance.saturating_add(earned).min(most as u64);
    }
}

impl Worker for Replicator {
    type Error = ObjectError;

    fn name(&self) -> &'static str {
        "storage-elastic"
    }

    async fn work(&mut self) -> Result<WorkState, ObjectError> {
        let network = self.network.clone();
        if !network.surveys().await? {
            self.demands = Demands::default();
            return Ok(WorkState::Idle);
        }
        let Some(mut sight) = network.look_around().await? else {
            self.demands = Demands::default();
            return Ok(WorkState::Idle);
        };
        network.put_right(&mut sight).await?;
        network.gather_heat(&mut sight).await;
        self.demands.advance(&network, &sight).await?;
        self.allow();
        let facts = network.elastic_facts(&sight, &self.demands).await?;
        let plan = self.planner.plan(network.clock.now().into(), &facts, &sight.peers, self.allowance);
        self.allowance = self.allowance.saturating_sub(plan.bytes);
        network.execute(&sight, &self.demands, &facts, plan).await?;
        Ok(WorkState::Idle)
    }

    async fn wait_for_work(&mut self) {
        tokio::time::sleep(self.network.pace.elastic.every).await;
    }
}

impl Network {
    /// Whether this peer holds the survey now.
    pub(crate) async fn surveys(&self) -> Result<bool, ObjectError> {
        let row = self.db.look_up(|tx| Ok::<_, ObjectError>(tx.get::<Survey>(&())?)).await?;
        let now = self.clock.now().into();
        Ok(row.is_some_and(|row| row.holder == self.own && row.until > now))
    }
}
