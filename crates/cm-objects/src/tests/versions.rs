//! Objects that were something else before, and may be again.

use cm_policy::Grant;
use proptest::prelude::*;

use super::*;

const NAME: &str = "report";

fn on_bucket<A: ActionKind>() -> Permit<A> {
    permit_for(ResourceKind::Bucket, Some("scans"))
}

impl Bench {
    async fn keep_versions(&self, versioning: Versioning) {
        self.objects.set_versioning(&on_bucket(), &self.bucket, versioning).await.unwrap();
    }

    async fn remove(&self, name: &str, version: Option<VersionName>) -> Result<Removed, ObjectError> {
        let removal = Removal { version, ..Removal::default() };
        self.objects.remove(&permit::<Delete>("scans", name), &self.bucket, &key(name), removal, None).await
    }

    async fn read_version(&self, name: &str, version: VersionName) -> Result<Vec<u8>, ObjectError> {
        let permit = permit::<Read>("scans", name);
        let read = self.objects.get_version(&permit, &self.bucket, &key(name), Some(version), None).await?;
        let pieces: Vec<Bytes> = read.body.try_collect().await?;
        Ok(pieces.concat())
    }

    async fn history(&self) -> Vec<(String, VersionName, bool, bool)> {
        let mut query = VersionQuery { limit: cm_types::PageLimit::clamped(2), ..VersionQuery::default() };
        let mut all = Vec::new();
        loop {
            let page = self.objects.list_versions(&collection(), &self.bucket, query.clone()).await.unwrap();
            all.extend(page.items.into_iter().map(|(version, is_latest)| {
                let is_marker = matches!(version, Version::Marker(_));
                (version.key().to_string(), version.name(), is_marker, is_latest)
            }));
            match page.next {
                Some(next) => query.after = Some(next),
                None => return all,
            }
        }
    }
}

fn missing<T: std::fmt::Debug>(outcome: Result<T, ObjectError>) {
    assert!(
        matches!(outcome, Err(ObjectError::NotFound { .. } | ObjectError::VersionNotFound { .. })),
        "{outcome:?}"
    );
}

#[tokio::test]
async fn what_is_replaced_or_deleted_stays_and_comes_back() {
    let bench = Bench::new().await;
    bench.put(NAME, b"before").await.unwrap();
    bench.keep_versions(Versioning::Enabled).await;
    let first = bench.put(NAME, b"first").await.unwrap().version_name();
    let second = bench.put(NAME, b"second").await.unwrap().version_name();
    assert_eq!(bench.read_version(NAME, VersionName::Null).await.unwrap(), b"before");
    assert_eq!(bench.read_version(NAME, first).await.unwrap(), b"first");
    let marker = bench.remove(NAME, None).await.unwrap();
    assert!(marker.is_marker);
    let found = bench.read(NAME, None).await;
    assert!(
        matches!(&found, Err(ObjectError::NotFound { marker: found, .. }) if *found == marker.version),
        "{found:?}"
    );
    assert!(bench.list(ListQuery::default()).await.unwrap().items.is_empty());
    let on_marker = bench.read_version(NAME, marker.version.unwrap()).await;
    assert!(matches!(on_marker, Err(ObjectError::IsMarker { .. })), "{on_marker:?}");
    let expected = [
        (NAME.to_owned(), marker.version.unwrap(), true, true),
        (NAME.to_owned(), second, false, false),
        (NAME.to_owned(), first, false, false),
        (NAME.to_owned(), VersionName::Null, false, false),
    ];
    assert_eq!(bench.history().await, expected);
    bench.remove(NAME, marker.version).await.unwrap();
    assert_eq!(bench.read(NAME, None).await.unwrap(), b"second");
    bench.remove(NAME, Some(second)).await.unwrap();
    assert_eq!(bench.read(NAME, None).await.unwrap(), b"first");
    missing(bench.read_version(NAME, second).await);
    bench.remove(NAME, Some(VersionName::Null)).await.unwrap();
    assert_eq!(bench.history().await, [(NAME.to_owned(), first, false, true)]);
    // Only what one can still name is kept.
    bench.collect_all().await;
    assert_eq!(bench.files().len(), 1);
    assert_eq!(bench.damages().await.1.objects, 1);
}

#[tokio::test]
async fn there_is_one_null_version_at_most() {
    let bench = Bench::new().await;
    bench.keep_versions(Versioning::Enabled).await;
    let own = bench.put(NAME, b"own").await.unwrap().version_name();
    bench.keep_versions(Versioning::Suspended).await;
    for bytes in [b"one", b"two"] {
        assert_eq!(bench.put(NAME, bytes).await.unwrap().shown_version, Some(VersionName::Null));
    }
    let expected = |is_marker| {
        [(NAME.to_owned(), VersionName::Null, is_marker, true), (NAME.to_owned(), own, false, false)]
    };
    assert_eq!(bench.history().await, expected(false));
    for _ in 0..2 {
        let removed = bench.remove(NAME, None).await.unwrap();
        assert_eq!((removed.version, removed.is_marker), (Some(VersionName::Null), true));
        assert_eq!(bench.history().await, expected(true));
    }
    bench.remove(NAME, Some(VersionName::Null)).await.unwrap();
    assert_eq!(bench.read(NAME, None).await.unwrap(), b"own");
    let removed = bench.remove(NAME, Some(VersionName::Null)).await.unwrap();
    assert_eq!(removed.object, None, "what is gone already goes again");
}

#[tokio::test]
async fn a_bucket_with_versions_is_not_empty() {
    let bench = Bench::new().await;
    bench.keep_versions(Versioning::Enabled).await;
    let marker = bench.remove(NAME, None).await.unwrap();
    let delete = || {
        let (objects, bucket) = (bench.objects.clone(), bench.bucket.clone());
        bench.db.write(move |tx| objects.delete_bucket(tx, &on_bucket(), &bucket))
    };
    assert!(matches!(delete().await, Err(ObjectError::BucketNotEmpty { .. })));
    bench.remove(NAME, marker.version).await.unwrap();
    delete().await.unwrap();
}

#[tokio::test]
async fn locked_versions_stay() {
    let bench = Bench::new().await;
    bench.keep_versions(Versioning::Enabled).await;
    let unlockable = NewObject {
        protection: Protection { legal_hold: Some(true), ..Protection::default() },
        ..NewObject::default()
    };
    let refused = bench.put_with(NAME, unlockable.clone(), pieces(b"x", 1)).await;
    assert!(matches!(refused, Err(ObjectError::NotLockable { .. })), "{refused:?}");
    let default = DefaultRetention { mode: Mode::Governance, period: Period::Days(1) };
    let locking = Locking { default: Some(default) };
    bench.objects.set_locking(&on_bucket(), &bench.bucket, locking, false).await.unwrap();
    let suspended = bench.objects.set_versioning(&on_bucket(), &bench.bucket, Versioning::Suspended).await;
    assert!(matches!(suspended, Err(ObjectError::LockingNeedsVersions { .. })), "{suspended:?}");

    let retained = bench.put(NAME, b"retained").await.unwrap().version_name();
    let held = bench.put_with(NAME, unlockable, pieces(b"held", 9)).await.unwrap().version_name();
    bench.remove(NAME, None).await.unwrap();
    for version in [retained, held] {
        let refused = bench.remove(NAME, Some(version)).await;
        assert!(matches!(refused, Err(ObjectError::Locked { .. })), "{refused:?}");
    }
    let of_another = permit::<Grant>("scans", "another");
    let bypass = Removal { version: Some(retained), bypass: Some(&of_another), ..Removal::default() };
    let delete = permit::<Delete>("scans", NAME);
    let refused = bench.objects.remove(&delete, &bench.bucket, &key(NAME), bypass, None).await;
    assert!(matches!(refused, Err(ObjectError::NotPermitted { .. })), "{refused:?}");
    let grant = permit::<Grant>("scans", NAME);
    let bypass = Removal { version: Some(retained), bypass: Some(&grant), ..Removal::default() };
    bench.objects.remove(&delete, &bench.bucket, &key(NAME), bypass, None).await.unwrap();
    missing(bench.read_version(NAME, retained).await);
    bench.clock.advance(Duration::from_secs(2 * 24 * 3600));
    let refused = bench.remove(NAME, Some(held)).await;
    assert!(matches!(refused, Err(ObjectError::Locked { .. })), "a hold has no end: {refused:?}");
    let update = permit::<Update>("scans", NAME);
    let release = ProtectionChange::LegalHold(false);
    bench.objects.protect(&update, &bench.bucket, &key(NAME), Some(held), release, None).await.unwrap();
    bench.remove(NAME, Some(held)).await.unwrap();
}

#[tokio::test]
async fn tags_change_while_the_object_stays() {
    let bench = Bench::new().await;
    bench.keep_versions(Versioning::Enabled).await;
    let first = bench.put(NAME, b"first").await.unwrap();
    bench.put(NAME, b"second").await.unwrap();
    let update = permit::<Update>("scans", NAME);
    let tags = Tags::from([("a".to_owned(), "1".to_owned())]);
    let version = Some(first.version_name());
    bench.objects.set_tags(&update, &bench.bucket, &key(NAME), version, tags.clone(), None).await.unwrap();
    let read = permit::<Read>("scans", NAME);
    let found = bench.objects.head_version(&read, &bench.bucket, &key(NAME), version).await.unwrap();
    assert_eq!(found, ObjectInfo { tags, ..first });
    assert!(bench.objects.head(&read, &bench.bucket, &key(NAME)).await.unwrap().tags.is_empty());
    let many: Tags = (0..11).map(|n| (n.to_string(), String::new())).collect();
    let refused = bench.objects.set_tags(&update, &bench.bucket, &key(NAME), None, many, None).await;
    assert!(matches!(refused, Err(ObjectError::TooManyTags { max: 10 })), "{refused:?}");
}

#[derive(Clone, Debug)]
enum Step {
    Put(u8),
    Hide(u8),
    Destroy(u8, usize),
    Keep(Versioning),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3u8).prop_map(Step::Put),
        2 => (0..3u8).prop_map(Step::Hide),
        3 => (0..3u8, 0..6usize).prop_map(|(name, at)| Step::Destroy(name, at)),
        1 => prop_oneof![Just(Versioning::Enabled), Just(Versioning::Suspended)].prop_map(Step::Keep),
    ]
}

/// A version, with its bytes unless it is a mark.
type Kept = (VersionName, Option<Vec<u8>>);

/// What S3 says of versions, in a list of lists: per name the newest first, each with its bytes unless it is a mark.
#[derive(Default)]
struct Model {
    versioning: Option<Versioning>,
    names: std::collections::BTreeMap<String, Vec<Kept>>,
}

impl Model {
    fn add(&mut self, name: &str, version: VersionName, bytes: Option<Vec<u8>>) {
        let versions = self.names.entry(name.to_owned()).or_default();
        if version == VersionName::Null {
            versions.retain(|(old, _)| *old != VersionName::Null);
        }
        versions.insert(0, (version, bytes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn versions_are_as_in_the_model(steps in proptest::collection::vec(step(), 1..30)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let bench = Bench::new().await;
            let mut model = Model::default();
            for (number, step) in steps.into_iter().enumerate() {
                match step {
                    Step::Put(name) => {
                        let (name, bytes) = (format!("n{name}"), number.to_string().into_bytes());
                        let version = bench.put(&name, &bytes).await.unwrap().version_name();
                        model.add(&name, version, Some(bytes));
                    }
                    Step::Hide(name) => {
                        let name = format!("n{name}");
                        let removed = bench.remove(&name, None).await.unwrap();
                        match model.versioning {
                            None => drop(model.names.remove(&name)),
                            Some(_) => model.add(&name, removed.version.unwrap(), None),
                        }
                    }
                    Step::Destroy(name, at) => {
                        let name = format!("n{name}");
                        let versions = model.names.entry(name.clone()).or_default();
                        if at < versions.len() {
                            let (version, _) = versions.remove(at);
                            bench.remove(&name, Some(version)).await.unwrap();
                        }
                    }
                    Step::Keep(versioning) => {
                        bench.keep_versions(versioning).await;
                        model.versioning = Some(versioning);
                    }
                }
                let mut expected = Vec::new();
                for (name, versions) in &model.names {
                    for (at, (version, bytes)) in versions.iter().enumerate() {
                        expected.push((name.clone(), *version, bytes.is_none(), at == 0));
                    }
                }
                assert_eq!(bench.history().await, expected);
                for (name, versions) in &model.names {
                    let shown = versions.first().and_then(|(_, bytes)| bytes.clone());
                    assert_eq!(bench.read(name, None).await.ok(), shown);
                    for (version, bytes) in versions {
                        assert_eq!(&bench.read_version(name, *version).await.ok(), bytes);
                    }
                }
            }
        });
    }
}
