//! Which tables there are, and how older data becomes current.

use crate::{DbError, Table, WriteTx};

/// What data says of its own versions.
///
/// Opening **expands**: new tables, migrations that programs from `compatible_from` on do not mind. So a newer program
/// begins to work while older ones still run on the same data. Only when none of them is left, an operator raises
/// `compatible_from` ([`crate::Db::finish_upgrade`]); from then on the newer program may rely on it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Versions {
    /// The newest schema version that has worked with the data; 0 if there is no data.
    pub data: u32,
    /// The oldest schema version whose programs can still work with the data; never above `data`.
    pub compatible_from: u32,
}

/// One step from older data to newer.
#[derive(Clone, Copy, Debug)]
pub struct Migration {
    /// The schema version that the data has afterwards.
    pub to: u32,
    /// The step. It runs in the one transaction that also records the new version, and must leave data that programs
    /// of earlier versions, down to [`Versions::compatible_from`], can go on with: they may be running.
    pub run: fn(&mut WriteTx<'_>) -> Result<(), DbError>,
}

/// The tables and migrations of a program, assembled from those who own them.
#[derive(Clone, Debug)]
pub struct Schema {
    version: u32,
    tables: Vec<&'static str>,
    migrations: Vec<Migration>,
}

impl Schema {
    /// A schema without tables. Versions count from 1; raise the version with every new table and every
    /// migration.
    ///
    /// # Panics
    /// If the version is 0, which stands for a database without data.
    pub fn new(version: u32) -> Self {
        assert!(version > 0, "schema versions count from 1");
        Self { version, tables: Vec::new(), migrations: Vec::new() }
    }

    /// With one more table.
    ///
    /// # Panics
    /// If the name is taken, or is not made of lower-case letters, digits and `_`.
    pub fn with_table<T: Table>(self) -> Self {
        self.with_tables(&[T::NAME])
    }

    /// With more tables, by name.
    ///
    /// # Panics
    /// As [`Schema::with_table`].
    pub fn with_tables(mut self, names: &[&'static str]) -> Self {
        for name in names {
            let valid = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
            assert!(!name.is_empty() && name.chars().all(valid), "`{name}` is no table name");
            assert!(!self.tables.contains(name), "table `{name}` is in the schema twice");
            self.tables.push(name);
        }
        self
    }

    /// With one more migration. Migrations run in the order of their versions; a fresh database runs
    /// them all, on empty tables.
    ///
    /// # Panics
    /// If the version is beyond the schema's, or not after that of the previous migration.
    pub fn with_migration(mut self, to: u32, run: fn(&mut WriteTx<'_>) -> Result<(), DbError>) -> Self {
        assert!(to <= self.version, "migration to {to} is beyond schema version {}", self.version);
        assert!(self.migrations.last().is_none_or(|last| last.to < to), "migration to {to} is out of order");
        self.migrations.push(Migration { to, run });
        self
    }

    /// The version that data has once opened.
    pub fn version(&self) -> u32 {
        self.version
    }

    /// The names of the tables.
    pub fn tables(&self) -> &[&'static str] {
        &self.tables
    }

    pub(crate) fn migrations_after(&self, found: u32) -> impl Iterator<Item = &Migration> {
        self.migrations.iter().filter(move |migration| migration.to > found)
    }
}
