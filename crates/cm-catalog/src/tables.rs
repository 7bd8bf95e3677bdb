//! How records and their indexes are stored. Only [`crate::index`] writes them.

use cm_db::{Row, Table};
use cm_types::{Generation, Labels, PrincipalId, ResourceId, ResourceKind, ResourceRef, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::{Header, OnDelete, Record, Reference, Spec};

/// The tables of this crate, for the schema of whoever opens the database.
pub const TABLES: &[&str] =
    &[Records::NAME, ByCreation::NAME, ByName::NAME, ByTarget::NAME, ByOwner::NAME, Sequence::NAME];

/// Every record, by what names it.
pub(crate) struct Records;

impl Table for Records {
    const NAME: &'static str = "catalog_records";
    type Key = (TenantId, ResourceKind, ResourceId);
    type Row = StoredRecord;
}

/// Records of a kind in the order in which they were created.
pub(crate) struct ByCreation;

impl Table for ByCreation {
    const NAME: &'static str = "catalog_by_creation";
    type Key = (TenantId, ResourceKind, u64);
    type Row = Pointer;
}

/// Records of the kinds whose names identify.
pub(crate) struct ByName;

impl Table for ByName {
    const NAME: &'static str = "catalog_by_name";
    type Key = (TenantId, ResourceKind, String);
    type Row = Pointer;
}

/// Who refers to what: tenant, target, the holder's kind and place in the order of creation.
pub(crate) struct ByTarget;

impl Table for ByTarget {
    const NAME: &'static str = "catalog_by_target";
    type Key = (TenantId, ResourceRef, ResourceKind, u64);
    type Row = Holder;
}

/// Who owns what: tenant, owner, kind and place in the order of creation.
pub(crate) struct ByOwner;

impl Table for ByOwner {
    const NAME: &'static str = "catalog_by_owner";
    type Key = (TenantId, PrincipalId, ResourceKind, u64);
    type Row = Pointer;
}

/// The last place given in the order of creation.
pub(crate) struct Sequence;

impl Table for Sequence {
    const NAME: &'static str = "catalog_sequence";
    type Key = ();
    type Row = LastPlace;
}

/// A record without what its key says.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct StoredRecord {
    pub(crate) place: u64,
    pub(crate) name: String,
    pub(crate) owner: PrincipalId,
    pub(crate) labels: Labels,
    pub(crate) generation: Generation,
    pub(crate) created_at: Timestamp,
    pub(crate) updated_at: Timestamp,
    pub(crate) spec: Spec,
    pub(crate) status: Value,
    pub(crate) references: Vec<Reference>,
}

impl Row for StoredRecord {}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Pointer {
    pub(crate) id: ResourceId,
}

impl Row for Pointer {}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Holder {
    pub(crate) id: ResourceId,
    pub(crate) on_delete: OnDelete,
}

impl Row for Holder {}

#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub(crate) struct LastPlace {
    pub(crate) place: u64,
}

impl Row for LastPlace {}

/// A record together with its place in the order of creation.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Placed {
    pub(crate) place: u64,
    pub(crate) record: Record,
}

impl Placed {
    pub(crate) fn key(&self) -> (TenantId, ResourceKind, ResourceId) {
        let header = &self.record.header;
        (header.tenant.clone(), header.kind, header.id.clone())
    }

    pub(crate) fn from_stored(key: (TenantId, ResourceKind, ResourceId), stored: StoredRecord) -> Self {
        let (tenant, kind, id) = key;
        let StoredRecord {
            place,
            name,
            owner,
            labels,
            generation,
            created_at,
            updated_at,
            spec,
            status,
            references,
        } = stored;
        let header = Header { kind, id, name, tenant, owner, labels, generation, created_at, updated_at };
        Self { place, record: Record { header, spec, status, references } }
    }

    pub(crate) fn to_stored(&self) -> StoredRecord {
        let Record { header, spec, status, references } = self.record.clone();
        StoredRecord {
            place: self.place,
            name: header.name,
            owner: header.owner,
            labels: header.labels,
            generation: header.generation,
            created_at: header.created_at,
            updated_at: header.updated_at,
            spec,
            status,
            references,
        }
    }
}
