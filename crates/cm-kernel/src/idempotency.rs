//! Creations that may be sent twice: the second time the caller gets what the first one made.

use std::time::Duration;

use cm_catalog::Record;
use cm_db::{Direction, KeyRange, ReadTx, Row, Table, WriteTx};
use cm_types::{PrincipalId, ResourceId, ResourceKind, ResourceRef, Sha256Digest, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::KernelError;
use crate::within::Within;

/// How long a key is remembered: longer than any client goes on trying.
pub const KEY_LIFETIME: Duration = Duration::from_secs(24 * 60 * 60);
/// Longest key, in bytes.
pub const KEY_LEN_MAX: usize = 128;
/// Keys that are forgotten along with each creation if they are old enough, so that they never pile up.
const FORGOTTEN_AT_ONCE: usize = 8;

/// The tables of this module.
pub(crate) const TABLES: &[&str] = &[Creations::NAME, ByTime::NAME];

/// What was created under which key: tenant, principal, key.
struct Creations;

impl Table for Creations {
    const NAME: &'static str = "idempotent_creations";
    type Key = (TenantId, PrincipalId, String);
    type Row = Creation;
}

/// The keys in the order in which they were used.
struct ByTime;

impl Table for ByTime {
    const NAME: &'static str = "idempotent_by_time";
    type Key = (Timestamp, TenantId, PrincipalId, String);
    type Row = Used;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Creation {
    at: Timestamp,
    /// SHA-256 of what was asked for.
    asked: Sha256Digest,
    kind: ResourceKind,
    id: ResourceId,
}

impl Row for Creation {}

/// That a key was used; the table's key says it all.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Used {}

impl Row for Used {}

/// The digest of what is asked for: an operation, such as the kind of what is created, and a body.
pub fn digest_of(operation: &str, body: &[u8]) -> Sha256Digest {
    let mut hash = cm_crypto::digest::Sha256::new();
    hash.update(operation.as_bytes());
    hash.update(&[0]);
    hash.update(body);
    hash.finish()
}

/// The name that a caller gave to one creation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IdempotencyKey {
    key: String,
    asked: Sha256Digest,
}

impl IdempotencyKey {
    /// A key of the caller's own choosing, for what has this digest.
    ///
    /// # Errors
    /// [`KernelError::InvalidKey`].
    pub fn new(key: &str, asked: Sha256Digest) -> Result<Self, KernelError> {
        let valid = (1..=KEY_LEN_MAX).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic());
        if valid { Ok(Self { key: key.to_owned(), asked }) } else { Err(KernelError::InvalidKey) }
    }

    /// What was created under the key, if anything was and the key is not forgotten.
    ///
    /// # Errors
    /// [`KernelError::KeyReused`], [`KernelError::CreationGone`].
    pub(crate) fn find(
        &self,
        tx: &ReadTx<'_>,
        within: &Within,
        kind: ResourceKind,
    ) -> Result<Option<Record>, KernelError> {
        let Some(place) = self.place(within) else { return Ok(None) };
        let found = match tx.get::<Creations>(&place)? {
            Some(found) if is_forgotten(found.at, within.occasion.at) => return Ok(None),
            Some(found) if found.asked == self.asked && found.kind == kind => found,
            Some(_) => return Err(KernelError::KeyReused(self.key.clone())),
            None => return Ok(None),
        };
        let (tenant, principal, _) = &place;
        // Whoever created it owns it, and may read it. A later record of the same id is another one, and somebody else's.
        let is_the_one =
            |record: &Record| record.header.created_at == found.at && record.header.owner == *principal;
        let record = within.catalog.get(tx, tenant, kind, &found.id)?.filter(is_the_one);
        let gone = || KernelError::CreationGone(ResourceRef::new(kind, found.id.as_str()));
        Ok(Some(record.ok_or_else(gone)?))
    }

    /// Keeps what was created under the key.
    pub(crate) fn remember(
        &self,
        tx: &mut WriteTx<'_>,
        within: &Within,
        record: &Record,
    ) -> Result<(), KernelError> {
        let now = within.occasion.at;
        forget_some(tx, now)?;
        // Without a principal there is nobody who could repeat anything.
        let Some(place) = self.place(within) else { return Ok(()) };
        let (kind, id) = (record.header.kind, record.header.id.clone());
        let (tenant, principal, key) = place.clone();
        if let Some(old) = tx.get::<Creations>(&place)? {
            tx.delete::<ByTime>(&(old.at, tenant.clone(), principal.clone(), key.clone()))?;
        }
        tx.put::<Creations>(&place, &Creation { at: now, asked: self.asked, kind, id })?;
        tx.put::<ByTime>(&(now, tenant, principal, key), &Used {})?;
        Ok(())
    }

    fn place(&self, within: &Within) -> Option<(TenantId, PrincipalId, String)> {
        Some((within.op.tenant(), within.op.principal()?.clone(), self.key.clone()))
    }
}

fn is_forgotten(at: Timestamp, now: Timestamp) -> bool {
    now.since(at) >= KEY_LIFETIME
}

fn forget_some(tx: &mut WriteTx<'_>, now: Timestamp) -> Result<(), KernelError> {
    for (place, Used {}) in tx.range::<ByTime>(KeyRange::all(), Direction::Forward, FORGOTTEN_AT_ONCE)? {
        if !is_forgotten(place.0, now) {
            break;
        }
        tx.delete::<ByTime>(&place)?;
        let (_, tenant, principal, key) = place;
        tx.delete::<Creations>(&(tenant, principal, key))?;
    }
    Ok(())
}
