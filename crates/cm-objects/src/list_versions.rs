//! Listing all versions of the objects of a bucket.

use std::collections::VecDeque;

use cm_db::{Direction, KeyPrefix, KeyRange, ReadTx, Table};
use cm_policy::{List, Permit};
use cm_types::{BucketName, ObjectKey, PageLimit, ResourceKind, TenantId};

use crate::list::{common_prefix, start};
use crate::objects::{info, require_bucket, require_bucket_exists};
use crate::tables::{Newest, ObjectRows, VersionIds, Versions};
use crate::versions::{Version, VersionName};
use crate::{ObjectError, Objects};

/// What to list.
#[derive(Clone, Debug, Default)]
pub struct VersionQuery {
    /// Only keys that begin so.
    pub prefix: String,
    /// As in [`ListQuery`](crate::ListQuery).
    pub delimiter: Option<String>,
    /// Begin behind this key; with a version, behind that version of it. A version that is no more is taken for none that was
    /// listed: its key begins anew.
    pub after: Option<(String, Option<VersionName>)>,
    /// How many versions and common prefixes together.
    pub limit: PageLimit,
}

/// One page: by key, and of one key the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VersionListing {
    /// The versions, and whether each is what its name shows.
    pub items: Vec<(Version, bool)>,
    /// What keys with the delimiter were folded into.
    pub common_prefixes: Vec<String>,
    /// Where the next page begins; `None` on the last one.
    pub next: Option<(String, Option<VersionName>)>,
}

impl Objects {
    /// One page of the versions of the objects of a bucket. The permit is for listing objects or for that bucket.
    ///
    /// # Errors
    /// [`ObjectError::BucketNotFound`], [`ObjectError::NotPermitted`].
    pub async fn list_versions(
        &self,
        permit: &Permit<List>,
        bucket: &BucketName,
        query: VersionQuery,
    ) -> Result<VersionListing, ObjectError> {
        if !permit.covers_collection(permit.tenant(), ResourceKind::Object) {
            require_bucket(permit, bucket)?;
        }
        let (tenant, bucket) = (permit.tenant().clone(), bucket.clone());
        self.0
            .db
            .read(move |tx| {
                require_bucket_exists(tx, &tenant, &bucket)?;
                Scan::new(tx, tenant, bucket, query)?.run()
            })
            .await
    }
}

/// Rows of one table, in order, a batch at a time.
struct Rows<'a, 'b, T: Table> {
    tx: &'a ReadTx<'b>,
    range: KeyRange,
    buffer: VecDeque<(T::Key, T::Row)>,
    exhausted: bool,
    batch: usize,
}

impl<'a, 'b, T: Table> Rows<'a, 'b, T> {
    fn new(tx: &'a ReadTx<'b>, range: KeyRange, batch: usize) -> Self {
        Self { tx, range, buffer: VecDeque::new(), exhausted: false, batch }
    }

    fn peek(&mut self) -> Result<Option<&T::Key>, ObjectError> {
        if self.buffer.is_empty() && !self.exhausted {
            let rows = self.tx.range::<T>(self.range.clone(), Direction::Forward, self.batch)?;
            self.exhausted = rows.len() < self.batch;
            if let Some((last, _)) = rows.last() {
                self.range = self.range.clone().after(last);
            }
            self.buffer = rows.into();
        }
        Ok(self.buffer.front().map(|(key, _)| key))
    }

    fn skip(&mut self, range: KeyRange) {
        self.range = range;
        self.buffer.clear();
        self.exhausted = false;
    }
}

struct Scan<'a, 'b> {
    tenant: TenantId,
    bucket: BucketName,
    query: VersionQuery,
    shown: Rows<'a, 'b, ObjectRows>,
    others: Rows<'a, 'b, Versions>,
    /// The key that is being listed.
    within: Option<ObjectKey>,
}

impl<'a, 'b> Scan<'a, 'b> {
    fn new(
        tx: &'a ReadTx<'b>,
        tenant: TenantId,
        bucket: BucketName,
        query: VersionQuery,
    ) -> Result<Self, ObjectError> {
        let prefix = KeyPrefix::new().part(&tenant).part(&bucket).text(&query.prefix);
        let all = KeyRange::prefix(&prefix);
        let batch = query.limit.get() + 1;
        let (shown, others) = (Rows::new(tx, all.clone(), batch), Rows::new(tx, all, batch));
        let mut scan = Self { tenant, bucket, query, shown, others, within: None };
        match scan.query.after.clone() {
            None => {}
            Some((key, Some(version))) => scan.behind_version(tx, key, version)?,
            Some((key, None)) => {
                let delimiter = scan.delimiter();
                scan.behind(&start(&key, &scan.query.prefix, delimiter.as_deref()).last_key());
            }
        }
        Ok(scan)
    }

    fn delimiter(&self) -> Option<String> {
        self.query.delimiter.clone().filter(|delimiter| !delimiter.is_empty())
    }

    /// Goes on behind the last of the keys that are meant.
    fn behind(&mut self, last: &[u8]) {
        let (tenant, bucket) = (self.tenant.clone(), self.bucket.clone());
        let all = KeyRange::prefix(KeyPrefix::new().part(&tenant).part(&bucket).text(&self.query.prefix));
        let key = (tenant, bucket, last.to_vec());
        self.shown.skip(all.clone().after(&key));
        self.others.skip(all.after(&(key.0, key.1, key.2, Newest(0))));
    }

    fn behind_version(
        &mut self,
        tx: &ReadTx<'_>,
        key: String,
        version: VersionName,
    ) -> Result<(), ObjectError> {
        let Ok(key) = ObjectKey::parse(key.clone()) else {
            self.behind(key.as_bytes());
            return Ok(());
        };
        let name = (self.tenant.clone(), self.bucket.clone(), key.clone());
        let order =
            tx.get::<VersionIds>(&(name.0.clone(), name.1.clone(), key.clone(), version.row_key()))?;
        let is_shown = tx.get::<ObjectRows>(&name)?.is_some_and(|row| row.name() == version);
        let all = KeyRange::prefix(KeyPrefix::new().part(&name.0).part(&name.1).text(&self.query.prefix));
        let others = match &order {
            Some(row) => {
                let last = (name.0.clone(), name.1.clone(), key.clone(), Newest(row.order));
                all.clone().after(&last)
            }
            // The others of its key come next.
            None => all.clone().after(&name),
        };
        self.others.skip(others);
        if order.is_some() || is_shown {
            self.shown.skip(all.after(&name));
            self.within = Some(key);
        } else {
            // Before the end of its own text stands nothing that begins with it.
            let from = KeyPrefix::new().part(&name.0).part(&name.1).text(key.as_str());
            self.shown.skip(all.after_encoded(from.as_ref()));
        }
        Ok(())
    }

    fn run(mut self) -> Result<VersionListing, ObjectError> {
        let mut listing = VersionListing::default();
        let mut last = None;
        loop {
            let shown = self.shown.peek()?.map(|(_, _, key)| key.clone());
            let other = self.others.peek()?.map(|(_, _, key, _)| key.clone());
            let (key, is_shown) = match (shown, other) {
                (None, None) => return Ok(listing),
                (Some(shown), Some(other)) if shown <= other => (shown, true),
                (_, Some(other)) => (other, false),
                (Some(shown), None) => (shown, true),
            };
            if listing.items.len() + listing.common_prefixes.len() == self.query.limit.get() {
                listing.next = last;
                return Ok(listing);
            }
            let delimiter = self.delimiter();
            if let Some(common) =
                delimiter.and_then(|text| common_prefix(key.as_str(), &self.query.prefix, &text))
            {
                self.behind(&[common.as_bytes(), &[0xff]].concat());
                last = Some((common.clone(), None));
                listing.common_prefixes.push(common);
                continue;
            }
            let version = match is_shown {
                true => self
                    .shown
                    .buffer
                    .pop_front()
                    .map(|((_, bucket, key), row)| Version::Object(Box::new(info(bucket, key, row)))),
                false => self
                    .others
                    .buffer
                    .pop_front()
                    .map(|((_, bucket, key, _), row)| Version::of(bucket, key, row)),
            };
            let version = version.expect("what was looked at is there");
            let is_latest = is_shown || self.within.as_ref() != Some(&key);
            last = Some((key.to_string(), Some(version.name())));
            self.within = Some(key);
            listing.items.push((version, is_latest));
        }
    }
}
