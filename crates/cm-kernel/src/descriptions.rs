//! What a face says about objects beyond what their store keeps: a text of its own, and terms by which it finds them again
//! without reading whole buckets.
//!
//! A description belongs to a key **and to contents**. It is kept before an object with these contents becomes visible, and says
//! nothing of an object that has others. Hence nobody ever sees an object without what its writer said of it, nor what was said of bytes
//! that never arrived, although store and description are two transactions. What a crash or another face leaves behind
//! is not believed, and forgotten with a later change to the same key.

use std::collections::BTreeSet;
use std::time::Duration;

use cm_db::{Direction, KeyPrefix, KeyRange, Row, Table, WriteTx};
use cm_events::{EventVerb, NewEvent, Outcome};
use cm_objects::{ListQuery, ObjectError, ObjectInfo, PutAction};
use cm_policy::{ActionKind, Delete, List, Permit, Read, Update};
use cm_types::{
    BucketName, ObjectKey, PageLimit, ResourceKind, ResourceRef, Sha256Digest, TenantId, Timestamp,
};
use serde::{Deserialize, Serialize};

use crate::{ErrorClass, Kernel, KernelError, OpContext};

/// Most bytes of the text.
pub const TEXT_BYTES_MAX: usize = 16 << 10;
/// Most terms of one object.
pub const TERMS_MAX: usize = 4;
/// Longest term, in bytes: a key of the index holds a term, a bucket, an object's key and a digest.
pub const TERM_BYTES_MAX: usize = 1100;
/// Objects that are looked at when one is searched for in all buckets.
const PLACES_MAX: usize = 16;
/// After how long a description whose object never came is forgotten: no upload takes longer.
const WAITING_MAX: Duration = Duration::from_secs(24 * 3600);
/// Descriptions that one change forgets.
const FORGOTTEN_AT_ONCE: usize = 16;

/// The tables of this module.
pub(crate) const TABLES: &[&str] = &[Descriptions::NAME, Terms::NAME];

/// What is said of an object that has these contents.
struct Descriptions;

impl Table for Descriptions {
    const NAME: &'static str = "object_descriptions";
    type Key = (TenantId, BucketName, ObjectKey, Sha256Digest);
    type Row = DescriptionRow;
}

/// What a term finds.
struct Terms;

impl Table for Terms {
    const NAME: &'static str = "object_terms";
    type Key = (TenantId, String, BucketName, (ObjectKey, Sha256Digest));
    type Row = TermRow;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct DescriptionRow {
    text: String,
    terms: BTreeSet<String>,
    since: Timestamp,
}

/// That there is one; the table's key says it all.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct TermRow {}

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

/// Some of the objects that a term finds, ordered by key, each with the text that is said of it.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The objects.
    pub items: Vec<(ObjectInfo, String)>,
    /// After what the next ones come; `None` if these were the last.
    pub next: Option<(ObjectKey, Sha256Digest)>,
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
        let now = self.now();
        self.db().write(move |tx| keep(tx, &place, description, now)).await
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
        let looked_for = place.clone();
        let (is_kept, old) = self.db().read(move |tx| others(tx, &looked_for, now)).await?;
        if is_kept && old.is_empty() {
            return Ok(());
        }
        self.db()
            .write(move |tx| {
                let (is_kept, others) = others(tx, &place, now)?;
                for other in others {
                    forget(tx, &other)?;
                }
                match is_kept {
                    true => Ok(()),
                    // Somebody deleted an object with the same contents in between, and its description with it.
                    false => keep(tx, &place, description, now),
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
        let (now, events) = (self.now(), self.events().clone());
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
                keep(tx, &place, description, now)?;
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
        self.db().read(move |tx| Ok(tx.get::<Descriptions>(&place)?.map(|row| row.text))).await
    }

    /// What is said of each of these objects of a bucket, in their order.
    ///
    /// # Errors
    /// [`ObjectError::NotPermitted`] unless the permit is for listing the bucket.
    pub async fn object_descriptions(
        &self,
        permit: &Permit<List>,
        bucket: &BucketName,
        objects: &[ObjectInfo],
    ) -> Result<Vec<Option<String>>, KernelError> {
        require_bucket(permit, bucket)?;
        let place =
            |info: &ObjectInfo| (permit.tenant().clone(), bucket.clone(), info.key.clone(), info.sha256);
        let places: Vec<_> = objects.iter().map(place).collect();
        self.db()
            .read(move |tx| {
                let rows = tx.get_many::<Descriptions>(&places)?;
                Ok(rows.into_iter().map(|row| row.map(|row| row.text)).collect())
            })
            .await
    }

    /// The objects of a bucket that a term finds.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`].
    pub async fn objects_by_term(
        &self,
        permit: &Permit<List>,
        bucket: &BucketName,
        term: &str,
        after: Option<(ObjectKey, Sha256Digest)>,
        limit: PageLimit,
    ) -> Result<Found, KernelError> {
        require_bucket(permit, bucket)?;
        let (tenant, term) = (permit.tenant().clone(), term.to_owned());
        let within = bucket.clone();
        let rows = self
            .db()
            .read(move |tx| {
                let prefix = KeyPrefix::new().part(&tenant).part(&term).part(&within);
                let mut range = KeyRange::prefix(&prefix);
                if let Some((key, contents)) = after {
                    range = range.after(&(tenant.clone(), term, within.clone(), (key, contents)));
                }
                let rows = tx.range::<Terms>(range, Direction::Forward, limit.get())?;
                let keys = rows.into_iter().map(|((_, _, _, found), _)| found);
                let keys: Vec<_> = keys.collect();
                let place = |(key, contents): &(ObjectKey, Sha256Digest)| {
                    (tenant.clone(), within.clone(), key.clone(), *contents)
                };
                let places: Vec<_> = keys.iter().map(place).collect();
                let texts = tx.get_many::<Descriptions>(&places)?;
                Ok::<_, KernelError>(keys.into_iter().zip(texts).collect::<Vec<_>>())
            })
            .await?;
        let is_full = rows.len() == limit.get();
        let next = rows.last().filter(|_| is_full).map(|(last, _)| last.clone());
        let mut items = Vec::with_capacity(rows.len());
        for ((key, contents), row) in rows {
            let Some(row) = row else { continue };
            let exactly = ListQuery {
                prefix: key.as_str().to_owned(),
                limit: PageLimit::clamped(1),
                ..ListQuery::default()
            };
            // A key is the first of those that begin with it.
            let page = self.objects().list(permit, bucket, exactly).await?;
            let found = page.items.into_iter().find(|info| info.key == key && info.sha256 == contents);
            items.extend(found.map(|info| (info, row.text)));
        }
        Ok(Found { items, next })
    }

    /// The objects that a term finds in any bucket and that the actor may read, each with what is said of it and the permit; the
    /// latest first. Of many, only some are looked at.
    ///
    /// # Errors
    /// Those of the tables.
    pub async fn find_objects(
        &self,
        op: &OpContext,
        term: &str,
    ) -> Result<Vec<(ObjectInfo, String, Permit<Read>)>, KernelError> {
        let prefix = KeyPrefix::new().part(&op.tenant()).part(&term.to_owned());
        let places = self
            .db()
            .read(move |tx| {
                Ok::<_, KernelError>(tx.range::<Terms>(
                    KeyRange::prefix(&prefix),
                    Direction::Forward,
                    PLACES_MAX,
                )?)
            })
            .await?;
        let mut found = Vec::new();
        for ((_, _, bucket, (key, contents)), _) in places {
            let permit = match self.look_up_object::<Read>(op, &bucket, &key).await {
                Ok(permit) => permit,
                Err(error) if matches!(error.class(), ErrorClass::NotFound | ErrorClass::Forbidden) => {
                    continue;
                }
                Err(error) => return Err(error),
            };
            match self.objects().head(&permit, &bucket, &key).await {
                Ok(info) if info.sha256 == contents => {
                    let text = self.object_description(&permit, (&bucket, &key), contents).await?;
                    found.extend(text.map(|text| (info, text, permit)));
                }
                Ok(_) | Err(ObjectError::NotFound { .. }) => {}
                Err(error) => return Err(error.into()),
            }
        }
        found.sort_by_key(|(info, _, _)| std::cmp::Reverse(info.created_at));
        Ok(found)
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

fn keep(
    tx: &mut WriteTx<'_>,
    place: &Place,
    description: Description,
    now: Timestamp,
) -> Result<(), KernelError> {
    forget(tx, place)?;
    let (tenant, bucket, key, contents) = place;
    for term in &description.terms {
        let at = (tenant.clone(), term.clone(), bucket.clone(), (key.clone(), *contents));
        tx.put::<Terms>(&at, &TermRow {})?;
    }
    let Description { text, terms } = description;
    Ok(tx.put::<Descriptions>(place, &DescriptionRow { text, terms, since: now })?)
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
fn others(tx: &cm_db::ReadTx<'_>, place: &Place, now: Timestamp) -> Result<(bool, Vec<Place>), KernelError> {
    let (tenant, bucket, key, contents) = place;
    let prefix = KeyPrefix::new().part(tenant).part(bucket).part(key);
    let rows = tx.prefix::<Descriptions>(prefix, None, FORGOTTEN_AT_ONCE)?;
    let is_kept = tx.get::<Descriptions>(place)?.is_some();
    let waiting = i64::try_from(WAITING_MAX.as_micros()).unwrap_or(i64::MAX);
    let old = rows.into_iter().filter(|((_, _, _, other), row)| {
        other != contents && now.as_micros().saturating_sub(row.since.as_micros()) > waiting
    });
    Ok((is_kept, old.map(|(place, _)| place).collect()))
}
