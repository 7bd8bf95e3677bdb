//! What a node keeps: events that were verified, who reported them, what they come to, and what was forged, apart.
//!
//! All of it is in a database of its own, `intel.db`: threat events are many, come from strangers and belong to this node alone, so
//! that they neither fill the catalogue nor wait in its line. Reading order: [`tables`], [`accept`] (the one place that writes),
//! [`read`].

pub mod accept;
pub mod read;
pub(crate) mod sweep;
pub mod tables;

use std::path::Path;

use cm_db::{Db, DbError, Schema};

/// The database within the data directory.
pub const DATABASE_FILE: &str = "intel.db";
const VERSION: u32 = 3;

/// The tables and migrations.
pub fn schema() -> Schema {
    Schema::new(VERSION)
        .with_tables(tables::TABLES)
        .with_tables(tables::TABLES_2)
        .with_tables(crate::shelf::tables::TABLES)
        .with_tables(crate::feeds::tables::TABLES)
}

/// Opens the database of a data directory. Blocks.
///
/// # Errors
/// As [`cm_db::open_sqlite`].
pub fn open(data_dir: &Path) -> Result<Db, DbError> {
    cm_db::open_sqlite(&data_dir.join(DATABASE_FILE), &schema())
}
