use cm_catalog::kinds::Bucket;
use cm_objects::NewObject;
use cm_policy::sharing::{BucketSharing, CannedAcl, Circumstances, PolicyDocument, PublicAccessBlock, Use};
use cm_types::{BucketName, ObjectKey, PageLimit};
use futures::stream;

use super::*;
use crate::Wanted;

fn bucket() -> BucketName {
    "shared".parse().unwrap()
}

fn key() -> ObjectKey {
    "k".parse().unwrap()
}

impl House {
    /// A bucket of `owner` as S3 makes it, with an object.
    async fn shared_by(&self, owner: &OpContext) {
        let permit = self.kernel.authorize::<Create>(owner, ResourceKind::Bucket).await.unwrap();
        let new = NewRecord::of("shared", &Bucket::default()).with_id(ResourceId::parse("shared").unwrap());
        let sharing = BucketSharing::private(owner.principal().unwrap());
        self.kernel.create_shared_bucket(owner, &permit, new, sharing).await.unwrap();
        let permit = self.kernel.look_up_object::<Update>(owner, &bucket(), &key()).await.unwrap();
        let (objects, body) = (self.kernel.objects(), stream::iter([Ok("content".into())]));
        objects.put(&permit, &bucket(), &key(), NewObject::default(), body).await.unwrap();
    }

    async fn may(&self, op: &OpContext, used: Use) -> bool {
        let circumstances = Circumstances::new();
        let (bucket, key) = (bucket(), key());
        let key = used.is_of_object().then_some(&key);
        let wanted = Wanted { bucket: &bucket, key, version: None, used, circumstances: &circumstances };
        self.kernel.look_up_bucket::<Read>(op, wanted).await.is_ok()
    }

    async fn share(&self, op: &OpContext, change: impl FnOnce(&mut BucketSharing) + Send + 'static) {
        let permit = self.kernel.look_up::<Grant>(op, ResourceKind::Bucket, "shared").await.unwrap().1;
        let (bucket, request) = (bucket(), Some(op.request.clone()));
        let changed = self.kernel.objects().share(&permit, &bucket, request, |sharing| {
            change(sharing);
            Ok::<_, ()>(())
        });
        changed.await.unwrap().unwrap();
    }
}

/// Whichever face asks, roles do not reach into it.
#[tokio::test]
async fn a_bucket_with_grants_is_its_owners_alone() {
    let house = House::open().await;
    let owner = house.somebody("owner", &["bucket:create"]).await;
    let other = house.somebody("other", &["bucket:*", "object:*"]).await;
    let nobody = op(Actor::Anonymous);
    house.shared_by(&owner).await;
    for stranger in [&other, &nobody] {
        for used in [Use::GetObject, Use::PutObject, Use::ListBucket, Use::PutBucketPolicy, Use::DeleteBucket]
        {
            assert!(!house.may(stranger, used).await, "{used:?}");
        }
        assert!(house.kernel.look_up_object::<Read>(stranger, &bucket(), &key()).await.is_err());
        assert!(house.kernel.look_up::<Update>(stranger, ResourceKind::Bucket, "shared").await.is_err());
        assert!(house.kernel.look_up::<Grant>(stranger, ResourceKind::Bucket, "shared").await.is_err());
    }
    assert!(house.may(&owner, Use::GetObject).await);
    assert!(house.may(&house.admin, Use::GetObject).await);
    let listed = |op: &OpContext| {
        let (kernel, op) = (house.kernel.clone(), op.clone());
        let query = Query { limit: PageLimit::MAX, ..Query::of(ResourceKind::Bucket) };
        async move { kernel.list_own_buckets(&op, query).await.unwrap().items.len() }
    };
    assert_eq!((listed(&owner).await, listed(&other).await, listed(&nobody).await), (1, 0, 0));
}

#[tokio::test]
async fn what_an_owner_says_holds_from_then_on_and_is_in_the_log() {
    let house = House::open().await;
    let owner = house.somebody("owner", &["bucket:create"]).await;
    let other = house.somebody("other", &["bucket:list"]).await;
    let nobody = op(Actor::Anonymous);
    house.shared_by(&owner).await;
    let id = owner.principal().unwrap().clone();
    house.share(&owner, move |sharing| sharing.acl = Some(CannedAcl::PublicRead.acl(Some(&id), &id))).await;
    assert!(house.may(&nobody, Use::ListBucket).await);
    assert!(!house.may(&nobody, Use::GetObject).await, "the object has grants of its own");
    let text = r#"{"Statement":[
        {"Effect":"Allow","Principal":"*","Action":"s3:GetObject","Resource":"*"},
        {"Sid":"no","Effect":"Deny","Principal":"*","Action":"s3:ListBucket","Resource":"*"}]}"#;
    let policy = PolicyDocument::parse(text).unwrap();
    house.share(&owner, move |sharing| sharing.policy = Some(policy)).await;
    assert!(house.may(&nobody, Use::GetObject).await);
    for op in [&owner, &other, &nobody, &house.admin] {
        assert!(!house.may(op, Use::ListBucket).await, "one denial outweighs all else");
    }
    let resource = ResourceRef::new(ResourceKind::Bucket, "shared");
    let explained = house.kernel.explain(&house.admin, owner.principal().unwrap(), Action::List, &resource);
    let explained = explained.await.unwrap();
    assert!(!explained.allowed && explained.to_string().contains("statement `no`"), "{explained}");
    let block = PublicAccessBlock { restrict_public_buckets: true, ..PublicAccessBlock::default() };
    house.share(&owner, move |sharing| sharing.block = Some(block)).await;
    assert!(!house.may(&nobody, Use::GetObject).await);
    assert!(house.may(&other, Use::GetObject).await);
}

/// A bucket that nobody shared is decided as before, and hidden from who may not know of it.
#[tokio::test]
async fn buckets_without_grants_are_for_roles() {
    let house = House::open().await;
    let reader = house.somebody("reader", &["bucket:read", "bucket:list", "object:read"]).await;
    let other = house.somebody("other", &["bucket:create"]).await;
    house.create(ResourceKind::Bucket, "shared", json!({})).await.unwrap();
    assert!(house.may(&reader, Use::GetObject).await);
    let circumstances = Circumstances::new();
    for stranger in [&other, &op(Actor::Anonymous)] {
        for name in ["shared", "missing"] {
            let bucket: BucketName = name.parse().unwrap();
            let wanted = Wanted {
                bucket: &bucket,
                key: None,
                version: None,
                used: Use::ListBucket,
                circumstances: &circumstances,
            };
            let refused = house.kernel.look_up_bucket::<List>(stranger, wanted).await.unwrap_err();
            assert!(matches!(refused, KernelError::NotFound(_)), "{name}: {refused}");
        }
    }
}
