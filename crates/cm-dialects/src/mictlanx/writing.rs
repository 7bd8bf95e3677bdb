//! Writing in two steps: an announcement, then the bytes.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::http::HeaderMap;
use bytes::{Bytes, BytesMut};
use cm_crypto::digest::Sha256;
use cm_door::{Caller, confirmed, object_refusal, refusal};
use cm_http::{Failure, FailureClass, Upload};
use cm_kernel::catalog::NewRecord;
use cm_kernel::catalog::kinds::Bucket;
use cm_kernel::objects::{Keeping, NewObject, ObjectError, ObjectInfo};
use cm_kernel::policy::{ActionKind, Create, Permit, Read, Update};
use cm_kernel::{ErrorClass, KernelError, OpContext};
use cm_types::{BucketName, ObjectKey, ResourceId, ResourceKind, Sha256Digest};
use futures::{Stream, StreamExt};
use serde::de::DeserializeOwned;
use serde_json::json;

use super::MictlanX;
use super::body::exactly;
use super::metadata::Announcement;
use super::names::{bucket_name, object_key};
use super::shape::{invalid_field, plain, typed, worded};
use super::tasks::{NoTask, Task};

/// Longest announcement, in bytes.
const ANNOUNCEMENT_BYTES_MAX: usize = 256 << 10;
/// Bytes that are summed up at a time.
const SUMMED_AT_ONCE: usize = 1 << 20;
/// What a peer is asked to do about an object that is there.
const UPDATE: &str = "update";

/// Bytes that have become an object, or were one already.
#[derive(Debug)]
pub(super) struct Written {
    pub(super) task: Arc<Task>,
    pub(super) took: Duration,
}

impl Written {
    /// Bytes in a second.
    pub(super) fn throughput(&self) -> f64 {
        self.task.size as f64 / self.took.as_secs_f64().max(1e-9)
    }
}

/// A JSON body.
///
/// # Errors
/// 422 with the field that is wrong.
pub(super) async fn json_body<T: DeserializeOwned>(body: Upload) -> Result<T, Failure> {
    body.require_json().map_err(|_| invalid_field("", "expected a body of application/json"))?;
    cm_http::body::from_json(&body.read_to_end(ANNOUNCEMENT_BYTES_MAX).await?)
}

/// Whether a header says `1`.
pub(super) fn is_set(headers: &HeaderMap, name: &str) -> bool {
    let value = headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    matches!(value.trim().to_ascii_lowercase().as_str(), "1" | "true" | "yes" | "on")
}

/// The name of a bucket that a client may write to.
pub(super) fn writable(bucket_id: &str) -> Result<BucketName, Failure> {
    bucket_name(bucket_id).ok_or_else(|| {
        invalid_field("bucket_id", "a bucket's id has 1 to 256 bytes and no control characters")
    })
}

/// 404 with the code of a key that every peer holds.
fn held(mictlanx: &MictlanX, bucket_id: &str, key: &str) -> Failure {
    let message = format!("{bucket_id}@{key} is there already, with other bytes");
    let detail = json!({
        "msg": message,
        "suggestion": "send the header `Update: 1` to replace it, or choose another key",
        "bucket_id": bucket_id,
        "key": key,
        "replicas": mictlanx.peer_ids(),
        "code": 666,
    });
    worded(FailureClass::Conflict, 404, message, detail)
}

fn no_task(id: &str, reason: NoTask) -> Failure {
    match reason {
        NoTask::Unknown => typed(FailureClass::NotFound, 404, 404, format!("Task({id}) not found")),
        NoTask::Busy => {
            typed(FailureClass::Conflict, 409, 400, format!("the data of task {id} is being sent"))
        }
        NoTask::Taken => {
            let message =
                format!("task {id} waits for the data of another object; send it, or choose another id");
            typed(FailureClass::Conflict, 409, 400, message)
        }
        NoTask::BadId => invalid_field("task_id", "a task's id has 1 to 64 letters, digits, - or _"),
        NoTask::TooMany => {
            let message = "too many tasks wait for their data; send it, or flush them";
            typed(FailureClass::TooMany, 429, 500, message).with_retry_after(Duration::from_secs(10))
        }
    }
}

/// 400 with the code of damaged data.
fn damaged(expected: Sha256Digest, found: Sha256Digest) -> Failure {
    let message = format!("the data has SHA-256 {found}, {expected} was announced");
    typed(FailureClass::Malformed, 400, 501, message)
}

impl MictlanX {
    /// An object, as far as the actor may know of it.
    pub(super) async fn current(
        &self,
        op: &OpContext,
        bucket: &BucketName,
        key: &ObjectKey,
    ) -> Result<Option<(ObjectInfo, Permit<Read>)>, Failure> {
        let permit = match self.kernel().look_up_object::<Read>(op, bucket, key).await {
            Ok(permit) => permit,
            Err(error) if matches!(error.class(), ErrorClass::NotFound | ErrorClass::Forbidden) => {
                return Ok(None);
            }
            Err(error) => return Err(refusal(error)),
        };
        match self.kernel().objects().head(&permit, bucket, key).await {
            Ok(info) => Ok(Some((info, permit))),
            Err(ObjectError::NotFound { .. } | ObjectError::BucketNotFound { .. }) => Ok(None),
            Err(error) => Err(object_refusal(error)),
        }
    }

    /// Takes note of what is going to be sent, and answers the id of the task. `bucket_id` is the bucket in the address; another one
    /// in the body is refused if `strict`.
    pub(super) async fn announce(
        &self,
        caller: &Caller,
        bucket_id: &str,
        strict: bool,
        announcement: Announcement,
        headers: &HeaderMap,
    ) -> Result<String, Failure> {
        let (key, checksum) = announcement.check()?;
        let bucket = writable(bucket_id)?;
        let replaces = self.settings().overwrite || is_set(headers, UPDATE);
        let current = self.current(caller, &bucket, &key).await?;
        if let Some((info, _)) = &current
            && !replaces
            && !is_same(info, checksum, announcement.size)
        {
            return Err(held(self, bucket_id, key.as_str()));
        }
        if let Some(named) = announcement.bucket_id.as_deref().filter(|named| strict && *named != bucket_id) {
            let message = format!("Bucket ID mismatch: {bucket_id} != {named}");
            return Err(plain(FailureClass::Malformed, 400, message));
        }
        let replicas = self.demand_peers_for(announcement.replication_factor)?;
        let permit = self.permit(caller, (&bucket, bucket_id), &key, replicas).await?;
        self.demand_copies(&permit, (&bucket, &key), replicas).await?;
        let said = announcement.said(bucket_id);
        let description = said.description(&key, checksum)?;
        let chosen = headers.get("task-id").map(|value| value.to_str().unwrap_or_default());
        let task = Task {
            bucket,
            bucket_id: bucket_id.to_owned(),
            key,
            replicas,
            size: announcement.size,
            checksum,
            content_type: announcement.content_type,
            description,
            replaces,
        };
        let now = self.kernel().clock().monotonic();
        self.0
            .tasks
            .add(caller, chosen, task, now)
            .map_err(|reason| no_task(chosen.unwrap_or_default(), reason))
    }

    /// Refuses more replicas than there are peers to hold one each.
    pub(super) fn demand_peers_for(&self, wanted: i64) -> Result<u8, Failure> {
        let peers = self.holders_count();
        if wanted < 1 {
            return Err(invalid_field("replication_factor", "there is at least one replica"));
        }
        let replicas = u8::try_from(wanted).ok().filter(|wanted| usize::from(*wanted) <= peers);
        replicas.ok_or_else(|| {
            let message =
                format!("{wanted} replicas were asked for, and there are {peers} peers to hold one each");
            typed(FailureClass::Conflict, 500, 500, message)
        })
    }

    /// Refuses more replicas than the bucket of an object keeps.
    pub(super) async fn demand_copies<A: ActionKind>(
        &self,
        permit: &Permit<A>,
        (bucket, key): (&BucketName, &ObjectKey),
        wanted: u8,
    ) -> Result<(), Failure> {
        // Whatever is kept is kept once: most ask for no more.
        if wanted == 1 {
            return Ok(());
        }
        let copies = self.kernel().objects().copies(permit, bucket, key).await.map_err(object_refusal)?;
        if copies >= usize::from(wanted) {
            return Ok(());
        }
        let message = format!(
            "{wanted} replicas were asked for, and the bucket keeps {copies}; `cryptomesh storage redundancy {bucket} \
             {wanted}` changes it"
        );
        Err(typed(FailureClass::Conflict, 500, 500, message))
    }

    /// A permit to write an object, which owners of its bucket have; the bucket is made if there is none, and then keeps at
    /// least so many replicas.
    async fn permit(
        &self,
        op: &OpContext,
        (bucket, bucket_id): (&BucketName, &str),
        key: &ObjectKey,
        replicas: u8,
    ) -> Result<Permit<Update>, Failure> {
        let refused = match self.kernel().look_up_object::<Update>(op, bucket, key).await {
            // Whoever has no right to what belongs to others is not told whether there is a bucket; it may still be theirs to make.
            Err(error @ (KernelError::NotFound(_) | KernelError::Forbidden(_))) => error,
            other => return other.map_err(refusal),
        };
        let permit = match (self.kernel().authorize::<Create>(op, ResourceKind::Bucket).await, refused) {
            // Of a bucket that they know, what they lack is the right to write to it.
            (Err(KernelError::Forbidden(_)), KernelError::Forbidden(own)) => {
                return Err(refusal(KernelError::Forbidden(own)));
            }
            (permit, _) => permit.map_err(refusal)?,
        };
        let spec = Bucket { description: Some(format!("MictlanX bucket {bucket_id}")), ..Bucket::default() };
        let new =
            NewRecord { id: Some(ResourceId::from(bucket.clone())), ..NewRecord::of(bucket.as_str(), &spec) };
        let made = self.kernel().create_record(op, &permit, new).await;
        // Somebody else may have made it a moment ago; whether the actor may know of theirs is decided below.
        let is_new = match made {
            Ok(_) => true,
            Err(error) if error.class() == ErrorClass::Conflict => false,
            Err(error) => return Err(refusal(error)),
        };
        let permit = self.kernel().look_up_object::<Update>(op, bucket, key).await.map_err(refusal)?;
        let objects = self.kernel().objects();
        if is_new
            && replicas > 1
            && objects.copies(&permit, bucket, key).await.map_err(object_refusal)? < usize::from(replicas)
        {
            let own = self.kernel().look_up::<Update>(op, ResourceKind::Bucket, bucket.as_str()).await;
            let (_, own) = own.map_err(refusal)?;
            let keeping = Some(Keeping::Replicas(replicas));
            let set = objects.set_keeping(&own, bucket, keeping, Some(op.request.clone())).await;
            set.map_err(object_refusal)?;
        }
        Ok(permit)
    }

    /// Takes the bytes of a task. When this returns, they are durable and can be read, or the task still waits for them. Nothing of
    /// the body is looked at unless there is a task for it.
    pub(super) async fn receive<S>(
        &self,
        caller: Caller,
        id: &str,
        body: impl Future<Output = Result<S, Failure>> + Send,
    ) -> Result<Written, Failure>
    where
        S: Stream<Item = io::Result<Bytes>> + Send + 'static,
    {
        let began = Instant::now();
        let now = self.kernel().clock().monotonic();
        let held_task = self.0.tasks.take(&caller, id, now).map_err(|reason| no_task(id, reason))?;
        let task = held_task.task().clone();
        let body = exactly(body.await?, task.size);
        let current = self.current(&caller, &task.bucket, &task.key).await?;
        let same = current.as_ref().is_some_and(|(info, _)| is_same(info, task.checksum, task.size));
        match (same, task.replaces) {
            (true, false) => {
                self.permit(&caller, task.bucket(), &task.key, task.replicas).await?;
                self.sum(body, task.checksum).await?;
            }
            (true, true) => {
                self.sum(body, task.checksum).await?;
                let caller = caller.again(self.kernel()).await?;
                let permit = self.permit(&caller, task.bucket(), &task.key, task.replicas).await?;
                let place = (&task.bucket, &task.key);
                let said = task.description.clone();
                let described =
                    self.kernel().describe_object(&caller, &permit, place, task.checksum, said).await;
                described.map_err(refusal)?;
            }
            (false, _) => self.store(caller, &task, body).await?,
        }
        held_task.done();
        Ok(Written { task, took: began.elapsed() })
    }

    async fn store(
        &self,
        caller: Caller,
        task: &Task,
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
    ) -> Result<(), Failure> {
        let kernel = self.kernel();
        let (bucket, key) = (&task.bucket, &task.key);
        let permit = self.permit(&caller, task.bucket(), key, task.replicas).await?;
        let said = || task.description.clone();
        let prepared = kernel.prepare_description(&permit, (bucket, key), task.checksum, said()).await;
        prepared.map_err(refusal)?;
        let new = NewObject {
            content_type: Some(task.content_type.clone()).filter(|text| !text.is_empty()),
            expected_sha256: Some(task.checksum),
            if_none_match: !task.replaces,
            request: Some(caller.request.clone()),
            ..NewObject::default()
        };
        let op = OpContext::clone(&caller);
        let still_permitted = async {
            let caller = caller.again(kernel).await?;
            kernel.look_up_object::<Update>(&caller, bucket, key).await.map(drop).map_err(refusal)
        };
        match kernel.objects().put(&permit, bucket, key, new, confirmed(body, still_permitted)).await {
            Ok(_) => {}
            Err(ObjectError::DigestMismatch { expected, found }) => return Err(damaged(expected, found)),
            // Somebody else was faster.
            Err(ObjectError::AlreadyExists { .. }) => {
                let current = self.current(&op, bucket, key).await?;
                if !current.is_some_and(|(info, _)| is_same(&info, task.checksum, task.size)) {
                    return Err(held(self, &task.bucket_id, key.as_str()));
                }
            }
            Err(error) => return Err(object_refusal(error)),
        }
        kernel.confirm_description(&permit, (bucket, key), task.checksum, said()).await.map_err(refusal)
    }

    /// Compares bytes that are stored already with what was announced.
    async fn sum(
        &self,
        body: impl Stream<Item = io::Result<Bytes>> + Send + 'static,
        expected: Sha256Digest,
    ) -> Result<(), Failure> {
        let mut body = body.boxed();
        let mut sum = Sha256::new();
        loop {
            let mut batch = BytesMut::new();
            while batch.len() < SUMMED_AT_ONCE {
                match body.next().await {
                    Some(piece) => {
                        let piece = piece.map_err(|error| object_refusal(ObjectError::Body(error)))?;
                        batch.extend_from_slice(&piece);
                    }
                    None => break,
                }
            }
            if batch.is_empty() {
                break;
            }
            let job = self.kernel().tasks().spawn_blocking("mictlanx-sum", move || {
                sum.update(&batch);
                sum
            });
            sum = job.await.map_err(Failure::internal)?;
        }
        let found = sum.finish();
        if found == expected { Ok(()) } else { Err(damaged(expected, found)) }
    }
}

fn is_same(info: &ObjectInfo, checksum: Sha256Digest, size: u64) -> bool {
    info.sha256 == checksum && info.size == size
}

/// Bucket and key of an object that may exist; `None` if none can.
pub(super) fn place(bucket_id: &str, key: &str) -> Option<(BucketName, ObjectKey)> {
    Some((bucket_name(bucket_id)?, object_key(key)?))
}
