use cm_catalog::kinds::Bucket;
use cm_objects::{NewObject, ObjectError, Removal, Version, VersionName, VersionQuery, Versioning};
use cm_policy::sharing::{BucketSharing, CannedAcl, Circumstances, PolicyDocument, PublicAccessBlock, Use};
use cm_types::{BucketName, ObjectKey, PageLimit};
use futures::stream;

use super::*;
use crate::{Description, Told, Wanted};

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
        self.kernel.create_shared_bucket(owner, &permit, new, sharing, false, None).await.unwrap();
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

/// What a policy lets others do, natively: no more than what it names.
#[tokio::test]
async fn a_use_that_is_shared_brings_no_other() {
    let house = House::open().await;
    let owner = house.somebody("owner", &["bucket:create"]).await;
    let other = house.somebody("other", &["bucket:list"]).await;
    house.shared_by(&owner).await;
    let allow = |action: &str| {
        let text = format!(
            r#"{{"Statement":[{{"Effect":"Allow","Principal":"*","Action":"{action}","Resource":"*"}}]}}"#
        );
        let policy = PolicyDocument::parse(&text).unwrap();
        house.share(&owner, move |sharing| sharing.policy = Some(policy))
    };
    let may_change = async |op: &OpContext| {
        house.kernel.look_up::<Update>(op, ResourceKind::Bucket, "shared").await.is_ok()
    };
    allow("s3:PutBucketTagging").await;
    assert!(house.may(&other, Use::PutBucketTagging).await);
    assert!(!may_change(&other).await, "how chunks are kept costs the owner");
    assert!(may_change(&owner).await);
    let may_upload = async |used| house.kernel.look_up_upload(&other, &bucket(), &key(), used).await.is_ok();
    let uses = [Use::PutObject, Use::ListMultipartUploadParts, Use::AbortMultipartUpload];
    for shared in uses {
        allow(&format!("s3:{}", shared.as_str())).await;
        for used in uses {
            assert_eq!(may_upload(used).await, used == shared, "{used:?} by {shared:?}");
        }
    }
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

impl House {
    async fn store(&self, owner: &OpContext, canned: CannedAcl) {
        let permit = self.kernel.look_up_object::<Update>(owner, &bucket(), &key()).await.unwrap();
        let id = owner.principal().unwrap();
        let new = NewObject { acl: Some(canned.acl(Some(id), id)), ..NewObject::default() };
        let body = stream::iter([Ok("content".into())]);
        self.kernel.objects().put(&permit, &bucket(), &key(), new, body).await.unwrap();
    }

    async fn obey(&self, owner: &OpContext, statements: Value) {
        let policy = PolicyDocument::parse(json!({ "Statement": statements }).to_string()).unwrap();
        self.share(owner, move |sharing| sharing.policy = Some(policy)).await;
    }

    async fn reads_natively(&self, op: &OpContext) -> bool {
        self.kernel.look_up_object::<Read>(op, &bucket(), &key()).await.is_ok()
    }

    async fn reads_version(&self, op: &OpContext, version: VersionName) -> bool {
        self.kernel.look_up_version::<Read>(op, &bucket(), &key(), version).await.is_ok()
    }
}

/// That one version is public, or that everybody may list the bucket, opens no other version.
#[tokio::test]
async fn versions_are_read_by_their_own_grants_and_removed_by_their_own_right() {
    let house = House::open().await;
    let owner = house.somebody("owner", &["bucket:create"]).await;
    let other = house.somebody("other", &["bucket:*", "object:*"]).await;
    house.shared_by(&owner).await;
    let id = owner.principal().unwrap().clone();
    house.share(&owner, move |sharing| sharing.acl = Some(CannedAcl::PublicRead.acl(Some(&id), &id))).await;
    let permit = house.kernel.look_up::<Update>(&owner, ResourceKind::Bucket, "shared").await.unwrap().1;
    house.kernel.objects().set_versioning(&permit, &bucket(), Versioning::Enabled).await.unwrap();
    house.store(&owner, CannedAcl::Private).await;
    house.store(&owner, CannedAcl::PublicRead).await;
    let permit = house.kernel.look_up_versions(&other, &bucket()).await.unwrap();
    let listed = house.kernel.objects().list_versions(&permit, &bucket(), VersionQuery::default()).await;
    let names: Vec<_> = listed.unwrap().items.iter().map(|(version, _)| Version::name(version)).collect();
    let [public, private, earliest] = names[..] else { panic!("{names:?}") };
    assert!(house.reads_natively(&other).await);
    assert!(house.reads_version(&other, public).await);
    for closed in [private, earliest] {
        assert!(!house.reads_version(&other, closed).await, "{closed}");
        assert!(house.reads_version(&owner, closed).await, "{closed}");
    }
    let permit = house.kernel.look_up_object::<Delete>(&owner, &bucket(), &key()).await.unwrap();
    let removal = Removal::default();
    house.kernel.objects().remove(&permit, &bucket(), &key(), removal, None).await.unwrap();
    assert!(!house.reads_version(&other, private).await, "a mark opens nothing");

    house
        .obey(
            &owner,
            json!([
                { "Effect": "Deny", "Principal": "*", "Action": "s3:DeleteObjectVersion", "Resource": "*" },
                { "Effect": "Deny", "Principal": "*", "Action": "s3:ListBucketVersions", "Resource": "*" },
            ]),
        )
        .await;
    let (kernel, bucket, key) = (&house.kernel, bucket(), key());
    assert!(kernel.look_up_object::<Delete>(&owner, &bucket, &key).await.is_ok());
    assert!(kernel.look_up_version::<Delete>(&owner, &bucket, &key, private).await.is_err());
    assert!(kernel.look_up::<List>(&owner, ResourceKind::Bucket, "shared").await.is_ok());
    assert!(kernel.look_up_versions(&owner, &bucket).await.is_err());
}

/// A face that tells nothing of a request is no way around conditions.
#[tokio::test]
async fn conditions_hold_where_requests_tell_nothing() {
    let house = House::open().await;
    let owner = house.somebody("owner", &["bucket:create"]).await;
    let (ann, bob) = (house.somebody("ann", &[]).await, house.somebody("bob", &[]).await);
    let nobody = op(Actor::Anonymous);
    house.shared_by(&owner).await;
    let check = async |denied: Value, allowed: Value, expected: [bool; 3]| {
        let both = |effect: &str, condition: &Value| json!({ "Effect": effect, "Principal": "*", "Action": "s3:GetObject", "Resource": "*", "Condition": condition });
        let mut statements = vec![both("Allow", &allowed)];
        if !denied.is_null() {
            statements.push(both("Deny", &denied));
        }
        house.obey(&owner, json!(statements)).await;
        let mut found = [false; 3];
        for (found, who) in found.iter_mut().zip([&ann, &bob, &nobody]) {
            *found = house.reads_natively(who).await;
        }
        assert_eq!(found, expected, "{denied} {allowed}");
    };
    let open = json!({});
    check(Value::Null, open.clone(), [true; 3]).await;
    check(json!({ "StringEquals": { "aws:username": "bob" } }), open.clone(), [true, false, true]).await;
    check(json!({ "Null": { "aws:userid": "true" } }), open.clone(), [true, true, false]).await;
    check(json!({ "DateGreaterThan": { "aws:CurrentTime": "2020-01-01" } }), open.clone(), [false; 3]).await;
    check(json!({ "DateLessThan": { "aws:CurrentTime": "2020-01-01" } }), open.clone(), [true; 3]).await;
    check(json!({ "StringEquals": { "s3:ExistingObjectTag/a": "b" } }), open.clone(), [true; 3]).await;
    check(json!({ "IpAddress": { "aws:SourceIp": "10.0.0.0/8" } }), open, [false; 3]).await;
    for allowed in [
        json!({ "NotIpAddress": { "aws:SourceIp": "10.0.0.0/8" } }),
        json!({ "StringEqualsIfExists": { "aws:Referer": "x" } }),
        json!({ "ForAllValues:StringEquals": { "aws:Referer": "x" } }),
    ] {
        check(Value::Null, allowed, [false; 3]).await;
    }
}

/// Whoever may list a bucket but not read its objects is not told what is said of them.
#[tokio::test]
async fn what_is_said_of_an_object_is_told_to_its_readers() {
    let house = House::open().await;
    let owner = house.somebody("owner", &["bucket:create"]).await;
    let other = house.somebody("other", &["bucket:list"]).await;
    house.shared_by(&owner).await;
    let id = owner.principal().unwrap().clone();
    house.share(&owner, move |sharing| sharing.acl = Some(CannedAcl::PublicRead.acl(Some(&id), &id))).await;
    let (bucket, key) = (bucket(), key());
    let permit = house.kernel.look_up_object::<Update>(&owner, &bucket, &key).await.unwrap();
    let reading = house.kernel.look_up_object::<Read>(&owner, &bucket, &key).await.unwrap();
    let contents = house.kernel.objects().head(&reading, &bucket, &key).await.unwrap().sha256;
    let said = Description { text: "secret".to_owned(), terms: ["ball".to_owned()].into() };
    let described = house.kernel.describe_object(&owner, &permit, (&bucket, &key), contents, said).await;
    described.unwrap();
    for (actor, expected) in [(&owner, Told::Text("secret".to_owned())), (&other, Told::Hidden)] {
        let (_, list) = house.kernel.look_up::<List>(actor, ResourceKind::Bucket, "shared").await.unwrap();
        let found = house.kernel.objects_by_term(actor, &list, &bucket, "ball", None, PageLimit::MAX).await;
        let (info, told) = found.unwrap().items.pop().unwrap();
        assert_eq!(told, expected);
        let told = house.kernel.object_descriptions(actor, &list, &bucket, &[info]).await.unwrap();
        assert_eq!(told, [expected]);
    }
    assert!(house.kernel.find_objects(&other, "ball").await.unwrap().is_empty());
}

/// Whoever asks for locks never has a bucket without them, not even for a moment.
#[tokio::test]
async fn buckets_are_made_with_their_locks() {
    let house = House::open().await;
    let owner = house.somebody("owner", &["bucket:create"]).await;
    let permit = house.kernel.authorize::<Create>(&owner, ResourceKind::Bucket).await.unwrap();
    let new = NewRecord::of("shared", &Bucket::default()).with_id(ResourceId::parse("shared").unwrap());
    let sharing = BucketSharing::private(owner.principal().unwrap());
    house.kernel.create_shared_bucket(&owner, &permit, new, sharing, true, None).await.unwrap();
    let used = Use::GetBucketObjectLockConfiguration;
    let circumstances = Circumstances::new();
    let name = bucket();
    let wanted = Wanted { bucket: &name, key: None, version: None, used, circumstances: &circumstances };
    let (_, permit) = house.kernel.look_up_bucket::<Read>(&owner, wanted).await.unwrap();
    assert!(house.kernel.objects().locking(&permit, &name).await.unwrap().is_some());
    let (_, permit) = house.kernel.look_up_bucket::<Read>(&owner, wanted).await.unwrap();
    assert_eq!(house.kernel.objects().versioning(&permit, &name).await.unwrap(), Some(Versioning::Enabled));
}

/// Between a decision and the reading, others may replace the object, and give it to others.
#[tokio::test]
async fn what_is_read_is_what_was_judged() {
    let house = House::open().await;
    let owner = house.somebody("owner", &["bucket:create"]).await;
    let other = house.somebody("other", &[]).await;
    house.shared_by(&owner).await;
    let id = owner.principal().unwrap().clone();
    house.share(&owner, move |sharing| sharing.acl = Some(CannedAcl::PublicRead.acl(Some(&id), &id))).await;
    house.store(&owner, CannedAcl::PublicRead).await;
    let (kernel, objects) = (&house.kernel, house.kernel.objects());
    let (bucket, key) = (bucket(), key());
    let permit = kernel.look_up_object::<Read>(&other, &bucket, &key).await.unwrap();
    house.store(&owner, CannedAcl::PublicRead).await;
    assert!(objects.get(&permit, &bucket, &key, None).await.is_ok(), "given to the same");
    house.store(&owner, CannedAcl::Private).await;
    for refused in [
        objects.get(&permit, &bucket, &key, None).await.err().unwrap(),
        objects.head(&permit, &bucket, &key).await.unwrap_err(),
    ] {
        assert!(matches!(refused, ObjectError::Busy), "{refused}");
    }
    let deleting = kernel.look_up_object::<Delete>(&owner, &bucket, &key).await.unwrap();
    objects.remove(&deleting, &bucket, &key, Removal::default(), None).await.unwrap();
    let permit = kernel.look_up_object::<Read>(&other, &bucket, &key).await.unwrap();
    house.store(&owner, CannedAcl::Private).await;
    let refused = objects.get(&permit, &bucket, &key, None).await.err().unwrap();
    assert!(matches!(refused, ObjectError::NotFound { .. }), "{refused}");
    let deleting = kernel.look_up_object::<Delete>(&owner, &bucket, &key).await.unwrap();
    house.store(&owner, CannedAcl::PublicRead).await;
    let refused = objects.remove(&deleting, &bucket, &key, Removal::default(), None).await.unwrap_err();
    assert!(matches!(refused, ObjectError::Busy), "{refused}");
}
