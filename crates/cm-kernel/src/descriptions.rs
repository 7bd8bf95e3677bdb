//! What a face says about objects beyond what their store keeps: a text of its own, and terms by which it finds them again
//! without reading whole buckets.
//!
//! A description belongs to a key **and to contents**. It is kept before an object with these contents becomes visible, and says
//! nothing of an object that has others. Hence nobody ever sees an object without what its writer said of it, nor what was said of bytes
//! that never arrived, although store and description are two transactions. What a crash or another face leaves behind
//! is not believed, and forgotten with a later change to the same key.
//!
//! It belongs to a **bucket**, too, not only to its name: what was said in a bucket that was deleted is never told of a later one.
//! Some of it is forgotten with the bucket, the rest when a search comes across it.

mod search;

use std::collections::BTreeSet;
use std::time::Duration;

use cm_catalog::Catalog;
use cm_db::{KeyPrefix, ReadTx, Row, Table, WriteTx};
use cm_events::{EventVerb, NewEvent, Outcome};
use cm_objects::{ObjectError, ObjectInfo, PutAction};
use cm_policy::{ActionKind, Delete, List, Permit, Read, Update};
use cm_types::{
    BucketName, ObjectKey, ResourceId, ResourceKind, ResourceRef, Sha256Digest, TenantId, Timestamp,
};
use serde::{Deserialize, Serialize};

pub use search::Found;

use crate::sharing::readable;
use crate::{Kernel, KernelError, OpContext};

/// Most bytes of the text.
pub const TEXT_BYTES_MAX: usize = 16 << 10;
/// Most terms of one object.
pub const TERMS_MAX: usize = 4;
/// Longest term, in bytes: a key of the index holds a term, a bucket, an object's key and a digest.
pub const TERM_BYTES_MAX: usize = 1100;
/// After how long a description whose object never came is forgotten: no upload takes longer.
const WAITING_MAX: Duration = Duration::from_secs(24 * 3600);
/// Descriptions that one change forgets.
const FORGOTTEN_AT_ONCE: usize = 16;
/// Descriptions that go in the transaction that deletes a bucket.
const FORGOTTEN_WITH_BUCKET: usize = 1000;

/// The tables of this module.
pub(crate) const TABLES: &[&str] = &[Descriptions::NAME, Terms::NAME];

/// What is said of an object that has these contents.
pub(crate) struct Descriptions;

impl Table for Descriptions {
    const NAME: &'static str = "object_descriptions";
    type Key = (TenantId, BucketName, ObjectKey, Sha256Digest);
    type Row = DescriptionRow;
}

/// What a term finds.
pub(crate) struct Terms;

impl Table for Terms {
    const NAME: &'static str = "object_terms";
    type Key = (TenantId, String, BucketName, (ObjectKey, Sha256Digest));
    type Row = TermRow;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct DescriptionRow {
    text: String,
    terms: BTreeSet<String>,
    pub(crate) since: Timestamp,
    /// When the bucket was created that it was said in; rows of old do not know.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    bucket_since: Option<Timestamp>,
}

impl DescriptionRow {
    /// Whether it was said in the bucket that was created then, and not in an earlier one of its name.
    pub(crate) fn was_said_in(&self, bucket_since: Timestamp) -> bool {
        match self.bucket_since {
            Some(since) => since == bucket_since,
            None => self.since >= bucket_since,
        }
    }
}

/// That there is one; the table's key says it all.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct TermRow {}

impl Row for DescriptionRow {}
impl Row for TermRow {}

/// What a face says of an object.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Description {
    /// In the face's own words; [`TEXT_BYTES_MAX`] bytes at most.
    pub text: String,
    /// What the object is found by; [`TERMS_MAX`] of [`TERM_BYTES_MAX`] bytes at most, without control characters.
    pub terms: BTreeSet<String>,
}

impl Description {
    fn check(&self) -> Result<(), KernelError> {
        let too_long = |what, bytes, max| Err(ObjectError::DescriptionTooLong { what, bytes, max }.into());
        if self.text.len() > TEXT_BYTES_MAX {
            return too_long("description", self.text.len(), TEXT_BYTES_MAX);
        }
        if self.terms.len() > TERMS_MAX {
            return too_long("list of terms", self.terms.len(), TERMS_MAX);
        }
        if let Some(bytes) = self.terms.iter().map(String::len).find(|bytes| *bytes > TERM_BYTES_MAX) {
            return too_long("term", bytes, TERM_BYTES_MAX);
        }
        match self.terms.iter().any(|term| term.chars().any(char::is_control)) {
            true => Err(ObjectError::DescriptionCharacter { what: "term" }.into()),
            false => Ok(()),
        }
    }
}

/// What the actor is told of an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// The actor may not read it, and is told nothing that is said of it.
    Hidden,
    /// Nothing is said of it.
    Nothing,
    /// What is said of it.
    Text(String),
}

impl Kernel {
    /// Keeps what is to be said of an object once it has these contents. To be called before the put, and after it again with
    /// [`Kernel::confirm_description`].
    ///
    /// # Errors
    /// [`ObjectError::DescriptionTooLong`] and its like, [`ObjectError::NotPermitted`].
    pub async fn prepare_description<A: PutAction>(
        &self,
        permit: &Permit<A>,
        (bucket, key): (&BucketName, &ObjectKey),
        contents: Sha256Digest,
        description: Description,
    ) -> Result<(), KernelError> {
        let place = place(permit, bucket, key, contents)?;
        description.check()?;
        let (catalog, now) = (self.catalog().clone(), self.now());
        self.db().write(move |tx| keep(&catalog, tx, &place, description, now)).await
    }

    /// Says that the object is there: what was said of other contents under its key is forgotten.
    ///
    /// # Errors
    /// As [`Kernel::prepare_description`].
    pub async fn confirm_description<A: PutAction>(
        &self,
        permit: &Permit<A>,
        (bucket, key): (&BucketName, &ObjectKey),
        contents: Sha256Digest,
        description: Description,
    ) -> Result<(), KernelError> {
        let place = place(permit, bucket, key, contents)?;
        let now = self.now();
        let (looked_for, catalog) = (place.clone(), self.catalog().clone());
        let (is_kept, old) = self.db().read(move |tx| others(&catalog, tx, &looked_for, now)).await?;
        if is_kept && old.is_empty() {
            return Ok(());
        }
        let catalog = self.catalog().clone();
        self.db()
            .write(move |tx| {
                let (is_kept, others) = others(&catalog, tx, &place, now)?;
                for other in others {
                    forget(tx, &other)?;
                }
                match is_kept {
                    true => Ok(()),
                    // Somebody deleted an object with the same contents in between, and its description with it.
                    false => keep(&catalog, tx, &place, description, now),
                }
            })
            .await
    }

    /// Says something else of an object that has these contents.
    ///
    /// # Errors
    /// As [`Kernel::prepare_description`].
    pub async fn describe_object(
        &self,
        op: &OpContext,
        permit: &Permit<Update>,
        (bucket, key): (&BucketName, &ObjectKey),
        contents: Sha256Digest,
        description: Description,
    ) -> Result<(), KernelError> {
        let place = place(permit, bucket, key, contents)?;
        description.check()?;
        let (now, catalog, events) = (self.now(), self.catalog().clone(), self.events().clone());
        let event = NewEvent {
            tenant: permit.tenant().clone(),
            actor: op.principal().cloned(),
            verb: EventVerb::fixed("object.described"),
            resource: Some(ResourceRef::new(ResourceKind::Object, format!("{bucket}/{key}"))),
            request: Some(op.request.clone()),
            outcome: Outcome::Allowed,
            facts: serde_json::Map::from_iter([("sha256".to_owned(), contents.to_string().into())]),
        };
        self.db()
            .write(move |tx| {
                keep(&catalog, tx, &place, description, now)?;
                events.append(tx, event)?;
                Ok(())
            })
            .await
    }

    /// Forgets what was said of an object that had these contents and was deleted.
    ///
    /// # Errors
    /// [`ObjectError::NotPermitted`].
    pub async fn forget_description(
        &self,
        permit: &Permit<Delete>,
        (bucket, key): (&BucketName, &ObjectKey),
        contents: Sha256Digest,
    ) -> Result<(), KernelError> {
        let place = place(permit, bucket, key, contents)?;
        self.db().write(move |tx| forget(tx, &place)).await
    }

    /// What is said of an object that has these contents; `None` if nothing is.
    ///
    /// # Errors
    /// [`ObjectError::NotPermitted`].
    pub async fn object_description(
        &self,
        permit: &Permit<Read>,
        (bucket, key): (&BucketName, &ObjectKey),
        contents: Sha256Digest,
    ) -> Result<Option<String>, KernelError> {
        let place = place(permit, bucket, key, contents)?;
        let catalog = self.catalog().clone();
        self.db().read(move |tx| Ok(believed(&catalog, tx, &place)?.map(|row| row.text))).await
    }

    /// What the actor is told of each of these objects of a bucket, in their order: nothing of those that it may not read.
    ///
    /// # Errors
    /// [`ObjectError::NotPermitted`] unless the permit is for listing the bucket.
    pub async fn object_descriptions(
        &self,
        op: &OpContext,
        permit: &Permit<List>,
        bucket: &BucketName,
        objects: &[ObjectInfo],
    ) -> Result<Vec<Told>, KernelError> {
        require_bucket(permit, bucket)?;
        let place =
            |info: &ObjectInfo| (permit.tenant().clone(), bucket.clone(), info.key.clone(), info.sha256);
        let places: Vec<Place> = objects.iter().map(place).collect();
        let (catalog, store) = (self.catalog().clone(), self.objects().clone());
        let (op, said) = (op.clone(), self.said_by(op));
        let (tenant, bucket) = (permit.tenant().clone(), bucket.clone());
        self.db()
            .read(move |tx| {
                let named: Vec<_> =
                    places.iter().map(|(_, bucket, key, _)| (bucket.clone(), key.clone())).collect();
                let readable = readable((&catalog, &store), tx, (&op, &said), &named)?;
                let since = bucket_since(&catalog, tx, &tenant, &bucket)?;
                let rows = tx.get_many::<Descriptions>(&places)?;
                let told = rows.into_iter().zip(readable).map(|(row, readable)| match (readable, row) {
                    (false, _) => Told::Hidden,
                    (true, Some(row)) if since.is_some_and(|since| row.was_said_in(since)) => {
                        Told::Text(row.text)
                    }
                    (true, _) => Told::Nothing,
                });
                Ok(told.collect())
            })
            .await
    }
}

type Place = (TenantId, BucketName, ObjectKey, Sha256Digest);

/// Where a description is, if the permit is for the object.
fn place<A: ActionKind>(
    permit: &Permit<A>,
    bucket: &BucketName,
    key: &ObjectKey,
    contents: Sha256Digest,
) -> Result<Place, KernelError> {
    let id = format!("{bucket}/{key}");
    match permit.covers(permit.tenant(), ResourceKind::Object, &id) {
        true => Ok((permit.tenant().clone(), bucket.clone(), key.clone(), contents)),
        false => Err(ObjectError::NotPermitted { wanted: ResourceRef::new(ResourceKind::Object, id) }.into()),
    }
}

fn require_bucket(permit: &Permit<List>, bucket: &BucketName) -> Result<(), KernelError> {
    match permit.covers(permit.tenant(), ResourceKind::Bucket, bucket.as_str()) {
        true => Ok(()),
        false => {
            let wanted = ResourceRef::new(ResourceKind::Bucket, bucket.as_str());
            Err(ObjectError::NotPermitted { wanted }.into())
        }
    }
}

/// When the bucket was created that has this name now.
fn bucket_since(
    catalog: &Catalog,
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    bucket: &BucketName,
) -> Result<Option<Timestamp>, KernelError> {
    let record = catalog.get(tx, tenant, ResourceKind::Bucket, &ResourceId::from(bucket.clone()))?;
    Ok(record.map(|record| record.header.created_at))
}

/// What is said there, unless it was said in an earlier bucket.
fn believed(
    catalog: &Catalog,
    tx: &ReadTx<'_>,
    place: &Place,
) -> Result<Option<DescriptionRow>, KernelError> {
    let Some(row) = tx.get::<Descriptions>(place)? else { return Ok(None) };
    let since = bucket_since(catalog, tx, &place.0, &place.1)?;
    Ok(Some(row).filter(|row| since.is_some_and(|since| row.was_said_in(since))))
}

fn keep(
    catalog: &Catalog,
    tx: &mut WriteTx<'_>,
    place: &Place,
    description: Description,
    now: Timestamp,
) -> Result<(), KernelError> {
    forget(tx, place)?;
    let (tenant, bucket, key, contents) = place;
    let missing = || KernelError::NotFound(ResourceRef::new(ResourceKind::Bucket, bucket.as_str()));
    let bucket_since = bucket_since(catalog, tx, tenant, bucket)?.ok_or_else(missing)?;
    for term in &description.terms {
        let at = (tenant.clone(), term.clone(), bucket.clone(), (key.clone(), *contents));
        tx.put::<Terms>(&at, &TermRow {})?;
    }
    let Description { text, terms } = description;
    let row = DescriptionRow { text, terms, since: now, bucket_since: Some(bucket_since) };
    Ok(tx.put::<Descriptions>(place, &row)?)
}

/// Forgets what was said in a bucket, within the transaction that deletes it; a bounded part of it, the rest is not believed.
pub(crate) fn forget_bucket(
    tx: &mut WriteTx<'_>,
    tenant: &TenantId,
    bucket: &BucketName,
) -> Result<(), KernelError> {
    let prefix = KeyPrefix::new().part(tenant).part(bucket);
    for (place, _) in tx.prefix::<Descriptions>(prefix, None, FORGOTTEN_WITH_BUCKET)? {
        forget(tx, &place)?;
    }
    Ok(())
}

fn forget(tx: &mut WriteTx<'_>, place: &Place) -> Result<(), KernelError> {
    let Some(row) = tx.get::<Descriptions>(place)? else { return Ok(()) };
    let (tenant, bucket, key, contents) = place;
    for term in row.terms {
        tx.delete::<Terms>(&(tenant.clone(), term, bucket.clone(), (key.clone(), *contents)))?;
    }
    tx.delete::<Descriptions>(place)?;
    Ok(())
}

/// Whether the description is there, and which others of the same key are so old that no upload is behind them.
fn others(
    catalog: &Catalog,
    tx: &ReadTx<'_>,
    place: &Place,
    now: Timestamp,
) -> Result<(bool, Vec<Place>), KernelError> {
    let (tenant, bucket, key, contents) = place;
    let prefix = KeyPrefix::new().part(tenant).part(bucket).part(key);
    let rows = tx.prefix::<Descriptions>(prefix, None, FORGOTTEN_AT_ONCE)?;
    let is_kept = believed(catalog, tx, place)?.is_some();
    let waiting = i64::try_from(WAITING_MAX.as_micros()).unwrap_or(i64::MAX);
    let old = rows.into_iter().filter(|((_, _, _, other), row)| {
        other != contents && now.as_micros().saturating_sub(row.since.as_micros()) > waiting
    });
    Ok((is_kept, old.map(|(place, _)| place).collect()))
}
