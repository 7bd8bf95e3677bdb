//! Quotas against what is written, replaced, kept in versions, uploaded in parts and removed.

use super::*;
use crate::quota::{self, BucketUsages, TenantUsages, UsageRow};

impl Bench {
    async fn set_quota(&self, bytes_max: Option<u64>, objects_max: Option<u64>) -> Usage {
        let permit = permit_for::<Update>(ResourceKind::Tenant, None);
        let quota = Quota { bytes_max, objects_max };
        self.objects.set_bucket_quota(&permit, &self.bucket, quota, None).await.unwrap()
    }

    async fn set_tenant_quota(&self, bytes_max: Option<u64>, objects_max: Option<u64>) -> Usage {
        let permit = permit_for::<Update>(ResourceKind::Tenant, None);
        let quota = Quota { bytes_max, objects_max };
        self.objects.set_tenant_quota(&permit, &TenantId::default_tenant(), quota, None).await.unwrap()
    }

    async fn usage(&self) -> (u64, u64) {
        let permit = permit_for::<Read>(ResourceKind::Bucket, Some("scans"));
        let usage = self.objects.bucket_quota(&permit, &self.bucket).await.unwrap().1.unwrap();
        (usage.bytes, usage.objects)
    }
}

fn refused<T: std::fmt::Debug>(outcome: Result<T, ObjectError>) -> (QuotaScope, QuotaUnit, u64) {
    match outcome {
        Err(ObjectError::QuotaExceeded { scope, unit, max }) => (scope, unit, max),
        other => panic!("not refused for a quota: {other:?}"),
    }
}

#[tokio::test]
async fn what_is_written_counts_until_it_is_removed() {
    let bench = Bench::new().await;
    let scope = QuotaScope::Bucket(bench.bucket.clone());
    bench.put("a", &sample(600_000, 1)).await.unwrap();
    assert_eq!(bench.usage().await, (600_000, 1), "it is counted before there is a quota");
    bench.set_quota(Some(1_000_000), Some(2)).await;
    // Longer than there is room for: it ends while the body comes.
    let long = refused(bench.put("b", &sample(5_000_000, 2)).await);
    assert_eq!(long, (scope.clone(), QuotaUnit::Bytes, 1_000_000));
    bench.put("b", &sample(400_000, 3)).await.unwrap();
    assert_eq!(refused(bench.put("c", b"").await), (scope.clone(), QuotaUnit::Objects, 2));
    assert_eq!(bench.usage().await, (1_000_000, 2));
    // What is replaced makes room for what replaces it.
    bench.put("a", &sample(600_000, 4)).await.unwrap();
    assert_eq!(refused(bench.put("a", &sample(600_001, 5)).await).1, QuotaUnit::Bytes);
    assert_eq!(bench.read("a", None).await.unwrap(), sample(600_000, 4), "what was refused changed nothing");
    bench.delete("b").await.unwrap();
    assert_eq!(bench.usage().await, (600_000, 1));
    bench.put("c", &sample(400_000, 6)).await.unwrap();
    // Less than there is: nothing goes, nothing comes.
    bench.set_quota(Some(10), None).await;
    assert_eq!(refused(bench.put("a", b"x").await).2, 10);
    bench.delete("a").await.unwrap();
    bench.delete("c").await.unwrap();
    bench.put("a", b"x").await.unwrap();
    bench.set_quota(None, None).await;
    bench.put("b", &sample(5_000_000, 2)).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn writers_at_once_do_not_pass_the_limit_together() {
    let bench = Arc::new(Bench::new().await);
    bench.set_quota(Some(50_000), Some(4)).await;
    let puts = (0..20_u64).map(|n| {
        let bench = bench.clone();
        async move { bench.put(&format!("object {n}"), &sample(10_000, n)).await }
    });
    let mut written = 0;
    for put in futures::future::join_all(puts).await {
        match put {
            Ok(_) => written += 1,
            Err(ObjectError::QuotaExceeded { .. }) => {}
            Err(error) => panic!("{error:?}"),
        }
    }
    assert_eq!((written, bench.usage().await), (4, (40_000, 4)));
}

#[tokio::test]
async fn versions_and_parts_count() {
    let bench = Bench::with(Config { part_bytes_min: 10, ..in_chunks() }).await;
    let permit = permit_for::<Update>(ResourceKind::Bucket, Some("scans"));
    bench.objects.set_versioning(&permit, &bench.bucket, Versioning::Enabled).await.unwrap();
    let first = bench.put("a", &[1; 100]).await.unwrap();
    bench.put("a", &[2; 100]).await.unwrap();
    assert_eq!(bench.usage().await, (200, 2));
    bench.delete("a").await.unwrap();
    assert_eq!(bench.usage().await, (200, 2), "the mark of a deletion is no object");
    bench.set_quota(Some(300), None).await;
    let upload = bench.begin("b").await;
    let part = bench.part(&upload, 1, &[3; 60]).await.unwrap();
    assert_eq!(bench.usage().await, (260, 2));
    assert_eq!(refused(bench.part(&upload, 2, &[4; 41]).await).1, QuotaUnit::Bytes);
    let part = match bench.part(&upload, 1, &[5; 100]).await {
        Ok(other) => other,
        Err(error) => panic!("{part:?} gives way: {error:?}"),
    };
    bench.complete(&upload, &[&part]).await.unwrap();
    assert_eq!(bench.usage().await, (300, 3), "parts become an object, and count once");
    let version = first.version_name();
    let permit = crate::tests::permit::<Delete>("scans", "a");
    let which = Removal { version: Some(version), ..Removal::default() };
    bench.objects.remove(&permit, &bench.bucket, &key("a"), which, None).await.unwrap();
    assert_eq!(bench.usage().await, (200, 2));
    let upload = bench.begin("c").await;
    bench.part(&upload, 1, &[6; 100]).await.unwrap();
    bench.objects.abort_upload(&crate::tests::permit::<Update>("scans", "c"), &upload).await.unwrap();
    assert_eq!(bench.usage().await, (200, 2));
}

#[tokio::test]
async fn a_tenant_has_a_quota_over_all_its_buckets() {
    let bench = Bench::new().await;
    bench.create_bucket("films").await;
    bench.put("a", &[1; 100]).await.unwrap();
    // As it was before there were counts.
    let tenant = TenantId::default_tenant();
    let old = (tenant.clone(), bench.bucket.clone());
    bench.db.write(move |tx| tx.delete::<BucketUsages>(&old).map(drop)).await.unwrap();
    bench.put("b", &[2; 50]).await.unwrap();
    assert_eq!(bench.set_tenant_quota(Some(200), None).await, Usage { bytes: 150, objects: 2 });
    let films = BucketName::parse("films").unwrap();
    let put = async |name: &str, len: usize| {
        let permit = permit::<Update>("films", name);
        let body = pieces(&vec![3; len], 1000);
        bench.objects.put(&permit, &films, &key(name), NewObject::default(), body).await
    };
    let scope = QuotaScope::Tenant(tenant.clone());
    assert_eq!(refused(put("a", 51).await), (scope, QuotaUnit::Bytes, 200));
    put("a", 50).await.unwrap();
    bench.delete("b").await.unwrap();
    assert_eq!(bench.usage().await, (100, 1));
    let row = bench.db.read(move |tx| tx.get::<TenantUsages>(&tenant)).await.unwrap().unwrap();
    assert_eq!((row.bytes, row.objects), (150, 2));
}

#[tokio::test]
async fn setting_a_quota_counts_anew_and_leaves_other_limits() {
    let bench = Bench::new().await;
    let tenant = TenantId::default_tenant();
    bench.put("a", &[1; 100]).await.unwrap();
    bench.set_quota(Some(1000), Some(10)).await;
    bench.set_tenant_quota(Some(2000), None).await;
    // As if a program that knows no counts had written and removed beside this one.
    let drift = async || {
        let (tenant, bucket) = (tenant.clone(), (tenant.clone(), bench.bucket.clone()));
        let drifted = bench.db.write(move |tx| {
            let row = tx.get::<BucketUsages>(&bucket)?.unwrap();
            tx.put::<BucketUsages>(&bucket, &UsageRow { bytes: 7, objects: 9, ..row })?;
            let row = tx.get::<TenantUsages>(&tenant)?.unwrap();
            tx.put::<TenantUsages>(&tenant, &UsageRow { bytes: 900, objects: 0, ..row })
        });
        drifted.await.unwrap();
    };
    drift().await;
    assert_eq!(bench.set_quota(Some(1000), Some(10)).await, Usage { bytes: 100, objects: 1 });
    drift().await;
    assert_eq!(bench.set_tenant_quota(Some(2000), None).await, Usage { bytes: 100, objects: 1 });
    assert_eq!(bench.usage().await, (100, 1));
    let scope = QuotaScope::Bucket(bench.bucket.clone());
    let outcome = bench.put("b", &[2; 901]).await;
    assert_eq!(refused(outcome), (scope, QuotaUnit::Bytes, 1000), "the bucket's limit is left");
}

#[tokio::test]
async fn no_more_is_counted_at_once_than_is_bearable() {
    let bench = Bench::new().await;
    bench.put("a", &[1; 100]).await.unwrap();
    bench.put("b", &[2; 100]).await.unwrap();
    let row = UsageRow { bytes: 7, objects: 9, ..UsageRow::default() };
    for (was, left, found) in [(Some(row), 1, Some((7, 9))), (Some(row), 2, Some((200, 2))), (None, 1, None)]
    {
        let (tenant, bucket) = (TenantId::default_tenant(), bench.bucket.clone());
        let counted = bench.db.write(move |tx| {
            let key = (tenant, bucket);
            match was {
                Some(row) => tx.put::<BucketUsages>(&key, &row)?,
                None => tx.delete::<BucketUsages>(&key).map(drop)?,
            }
            quota::counted(tx, &key.0, &key.1, &mut { left })
        });
        match (counted.await, found) {
            (Ok(row), Some(found)) => assert_eq!((row.bytes, row.objects), found),
            (Err(ObjectError::TooMuchToCount { .. }), None) => {}
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn what_gives_way_to_an_unversioned_write_makes_room_for_it() {
    let bench = Bench::new().await;
    let permit = permit_for::<Update>(ResourceKind::Bucket, Some("scans"));
    let versioning = async |wanted| {
        bench.objects.set_versioning(&permit, &bench.bucket, wanted).await.unwrap();
    };
    // The null version, and one of its own before which it stands.
    bench.put("a", &[1; 600]).await.unwrap();
    versioning(Versioning::Enabled).await;
    bench.put("a", &[2; 100]).await.unwrap();
    versioning(Versioning::Suspended).await;
    bench.set_quota(Some(1000), Some(2)).await;
    bench.put("a", &[3; 900]).await.unwrap();
    assert_eq!(bench.usage().await, (1000, 2));
    bench.put("a", &[4; 900]).await.unwrap();
    assert_eq!(refused(bench.put("a", &[5; 901]).await).1, QuotaUnit::Bytes);
}

#[tokio::test]
async fn one_object_too_many_is_refused_before_its_body() {
    let bench = Bench::new().await;
    bench.put("a", b"x").await.unwrap();
    bench.set_quota(None, Some(1)).await;
    let (permit, name) = (permit::<Update>("scans", "b"), key("b"));
    let never = futures::stream::pending();
    let put = bench.objects.put(&permit, &bench.bucket, &name, NewObject::default(), never);
    let put = tokio::time::timeout(Duration::from_secs(30), put).await;
    assert_eq!(refused(put.expect("it does not wait for the body")).1, QuotaUnit::Objects);
}

#[tokio::test]
async fn a_quota_takes_who_may_change_the_tenant() {
    let bench = Bench::new().await;
    let permit = permit_for::<Update>(ResourceKind::Bucket, Some("scans"));
    let outcome = bench.objects.set_bucket_quota(&permit, &bench.bucket, Quota::default(), None).await;
    assert!(matches!(outcome, Err(ObjectError::NotPermitted { .. })), "{outcome:?}");
}
