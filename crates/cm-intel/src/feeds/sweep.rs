//! What feeds said and holds no more, and what removed feeds said.

use cm_db::{Db, DbError, Direction, KeyRange, ReadTx, WriteTx};
use cm_types::Timestamp;

use super::FEEDS_MAX;
use super::tables::{Feeds, StatementRow, Statements};
use super::take::forget_claims;

/// Statements looked at in one go.
const LOOKED_AT: usize = 500;
/// Statements removed in one transaction: each may be about thousands of values.
const REMOVED: usize = 20;

type Key = (u64, String);

/// Removes it.
pub(crate) async fn sweep(db: &Db, now: Timestamp) -> Result<(), DbError> {
    let mut after: Option<Key> = None;
    loop {
        let (old, next) = db.read(move |tx| look(tx, now, after)).await?;
        for some in old.chunks(REMOVED) {
            let some = some.to_vec();
            db.write(move |tx| remove(tx, now, some)).await?;
        }
        after = next;
        if after.is_none() {
            return Ok(());
        }
    }
}

fn numbers(tx: &ReadTx<'_>) -> Result<Vec<(u64, String)>, DbError> {
    let feeds = tx.range::<Feeds>(KeyRange::all(), Direction::Forward, FEEDS_MAX)?;
    Ok(feeds.into_iter().map(|(id, row)| (row.number, id)).collect())
}

fn look(tx: &ReadTx<'_>, now: Timestamp, after: Option<Key>) -> Result<(Vec<Key>, Option<Key>), DbError> {
    let feeds = numbers(tx)?;
    let range = after.map_or_else(KeyRange::all, |after| KeyRange::all().after(&after));
    let rows = tx.range::<Statements>(range, Direction::Forward, LOOKED_AT)?;
    let next = rows.last().filter(|_| rows.len() == LOOKED_AT).map(|(key, _)| key.clone());
    let is_old =
        |key: &Key, row: &StatementRow| row.until < now || !feeds.iter().any(|(number, _)| *number == key.0);
    let old = rows.into_iter().filter(|(key, row)| is_old(key, row)).map(|(key, _)| key).collect();
    Ok((old, next))
}

fn remove(tx: &mut WriteTx<'_>, now: Timestamp, keys: Vec<Key>) -> Result<(), DbError> {
    let feeds = numbers(tx)?;
    for key in keys {
        let Some(statement) = tx.get::<Statements>(&key)? else { continue };
        let feed = feeds.iter().find(|(number, _)| *number == key.0);
        // It may have been said anew meanwhile.
        if feed.is_some() && statement.until >= now {
            continue;
        }
        forget_claims(tx, &key, &statement)?;
        tx.delete::<Statements>(&key)?;
        if let Some((_, id)) = feed
            && !statement.values.is_empty()
            && let Some(mut row) = tx.get::<Feeds>(id)?
        {
            row.indicators = row.indicators.saturating_sub(1);
            tx.put::<Feeds>(id, &row)?;
        }
    }
    Ok(())
}
