//! Transactions as tables see them.

use std::ops::Deref;

use crate::engine::{Pair, ReadStore, WriteStore};
use crate::row::{decode, encode};
use crate::{DbError, Direction, Key, KeyRange, Table};

/// Longest encoded key, in bytes; an object's key of 1024 bytes fits even if every byte is escaped. Not more, because
/// PostgreSQL's index keeps three keys on a page.
pub const KEY_LEN_MAX: usize = 2600;
/// Longest encoded row, in bytes. Contents belong to the object store, not here.
pub const ROW_LEN_MAX: usize = 32 * 1024 * 1024;

/// Keys and rows, in the order of a range.
pub type Rows<T> = Vec<(<T as Table>::Key, <T as Table>::Row)>;
/// Keys and rows as they are stored, in the order of a range.
pub type RawRows = Vec<(Vec<u8>, Vec<u8>)>;

/// A consistent view of all tables.
pub struct ReadTx<'a> {
    store: &'a dyn ReadStore,
}

impl<'a> ReadTx<'a> {
    pub(crate) fn new(store: &'a dyn ReadStore) -> Self {
        Self { store }
    }

    pub(crate) fn store(&self) -> &'a dyn ReadStore {
        self.store
    }

    /// The row under the key.
    pub fn get<T: Table>(&self, key: &T::Key) -> Result<Option<T::Row>, DbError> {
        match self.raw_get::<T>(key)? {
            Some(bytes) => decode::<T>(&bytes).map(Some),
            None => Ok(None),
        }
    }

    /// The rows under the keys, in their order: with a database elsewhere one question for all of them. They are in
    /// memory at once.
    pub fn get_many<T: Table>(&self, keys: &[T::Key]) -> Result<Vec<Option<T::Row>>, DbError> {
        let keys: Vec<Vec<u8>> = keys.iter().map(Key::encode).collect();
        let rows = self.store.get_many(T::NAME, &keys)?;
        rows.into_iter().map(|row| row.map(|bytes| decode::<T>(&bytes)).transpose()).collect()
    }

    /// The bytes under the key as they are stored.
    pub fn raw_get<T: Table>(&self, key: &T::Key) -> Result<Option<Vec<u8>>, DbError> {
        self.store.get(T::NAME, &key.encode())
    }

    /// At most `limit` rows of the range, in the order of the direction. All of them are in memory at
    /// once: give a limit that fits.
    pub fn range<T: Table>(
        &self,
        range: KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Rows<T>, DbError> {
        let pairs = self.raw_range::<T>(range, direction, limit)?;
        let decode_pair = |(key, row): Pair| {
            let key = T::Key::decode(&key).map_err(|source| DbError::invalid_key(T::NAME, source))?;
            Ok((key, decode::<T>(&row)?))
        };
        pairs.into_iter().map(decode_pair).collect()
    }

    /// As [`ReadTx::range`], but keys and rows as they are stored.
    pub fn raw_range<T: Table>(
        &self,
        range: KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<RawRows, DbError> {
        self.store.scan(T::NAME, &range, direction, limit)
    }

    /// At most `limit` rows whose keys begin with the prefix ([`crate::KeyPrefix`], or the encoding of
    /// the first parts), in order, beginning after a key.
    pub fn prefix<T: Table>(
        &self,
        prefix: impl AsRef<[u8]>,
        after: Option<&T::Key>,
        limit: usize,
    ) -> Result<Rows<T>, DbError> {
        let range = KeyRange::prefix(prefix);
        let range = match after {
            Some(key) => range.after(key),
            None => range,
        };
        self.range::<T>(range, Direction::Forward, limit)
    }
}

/// A transaction that changes tables. It reads its own writes.
///
/// It is kept if the closure that has it returns `Ok`, and undone otherwise.
pub struct WriteTx<'a> {
    read: ReadTx<'a>,
    store: &'a dyn WriteStore,
    hooks: Vec<Hook>,
}

/// What runs once the transaction is durable.
pub(crate) type Hook = Box<dyn FnOnce() + Send>;

impl<'a> WriteTx<'a> {
    pub(crate) fn new(store: &'a dyn WriteStore) -> Self {
        Self { read: ReadTx::new(store), store, hooks: Vec::new() }
    }

    pub(crate) fn into_hooks(self) -> Vec<Hook> {
        self.hooks
    }

    /// Runs the hook after the transaction was committed, before its caller is answered, on the writer
    /// thread: it must be quick and must not wait. It never runs if the transaction is undone. Hooks of
    /// one transaction run in order, and those of earlier transactions before those of later ones.
    pub fn on_commit(&mut self, hook: Box<dyn FnOnce() + Send>) {
        self.hooks.push(hook);
    }

    /// Adds a row; [`DbError::Exists`] if the key is taken (nothing changed then, and the transaction
    /// can go on).
    pub fn insert<T: Table>(&mut self, key: &T::Key, row: &T::Row) -> Result<(), DbError> {
        self.insert_raw::<T>(key, &encode::<T>(row)?)
    }

    /// As [`WriteTx::insert`], but the bytes as they shall be stored.
    pub fn insert_raw<T: Table>(&mut self, key: &T::Key, row: &[u8]) -> Result<(), DbError> {
        let key = key.encode();
        check_len::<T>(&key, row)?;
        match self.store.insert(T::NAME, &key, row)? {
            true => Ok(()),
            false => Err(DbError::Exists { table: T::NAME }),
        }
    }

    /// Adds or replaces a row.
    pub fn put<T: Table>(&mut self, key: &T::Key, row: &T::Row) -> Result<(), DbError> {
        self.put_raw::<T>(key, &encode::<T>(row)?)
    }

    /// As [`WriteTx::put`], but the bytes as they shall be stored.
    pub fn put_raw<T: Table>(&mut self, key: &T::Key, row: &[u8]) -> Result<(), DbError> {
        let key = key.encode();
        check_len::<T>(&key, row)?;
        self.store.put(T::NAME, &key, row)
    }

    /// Removes a row. Whether there was one.
    pub fn delete<T: Table>(&mut self, key: &T::Key) -> Result<bool, DbError> {
        self.store.delete(T::NAME, &key.encode())
    }
}

impl<'a> Deref for WriteTx<'a> {
    type Target = ReadTx<'a>;

    fn deref(&self) -> &ReadTx<'a> {
        &self.read
    }
}

fn check_len<T: Table>(key: &[u8], row: &[u8]) -> Result<(), DbError> {
    for (what, bytes, max) in [("key", key.len(), KEY_LEN_MAX), ("row", row.len(), ROW_LEN_MAX)] {
        if bytes > max {
            return Err(DbError::TooLarge { table: T::NAME, what, bytes, max });
        }
    }
    Ok(())
}
