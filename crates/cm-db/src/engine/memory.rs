//! Tables in memory.
//!
//! The writer changes the maps in place and keeps what is needed to undo it. A reader takes the maps'
//! reference counts; only while one is held does the writer's next change copy that map.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::{Engine, Pace, Pair, ReadStore, Reader, WriteStore, Writer};
use crate::{DbError, Direction, KeyRange, Versions};

/// A reader here only makes callers independent of a slow one.
const READERS: usize = 4;

type Map = BTreeMap<Vec<u8>, Vec<u8>>;

#[derive(Clone, Debug, Default)]
struct Tables {
    versions: Versions,
    maps: BTreeMap<String, Arc<Map>>,
}

impl Tables {
    fn map(&self, table: &str) -> Result<&Map, DbError> {
        match self.maps.get(table) {
            Some(map) => Ok(map),
            None => Err(DbError::UnknownTable { table: table.to_owned() }),
        }
    }

    fn map_mut(&mut self, table: &str) -> Result<&mut Map, DbError> {
        match self.maps.get_mut(table) {
            Some(map) => Ok(Arc::make_mut(map)),
            None => Err(DbError::UnknownTable { table: table.to_owned() }),
        }
    }

    fn scan(
        &self,
        table: &str,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Pair>, DbError> {
        let map = self.map(table)?;
        if range.is_empty() {
            return Ok(Vec::new());
        }
        let end = range.end.as_deref().map_or(Bound::Unbounded, Bound::Excluded);
        let found = map.range::<[u8], _>((Bound::Included(range.start.as_slice()), end));
        let copy = |(key, value): (&Vec<u8>, &Vec<u8>)| (key.clone(), value.clone());
        Ok(match direction {
            Direction::Forward => found.take(limit).map(copy).collect(),
            Direction::Backward => found.rev().take(limit).map(copy).collect(),
        })
    }
}

/// The engine; clones share the tables.
#[derive(Clone, Debug, Default)]
pub(crate) struct MemoryEngine(Arc<Mutex<Tables>>);

impl MemoryEngine {
    fn lock(&self) -> MutexGuard<'_, Tables> {
        // The writer undoes its changes before a panic could leave it, so a poisoned lock is consistent.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Engine for MemoryEngine {
    fn writer(&self) -> Result<Box<dyn Writer>, DbError> {
        Ok(Box::new(self.clone()))
    }

    fn reader(&self) -> Result<Box<dyn Reader>, DbError> {
        Ok(Box::new(self.clone()))
    }

    fn readers(&self) -> usize {
        READERS
    }
}

impl Writer for MemoryEngine {
    fn transaction(
        &mut self,
        _: Pace,
        body: &mut dyn FnMut(&dyn WriteStore) -> Result<(), DbError>,
    ) -> Result<(), DbError> {
        let versions = self.lock().versions;
        let store = MemoryStore { tables: RefCell::new(self.lock()), log: RefCell::default() };
        let result = body(&store);
        if result.is_err() {
            store.undo(0);
            store.tables.borrow_mut().versions = versions;
        }
        result
    }

    fn check(&mut self) -> Result<(), DbError> {
        Ok(())
    }

    fn close(&mut self) -> Result<(), DbError> {
        Ok(())
    }
}

impl Reader for MemoryEngine {
    fn snapshot(&mut self, _: Pace, body: &mut dyn FnMut(&dyn ReadStore)) -> Result<(), DbError> {
        let tables = self.lock().clone();
        body(&tables);
        Ok(())
    }
}

impl ReadStore for Tables {
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        Ok(self.map(table)?.get(key).cloned())
    }

    fn scan(
        &self,
        table: &str,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Pair>, DbError> {
        Tables::scan(self, table, range, direction, limit)
    }

    fn tables(&self) -> Result<Vec<String>, DbError> {
        Ok(self.maps.keys().cloned().collect())
    }

    fn versions(&self) -> Result<Versions, DbError> {
        Ok(self.versions)
    }
}

/// A transaction: the locked tables, and what their changed keys held before.
struct MemoryStore<'a> {
    tables: RefCell<MutexGuard<'a, Tables>>,
    log: RefCell<UndoLog>,
}

#[derive(Default)]
struct UndoLog {
    entries: Vec<(String, Vec<u8>, Option<Vec<u8>>)>,
    mark: usize,
}

impl MemoryStore<'_> {
    fn undo(&self, mark: usize) {
        let entries = self.log.borrow_mut().entries.split_off(mark);
        let mut tables = self.tables.borrow_mut();
        for (table, key, before) in entries.into_iter().rev() {
            let Ok(map) = tables.map_mut(&table) else { continue };
            match before {
                Some(value) => map.insert(key, value),
                None => map.remove(&key),
            };
        }
    }

    fn remember(&self, table: &str, key: &[u8], before: Option<Vec<u8>>) {
        self.log.borrow_mut().entries.push((table.to_owned(), key.to_owned(), before));
    }
}

impl ReadStore for MemoryStore<'_> {
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        self.tables.borrow().get(table, key)
    }

    fn scan(
        &self,
        table: &str,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Pair>, DbError> {
        self.tables.borrow().scan(table, range, direction, limit)
    }

    fn tables(&self) -> Result<Vec<String>, DbError> {
        self.tables.borrow().tables()
    }

    fn versions(&self) -> Result<Versions, DbError> {
        self.tables.borrow().versions()
    }
}

impl WriteStore for MemoryStore<'_> {
    fn insert(&self, table: &str, key: &[u8], value: &[u8]) -> Result<bool, DbError> {
        if self.tables.borrow().map(table)?.contains_key(key) {
            return Ok(false);
        }
        self.put(table, key, value)?;
        Ok(true)
    }

    fn put(&self, table: &str, key: &[u8], value: &[u8]) -> Result<(), DbError> {
        let before = self.tables.borrow_mut().map_mut(table)?.insert(key.to_owned(), value.to_owned());
        self.remember(table, key, before);
        Ok(())
    }

    fn delete(&self, table: &str, key: &[u8]) -> Result<bool, DbError> {
        let before = self.tables.borrow_mut().map_mut(table)?.remove(key);
        let existed = before.is_some();
        if existed {
            self.remember(table, key, before);
        }
        Ok(existed)
    }

    fn savepoint(&self) -> Result<(), DbError> {
        let mut log = self.log.borrow_mut();
        log.mark = log.entries.len();
        Ok(())
    }

    fn release(&self) -> Result<(), DbError> {
        Ok(())
    }

    fn rollback(&self) -> Result<(), DbError> {
        let mark = self.log.borrow().mark;
        self.undo(mark);
        Ok(())
    }

    fn create_table(&self, table: &str) -> Result<(), DbError> {
        self.tables.borrow_mut().maps.entry(table.to_owned()).or_default();
        Ok(())
    }

    fn set_versions(&self, versions: Versions) -> Result<(), DbError> {
        self.tables.borrow_mut().versions = versions;
        Ok(())
    }
}
