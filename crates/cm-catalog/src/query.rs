//! Listing: filters, pages, cursors.

use cm_db::{Direction, Key, KeyPrefix, KeyRange, ReadTx};
use cm_types::{Cursor, LabelSelector, Page, PageLimit, ResourceId, ResourceKind, ResourceRef, TenantId};
use serde_json::Value;

use crate::index::fetch_many;
use crate::tables::{ByCreation, ByTarget};
use crate::{CatalogError, Record};

/// Most records that one page looks at; past them it ends, with a cursor.
pub const SCANNED_MAX: usize = 10_000;
/// Most bytes of specs and statuses on one page; past them it ends, with a cursor. One record may have so many alone.
pub const PAGE_BYTES_MAX: usize = 4 << 20;
/// Most index rows read at a time.
const BATCH_MAX: usize = 128;

/// Which records of a kind to list.
#[derive(Clone, Debug, PartialEq)]
pub struct Query {
    /// The kind.
    pub kind: ResourceKind,
    /// The labels that they must carry.
    pub selector: LabelSelector,
    /// Fields that must have these values, all of them: `id`, `name` or `owner`; a path such as `resources.cpu` is sought in the
    /// spec, or after `status.` in the status. A text, number or truth value is compared as it is
    /// written, a list has a value if one of its elements has it, and an absent field has none.
    pub filters: Vec<(String, String)>,
    /// Only those that refer to this resource.
    pub referencing: Option<ResourceRef>,
    /// Begin with the record that was created last. Records created between two pages are then on neither.
    pub newest_first: bool,
    /// Where to go on; from an earlier page of the same query.
    pub after: Option<Cursor>,
    /// How many to return.
    pub limit: PageLimit,
}

impl Query {
    /// All records of a kind.
    pub fn of(kind: ResourceKind) -> Self {
        Self {
            kind,
            selector: LabelSelector::everything(),
            filters: Vec::new(),
            referencing: None,
            newest_first: false,
            after: None,
            limit: PageLimit::default(),
        }
    }

    /// Whether the record has the labels and the fields that the query asks for.
    pub fn selects(&self, record: &Record) -> bool {
        self.selector.matches(&record.header.labels)
            && self.filters.iter().all(|(path, value)| has(record, path, value))
    }

    /// Ties a cursor to its query, so that one cannot be taken for another's by mistake. It is no
    /// protection and need not be one: a forged place only skips entries of a list that the forger may
    /// read anyway.
    fn fingerprint(&self, tenant: &TenantId) -> u64 {
        let mut hash = Fnv::new();
        hash.part(tenant.as_str());
        hash.part(self.kind.as_str());
        hash.part(&self.selector.to_string());
        for (path, value) in &self.filters {
            hash.part(path);
            hash.part(value);
        }
        if let Some(target) = &self.referencing {
            hash.part("referencing");
            hash.part(&target.to_string());
        }
        if self.newest_first {
            hash.part("newest-first");
        }
        hash.finish()
    }

    fn start(&self, fingerprint: u64) -> Result<u64, CatalogError> {
        let Some(Cursor(text)) = &self.after else { return Ok(if self.newest_first { u64::MAX } else { 0 }) };
        let digits = text.len() == 32 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'));
        if !digits {
            return Err(CatalogError::InvalidCursor);
        }
        let (found, place) = text.split_at(16);
        match (u64::from_str_radix(found, 16), u64::from_str_radix(place, 16)) {
            (Ok(found), Ok(place)) if found == fingerprint => Ok(place),
            _ => Err(CatalogError::InvalidCursor),
        }
    }
}

/// FNV-1a with 64 bits (Fowler, Noll, Vo): stable across versions and platforms, unlike std's hasher.
pub(crate) struct Fnv(u64);

impl Fnv {
    pub(crate) fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// Every part is closed by a byte that occurs in no text.
    pub(crate) fn part(&mut self, text: &str) {
        for byte in text.bytes().chain([0xff]) {
            self.0 = (self.0 ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
    }

    pub(crate) fn finish(self) -> u64 {
        self.0
    }
}

fn has(record: &Record, path: &str, value: &str) -> bool {
    match path {
        "id" => return record.header.id.as_str() == value,
        "name" => return record.header.name == value,
        "owner" => return record.header.owner.as_str() == value,
        _ => {}
    }
    let (root, path) = match path.strip_prefix("status.") {
        Some(path) => (&record.status, path),
        None => (&*record.spec, path),
    };
    let found = path.split('.').try_fold(root, |value, field| value.get(field));
    match found {
        Some(Value::Array(elements)) => elements.iter().any(|element| is(element, value)),
        Some(found) => is(found, value),
        None => false,
    }
}

fn is(found: &Value, value: &str) -> bool {
    match found {
        Value::String(text) => text == value,
        Value::Bool(truth) => value == if *truth { "true" } else { "false" },
        Value::Number(number) => number.to_string() == value,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    }
}

pub(crate) fn run(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    query: &Query,
    mut visible: impl FnMut(&Record) -> bool,
) -> Result<Page<Record>, CatalogError> {
    let fingerprint = query.fingerprint(tenant);
    let cursor = |place: u64| Some(Cursor(format!("{fingerprint:016x}{place:016x}")));
    let mut place = query.start(fingerprint)?;
    let mut items = Vec::new();
    // The place of the last entry on the page; the page is known to have a next one when an entry is
    // found that does not fit any more.
    let mut last_on_page = place;
    let (mut scanned, mut bytes) = (0, 0);
    // As many as fill the page and tell whether there is a next one, if all of them are on it. If they are not, most of
    // what is looked at may have to be skipped, and is read in larger steps.
    let mut wanted = query.limit.get().saturating_add(1).min(BATCH_MAX);
    loop {
        let batch = positions(tx, tenant, query, place, wanted)?;
        let exhausted = batch.len() < wanted;
        wanted = BATCH_MAX;
        let (places, ids): (Vec<u64>, Vec<ResourceId>) = batch.into_iter().unzip();
        let found = fetch_many(tx, tenant, query.kind, ids.into_iter())?;
        for (at, placed) in places.into_iter().zip(found) {
            place = at;
            scanned += 1;
            let Some(placed) = placed else { continue };
            if !query.selects(&placed.record) || !visible(&placed.record) {
                continue;
            }
            if items.len() == query.limit.get() || bytes >= PAGE_BYTES_MAX {
                return Ok(Page { items, next: cursor(last_on_page) });
            }
            bytes += weight(&placed.record);
            items.push(placed.record);
            last_on_page = at;
        }
        if exhausted {
            return Ok(Page { items, next: None });
        }
        if scanned >= SCANNED_MAX {
            return Ok(Page { items, next: cursor(place) });
        }
    }
}

/// How much of a page a record takes, in bytes, but for what all of them have.
fn weight(record: &Record) -> usize {
    let status = if record.status.is_null() { 0 } else { record.status.to_string().len() };
    record.spec.text_len() + status
}

/// The next records in the order of the query, by place; at most `limit`.
fn positions(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    query: &Query,
    place: u64,
    limit: usize,
) -> Result<Vec<(u64, ResourceId)>, CatalogError> {
    match &query.referencing {
        None => {
            let prefix = KeyPrefix::new().part(tenant).part(&query.kind);
            let (range, direction) = beyond(query, prefix, &(tenant.clone(), query.kind, place));
            let rows = tx.range::<ByCreation>(range, direction, limit)?;
            Ok(rows.into_iter().map(|((_, _, place), pointer)| (place, pointer.id)).collect())
        }
        Some(target) => {
            let prefix = KeyPrefix::new().part(tenant).part(target).part(&query.kind);
            let (range, direction) =
                beyond(query, prefix, &(tenant.clone(), target.clone(), query.kind, place));
            let rows = tx.range::<ByTarget>(range, direction, limit)?;
            Ok(rows.into_iter().map(|((_, _, _, place), holder)| (place, holder.id)).collect())
        }
    }
}

/// What of the prefix lies beyond a key, in the direction of the query.
fn beyond<K: Key>(query: &Query, prefix: KeyPrefix, key: &K) -> (KeyRange, Direction) {
    let range = KeyRange::prefix(prefix);
    if query.newest_first {
        (range.before(key), Direction::Backward)
    } else {
        (range.after(key), Direction::Forward)
    }
}
