//! What there is.

use std::io;

use axum::body::Body;
use axum::http::{HeaderValue, header};
use axum::response::Response;
use bytes::Bytes;
use cm_door::{object_refusal, refusal};
use cm_http::{Failure, FailureClass};
use cm_kernel::catalog::Query;
use cm_kernel::objects::ListQuery;
use cm_kernel::policy::{List, Permit};
use cm_kernel::{ErrorClass, OpContext};
use cm_types::{BucketName, Cursor, PageLimit, ResourceKind};
use futures::stream;
use serde_json::{Map, Value, json};

use super::MictlanX;
use super::disk::Disk;
use super::metadata::Metadata;
use super::names::bucket_name;
use super::shape::typed;

/// Objects in one answer about all buckets. Whoever has more asks for the next ones.
pub(super) const LISTED_MAX: usize = 10_000;
/// Objects that may be skipped.
const SKIPPED_MAX: usize = 10_000_000;

/// Which objects of all are wanted.
#[derive(Clone, Copy, Debug, Default, serde::Deserialize)]
pub(super) struct Span {
    #[serde(default)]
    pub(super) start: usize,
    #[serde(default)]
    pub(super) end: Option<usize>,
}

impl Span {
    /// How many are skipped and how many are wanted.
    fn bounds(self) -> Result<(usize, usize), Failure> {
        let wanted = self.end.filter(|end| *end > 0).map_or(LISTED_MAX, |end| end.saturating_sub(self.start));
        if wanted > LISTED_MAX || self.start > SKIPPED_MAX {
            let message = format!(
                "at most {LISTED_MAX} objects are listed at once, behind at most {SKIPPED_MAX} others"
            );
            return Err(typed(FailureClass::Invalid, 422, 400, message));
        }
        Ok((self.start, wanted))
    }
}

impl MictlanX {
    /// The bucket with this id, if the actor may list it.
    pub(super) async fn listable(
        &self,
        op: &OpContext,
        bucket: &BucketName,
    ) -> Result<Option<Permit<List>>, Failure> {
        match self.kernel().look_up::<List>(op, ResourceKind::Bucket, bucket.as_str()).await {
            Ok((_, permit)) => Ok(Some(permit)),
            Err(error) if error.class() == ErrorClass::NotFound => Ok(None),
            Err(error) => Err(refusal(error)),
        }
    }

    async fn page(
        &self,
        op: &OpContext,
        permit: &Permit<List>,
        bucket: &BucketName,
        bucket_id: &str,
        after: Option<Cursor>,
    ) -> Result<(Vec<Metadata>, Option<Cursor>), Failure> {
        let query = ListQuery { after, limit: PageLimit::MAX, ..ListQuery::default() };
        let page = self.kernel().objects().list(permit, bucket, query).await.map_err(object_refusal)?;
        let told =
            self.kernel().object_descriptions(op, permit, bucket, &page.items).await.map_err(refusal)?;
        let items = page.items.iter().zip(told).map(|(info, told)| Metadata::told(bucket_id, info, &told));
        Ok((items.collect(), page.next))
    }

    /// An object of JSON with these fields and `balls`, all objects of a bucket, written as they are read.
    pub(super) async fn bucket(
        &self,
        op: &OpContext,
        bucket_id: String,
        fields: &Value,
    ) -> Result<Response, Failure> {
        let permit = match bucket_name(&bucket_id) {
            Some(bucket) => self.listable(op, &bucket).await?.map(|permit| (bucket, permit)),
            None => None,
        };
        let head = fields.to_string();
        let head = format!("{},\"balls\":[", head.strip_suffix('}').unwrap_or(&head));
        let writing = Writing { head: Some(head), after: None, is_first: true, is_done: permit.is_none() };
        let (mictlanx, op) = (self.clone(), op.clone());
        let state = ((mictlanx, op), permit, bucket_id, Some(writing));
        let body = stream::unfold(state, |((mictlanx, op), permit, bucket_id, writing)| async move {
            let mut writing = writing?;
            let mut text = writing.head.take().unwrap_or_default();
            if let (false, Some((bucket, permit))) = (writing.is_done, &permit) {
                match mictlanx.page(&op, permit, bucket, &bucket_id, writing.after.take()).await {
                    Ok((items, next)) => {
                        for item in items {
                            let comma = if std::mem::take(&mut writing.is_first) { "" } else { "," };
                            text.push_str(comma);
                            text.push_str(&json!(item).to_string());
                        }
                        (writing.is_done, writing.after) = (next.is_none(), next);
                    }
                    // The answer has begun; that it breaks off is all that can be said.
                    Err(failure) => {
                        let broken = Err(io::Error::other(failure));
                        return Some((broken, ((mictlanx, op), None, bucket_id, None)));
                    }
                }
            }
            let rest = match writing.is_done {
                true => {
                    text.push_str("]}");
                    None
                }
                false => Some(writing),
            };
            Some((Ok(Bytes::from(text)), ((mictlanx, op), permit, bucket_id, rest)))
        });
        let mut answer = Response::new(Body::from_stream(body));
        answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        Ok(answer)
    }

    /// Buckets that the actor may list, by name.
    async fn buckets(&self, op: &OpContext) -> Result<Vec<(BucketName, Permit<List>)>, Failure> {
        let permit = self.kernel().authorize::<List>(op, ResourceKind::Bucket).await.map_err(refusal)?;
        let mut query = Query { limit: PageLimit::MAX, ..Query::of(ResourceKind::Bucket) };
        let mut names = Vec::new();
        loop {
            let page = self.kernel().list_records(op, &permit, query.clone()).await.map_err(refusal)?;
            let ids = page.items.into_iter().map(|record| record.header.id);
            names.extend(ids.filter_map(|id| BucketName::parse(id.as_str()).ok()));
            match page.next {
                Some(next) if names.len() < LISTED_MAX => query.after = Some(next),
                _ => break,
            }
        }
        names.sort();
        let mut buckets = Vec::with_capacity(names.len());
        for name in names {
            let permit = match self.kernel().look_up::<List>(op, ResourceKind::Bucket, name.as_str()).await {
                Ok((_, permit)) => permit,
                Err(error) if matches!(error.class(), ErrorClass::NotFound | ErrorClass::Forbidden) => {
                    continue;
                }
                Err(error) => return Err(refusal(error)),
            };
            buckets.push((name, permit));
        }
        Ok(buckets)
    }

    /// Objects of all buckets that the actor may list, ordered by bucket and key.
    pub(super) async fn objects(&self, op: &OpContext, span: Span) -> Result<Vec<Metadata>, Failure> {
        let (mut skipped, wanted) = span.bounds()?;
        let mut found = Vec::new();
        for (bucket, permit) in self.buckets(op).await? {
            let mut after = None;
            loop {
                if found.len() >= wanted {
                    found.truncate(wanted);
                    return Ok(found);
                }
                let (items, next) = self.page(op, &permit, &bucket, bucket.as_str(), after).await?;
                let skipping = skipped.min(items.len());
                skipped -= skipping;
                found.extend(items.into_iter().skip(skipping));
                match next {
                    Some(next) => after = Some(next),
                    None => break,
                }
            }
        }
        found.truncate(wanted);
        Ok(found)
    }

    /// How many objects there are in all buckets that the actor may list.
    pub(super) async fn count(&self, op: &OpContext) -> Result<u64, Failure> {
        let mut count = 0;
        for (bucket, permit) in self.buckets(op).await? {
            let mut query = ListQuery { limit: PageLimit::MAX, ..ListQuery::default() };
            loop {
                let page = self.kernel().objects().list(&permit, &bucket, query.clone()).await;
                let page = page.map_err(object_refusal)?;
                count += page.items.len() as u64;
                match page.next {
                    Some(next) => query.after = Some(next),
                    None => break,
                }
            }
        }
        Ok(count)
    }

    /// What the router and the peer say of this peer: seven fields and no other.
    pub(super) async fn stats(&self, op: &OpContext, span: Span) -> Result<Value, Failure> {
        let balls = self.objects(op, span).await?;
        let disk = self.disk().await?;
        Ok(json!({
            "peer_id": self.peer_id(),
            "used_disk": disk.used,
            "total_disk": disk.total,
            "available_disk": disk.available,
            "disk_uf": disk.share(),
            "balls": balls,
            "peers": self.peer_ids(),
        }))
    }

    /// The same of all peers that answer, by id. Those of a storage network have the same objects to serve; of their disks is said what
    /// they offer to the network, and what they keep for it.
    pub(super) async fn all_stats(&self, own: Value) -> Result<Map<String, Value>, Failure> {
        let status = self.kernel().objects().storage_status().await.map_err(object_refusal)?;
        let Some(status) = status else { return Ok(Map::from_iter([(self.peer_id().to_owned(), own)])) };
        let told = status.peers.into_iter().filter_map(|peer| {
            let is_own = peer.member.peer == status.own;
            let id = if is_own { self.peer_id().to_owned() } else { peer.member.peer.to_string() };
            let (kept, total) = (peer.kept?, peer.member.capacity_bytes);
            let disk = Disk { total, used: kept.bytes, available: total.saturating_sub(kept.bytes) };
            let mut stats = own.clone();
            stats["peer_id"] = json!(id);
            stats["used_disk"] = json!(disk.used);
            stats["total_disk"] = json!(disk.total);
            stats["available_disk"] = json!(disk.available);
            stats["disk_uf"] = json!(disk.share());
            Some((id, stats))
        });
        Ok(told.collect())
    }

    /// How full the disk is.
    pub(super) async fn fullness(&self) -> Result<Value, Failure> {
        let disk = self.disk().await?;
        Ok(json!({ "total_disk": disk.total, "used_disk": disk.used, "disk_uf": disk.share() }))
    }
}

/// How far a list has been written.
struct Writing {
    head: Option<String>,
    after: Option<Cursor>,
    is_first: bool,
    is_done: bool,
}
