//! Doing what the rules say. Nothing is remembered between two rounds: each looks at everything, a page at a time, and each
//! change looks again in its own transaction.

use std::sync::Arc;
use std::time::Duration;

use cm_db::{Direction, KeyPrefix, KeyRange};
use cm_runtime::{WorkState, Worker};
use cm_types::{BucketName, ObjectKey, TenantId, Timestamp};
use tokio::sync::watch;

use super::{Expiration, Rule, days_after, expiry};
use crate::objects::{Engine, bucket_row, info};
use crate::rows::{ObjectRow, VersionRow};
use crate::tables::{Lifecycles, Newest, ObjectRows, Uploads, VersionKey, Versions};
use crate::trail::Origin;
use crate::versions::{Found, Name, by_name};
use crate::{ObjectError, Objects};

/// How many rows one step looks at.
const BATCH: usize = 256;

/// What one round ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Objects that were shown.
    pub objects: u64,
    /// Versions that were shown no more, and marks of deletion.
    pub versions: u64,
    /// Uploads in parts.
    pub uploads: u64,
}

type Bucket = (TenantId, BucketName);

/// How often the rules of buckets are followed, and how long their days are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LifecyclePace {
    /// How often all rules are followed.
    pub every: Duration,
    /// How long a day is, for rules and for the cold tier.
    pub day: Duration,
}

impl Objects {
    /// Follows the rules of buckets at another pace from now on. Days of seconds are for tests of clients.
    pub fn set_lifecycle_pace(&self, pace: LifecyclePace) {
        self.0.lifecycle.send_replace(pace);
    }

    /// Does what the rules of all buckets say by now. Safe at any time and on several nodes at once; stops between two steps
    /// when shutdown begins.
    ///
    /// # Errors
    /// Those of the tables. What was done stays so; calling again continues.
    pub async fn expire(&self) -> Result<Expired, ObjectError> {
        let mut expired = Expired::default();
        let mut range = KeyRange::all();
        while !self.0.stopping() {
            let page = range.clone();
            let buckets = self
                .0
                .db
                .read(move |tx| Ok::<_, ObjectError>(tx.range::<Lifecycles>(page, Direction::Forward, 1)?))
                .await?;
            let Some((bucket, row)) = buckets.into_iter().next() else { break };
            range = range.after(&bucket);
            let rules: Vec<Rule> = row.rules.into_iter().filter(|rule| rule.enabled).collect();
            let rules = Arc::new(rules);
            self.0.expire_objects(&bucket, &rules, &mut expired).await?;
            self.0.expire_versions(&bucket, &rules, &mut expired).await?;
            self.0.expire_uploads(&bucket, &rules, &mut expired).await?;
        }
        Ok(expired)
    }
}

impl Engine {
    /// How long a day is, for rules and for the cold tier.
    pub(crate) fn lifecycle_day(&self) -> Duration {
        self.lifecycle.borrow().day
    }

    async fn expire_objects(
        self: &Arc<Self>,
        bucket: &Bucket,
        rules: &Arc<Vec<Rule>>,
        expired: &mut Expired,
    ) -> Result<(), ObjectError> {
        if !rules
            .iter()
            .any(|rule| matches!(rule.expiration, Some(Expiration::Days(_) | Expiration::Date(_))))
        {
            return Ok(());
        }
        let mut range = KeyRange::prefix(KeyPrefix::new().part(&bucket.0).part(&bucket.1));
        while !self.stopping() {
            let page = range.clone();
            let rows = self
                .db
                .read(move |tx| {
                    Ok::<_, ObjectError>(tx.range::<ObjectRows>(page, Direction::Forward, BATCH)?)
                })
                .await?;
            let Some((last, _)) = rows.last() else { break };
            range = range.after(last);
            let now = self.now();
            for (name, row) in rows {
                if self.is_due(rules, &name, &row, now) && self.expire_object(name, row).await? {
                    expired.objects += 1;
                }
            }
        }
        Ok(())
    }

    fn is_due(&self, rules: &[Rule], name: &Name, row: &ObjectRow, now: Timestamp) -> bool {
        let info = info(name.1.clone(), name.2.clone(), row.clone());
        let due = expiry(rules, &info, self.lifecycle_day());
        due.is_some_and(|(at, _)| at <= now)
    }

    /// Ends an object unless it is another one by now.
    async fn expire_object(self: &Arc<Self>, name: Name, seen: ObjectRow) -> Result<bool, ObjectError> {
        let engine = self.clone();
        let done = self.write(move |tx| {
            let Some(row) = tx.get::<ObjectRows>(&name)?.filter(|row| *row == seen) else { return Ok(false) };
            let settings = bucket_row(tx, &name.0, &name.1)?;
            engine.hide(tx, &name, &settings, Some(row), &Origin::node(&name.0))?;
            Ok(true)
        });
        locked_stay(done.await)
    }

    async fn expire_versions(
        self: &Arc<Self>,
        bucket: &Bucket,
        rules: &Arc<Vec<Rule>>,
        expired: &mut Expired,
    ) -> Result<(), ObjectError> {
        let of_markers = |rule: &Rule| {
            matches!(rule.expiration, Some(Expiration::LoneMarkers(true) | Expiration::Days(_)))
        };
        if !rules.iter().any(|rule| rule.noncurrent.is_some() || of_markers(rule)) {
            return Ok(());
        }
        let mut range = KeyRange::prefix(KeyPrefix::new().part(&bucket.0).part(&bucket.1));
        let mut walk: Option<Walk> = None;
        while !self.stopping() {
            let page = range.clone();
            let rows = self
                .db
                .read(move |tx| {
                    Ok::<_, ObjectError>(tx.range::<Versions>(page, Direction::Forward, BATCH)?)
                })
                .await?;
            let Some((last, _)) = rows.last() else { break };
            range = range.after(last);
            let now = self.now();
            for ((tenant, bucket, key, Newest(order)), row) in rows {
                let name = (tenant, bucket, key);
                let before = match walk.take().filter(|walk| walk.key == name.2) {
                    Some(walk) => walk,
                    None => self.walk(&name).await?,
                };
                let is_due = match before.since {
                    Some(since) => self.is_past(rules, &name.2, &row, since, before.rank, now),
                    None => self.is_lone(rules, &name, &row, order, now).await?,
                };
                let created_at = match &row {
                    VersionRow::Object(row) => row.created_at,
                    VersionRow::Marker(row) => row.created_at,
                };
                // The one that is shown, or a mark in its place, is none of those that are kept.
                let rank = if before.since.is_some() { before.rank + 1 } else { 0 };
                walk = Some(Walk { key: name.2.clone(), since: Some(created_at), rank });
                if is_due && self.expire_version(name, order, row).await? {
                    expired.versions += 1;
                }
            }
        }
        Ok(())
    }

    /// Where the versions of a name begin: with the object that it shows, if there is one.
    async fn walk(&self, name: &Name) -> Result<Walk, ObjectError> {
        let id = name.clone();
        let current = self.db.read(move |tx| Ok::<_, ObjectError>(tx.get::<ObjectRows>(&id)?)).await?;
        Ok(Walk { key: name.2.clone(), since: current.map(|row| row.created_at), rank: 0 })
    }

    /// Whether a version ends that has been shown no more since then.
    fn is_past(
        &self,
        rules: &[Rule],
        key: &ObjectKey,
        row: &VersionRow,
        since: Timestamp,
        rank: u64,
        now: Timestamp,
    ) -> bool {
        rules.iter().any(|rule| {
            let Some(noncurrent) = rule.noncurrent else { return false };
            let covers = match row {
                VersionRow::Object(row) => rule.scope.covers(key.as_str(), row.size, &row.tags),
                VersionRow::Marker(_) => rule.scope.covers_key(key.as_str()) && rule.scope.is_of_keys(),
            };
            covers
                && rank >= u64::from(noncurrent.keep.unwrap_or_default())
                && days_after(since, noncurrent.days, self.lifecycle_day()) <= now
        })
    }

    /// Whether a mark in an object's place ends because nothing else is left of the object.
    async fn is_lone(
        &self,
        rules: &[Rule],
        name: &Name,
        row: &VersionRow,
        order: u64,
        now: Timestamp,
    ) -> Result<bool, ObjectError> {
        let VersionRow::Marker(marker) = row else { return Ok(false) };
        let wanted = rules.iter().any(|rule| {
            rule.scope.covers_key(name.2.as_str())
                && rule.scope.is_of_keys()
                && match rule.expiration {
                    Some(Expiration::LoneMarkers(wanted)) => wanted,
                    Some(Expiration::Days(days)) => {
                        days_after(marker.created_at, days, self.lifecycle_day()) <= now
                    }
                    _ => false,
                }
        });
        if !wanted {
            return Ok(false);
        }
        let name = name.clone();
        self.db
            .read(move |tx| {
                let all = KeyPrefix::new().part(&name.0).part(&name.1).part(&name.2);
                let (tenant, bucket, key) = name;
                let after = (tenant, bucket, key, Newest(order));
                Ok(tx.prefix::<Versions>(all, Some(&after), 1)?.is_empty())
            })
            .await
    }

    /// Ends a version unless it became what its name shows meanwhile.
    async fn expire_version(
        self: &Arc<Self>,
        name: Name,
        order: u64,
        seen: VersionRow,
    ) -> Result<bool, ObjectError> {
        let engine = self.clone();
        let done = self.write(move |tx| match by_name(tx, &name, seen.name())? {
            Some(Found::Among(at, row)) if at == order && row == seen => {
                let found = Found::Among(order, row);
                engine.remove_version(tx, &name, found, false, &Origin::node(&name.0))?;
                Ok(true)
            }
            _ => Ok(false),
        });
        locked_stay(done.await)
    }

    async fn expire_uploads(
        self: &Arc<Self>,
        bucket: &Bucket,
        rules: &Arc<Vec<Rule>>,
        expired: &mut Expired,
    ) -> Result<(), ObjectError> {
        if !rules.iter().any(|rule| rule.abort_uploads_after_days.is_some()) {
            return Ok(());
        }
        let mut range = KeyRange::prefix(KeyPrefix::new().part(&bucket.0).part(&bucket.1));
        while !self.stopping() {
            let page = range.clone();
            let rows = self
                .db
                .read(move |tx| Ok::<_, ObjectError>(tx.range::<Uploads>(page, Direction::Forward, BATCH)?))
                .await?;
            let Some((last, _)) = rows.last() else { break };
            range = range.after(last);
            let now = self.now();
            let is_due = |key: &ObjectKey, begun: Timestamp| {
                rules.iter().any(|rule| {
                    rule.scope.covers_key(key.as_str())
                        && rule
                            .abort_uploads_after_days
                            .is_some_and(|days| days_after(begun, days, self.lifecycle_day()) <= now)
                })
            };
            let due: Vec<(TenantId, BucketName, ObjectKey, VersionKey)> = rows
                .into_iter()
                .filter(|(id, row)| is_due(&id.2, row.created_at))
                .map(|(id, _)| id)
                .collect();
            if !due.is_empty() {
                expired.uploads += due.len() as u64;
                let engine = self.clone();
                self.write(move |tx| due.iter().try_for_each(|id| engine.end_upload(tx, id))).await?;
            }
        }
        Ok(())
    }
}

/// Where a walk through the versions of one name is.
struct Walk {
    key: ObjectKey,
    /// Since when the next version has been shown no more; `None` if it is what the name is now.
    since: Option<Timestamp>,
    /// How many versions that are shown no more are newer.
    rank: u64,
}

fn locked_stay(done: Result<bool, ObjectError>) -> Result<bool, ObjectError> {
    match done {
        Err(ObjectError::Locked { .. }) => Ok(false),
        done => done,
    }
}

/// Follows the rules every so often.
pub(crate) struct Expirer {
    objects: Objects,
    pace: watch::Receiver<LifecyclePace>,
}

impl Expirer {
    pub(crate) fn new(objects: Objects) -> Self {
        let pace = objects.0.lifecycle.subscribe();
        Self { objects, pace }
    }
}

impl Worker for Expirer {
    type Error = ObjectError;

    fn name(&self) -> &'static str {
        "objects-lifecycle"
    }

    async fn work(&mut self) -> Result<WorkState, ObjectError> {
        let expired = self.objects.expire().await?;
        if expired != Expired::default() {
            tracing::info!(?expired, "objects ended by the rules of their buckets");
        }
        Ok(WorkState::Idle)
    }

    async fn wait_for_work(&mut self) {
        let every = self.pace.borrow_and_update().every;
        tokio::select! {
            () = tokio::time::sleep(every) => {}
            // The sender lives as long as the engine, which this holds.
            _ = self.pace.changed() => {}
        }
    }
}
