//! What may be asked of a shelf.
//!
//! Filters hold together, values of one filter each by themselves (TAXII 2.1, section 3.4). Which version of an object counts is decided among all
//! that the shelf has of it, not among those of the page, so that a page tells the same whatever its size.

use std::collections::hash_map::Entry;
use std::collections::{HashMap, HashSet};

use cm_db::{DbError, KeyPrefix, ReadTx};
use cm_types::Timestamp;

use super::tables::{Objects, Versions};
use super::{Shelved, moment};

/// Rows read at once.
const BATCH_LEN: usize = 256;
/// Rows looked at for one page; a filter that lets little through gives short pages rather than long waits.
const SCAN_LEN_MAX: usize = 20_000;
/// Versions of one object that are looked at.
const VERSIONS_MAX: usize = 10_000;

/// Which versions of an object count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Match {
    /// The oldest.
    First,
    /// The newest.
    Last,
    /// All.
    All,
    /// That one.
    At(Timestamp),
}

/// What is asked for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Query {
    /// Only what was added after this moment, in microseconds.
    pub after: u64,
    /// At most so many.
    pub limit: usize,
    /// Only these objects; all if there are none.
    pub ids: Vec<String>,
    /// Only these types; all if there are none.
    pub kinds: Vec<String>,
    /// Only these versions of STIX, times ten; of each object the newest there is if there are none.
    pub specs: Vec<u8>,
    /// Only these versions.
    pub versions: Vec<Match>,
}

impl Default for Query {
    /// The newest version of everything, a hundred at a time.
    fn default() -> Self {
        Self {
            after: 0,
            limit: 100,
            ids: Vec::new(),
            kinds: Vec::new(),
            specs: Vec::new(),
            versions: vec![Match::Last],
        }
    }
}

/// A version of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Version {
    /// The version.
    pub version: Timestamp,
    /// The version of STIX, times ten.
    pub spec: u8,
    /// When it was added, in microseconds.
    pub added: u64,
}

/// Some of what was asked for.
#[derive(Clone, Debug)]
pub struct ShelfPage {
    /// The objects, in the order in which they were added.
    pub items: Vec<Shelved>,
    /// After which moment to go on; `None` at the end.
    pub next: Option<u64>,
}

/// All versions of an object.
pub(super) fn versions(tx: &ReadTx<'_>, shelf: &str, id: &str) -> Result<Vec<Version>, DbError> {
    let prefix = KeyPrefix::new().part(&shelf.to_owned()).part(&id.to_owned());
    let rows = tx.prefix::<Versions>(prefix, None, VERSIONS_MAX)?;
    Ok(rows
        .into_iter()
        .map(|((_, _, version, spec), row)| Version { version, spec, added: row.added })
        .collect())
}

/// Those of an object's versions that count.
pub(super) fn selected(all: &[Version], specs: &[u8], matches: &[Match]) -> Vec<Version> {
    let newest = all.iter().map(|version| version.spec).max();
    let of_spec = |version: &&Version| match specs {
        [] => Some(version.spec) == newest,
        specs => specs.contains(&version.spec),
    };
    let all: Vec<Version> = all.iter().filter(of_spec).copied().collect();
    let (first, last) =
        (all.iter().map(|version| version.version).min(), all.iter().map(|version| version.version).max());
    let counts = |version: &Version| {
        matches.iter().any(|wanted| match wanted {
            Match::All => true,
            Match::First => Some(version.version) == first,
            Match::Last => Some(version.version) == last,
            Match::At(at) => version.version == *at,
        })
    };
    all.into_iter().filter(counts).collect()
}

fn is_of_kind(id: &str, kinds: &[String]) -> bool {
    kinds.is_empty() || id.split_once("--").is_some_and(|(kind, _)| kinds.iter().any(|wanted| wanted == kind))
}

/// One page.
pub(super) fn page(tx: &ReadTx<'_>, shelf: &str, query: &Query) -> Result<ShelfPage, DbError> {
    match query.ids.is_empty() {
        true => scanned(tx, shelf, query),
        false => named(tx, shelf, query),
    }
}

/// The objects of these ids: found by them, not by looking through the shelf.
fn named(tx: &ReadTx<'_>, shelf: &str, query: &Query) -> Result<ShelfPage, DbError> {
    let mut found = Vec::new();
    for (at, id) in query.ids.iter().enumerate() {
        if query.ids[..at].contains(id) || !is_of_kind(id, &query.kinds) {
            continue;
        }
        let selected = selected(&versions(tx, shelf, id)?, &query.specs, &query.versions);
        found.extend(selected.into_iter().map(|version| version.added).filter(|added| *added > query.after));
    }
    found.sort_unstable();
    let more = found.len() > query.limit;
    found.truncate(query.limit);
    let next = more.then(|| found.last().copied()).flatten();
    let keys: Vec<(String, u64)> = found.into_iter().map(|added| (shelf.to_owned(), added)).collect();
    let rows = tx.get_many::<Objects>(&keys)?;
    let items = keys.into_iter().zip(rows).filter_map(|((_, added), row)| Some(shelved(added, row?)));
    Ok(ShelfPage { items: items.collect(), next })
}

fn scanned(tx: &ReadTx<'_>, shelf: &str, query: &Query) -> Result<ShelfPage, DbError> {
    let prefix = KeyPrefix::new().part(&shelf.to_owned());
    let everything = query.versions.contains(&Match::All) && !query.specs.is_empty();
    let (mut items, mut after, mut looked_at): (Vec<Shelved>, u64, usize) = (Vec::new(), query.after, 0);
    // Which versions count, of every object that was met: those of one object are read once, however many there are.
    let mut counting: HashMap<String, HashSet<u64>> = HashMap::new();
    loop {
        let rows = tx.prefix::<Objects>(prefix.clone(), Some(&(shelf.to_owned(), after)), BATCH_LEN)?;
        let is_last = rows.len() < BATCH_LEN;
        for ((_, added), row) in rows {
            looked_at += 1;
            let counts = is_of_kind(&row.id, &query.kinds)
                && match everything {
                    true => query.specs.contains(&row.spec),
                    false => {
                        let moments = match counting.entry(row.id.clone()) {
                            Entry::Occupied(known) => known.into_mut(),
                            Entry::Vacant(unknown) => {
                                let all = versions(tx, shelf, &row.id)?;
                                let selected = selected(&all, &query.specs, &query.versions);
                                unknown.insert(selected.into_iter().map(|version| version.added).collect())
                            }
                        };
                        moments.contains(&added)
                    }
                };
            if counts && items.len() == query.limit {
                return Ok(ShelfPage { items, next: Some(after) });
            }
            after = added;
            if counts {
                items.push(shelved(added, row));
            }
        }
        if is_last {
            return Ok(ShelfPage { items, next: None });
        }
        if looked_at >= SCAN_LEN_MAX {
            return Ok(ShelfPage { items, next: Some(after) });
        }
    }
}

fn shelved(added: u64, row: super::tables::ObjectRow) -> Shelved {
    Shelved { id: row.id, version: row.version, spec: row.spec, added: moment(added), text: row.text }
}
