//! Keeping what a feed said, together with how far it was read.

use std::time::Duration;

use cm_db::{DbError, WriteTx};
use cm_types::Timestamp;

use super::tables::{ClaimRow, Claims, FeedRow, Feeds, StatementRow, Statements, Tally};
use super::{STATEMENTS_MAX, Said};

/// How long a statement holds at most; feeds say it again.
const HOLDS_MAX: Duration = Duration::from_secs(366 * 24 * 3600);

/// What is to be kept of a batch.
#[derive(Debug)]
pub(crate) struct Taken {
    pub(crate) said: Vec<Said>,
    pub(crate) position: String,
    /// What became of the rest of the batch.
    pub(crate) tally: Tally,
}

/// Keeps it, if the feed is still the one that was asked; `false` if somebody removed it.
///
/// # Errors
/// When the database fails; nothing is kept then.
pub(crate) fn take(
    tx: &mut WriteTx<'_>,
    feed: &String,
    number: u64,
    taken: Taken,
    now: Timestamp,
    lifetime: Duration,
) -> Result<bool, DbError> {
    take_up_to(tx, feed, number, taken, now, lifetime, STATEMENTS_MAX)
}

pub(super) fn take_up_to(
    tx: &mut WriteTx<'_>,
    feed: &String,
    number: u64,
    taken: Taken,
    now: Timestamp,
    lifetime: Duration,
    statements_max: u64,
) -> Result<bool, DbError> {
    let Some(mut row) = tx.get::<Feeds>(feed)?.filter(|row| row.number == number) else { return Ok(false) };
    let Taken { said, position, mut tally } = taken;
    for one in said {
        state(tx, &mut row, one, now, lifetime, statements_max, &mut tally)?;
    }
    row.tally.add(&tally);
    row.position = position;
    tx.put::<Feeds>(feed, &row)?;
    Ok(true)
}

fn state(
    tx: &mut WriteTx<'_>,
    feed: &mut FeedRow,
    said: Said,
    now: Timestamp,
    lifetime: Duration,
    statements_max: u64,
    tally: &mut Tally,
) -> Result<(), DbError> {
    let key = (feed.number, said.id);
    let known = tx.get::<Statements>(&key)?;
    if known.as_ref().is_some_and(|known| known.version >= said.version) {
        tally.known += 1;
        return Ok(());
    }
    let was_about_something = known.as_ref().is_some_and(|known| !known.values.is_empty());
    // Without an end it holds as other indicators do, from when it was said: an old one that comes late is no news, and none is of the future.
    let until = said.until.unwrap_or_else(|| said.version.max(said.from).min(now).after(lifetime));
    // Some say "for ever" by a year that no clock here will see.
    let until = until.min(now.after(HOLDS_MAX));
    let is_over = until < now;
    let has_room = was_about_something || feed.indicators < statements_max;
    if !said.values.is_empty() && !is_over && !has_room {
        tally.dropped += 1;
        return Ok(());
    }
    if let Some(known) = known {
        forget_claims(tx, &key, &known)?;
    }
    feed.indicators = feed.indicators.saturating_sub(u64::from(was_about_something));
    if is_over || said.values.is_empty() {
        if said.values.is_empty() {
            tally.withdrawn += u64::from(was_about_something);
            tally.other += u64::from(!was_about_something);
        } else {
            tally.expired += 1;
        }
        if !was_about_something {
            return Ok(());
        }
        let gone = StatementRow { version: said.version, values: Vec::new(), until: now.after(lifetime) };
        return tx.put::<Statements>(&key, &gone);
    }
    for value in &said.values {
        let claim = ClaimRow {
            threat_type: said.threat_type.clone(),
            severity: said.severity.clone(),
            confidence: said.confidence.min(100),
            from: said.from,
            until,
            tlp: said.tlp,
        };
        tx.put::<Claims>(&(value.clone(), key.0, key.1.clone()), &claim)?;
    }
    feed.indicators += 1;
    tally.kept += 1;
    tx.put::<Statements>(&key, &StatementRow { version: said.version, values: said.values, until })
}

/// Removes what a statement says.
pub(super) fn forget_claims(
    tx: &mut WriteTx<'_>,
    key: &(u64, String),
    statement: &StatementRow,
) -> Result<(), DbError> {
    for value in &statement.values {
        tx.delete::<Claims>(&(value.clone(), key.0, key.1.clone()))?;
    }
    Ok(())
}
