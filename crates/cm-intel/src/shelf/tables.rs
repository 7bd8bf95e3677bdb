//! The tables. Every row is versioned; what was written once is read for ever.

use cm_db::{Row, Table};
use cm_types::{PrincipalId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

pub(crate) use crate::store::tables::Mark;

/// All of them.
pub const TABLES: &[&str] =
    &[Shelves::NAME, Objects::NAME, Versions::NAME, Statuses::NAME, StatusesByAge::NAME];

macro_rules! tables {
    ($( $(#[doc = $doc:literal])+ $table:ident = $name:literal: $key:ty => $row:ty; )+) => {
        $(
            $(#[doc = $doc])+
            pub(crate) struct $table;

            impl Table for $table {
                const NAME: &'static str = $name;
                type Key = $key;
                type Row = $row;
            }

        )+
    };
}

tables! {
    /// Shelves under their names.
    Shelves = "intel_shelves": String => ShelfRow;
    /// Objects under their shelf and the moment at which they were added, in microseconds.
    Objects = "intel_shelf_objects": (String, u64) => ObjectRow;
    /// The same under their shelf, id, version and version of STIX.
    Versions = "intel_shelf_versions": (String, String, Timestamp, u8) => VersionRow;
    /// Reports on what was put in, under their ids.
    Statuses = "intel_shelf_statuses": String => StatusRow;
    /// The same by age.
    StatusesByAge = "intel_shelf_statuses_by_age": (Timestamp, String) => Mark;
}

/// How a shelf is.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub(crate) struct ShelfRow {
    /// When the last object was added.
    pub(crate) last: u64,
    /// How many objects there are.
    pub(crate) count: u64,
    /// Up to where it followed what it follows.
    pub(crate) fed: u64,
}

impl Row for ShelfRow {}

/// An object. The names are short because there are many.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct ObjectRow {
    #[serde(rename = "i")]
    pub(crate) id: String,
    #[serde(rename = "v")]
    pub(crate) version: Timestamp,
    #[serde(rename = "s")]
    pub(crate) spec: u8,
    #[serde(rename = "o")]
    pub(crate) text: Box<RawValue>,
}

impl Row for ObjectRow {}

/// Where a version is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct VersionRow {
    #[serde(rename = "a")]
    pub(crate) added: u64,
}

impl Row for VersionRow {}

/// A report.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StatusRow {
    pub(crate) tenant: TenantId,
    pub(crate) principal: Option<PrincipalId>,
    pub(crate) body: serde_json::Value,
}

impl Row for StatusRow {}
