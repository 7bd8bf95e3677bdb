//! Objects that end by rules.

use super::*;

const DAY: Duration = Duration::from_secs(24 * 3600);

fn on_bucket<A: ActionKind>() -> Permit<A> {
    permit_for(ResourceKind::Bucket, Some("scans"))
}

fn rule(prefix: &str) -> Rule {
    Rule {
        id: "r".to_owned(),
        enabled: true,
        scope: Scope { prefix: Some(prefix.to_owned()), ..Scope::default() },
        expiration: None,
        noncurrent: None,
        abort_uploads_after_days: None,
    }
}

impl Bench {
    async fn follow(&self, rules: Vec<Rule>) {
        self.objects.set_lifecycle(&on_bucket(), &self.bucket, Some(rules)).await.unwrap();
    }

    async fn keys(&self) -> Vec<String> {
        let listed = self.list(ListQuery::default()).await.unwrap();
        listed.items.into_iter().map(|info| info.key.to_string()).collect()
    }

    async fn versions(&self) -> usize {
        let query = VersionQuery::default();
        self.objects.list_versions(&collection(), &self.bucket, query).await.unwrap().items.len()
    }
}

#[tokio::test]
async fn objects_end_when_their_days_are_over() {
    let bench = Bench::new().await;
    bench.put("old/a", b"a").await.unwrap();
    bench.put("old/b", b"long enough").await.unwrap();
    bench.put("new/a", b"a").await.unwrap();
    let mut wanted = rule("old/");
    wanted.expiration = Some(Expiration::Days(3));
    wanted.scope.smaller_than = Some(5);
    bench.follow(vec![Rule { enabled: false, ..rule("") }, wanted.clone()]).await;
    let info = bench.objects.head(&permit("scans", "old/a"), &bench.bucket, &key("old/a")).await.unwrap();
    let tenant = TenantId::default_tenant();
    assert_eq!(bench.objects.expiry(&tenant, &info).await.unwrap().unwrap().1, "r");
    assert_eq!(bench.objects.expire().await.unwrap(), Expired::default());
    bench.clock.advance(DAY * 4);
    let expired = bench.objects.expire().await.unwrap();
    assert_eq!(expired, Expired { objects: 1, ..Expired::default() });
    assert_eq!(bench.keys().await, ["new/a", "old/b"]);
}

#[tokio::test]
async fn earlier_versions_end_but_for_the_newest_of_them() {
    let bench = Bench::new().await;
    bench.objects.set_versioning(&on_bucket(), &bench.bucket, Versioning::Enabled).await.unwrap();
    for bytes in [b"1", b"2", b"3", b"4"] {
        bench.put("a", bytes).await.unwrap();
    }
    let mut wanted = rule("");
    wanted.noncurrent = Some(Noncurrent { days: 1, keep: Some(1) });
    bench.follow(vec![wanted]).await;
    bench.clock.advance(DAY * 3);
    assert_eq!(bench.objects.expire().await.unwrap().versions, 2);
    assert_eq!(bench.versions().await, 2);
    assert_eq!(bench.read("a", None).await.unwrap(), b"4");
}

#[tokio::test]
async fn an_object_ends_with_a_mark_and_the_mark_when_it_is_alone() {
    let bench = Bench::new().await;
    bench.objects.set_versioning(&on_bucket(), &bench.bucket, Versioning::Enabled).await.unwrap();
    bench.put("a", b"1").await.unwrap();
    let days = Rule { expiration: Some(Expiration::Days(1)), ..rule("") };
    let mut past = rule("");
    past.noncurrent = Some(Noncurrent { days: 1, keep: None });
    past.expiration = Some(Expiration::LoneMarkers(true));
    bench.follow(vec![days, past]).await;
    bench.clock.advance(DAY * 2);
    let expired = bench.objects.expire().await.unwrap();
    assert_eq!((expired.objects, expired.versions), (1, 0));
    assert_eq!((bench.keys().await.len(), bench.versions().await), (0, 2));
    bench.clock.advance(DAY * 3);
    assert_eq!(bench.objects.expire().await.unwrap().versions, 1);
    assert_eq!(bench.objects.expire().await.unwrap().versions, 1);
    assert_eq!(bench.versions().await, 0);
}

#[tokio::test]
async fn locked_objects_do_not_end_and_uploads_do() {
    let bench = Bench::new().await;
    let default = DefaultRetention { mode: Mode::Compliance, period: Period::Years(1) };
    let locking = Locking { default: Some(default) };
    bench.objects.set_locking(&on_bucket(), &bench.bucket, locking, true).await.unwrap();
    bench.put("a", b"1").await.unwrap();
    bench.put("a", b"2").await.unwrap();
    let update = permit::<Update>("scans", "b");
    bench.objects.begin_upload(&update, &bench.bucket, &key("b"), NewUpload::default()).await.unwrap();
    let mut wanted = rule("");
    wanted.noncurrent = Some(Noncurrent { days: 1, keep: None });
    wanted.abort_uploads_after_days = Some(2);
    bench.follow(vec![wanted]).await;
    bench.clock.advance(DAY * 4);
    let expired = bench.objects.expire().await.unwrap();
    assert_eq!(expired, Expired { uploads: 1, ..Expired::default() });
    assert_eq!(bench.versions().await, 2);
}
