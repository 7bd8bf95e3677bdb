//! What TAXII asks of a shelf, without what HTTP and JSON add: putting objects in, and pages of a hundred.

use std::path::Path;
use std::time::Instant;

use cm_intel::shelf::{NewObject, Query, Shelf, ShelfId, WhenFull};
use cm_intel::store;
use cm_types::{TenantId, Timestamp};
use serde_json::json;
use serde_json::value::RawValue;

use crate::{Failed, percentiles, print};

/// Objects of one request: as many as a client sends as a rule.
const AT_ONCE: usize = 1000;
/// Pages that are read of each shelf, all over it.
const PAGES: usize = 200;

fn object(number: usize) -> Result<NewObject, Failed> {
    let at = Timestamp::from_micros(1_700_000_000_000_000);
    let id =
        format!("indicator--{:08x}-0000-4000-8000-{number:012x}", number.wrapping_mul(0x9e37_79b1) as u32);
    let address = format!("10.{}.{}.{}", (number >> 16) & 255, (number >> 8) & 255, number & 255);
    let text = json!({
        "type": "indicator", "spec_version": "2.1", "id": id, "created": at.to_string(), "modified": at.to_string(),
        "pattern": format!("[ipv4-addr:value = '{address}']"), "pattern_type": "stix", "valid_from": at.to_string(),
        "name": "port scan", "indicator_types": ["malicious-activity"], "confidence": 70,
    });
    Ok(NewObject { id, version: Some(at), spec: 21, text: RawValue::from_string(text.to_string())? })
}

/// Fills a shelf to each of these sizes, and reads pages there.
pub(crate) async fn measure(dir: &Path, sizes: &[usize]) -> Result<(), Failed> {
    let db = store::open(dir)?;
    let shelf = Shelf::new(db.clone());
    let id = ShelfId::events(&TenantId::default_tenant());
    let mut there = 0;
    for size in sizes {
        let (before, begun) = (there, Instant::now());
        while there < *size {
            let some = there..(there + AT_ONCE).min(*size);
            let objects = some.clone().map(object).collect::<Result<Vec<_>, _>>()?;
            let now = Timestamp::from_micros(1_800_000_000_000_000);
            shelf.put(&id, objects, now, WhenFull::Refuse, None).await?;
            there = some.end;
        }
        let rate = (there - before) as f64 / begun.elapsed().as_secs_f64();
        let mut times = Vec::with_capacity(PAGES);
        for page in 0..PAGES {
            let after = 1_800_000_000_000_000 + (page * (size - 100) / PAGES) as u64;
            let begun = Instant::now();
            let found = shelf.page(&id, Query { after, ..Query::default() }).await?;
            times.push(begun.elapsed());
            if found.items.len() != 100 {
                return Err(format!("a page of {}", found.items.len()).into());
            }
        }
        print(&format!(
            "shelf on disk, up to {size} objects: {rate:.0} put in a second, {AT_ONCE} at a time; page of 100 {}",
            percentiles(times)
        ));
    }
    db.close().await?;
    Ok(())
}
