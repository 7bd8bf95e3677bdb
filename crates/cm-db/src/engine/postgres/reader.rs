//! A connection that reads.

use std::cell::RefCell;
use std::collections::HashMap;

use tokio_postgres::Row;

use super::link::{Failure, Kind, Raw, bytes};
use super::session::{Exchange, Session};
use crate::engine::{Pace, Pair, ReadStore, Reader};
use crate::{DbError, Direction, KeyRange, Versions};

pub(super) struct PostgresReader(pub(super) Session);

impl Reader for PostgresReader {
    fn snapshot(&mut self, pace: Pace, body: &mut dyn FnMut(&dyn ReadStore)) -> Result<(), DbError> {
        let store = PostgresSnapshot(RefCell::new(Exchange::read(&mut self.0, pace)));
        body(&store);
        store.0.into_inner().end();
        Ok(())
    }
}

struct PostgresSnapshot<'a>(RefCell<Exchange<'a>>);

impl ReadStore for PostgresSnapshot<'_> {
    fn get(&self, table: &str, key: &[u8]) -> Result<Option<Vec<u8>>, DbError> {
        let rows = self.0.borrow_mut().query(Kind::Get, table, &[&Raw(key)])?;
        rows.first().map(|row| bytes(row, 0)).transpose().map_err(DbError::from)
    }

    /// In one round trip.
    fn get_many(&self, table: &str, keys: &[Vec<u8>]) -> Result<Vec<Option<Vec<u8>>>, DbError> {
        let wanted: Vec<Raw<'_>> = keys.iter().map(|key| Raw(key)).collect();
        let rows = self.0.borrow_mut().query(Kind::GetMany, table, &[&wanted])?;
        let pair = |row: &Row| Ok((bytes(row, 0)?, bytes(row, 1)?));
        let found: Result<HashMap<Vec<u8>, Vec<u8>>, Failure> = rows.iter().map(pair).collect();
        let found = found.map_err(DbError::from)?;
        Ok(keys.iter().map(|key| found.get(key).cloned()).collect())
    }

    fn scan(
        &self,
        table: &str,
        range: &KeyRange,
        direction: Direction,
        limit: usize,
    ) -> Result<Vec<Pair>, DbError> {
        self.0.borrow_mut().scan(table, range, direction, limit)
    }

    fn tables(&self) -> Result<Vec<String>, DbError> {
        self.0.borrow_mut().tables()
    }

    fn versions(&self) -> Result<Versions, DbError> {
        self.0.borrow_mut().versions()
    }
}
