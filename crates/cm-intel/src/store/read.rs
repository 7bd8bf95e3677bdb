//! Reading what was accepted: by number, by name, page by page.

use std::collections::hash_map::Entry;
use std::collections::{BTreeMap, HashMap};
use std::net::IpAddr;

use cm_db::{DbError, Direction, KeyPrefix, KeyRange, ReadTx};
use cm_types::{Cursor, Page, PageLimit, Sha256Digest, Timestamp};

use super::tables::{EventRow, Events, Evidence, Indicators, Names, ReporterRow, Reporters};
use crate::feeds::claims;
use crate::feeds::tables::ClaimRow;
use crate::indicator::Sightings;
use crate::ledger::reporter::{Standing, Terms};
use crate::{EventFilter, EventKey, Forged, Indicator, IntelConfig, KeyId, Reputation, Stored};

/// Rows looked at for one page; a selective filter gives short pages rather than long waits.
const SCAN_LEN_MAX: usize = 10_000;
/// Rows read at once.
const BATCH_LEN: usize = 500;

/// The reporters that events of one answer name, each read once.
struct Reading<'a> {
    tx: &'a ReadTx<'a>,
    terms: &'a Terms,
    now: Timestamp,
    reporters: HashMap<KeyId, Option<ReporterRow>>,
}

impl Reading<'_> {
    fn stored(&mut self, seq: u64, row: EventRow) -> Result<Stored, DbError> {
        let (key, received, origin, tlp) = (row.reporter, row.received, row.origin.clone(), row.tlp);
        if !self.reporters.contains_key(&key) {
            self.reporters.insert(key, self.tx.get::<Reporters>(&key.0)?);
        }
        let reporter = self.reporters.get(&key).and_then(Option::as_ref);
        let standing = reporter.map_or(Standing::Probation, |row| {
            let (_, standing) = self.terms.score(&key, &row.ledger, self.now);
            standing
        });
        let event = row.event(reporter.map_or("", |row| &row.pem));
        Ok(Stored { seq, received, event: event.into(), key, origin, tlp, standing })
    }
}

fn reading<'a>(tx: &'a ReadTx<'a>, terms: &'a Terms, now: Timestamp) -> Reading<'a> {
    Reading { tx, terms, now, reporters: HashMap::new() }
}

/// One event.
pub(crate) fn event(
    tx: &ReadTx<'_>,
    terms: &Terms,
    now: Timestamp,
    seq: u64,
) -> Result<Option<Stored>, DbError> {
    tx.get::<Events>(&seq)?.map(|row| reading(tx, terms, now).stored(seq, row)).transpose()
}

/// The events that reporters call so: one of each.
pub(crate) fn by_name(
    tx: &ReadTx<'_>,
    terms: &Terms,
    now: Timestamp,
    id: &str,
) -> Result<Vec<Stored>, DbError> {
    let prefix = KeyPrefix::new().part(&id.to_owned());
    let mut found = Vec::new();
    for (_, name) in tx.prefix::<Names>(prefix, None, BATCH_LEN)? {
        found.extend(event(tx, terms, now, name.seq)?);
    }
    Ok(found)
}

/// The events after a number, or before one, that pass the filter.
///
/// A page may be short, even empty, and still have a `next`: the filter then skipped many events. `next` is the number to go on from.
pub(crate) fn events(
    tx: &ReadTx<'_>,
    terms: &Terms,
    now: Timestamp,
    (from, direction): (Option<u64>, Direction),
    limit: PageLimit,
    filter: &EventFilter,
) -> Result<Page<Stored>, DbError> {
    let mut reading = reading(tx, terms, now);
    let (mut items, mut at, mut scanned) = (Vec::new(), from, 0);
    let wanted = if *filter == EventFilter::default() { limit.get() + 1 } else { BATCH_LEN };
    loop {
        let range = match (at, direction) {
            (None, _) => KeyRange::all(),
            (Some(at), Direction::Forward) => KeyRange::all().after(&at),
            (Some(at), Direction::Backward) => KeyRange::all().before(&at),
        };
        let rows = tx.range::<Events>(range, direction, wanted)?;
        let is_last = rows.len() < wanted;
        for (seq, row) in rows {
            if items.len() == limit.get() {
                return Ok(Page { items, next: at.map(|at| Cursor(at.to_string())) });
            }
            let stored = reading.stored(seq, row)?;
            if filter.matches(&stored) {
                items.push(stored);
            }
            at = Some(seq);
            scanned += 1;
        }
        if is_last {
            return Ok(Page { items, next: None });
        }
        if scanned >= SCAN_LEN_MAX {
            return Ok(Page { items, next: at.map(|at| Cursor(at.to_string())) });
        }
    }
}

/// The number of the last event that was accepted at a moment or before; 0 if none was. Numbers and moments rise together.
pub(crate) fn last_until(tx: &ReadTx<'_>, until: Timestamp) -> Result<u64, DbError> {
    let end = |direction| Ok::<_, DbError>(tx.range::<Events>(KeyRange::all(), direction, 1)?.pop());
    let (Some((first, oldest)), Some((last, newest))) = (end(Direction::Forward)?, end(Direction::Backward)?)
    else {
        return Ok(0);
    };
    if oldest.received > until {
        return Ok(first - 1);
    }
    if newest.received <= until {
        return Ok(last);
    }
    // Always: the one at `low` came by then, the first from `high` on did not.
    let (mut low, mut high) = (first, last);
    while high - low > 1 {
        let middle = low + (high - low) / 2;
        // Numbers have gaps: the first from there on, which is the one at `high` at the latest.
        match tx.range::<Events>(KeyRange::of(middle..), Direction::Forward, 1)?.pop() {
            Some((seq, row)) if row.received <= until => low = seq,
            _ => high = middle,
        }
    }
    Ok(low)
}

/// Keys and numbers of the newest events that peers may have, so many at most.
pub(crate) fn keys(
    tx: &ReadTx<'_>,
    terms: &Terms,
    now: Timestamp,
    max: usize,
) -> Result<Vec<(EventKey, u64)>, DbError> {
    let mut reading = reading(tx, terms, now);
    let (mut found, mut before) = (Vec::new(), None);
    while found.len() < max {
        let range = before.map_or_else(KeyRange::all, |before| KeyRange::all().before(&before));
        let rows = tx.range::<Events>(range, Direction::Backward, BATCH_LEN)?;
        let is_last = rows.len() < BATCH_LEN;
        for (seq, row) in rows {
            before = Some(seq);
            let stored = reading.stored(seq, row)?;
            if shareable(&stored) {
                found.push((EventKey::of(&stored.event.id, &stored.key), seq));
            }
        }
        if is_last {
            break;
        }
    }
    found.truncate(max);
    Ok(found)
}

/// The numbers of the oldest and of the newest event; `None` without any.
pub(crate) fn ends(tx: &ReadTx<'_>) -> Result<Option<(u64, u64)>, DbError> {
    let end = |direction| -> Result<Option<u64>, DbError> {
        let found = tx.raw_range::<Events>(KeyRange::all(), direction, 1)?.pop();
        Ok(found.and_then(|(key, _)| <u64 as cm_db::Key>::decode(&key).ok()))
    };
    Ok(end(Direction::Forward)?.zip(end(Direction::Backward)?))
}

/// What is held of a reporter.
pub(crate) fn reputation(
    tx: &ReadTx<'_>,
    terms: &Terms,
    now: Timestamp,
    key: KeyId,
) -> Result<Option<Reputation>, DbError> {
    Ok(tx.get::<Reporters>(&key.0)?.map(|row| told(terms, now, key, row)))
}

fn told(terms: &Terms, now: Timestamp, key: KeyId, row: ReporterRow) -> Reputation {
    let ledger = row.ledger;
    let judgement = terms.judge(&key, &ledger, now);
    Reputation {
        key,
        mode: terms.mode,
        score: judgement.score,
        standing: judgement.standing,
        valid: ledger.valid,
        invalid: ledger.invalid,
        corroborated: ledger.corroborated,
        contradicted: ledger.contradicted,
        limited: ledger.limited,
        first_seen: ledger.first_seen,
        last_seen: ledger.last_seen,
        organisation: terms.organisation(&key).map(str::to_owned),
        reasons: judgement.reasons,
        history: ledger.history().to_vec(),
    }
}

/// Reporters after a key, in the order of their keys.
pub(crate) fn reputations(
    tx: &ReadTx<'_>,
    terms: &Terms,
    now: Timestamp,
    after: Option<KeyId>,
    limit: PageLimit,
) -> Result<Page<Reputation>, DbError> {
    let range = after.map_or_else(KeyRange::all, |after| KeyRange::all().after(&after.0));
    let mut rows = tx.range::<Reporters>(range, Direction::Forward, limit.get() + 1)?;
    let more = rows.len() > limit.get();
    rows.truncate(limit.get());
    let items: Vec<Reputation> =
        rows.into_iter().map(|(key, row)| told(terms, now, KeyId(key), row)).collect();
    let next = items.last().filter(|_| more).map(|last| Cursor(last.key.to_string()));
    Ok(Page { items, next })
}

/// Sources after a name, in the order of their names; those that do not hold any more are left out. What feeds say of an address that is exempt does not count.
pub(crate) fn indicators(
    tx: &ReadTx<'_>,
    (config, terms): (&IntelConfig, &Terms),
    is_exempt: impl Fn(IpAddr) -> bool,
    now: Timestamp,
    after: Option<String>,
    limit: PageLimit,
) -> Result<Page<Indicator>, DbError> {
    let (mut items, mut at, mut scanned) = (Vec::new(), after, 0);
    let mut weights: HashMap<Sha256Digest, f64> = HashMap::new();
    let feeds = claims::weights(tx)?;
    loop {
        let (sources, is_last) = sources(tx, at.as_ref())?;
        for (value, (sightings, mut claimed)) in sources {
            if items.len() == limit.get() {
                return Ok(Page { items, next: at.map(Cursor) });
            }
            at = Some(value.clone());
            scanned += 1;
            let sightings =
                sightings.filter(|sightings| sightings.last_seen.after(config.indicator_lifetime) >= now);
            for key in sightings.iter().flat_map(Sightings::reporters) {
                if let Entry::Vacant(vacant) = weights.entry(key.0) {
                    let row = tx.get::<Reporters>(&key.0)?;
                    vacant.insert(row.map_or(0.0, |row| terms.weight(key, &row.ledger, now)));
                }
            }
            let weight = |key: &KeyId| weights.get(&key.0).copied().unwrap_or(0.0);
            let reported = sightings.map(|sightings| {
                sightings.indicator(value.clone(), config.indicator_lifetime, terms, weight)
            });
            if !claimed.is_empty() && value.parse().is_ok_and(&is_exempt) {
                claimed.clear();
            }
            items.extend(claims::merged(reported, value, &claimed, &feeds, now));
        }
        if is_last {
            return Ok(Page { items, next: None });
        }
        if scanned >= SCAN_LEN_MAX {
            return Ok(Page { items, next: at.map(Cursor) });
        }
    }
}

/// What reporters and feeds say, by source.
type Sources = BTreeMap<String, (Option<Sightings>, Vec<(u64, ClaimRow)>)>;

/// The next sources after one, of reporters and of feeds, and whether those are the last.
fn sources(tx: &ReadTx<'_>, at: Option<&String>) -> Result<(Sources, bool), DbError> {
    let range = at.map_or_else(KeyRange::all, |at| KeyRange::all().after(at));
    let rows = tx.range::<Indicators>(range, Direction::Forward, BATCH_LEN)?;
    let more_reported = rows.len() == BATCH_LEN;
    let (claimed, more_claimed) = claims::after(tx, at, BATCH_LEN)?;
    // Both were read up to here, at least.
    let last_reported = rows.last().filter(|_| more_reported).map(|(value, _)| value.clone());
    let last_claimed = claimed.last_key_value().filter(|_| more_claimed).map(|(value, _)| value.clone());
    let end = match (last_reported, last_claimed) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    };
    let mut sources: Sources = BTreeMap::new();
    for (value, sightings) in rows {
        sources.entry(value).or_default().0 = Some(sightings);
    }
    for (value, claims) in claimed {
        sources.entry(value).or_default().1 = claims;
    }
    if let Some(end) = &end {
        sources.retain(|value, _| value <= end);
    }
    Ok((sources, end.is_none()))
}

/// What was forged, the newest first.
pub(crate) fn forged(tx: &ReadTx<'_>, limit: PageLimit) -> Result<Vec<Forged>, DbError> {
    let rows = tx.range::<Evidence>(KeyRange::all(), Direction::Backward, limit.get())?;
    let told = rows.into_iter().map(|(_, row)| Forged {
        at: row.at,
        link: row.link,
        reason: row.reason,
        claimed: row.claimed,
        payload: row.payload,
    });
    Ok(told.collect())
}

/// Whether an event is for peers: it may be shared, and whoever reported it is listened to.
pub(crate) fn shareable(stored: &Stored) -> bool {
    stored.tlp.for_peers() && stored.standing > Standing::Distrusted
}
