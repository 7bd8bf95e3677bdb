//! Collections of STIX objects: put in by others, or made of this node's events, and read page by page in the order in which they came.
//!
//! A shelf keeps what it is given; it neither reads nor believes it. Each object has the moment at which it was added, in microseconds, later than that of every
//! object before and never given twice: it is a cursor that objects which come later cannot disturb. An object may be there in several versions;
//! a query says which of them count.
//!
//! Objects are many and foreign, so that they are kept beside the events and not in the catalogue, which says only that there is a collection and who
//! may use it.

mod query;
pub mod tables;

use std::collections::HashMap;

use cm_db::{Db, DbError, Direction, KeyPrefix, KeyRange, WriteTx};
use cm_types::{PrincipalId, ResourceId, TenantId, Timestamp};
use serde_json::value::RawValue;

pub use query::{Match, Query, ShelfPage, Version};
use tables::{
    Mark, ObjectRow, Objects, ShelfRow, Shelves, StatusRow, Statuses, StatusesByAge, VersionRow, Versions,
};

/// Most objects of one shelf.
pub const OBJECTS_MAX: u64 = 2_000_000;
/// Most versions of one object: whoever asks for some looks at all of them.
pub const VERSIONS_OF_OBJECT_MAX: usize = 1000;
/// Counts the reports, among the shelves. No shelf has this name: ids of tenants do not begin with a point.
const COUNT_OF_STATUSES: &str = ".statuses";
/// Most reports on what was put in that are kept, of all shelves.
const STATUSES_MAX: usize = 10_000;

/// Names a shelf. A collection that is deleted and made again begins with an empty one; what was on the old one stays in the file, and nobody finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ShelfId(String);

impl ShelfId {
    /// The shelf of a collection that was made then.
    pub fn of(tenant: &TenantId, collection: &ResourceId, created: Timestamp) -> Self {
        Self(format!("{tenant}/{collection}/{}", created.as_micros()))
    }

    /// The shelf of a tenant's view of the node's own events. No collection has this name: ids do not begin with a point.
    pub fn events(tenant: &TenantId) -> Self {
        Self(format!("{tenant}/.events"))
    }

    fn key(&self) -> String {
        self.0.clone()
    }
}

/// An object to be put in.
#[derive(Clone, Debug)]
pub struct NewObject {
    /// Its id; what stands before the two hyphens is its type.
    pub id: String,
    /// Its version; objects without one have a single version, that of the moment at which they are added.
    pub version: Option<Timestamp>,
    /// The version of STIX times ten: 20 or 21.
    pub spec: u8,
    /// Its JSON.
    pub text: Box<RawValue>,
}

/// What became of an object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Put {
    /// It is there from now on, added then.
    Added(Timestamp),
    /// This version of it was there.
    Known,
    /// There is no room.
    Full,
    /// There are as many versions of it as may be.
    ManyVersions,
}

/// What happens when a shelf is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenFull {
    /// What comes is refused: others rely on what is there.
    Refuse,
    /// What is oldest goes.
    DropOldest,
}

/// An object as it is read.
#[derive(Clone, Debug)]
pub struct Shelved {
    /// Its id.
    pub id: String,
    /// Its version.
    pub version: Timestamp,
    /// The version of STIX times ten.
    pub spec: u8,
    /// When it was added.
    pub added: Timestamp,
    /// Its JSON.
    pub text: Box<RawValue>,
}

/// A report on what was put in.
#[derive(Clone, Debug, PartialEq)]
pub struct Status {
    /// For whom it is.
    pub tenant: TenantId,
    /// Who put it in; `None` for somebody without a name.
    pub principal: Option<PrincipalId>,
    /// The report.
    pub body: serde_json::Value,
}

/// All shelves. Clones share them.
#[derive(Clone, Debug)]
pub struct Shelf {
    db: Db,
    objects_max: u64,
    versions_max: usize,
    statuses_max: u64,
}

impl Shelf {
    /// Shelves in this database, whose schema has [`tables::TABLES`].
    pub fn new(db: Db) -> Self {
        Self {
            db,
            objects_max: OBJECTS_MAX,
            versions_max: VERSIONS_OF_OBJECT_MAX,
            statuses_max: STATUSES_MAX as u64,
        }
    }

    #[cfg(test)]
    fn bounded_to(self, objects_max: u64) -> Self {
        Self { objects_max, ..self }
    }

    #[cfg(test)]
    fn with_versions_and_statuses(self, versions_max: usize, statuses_max: u64) -> Self {
        Self { versions_max, statuses_max, ..self }
    }

    /// Puts objects in, all in one transaction, and says of each what became of it.
    ///
    /// `fed` is for shelves that follow something: up to where they did before and do now. If somebody else went on in between,
    /// nothing is put in and the answer is empty.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn put(
        &self,
        shelf: &ShelfId,
        objects: Vec<NewObject>,
        now: Timestamp,
        when_full: WhenFull,
        fed: Option<(u64, u64)>,
    ) -> Result<Vec<Put>, DbError> {
        let (shelf, objects_max) = (shelf.key(), self.objects_max);
        let mut counts = VersionCounts { most: self.versions_max, of: HashMap::new() };
        let write = self.db.write(move |tx| {
            let mut row = tx.get::<Shelves>(&shelf)?.unwrap_or_default();
            if let Some((before, after)) = fed {
                if row.fed != before {
                    return Ok(Vec::new());
                }
                row.fed = after;
            }
            let mut outcomes = Vec::with_capacity(objects.len());
            for object in objects {
                if row.count >= objects_max && when_full == WhenFull::DropOldest {
                    drop_oldest(tx, &shelf, &mut row, &mut counts)?;
                }
                let room = Room { objects_max, counts: &mut counts, when_full };
                outcomes.push(put_one(tx, &shelf, &mut row, object, now, room)?);
            }
            tx.put::<Shelves>(&shelf, &row)?;
            Ok::<_, DbError>(outcomes)
        });
        write.await
    }

    /// Up to where the shelf followed what it follows; 0 at the beginning.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn fed(&self, shelf: &ShelfId) -> Result<u64, DbError> {
        let shelf = shelf.key();
        self.db.look_up(move |tx| Ok(tx.get::<Shelves>(&shelf)?.unwrap_or_default().fed)).await
    }

    /// Whether an object is there, in any version.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn has(&self, shelf: &ShelfId, id: &str) -> Result<bool, DbError> {
        let prefix = versions_of(&shelf.0, id);
        self.db.look_up(move |tx| Ok(!tx.prefix::<Versions>(prefix, None, 1)?.is_empty())).await
    }

    /// One page of what a query asks for, in the order in which it was added.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn page(&self, shelf: &ShelfId, query: Query) -> Result<ShelfPage, DbError> {
        let shelf = shelf.key();
        self.db.read(move |tx| query::page(tx, &shelf, &query)).await
    }

    /// The versions of an object that a query asks for, the newest first.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn versions(&self, shelf: &ShelfId, id: &str, query: Query) -> Result<Vec<Version>, DbError> {
        let (shelf, id) = (shelf.key(), id.to_owned());
        let read = self.db.read(move |tx| {
            let all = query::versions(tx, &shelf, &id)?;
            let mut found = query::selected(&all, &query.specs, &query.versions);
            found.retain(|version| version.added > query.after);
            found.sort_by_key(|version| std::cmp::Reverse((version.version, version.added)));
            Ok::<_, DbError>(found)
        });
        read.await
    }

    /// Removes the versions of an object that a query asks for, and says how many there were.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn remove(&self, shelf: &ShelfId, id: &str, query: Query) -> Result<usize, DbError> {
        let (shelf, id) = (shelf.key(), id.to_owned());
        let write = self.db.write(move |tx| {
            let all = query::versions(tx, &shelf, &id)?;
            let found = query::selected(&all, &query.specs, &query.versions);
            for version in &found {
                tx.delete::<Versions>(&(shelf.clone(), id.clone(), version.version, version.spec))?;
                tx.delete::<Objects>(&(shelf.clone(), version.added))?;
            }
            if let Some(mut row) = tx.get::<Shelves>(&shelf)? {
                row.count = row.count.saturating_sub(found.len() as u64);
                tx.put::<Shelves>(&shelf, &row)?;
            }
            Ok::<_, DbError>(found.len())
        });
        write.await
    }

    /// Keeps a report under an id; the oldest goes when there are too many.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn keep_status(&self, id: &str, status: Status, now: Timestamp) -> Result<(), DbError> {
        let id = id.to_owned();
        let statuses_max = self.statuses_max;
        let row = StatusRow { tenant: status.tenant, principal: status.principal, body: status.body };
        let write = self.db.write(move |tx| {
            tx.put::<Statuses>(&id, &row)?;
            tx.put::<StatusesByAge>(&(now, id), &Mark {})?;
            let counter = COUNT_OF_STATUSES.to_owned();
            let mut counted = match tx.get::<Shelves>(&counter)? {
                Some(counted) => ShelfRow { count: counted.count + 1, ..counted },
                // Nobody counted so far.
                None => {
                    let all =
                        tx.range::<StatusesByAge>(KeyRange::all(), Direction::Forward, STATUSES_MAX + 1)?;
                    ShelfRow { count: all.len() as u64, ..ShelfRow::default() }
                }
            };
            if counted.count > statuses_max {
                for (oldest, _) in tx.range::<StatusesByAge>(KeyRange::all(), Direction::Forward, 1)? {
                    tx.delete::<Statuses>(&oldest.1)?;
                    tx.delete::<StatusesByAge>(&oldest)?;
                    counted.count -= 1;
                }
            }
            tx.put::<Shelves>(&counter, &counted)?;
            Ok::<_, DbError>(())
        });
        write.await
    }

    /// The report of that id.
    ///
    /// # Errors
    /// When the database fails.
    pub async fn status(&self, id: &str) -> Result<Option<Status>, DbError> {
        let id = id.to_owned();
        let read = self.db.look_up(move |tx| tx.get::<Statuses>(&id));
        let row: Option<StatusRow> = read.await?;
        Ok(row.map(|row| Status { tenant: row.tenant, principal: row.principal, body: row.body }))
    }
}

fn versions_of(shelf: &str, id: &str) -> KeyPrefix {
    KeyPrefix::new().part(&shelf.to_owned()).part(&id.to_owned())
}

fn put_one(
    tx: &mut WriteTx<'_>,
    shelf: &str,
    row: &mut ShelfRow,
    object: NewObject,
    now: Timestamp,
    room: Room<'_>,
) -> Result<Put, DbError> {
    let known = match object.version {
        Some(version) => {
            let key = (shelf.to_owned(), object.id.clone(), version, object.spec);
            tx.get::<Versions>(&key)?.is_some()
        }
        None => !tx.prefix::<Versions>(versions_of(shelf, &object.id), None, 1)?.is_empty(),
    };
    if known {
        return Ok(Put::Known);
    }
    if row.count >= room.objects_max {
        return Ok(Put::Full);
    }
    if room.counts.are_all(tx, shelf, &object.id)? {
        if room.when_full == WhenFull::Refuse {
            return Ok(Put::ManyVersions);
        }
        drop_oldest_version(tx, shelf, row, &object.id)?;
        room.counts.of.remove(&object.id);
    }
    room.counts.added(tx, shelf, &object.id)?;
    // Never the same moment twice, whatever the clock does.
    let added = u64::try_from(now.as_micros()).unwrap_or_default().max(row.last + 1);
    let moment = moment(added);
    let version = object.version.unwrap_or(moment);
    let key = (shelf.to_owned(), object.id.clone(), version, object.spec);
    tx.put::<Versions>(&key, &VersionRow { added })?;
    let stored = ObjectRow { id: object.id, version, spec: object.spec, text: object.text };
    tx.put::<Objects>(&(shelf.to_owned(), added), &stored)?;
    row.last = added;
    row.count += 1;
    Ok(Put::Added(moment))
}

/// What there is room for.
struct Room<'a> {
    objects_max: u64,
    counts: &'a mut VersionCounts,
    when_full: WhenFull,
}

/// How many versions there are of the objects that one transaction met: counted once each.
struct VersionCounts {
    most: usize,
    of: HashMap<String, usize>,
}

impl VersionCounts {
    fn count(&mut self, tx: &WriteTx<'_>, shelf: &str, id: &str) -> Result<usize, DbError> {
        if let Some(count) = self.of.get(id) {
            return Ok(*count);
        }
        let count = tx.prefix::<Versions>(versions_of(shelf, id), None, self.most)?.len();
        self.of.insert(id.to_owned(), count);
        Ok(count)
    }

    fn are_all(&mut self, tx: &WriteTx<'_>, shelf: &str, id: &str) -> Result<bool, DbError> {
        Ok(self.count(tx, shelf, id)? >= self.most)
    }

    fn added(&mut self, tx: &WriteTx<'_>, shelf: &str, id: &str) -> Result<(), DbError> {
        let count = self.count(tx, shelf, id)?;
        self.of.insert(id.to_owned(), count + 1);
        Ok(())
    }
}

fn drop_oldest_version(
    tx: &mut WriteTx<'_>,
    shelf: &str,
    row: &mut ShelfRow,
    id: &str,
) -> Result<(), DbError> {
    for (key, version) in tx.prefix::<Versions>(versions_of(shelf, id), None, 1)? {
        tx.delete::<Versions>(&key)?;
        tx.delete::<Objects>(&(shelf.to_owned(), version.added))?;
        row.count = row.count.saturating_sub(1);
    }
    Ok(())
}

fn drop_oldest(
    tx: &mut WriteTx<'_>,
    shelf: &str,
    row: &mut ShelfRow,
    counts: &mut VersionCounts,
) -> Result<(), DbError> {
    let prefix = KeyPrefix::new().part(&shelf.to_owned());
    for (key, oldest) in tx.prefix::<Objects>(prefix, None, 1)? {
        counts.of.remove(&oldest.id);
        tx.delete::<Versions>(&(shelf.to_owned(), oldest.id, oldest.version, oldest.spec))?;
        tx.delete::<Objects>(&key)?;
        row.count = row.count.saturating_sub(1);
    }
    Ok(())
}

/// The moment of a cursor.
pub(crate) fn moment(added: u64) -> Timestamp {
    Timestamp::from_micros(i64::try_from(added).unwrap_or(i64::MAX))
}

#[cfg(test)]
mod tests;
