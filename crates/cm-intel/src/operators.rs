//! The kernel's log, followed: peers that operators add are dialled, and what the node refuses becomes threats.

use std::sync::Arc;
use std::time::Duration;

use cm_kernel::catalog::Query;
use cm_kernel::events::EventFilter;
use cm_kernel::policy::{List, Permit};
use cm_kernel::{Kernel, OpContext};
use cm_runtime::Tasks;
use cm_types::{PageLimit, ResourceKind};

use crate::intel::{NewThreat, wanted};
use crate::sources::OwnEvents;
use crate::store::accept::Exempt;
use crate::store::tables::{Position, Positions};
use crate::{Intel, IntelError, ThreatEvent};

/// How often is looked although nothing was heard of a change.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// After a look that failed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Most peers that are dialled.
const PEERS_MAX: usize = 1000;
/// What is said of how far the log was read.
const POSITION: &str = "kernel-events";
/// Verbs that are of interest here.
const OF_PEERS: &str = "intel-peer.";

/// The measures of the kernel say whom operators vouch for.
pub(crate) struct Vouched(pub(crate) Kernel);

impl std::fmt::Debug for Vouched {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Vouched(..)")
    }
}

impl Exempt for Vouched {
    fn is_exempt(&self, event: &ThreatEvent) -> bool {
        event.address().is_some_and(|address| self.0.is_exempt(address))
    }
}

/// Follows the log until the tasks are told to end.
pub(crate) fn follow(intel: Intel, tasks: &Tasks) {
    let token = tasks.token();
    intel.set_rules(|rules| rules.exempt = Arc::new(Vouched(intel.kernel().clone())));
    tasks.spawn("intel-operators", async move {
        token.run_until_cancelled(run(intel)).await;
    });
}

async fn run(intel: Intel) {
    let mut head = intel.kernel().events().head();
    let mut follower = Follower { intel, after: None, own: OwnEvents::default(), look: true };
    loop {
        head.borrow_and_update();
        let wait = match follower.step().await {
            Ok(()) => LOOK_EVERY,
            Err(error) => {
                tracing::warn!(error = &error as &dyn std::error::Error, "the log was not followed");
                follower.look = true;
                LOOK_AGAIN
            }
        };
        if tokio::time::timeout(wait, head.changed()).await.is_err() {
            // Other nodes may have changed something of which nothing was heard.
            follower.look = true;
        }
    }
}

struct Follower {
    intel: Intel,
    /// Everything up to here was read; `None` before the first look.
    after: Option<u64>,
    own: OwnEvents,
    /// Whether peers are to be read.
    look: bool,
}

impl Follower {
    async fn step(&mut self) -> Result<(), IntelError> {
        self.read_log().await?;
        if self.look {
            dial(&self.intel).await?;
            self.look = false;
        }
        Ok(())
    }

    /// Reads what happened since the last look; each event once, also across restarts.
    async fn read_log(&mut self) -> Result<(), IntelError> {
        let kernel = self.intel.kernel().clone();
        let op = OpContext::node(kernel.tasks().token());
        let permit: Permit<List> = kernel.authorize(&op, ResourceKind::Event).await?;
        let mut after = match self.after {
            Some(after) => after,
            None => self.begin().await?,
        };
        let begun = after;
        loop {
            let page = kernel.event_page(&permit, after, PageLimit::MAX, EventFilter::default()).await?;
            for event in &page.items {
                self.look |= event.verb.as_str().starts_with(OF_PEERS);
                if self.intel.config().own_events
                    && let Some(threat) = self.own.see(event)
                    && !is_vouched_for(&kernel, &threat)
                {
                    let stored = self.intel.sign_and_keep(threat, Some(event.at)).await?;
                    tracing::info!(seq = stored.seq, source = %stored.event.source_ip, "own threat reported");
                }
                after = event.seq;
            }
            self.after = Some(after);
            if page.next.is_none() {
                break;
            }
        }
        if after != begun {
            let position = Position { at: after };
            let kept = self
                .intel
                .db()
                .write(move |tx| Ok::<_, IntelError>(tx.put::<Positions>(&POSITION.to_owned(), &position)?));
            kept.await?;
        }
        Ok(())
    }

    /// Where the log was read to; the present end on a first start, since the past is no news.
    async fn begin(&self) -> Result<u64, IntelError> {
        let end = *self.intel.kernel().events().head().borrow();
        let kept =
            self.intel.db().look_up(|tx| Ok::<_, IntelError>(tx.get::<Positions>(&POSITION.to_owned())?));
        Ok(kept.await?.map_or(end, |position| position.at.min(end)))
    }
}

/// Whether the operators vouch for where a threat of the node's own comes from: then it is none.
fn is_vouched_for(kernel: &Kernel, threat: &NewThreat) -> bool {
    threat.source_ip.parse().is_ok_and(|address| kernel.is_exempt(address))
}

async fn dial(intel: &Intel) -> Result<(), IntelError> {
    let kernel = intel.kernel();
    let op = OpContext::node(kernel.tasks().token());
    let permit = kernel.authorize::<List>(&op, ResourceKind::IntelPeer).await?;
    let (mut peers, mut after) = (Vec::new(), None);
    loop {
        let query = Query { after, limit: PageLimit::MAX, ..Query::of(ResourceKind::IntelPeer) };
        let page = kernel.list_records(&op, &permit, query).await?;
        peers.extend(page.items.iter().filter_map(wanted));
        after = page.next;
        if after.is_none() || peers.len() >= PEERS_MAX {
            break;
        }
    }
    peers.truncate(PEERS_MAX);
    intel.dial(peers);
    Ok(())
}
