//! What feeds say of a source, and what it adds to what reporters say.
//!
//! A feed is one witness, however many of its statements name a source: its surest counts, times the feed's weight. Feeds
//! are taken for independent of each other, which those that copy from each other are not; weights are small because of that.

use std::collections::{BTreeMap, HashMap};

use cm_db::{DbError, Direction, KeyRange, ReadTx};
use cm_types::Timestamp;

use super::FEEDS_MAX;
use super::tables::{ClaimRow, Claims, Feeds};
use crate::Indicator;
use crate::indicator::{SURENESS_MAX, TYPES_MAX, graver};

/// Statements that are looked at of one source.
const CLAIMS_MAX: usize = 256;

/// Feeds by their numbers: what they are called, and how much their word counts.
pub(crate) type Weights = HashMap<u64, (String, f64)>;

/// What is said of sources, and by the feeds of which numbers.
pub(crate) type Claimed = BTreeMap<String, Vec<(u64, ClaimRow)>>;

/// How much the word of each feed counts.
pub(crate) fn weights(tx: &ReadTx<'_>) -> Result<Weights, DbError> {
    let feeds = tx.range::<Feeds>(KeyRange::all(), Direction::Forward, FEEDS_MAX)?;
    Ok(feeds
        .into_iter()
        .map(|(id, row)| (row.number, (id, f64::from(row.weight.min(100)) / 100.0)))
        .collect())
}

/// What feeds said of the next sources after one: by source, and whether there is more behind the last.
pub(crate) fn after(
    tx: &ReadTx<'_>,
    value: Option<&String>,
    batch_len: usize,
) -> Result<(Claimed, bool), DbError> {
    let range = value.map_or_else(KeyRange::all, |value| {
        // No feed has that number: it stands behind all of the source's.
        KeyRange::all().after(&(value.clone(), u64::MAX, String::new()))
    });
    let limit = batch_len.max(CLAIMS_MAX);
    let rows = tx.range::<Claims>(range, Direction::Forward, limit)?;
    let more = rows.len() == limit;
    let mut found = Claimed::new();
    for ((value, number, _), row) in rows {
        found.entry(value).or_default().push((number, row));
    }
    // Of the last not everything may have been read, unless it alone is more than is looked at.
    if more && found.len() > 1 {
        found.pop_last();
    }
    Ok((found, more))
}

/// Adds what feeds say to an indicator, or makes one of it; `None` if neither says anything that holds.
pub(crate) fn merged(
    reported: Option<Indicator>,
    value: String,
    claims: &[(u64, ClaimRow)],
    weights: &Weights,
    now: Timestamp,
) -> Option<Indicator> {
    let holds = |row: &ClaimRow| row.from <= now && now <= row.until;
    let mut sureness: BTreeMap<&str, f64> = BTreeMap::new();
    let mut indicator = reported;
    for (number, row) in claims.iter().filter(|(_, row)| holds(row)) {
        let Some((feed, weight)) = weights.get(number) else { continue };
        let sure = sureness.entry(feed.as_str()).or_default();
        *sure = sure.max(weight * f64::from(row.confidence) / 100.0 * SURENESS_MAX);
        let so_far = indicator.take().unwrap_or_else(|| Indicator {
            address: value.parse().ok(),
            value: value.clone(),
            threat_types: Vec::new(),
            severity: String::new(),
            first_seen: row.from,
            last_seen: row.from,
            expires: row.until,
            events: 0,
            reporters: 0,
            organisations: 0,
            feeds: Vec::new(),
            confidence: 0,
            tlp: row.tlp,
        });
        indicator = Some(with(so_far, row));
    }
    let mut indicator = indicator?;
    let doubt: f64 = sureness.values().map(|sure| 1.0 - sure).product();
    let doubt = doubt * (1.0 - f64::from(indicator.confidence) / 100.0);
    // Between 0 and 100 by what it is made of.
    indicator.confidence = ((1.0 - doubt) * 100.0).round() as u8;
    indicator.feeds = sureness.into_keys().map(str::to_owned).collect();
    Some(indicator)
}

/// What was reported keeps its marking and its end: no feed takes it out of exports, or makes it hold for longer, whatever its weight. What a feed says
/// for few eyes does not show in what is for many.
fn with(mut indicator: Indicator, claim: &ClaimRow) -> Indicator {
    let is_reported = indicator.events > 0;
    if is_reported && claim.tlp > indicator.tlp {
        return indicator;
    }
    indicator.first_seen = indicator.first_seen.min(claim.from);
    indicator.last_seen = indicator.last_seen.max(claim.from);
    if !is_reported {
        indicator.expires = indicator.expires.max(claim.until);
        indicator.tlp = indicator.tlp.max(claim.tlp);
    }
    if graver(&claim.severity, &indicator.severity) {
        indicator.severity.clone_from(&claim.severity);
    }
    if indicator.threat_types.len() < TYPES_MAX && !indicator.threat_types.contains(&claim.threat_type) {
        indicator.threat_types.push(claim.threat_type.clone());
    }
    indicator
}
