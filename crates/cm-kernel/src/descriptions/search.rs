//! Finding objects by what is said of them.

use cm_db::{Direction, KeyPrefix, KeyRange};
use cm_objects::{ListQuery, ObjectError, ObjectInfo};
use cm_policy::{List, Permit, Read};
use cm_types::{BucketName, ObjectKey, PageLimit, Sha256Digest, TenantId};

use super::{Descriptions, Place, Terms, Told, believed, forget, require_bucket};
use crate::sharing::readable;
use crate::{ErrorClass, Kernel, KernelError, OpContext};

/// Places that are looked at together when an object is searched for in all buckets.
const PLACES_AT_ONCE: usize = 16;
/// Places that are looked at in all, if the actor may read none of them.
const PLACES_MAX: usize = 1024;

/// Some of the objects that a term finds, ordered by key, each with what the actor is told of it.
#[derive(Clone, Debug, Default)]
pub struct Found {
    /// The objects.
    pub items: Vec<(ObjectInfo, Told)>,
    /// After what the next ones come; `None` if these were the last.
    pub next: Option<(ObjectKey, Sha256Digest)>,
}

/// An object that a term found in any bucket.
#[derive(Debug)]
struct Somewhere {
    bucket: BucketName,
    key: ObjectKey,
    is_readable: bool,
}

/// Some of what a term finds in all buckets.
struct Places {
    found: Vec<Somewhere>,
    /// What was said in buckets that are gone.
    gone: Vec<Place>,
    /// The last one, if there may be more.
    last: Option<(BucketName, ObjectKey)>,
}

impl Kernel {
    /// The objects of a bucket that a term finds. Of those that the actor may not read no more is told than that they are there.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`].
    pub async fn objects_by_term(
        &self,
        op: &OpContext,
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
                Ok::<_, KernelError>(rows.into_iter().map(|((_, _, _, found), _)| found).collect::<Vec<_>>())
            })
            .await?;
        let is_full = rows.len() == limit.get();
        let next = rows.last().filter(|_| is_full).cloned();
        let mut objects = Vec::with_capacity(rows.len());
        for (key, contents) in rows {
            let exactly = ListQuery {
                prefix: key.as_str().to_owned(),
                limit: PageLimit::clamped(1),
                ..ListQuery::default()
            };
            // A key is the first of those that begin with it.
            let page = self.objects().list(permit, bucket, exactly).await?;
            objects.extend(page.items.into_iter().find(|info| info.key == key && info.sha256 == contents));
        }
        let told = self.object_descriptions(op, permit, bucket, &objects).await?;
        // The term belongs to what was said; where nothing is said any more, it finds nothing.
        let items = objects.into_iter().zip(told).filter(|(_, told)| *told != Told::Nothing);
        Ok(Found { items: items.collect(), next })
    }

    /// Objects that a term finds in any bucket and that the actor may read, each with what is said of it and the permit; the
    /// latest first. Of many, only some are looked at, but there is one if the actor may read one of the first 1024.
    ///
    /// # Errors
    /// Those of the tables.
    pub async fn find_objects(
        &self,
        op: &OpContext,
        term: &str,
    ) -> Result<Vec<(ObjectInfo, String, Permit<Read>)>, KernelError> {
        let (mut found, mut after, mut looked_at) = (Vec::new(), None, 0);
        while looked_at < PLACES_MAX {
            let places = self.places(op, term, after).await?;
            if !places.gone.is_empty() {
                self.forget_gone(places.gone).await?;
            }
            for place in places.found.iter().filter(|place| place.is_readable) {
                found.extend(self.found_at(op, term, place).await?);
            }
            looked_at += PLACES_AT_ONCE;
            after = places.last;
            if !found.is_empty() || after.is_none() {
                break;
            }
        }
        found.sort_by_key(|(info, _, _)| std::cmp::Reverse(info.created_at));
        Ok(found)
    }

    /// The next places that a term finds. A key whose contents changed often is one place.
    async fn places(
        &self,
        op: &OpContext,
        term: &str,
        after: Option<(BucketName, ObjectKey)>,
    ) -> Result<Places, KernelError> {
        let (catalog, objects) = (self.catalog().clone(), self.objects().clone());
        let (said, tenant) = (self.said_by(op), op.tenant());
        let (op, term) = (op.clone(), term.to_owned());
        self.db()
            .read(move |tx| {
                let (mut named, mut gone) = (Vec::new(), Vec::new());
                let mut last = after;
                for _ in 0..PLACES_AT_ONCE {
                    let mut range = KeyRange::prefix(KeyPrefix::new().part(&tenant).part(&term));
                    if let Some(last) = &last {
                        range = range.after(&behind(&tenant, &term, last));
                    }
                    let next = tx.range::<Terms>(range, Direction::Forward, 1)?.pop();
                    let Some(((_, _, bucket, (key, contents)), _)) = next else {
                        last = None;
                        break;
                    };
                    let place = (tenant.clone(), bucket.clone(), key.clone(), contents);
                    if believed(&catalog, tx, &place)?.is_none() {
                        gone.push(place);
                    }
                    last = Some((bucket.clone(), key.clone()));
                    named.push((bucket, key));
                }
                let readable = readable((&catalog, &objects), tx, (&op, &said), &named)?;
                let found = named.into_iter().zip(readable);
                let found = found.map(|((bucket, key), is_readable)| Somewhere { bucket, key, is_readable });
                Ok::<_, KernelError>(Places { found: found.collect(), gone, last })
            })
            .await
    }

    /// The object that is at this place, if it is found by the term with the contents that it has now.
    async fn found_at(
        &self,
        op: &OpContext,
        term: &str,
        Somewhere { bucket, key, .. }: &Somewhere,
    ) -> Result<Option<(ObjectInfo, String, Permit<Read>)>, KernelError> {
        let permit = match self.look_up_object::<Read>(op, bucket, key).await {
            Ok(permit) => permit,
            Err(error) if matches!(error.class(), ErrorClass::NotFound | ErrorClass::Forbidden) => {
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let info = match self.objects().head(&permit, bucket, key).await {
            Ok(info) => info,
            Err(ObjectError::NotFound { .. }) => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let place = (permit.tenant().clone(), bucket.clone(), key.clone(), info.sha256);
        let catalog = self.catalog().clone();
        let row = self.db().look_up(move |tx| believed(&catalog, tx, &place)).await?;
        let text = row.filter(|row| row.terms.contains(term)).map(|row| row.text);
        Ok(text.map(|text| (info, text, permit)))
    }

    async fn forget_gone(&self, gone: Vec<Place>) -> Result<(), KernelError> {
        let catalog = self.catalog().clone();
        self.db()
            .write(move |tx| {
                for place in gone {
                    // Somebody may have said something anew.
                    if tx.get::<Descriptions>(&place)?.is_some() && believed(&catalog, tx, &place)?.is_none()
                    {
                        forget(tx, &place)?;
                    }
                }
                Ok(())
            })
            .await
    }
}

/// Behind all contents that a key ever had.
fn behind(
    tenant: &TenantId,
    term: &str,
    (bucket, key): &(BucketName, ObjectKey),
) -> (TenantId, String, BucketName, (ObjectKey, Sha256Digest)) {
    let last = Sha256Digest::from_bytes([0xff; 32]);
    (tenant.clone(), term.to_owned(), bucket.clone(), (key.clone(), last))
}
