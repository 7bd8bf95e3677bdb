//! What operators manage, followed: peers to be dialled.

use std::time::Duration;

use cm_kernel::OpContext;
use cm_kernel::catalog::Query;
use cm_kernel::policy::List;
use cm_runtime::Tasks;
use cm_types::{PageLimit, ResourceKind};

use crate::intel::wanted;
use crate::{Intel, IntelError};

/// How often is looked although nothing was heard of a change.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// After a look that failed.
const LOOK_AGAIN: Duration = Duration::from_secs(1);
/// Most peers that are dialled.
const PEERS_MAX: usize = 1000;

/// Dials the peers that the operators added, until the tasks are told to end.
pub(crate) fn follow(intel: Intel, tasks: &Tasks) {
    let token = tasks.token();
    tasks.spawn("intel-operators", async move {
        let mut head = intel.kernel().events().head();
        let following = async {
            loop {
                head.borrow_and_update();
                let wait = match look(&intel).await {
                    Ok(()) => LOOK_EVERY,
                    Err(error) => {
                        tracing::warn!(error = &error as &dyn std::error::Error, "peers not read");
                        LOOK_AGAIN
                    }
                };
                // Every change of a record is an event.
                let _changed = tokio::time::timeout(wait, head.changed()).await;
            }
        };
        token.run_until_cancelled(following).await;
    });
}

async fn look(intel: &Intel) -> Result<(), IntelError> {
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
