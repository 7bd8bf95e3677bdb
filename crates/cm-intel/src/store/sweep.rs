//! What nobody needs any more: indicators that expired, and reporters of whom nothing was heard for long.

use std::time::Duration;

use cm_db::{Db, DbError, Direction, KeyRange, WriteTx};
use cm_runtime::Tasks;
use cm_types::{Sha256Digest, Timestamp};
use tokio::time::MissedTickBehavior;

use super::tables::{Indicators, Reporters};
use crate::links::Links;

/// How often is looked.
const EVERY: Duration = Duration::from_secs(3600);
/// Rows looked at in one transaction: events are accepted in between.
const BATCH_LEN: usize = 500;
/// After how long without an event a reporter of whom none is kept is forgotten: three times the half-life of what is held of it.
const SILENT_FOR: Duration = Duration::from_secs(90 * 24 * 3600);

/// Looks now and then, until the tasks are told to end.
pub(crate) fn follow(db: Db, links: std::sync::Arc<Links>, lifetime: Duration, tasks: &Tasks) {
    let token = tasks.token();
    tasks.spawn("intel-sweep", async move {
        let sweeping = async {
            let mut looks = tokio::time::interval(EVERY);
            looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                looks.tick().await;
                if let Err(error) = sweep(&db, lifetime, links.now()).await {
                    tracing::warn!(error = &error as &dyn std::error::Error, "old indicators not removed");
                }
            }
        };
        token.run_until_cancelled(sweeping).await;
    });
}

/// Removes everything that is of no use at this moment.
pub(crate) async fn sweep(db: &Db, lifetime: Duration, now: Timestamp) -> Result<(), DbError> {
    let mut after = None;
    loop {
        after = db.write(move |tx| indicators(tx, lifetime, now, after)).await?;
        if after.is_none() {
            break;
        }
    }
    let mut after = None;
    loop {
        after = db.write(move |tx| reporters(tx, now, after)).await?;
        if after.is_none() {
            break;
        }
    }
    crate::feeds::sweep::sweep(db, now).await
}

fn indicators(
    tx: &mut WriteTx<'_>,
    lifetime: Duration,
    now: Timestamp,
    after: Option<String>,
) -> Result<Option<String>, DbError> {
    let range = after.map_or_else(KeyRange::all, |after| KeyRange::all().after(&after));
    let rows = tx.range::<Indicators>(range, Direction::Forward, BATCH_LEN)?;
    let next = rows.last().filter(|_| rows.len() == BATCH_LEN).map(|(value, _)| value.clone());
    for (value, sightings) in rows {
        if sightings.last_seen.after(lifetime) < now {
            tx.delete::<Indicators>(&value)?;
        }
    }
    Ok(next)
}

fn reporters(
    tx: &mut WriteTx<'_>,
    now: Timestamp,
    after: Option<Sha256Digest>,
) -> Result<Option<Sha256Digest>, DbError> {
    let range = after.map_or_else(KeyRange::all, |after| KeyRange::all().after(&after));
    let rows = tx.range::<Reporters>(range, Direction::Forward, BATCH_LEN)?;
    let next = rows.last().filter(|_| rows.len() == BATCH_LEN).map(|(key, _)| *key);
    for (key, row) in rows {
        if row.kept == Some(0) && now.since(row.ledger.last_seen) > SILENT_FOR {
            tx.delete::<Reporters>(&key)?;
        }
    }
    Ok(next)
}
