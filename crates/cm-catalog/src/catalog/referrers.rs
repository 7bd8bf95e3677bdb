//! Who refers to a record.

use cm_db::{Direction, KeyPrefix, KeyRange, ReadTx};
use cm_types::{Cursor, Page, PageLimit, ResourceKind, ResourceRef, TenantId};

use super::Catalog;
use crate::index::fetch;
use crate::query::{Fnv, SCANNED_MAX};
use crate::tables::ByTarget;
use crate::{CatalogError, Record};

/// Index rows read at a time.
const BATCH: usize = 256;
/// Digits of each number of a cursor.
const DIGITS: usize = 16;

impl Catalog {
    /// One page of the records that refer to the target, kind by kind, each in the order of creation; what the
    /// caller may not see is left out. As with lists, a page looks at a bounded number of records and may be short.
    ///
    /// # Errors
    ///
    /// [`CatalogError::InvalidCursor`] if the cursor is not one of this target's.
    pub fn referrers(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
        target: &ResourceRef,
        after: Option<&Cursor>,
        limit: PageLimit,
        mut visible: impl FnMut(&Record) -> bool,
    ) -> Result<Page<ResourceRef>, CatalogError> {
        let hash = hash_of(tenant, target);
        let mut last = after.map(|cursor| read_cursor(cursor, hash)).transpose()?;
        let mut items: Vec<ResourceRef> = Vec::new();
        let mut scanned = 0;
        loop {
            let mut range = KeyRange::prefix(KeyPrefix::new().part(tenant).part(target));
            if let Some((kind, place)) = last {
                range = range.after(&(tenant.clone(), target.clone(), kind, place));
            }
            let rows = tx.range::<ByTarget>(range, Direction::Forward, BATCH)?;
            let exhausted = rows.len() < BATCH;
            for ((_, _, kind, place), holder) in rows {
                // The page is known to have a next one when there is something behind its last entry.
                if items.len() == limit.get() || scanned == SCANNED_MAX {
                    return Ok(Page { items, next: last.map(|last| write_cursor(hash, last)) });
                }
                scanned += 1;
                last = Some((kind, place));
                let Some(placed) = fetch(tx, tenant, kind, &holder.id)? else { continue };
                if visible(&placed.record) {
                    items.push(placed.record.resource());
                }
            }
            if exhausted {
                return Ok(Page { items, next: None });
            }
        }
    }
}

fn hash_of(tenant: &TenantId, target: &ResourceRef) -> u64 {
    let mut hash = Fnv::new();
    hash.part("referrers");
    hash.part(tenant.as_str());
    hash.part(&target.to_string());
    hash.finish()
}

fn write_cursor(hash: u64, (kind, place): (ResourceKind, u64)) -> Cursor {
    Cursor(format!("{hash:016x}{place:016x}{kind}"))
}

fn read_cursor(Cursor(text): &Cursor, hash: u64) -> Result<(ResourceKind, u64), CatalogError> {
    let number = |text: Option<&str>| {
        let digits = text?;
        let plain = digits.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        u64::from_str_radix(digits, 16).ok().filter(|_| plain)
    };
    let found = number(text.get(..DIGITS));
    let place = number(text.get(DIGITS..2 * DIGITS));
    let kind = text.get(2 * DIGITS..).and_then(|name| name.parse().ok());
    match (found, place, kind) {
        (Some(found), Some(place), Some(kind)) if found == hash => Ok((kind, place)),
        _ => Err(CatalogError::InvalidCursor),
    }
}
