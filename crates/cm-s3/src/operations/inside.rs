//! What the node looks up for itself while it serves a request: to be applied to it, whoever asks, and not to be told.
//!
//! Where a bucket's policy denies the node this, too, it is looked up for the caller, and otherwise the request is served as if nothing were
//! known.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use cm_kernel::objects::{ObjectInfo, Rule, UploadInfo, UploadRef, VersionName};
use cm_kernel::policy::sharing::{Circumstances, Use};
use cm_kernel::policy::{ActionKind, Permit, Read, RoleFacts, Update};
use cm_kernel::{Actor, ActorFacts, Policies};
use cm_types::{BucketName, ObjectKey, PageLimit, PrincipalId, TenantId};
use s3s::S3Result;
use s3s::dto::Timestamp;

use super::Store;
use super::lifecycle::abortion;
use crate::caller::Caller;

/// How long it is taken for known whether a bucket keeps versions, of which other nodes and faces may tell it meanwhile.
const KNOWN_FOR: Duration = Duration::from_secs(10);
/// Of how many buckets it is kept.
const KNOWN_MAX: usize = 10_000;

type Known = HashMap<(TenantId, BucketName), (Instant, bool)>;

/// Which buckets were ever told to keep versions, as far as that was asked for lately: every read asks.
#[derive(Clone, Debug, Default)]
pub(super) struct Versioned(Arc<Mutex<Known>>);

impl Versioned {
    fn get(&self, id: &(TenantId, BucketName), now: Instant) -> Option<bool> {
        let known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        known.get(id).filter(|(at, _)| now.saturating_duration_since(*at) < KNOWN_FOR).map(|(_, is)| *is)
    }

    fn set(&self, id: (TenantId, BucketName), now: Instant, is_versioned: bool) {
        let mut known = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if known.len() >= KNOWN_MAX {
            known.retain(|_, (at, _)| now.saturating_duration_since(*at) < KNOWN_FOR);
        }
        if known.len() < KNOWN_MAX {
            known.insert(id, (now, is_versioned));
        }
    }

    fn forget(&self, id: &(TenantId, BucketName)) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).remove(id);
    }
}

impl Store {
    /// The node itself, within the tenant of whoever asks.
    fn itself(&self, caller: &Caller) -> Caller {
        let facts = ActorFacts {
            principal: PrincipalId::node(),
            tenant: caller.tenant(),
            roles: vec![RoleFacts::administrator()],
            policies: Policies::none(),
        };
        let actor = Actor::Node(Arc::new(facts));
        Caller::open((**caller).clone().by(actor), Circumstances::new())
    }

    /// The permit of the node to look at a bucket, or an object, so; that of the caller where a policy denies it to the node.
    async fn look_at<A: ActionKind>(
        &self,
        caller: &Caller,
        used: Use,
        bucket: &BucketName,
        key: Option<&ObjectKey>,
    ) -> Option<Permit<A>> {
        for who in [&self.itself(caller), caller] {
            let permit = match key {
                Some(key) => self.permit_object::<A>(who, used, bucket, key, None).await,
                None => self.permit_bucket::<A>(who, used, bucket).await,
            };
            if let Ok(permit) = permit {
                return Some(permit);
            }
        }
        None
    }

    /// Names the version of what was written before its bucket was told to keep versions: it is the null version since.
    pub(super) async fn name_version(&self, caller: &Caller, info: &mut ObjectInfo) {
        if info.shown_version.is_none() && self.has_versions(caller, &info.bucket).await {
            info.shown_version = Some(VersionName::Null);
        }
    }

    async fn has_versions(&self, caller: &Caller, bucket: &BucketName) -> bool {
        let id = (caller.tenant(), bucket.clone());
        let now = self.kernel.clock().monotonic();
        if let Some(known) = self.versioned.get(&id, now) {
            return known;
        }
        let used = Use::GetBucketVersioning;
        let Some(permit) = self.look_at::<Read>(caller, used, bucket, None).await else { return false };
        let Ok(versioning) = self.kernel.objects().versioning(&permit, bucket).await else { return false };
        self.versioned.set(id, now, versioning.is_some());
        versioning.is_some()
    }

    /// Forgets whether a bucket keeps versions: it was told to, or is another one now.
    pub(super) fn forget_versions(&self, caller: &Caller, bucket: &BucketName) {
        self.versioned.forget(&(caller.tenant(), bucket.clone()));
    }

    /// When an upload is going to be given up, and by which rule, if nobody completes it.
    pub(super) async fn given_up(&self, caller: &Caller, upload: &UploadInfo) -> Option<(Timestamp, String)> {
        let (bucket, used) = (&upload.upload.bucket, Use::GetLifecycleConfiguration);
        let permit = self.look_at::<Read>(caller, used, bucket, None).await?;
        let rules: Vec<Rule> = self.kernel.objects().lifecycle(&permit, bucket).await.ok()??;
        abortion(&rules, upload)
    }

    /// The permit to work on an upload, judged by what was said when it began, too: how the object is going to be encrypted is said once.
    pub(super) async fn permit_to_continue(
        &self,
        caller: Caller,
        upload: &UploadRef,
    ) -> S3Result<(Caller, Permit<Update>)> {
        let (bucket, used) = (&upload.bucket, Use::ListMultipartUploadParts);
        let by = match self.look_at::<Update>(&caller, used, bucket, Some(&upload.key)).await {
            None => None,
            Some(permit) => {
                let listed =
                    self.kernel.objects().list_parts(&permit, upload, 0, PageLimit::clamped(1)).await;
                // That there is no such upload is told to those who may work on it.
                listed.ok().and_then(|(info, _, _)| info.encrypted_by)
            }
        };
        let caller = caller.with_encryption(by);
        let permit = self.permit_to_upload(&caller, Use::PutObject, upload).await?;
        Ok((caller, permit))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_of_versions_is_known_for_a_while() {
        let (known, now) = (Versioned::default(), Instant::now());
        let id = (TenantId::default_tenant(), BucketName::parse("b").unwrap());
        assert_eq!(known.get(&id, now), None);
        known.set(id.clone(), now, true);
        assert_eq!(known.get(&id, now), Some(true));
        assert_eq!(known.get(&id, now + KNOWN_FOR), None);
        known.forget(&id);
        assert_eq!(known.get(&id, now), None);
    }
}
