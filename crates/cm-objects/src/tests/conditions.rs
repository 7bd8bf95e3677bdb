//! A change happens under its conditions only, judged where nothing can come in between.

use super::*;

impl Bench {
    async fn put_if(
        &self,
        name: &str,
        bytes: &'static [u8],
        conditions: Vec<Condition>,
    ) -> Result<ObjectInfo, ObjectError> {
        let permit = permit::<Update>("scans", name);
        let body = stream::iter([Ok(Bytes::from_static(bytes))]);
        let new = NewObject::default();
        self.objects.put_if(&permit, &self.bucket, &key(name), new, conditions, body).await
    }
}

fn etag(bytes: &[u8]) -> String {
    cm_crypto::digest::sha256(bytes).to_string()
}

#[tokio::test]
async fn each_condition_is_kept_by_puts() {
    let bench = Bench::new().await;
    bench.put("k", b"one").await.unwrap();
    let (one, other) = (etag(b"one"), etag(b"other"));
    let (both, neither) = (vec![other.clone(), one.clone()], vec![other, etag(b"another")]);
    for (condition, with_object, without) in [
        (Condition::Present, true, false),
        (Condition::Absent, false, true),
        (Condition::OneOf(both.clone()), true, false),
        (Condition::OneOf(neither.clone()), false, false),
        (Condition::NoneOf(both), false, true),
        (Condition::NoneOf(neither), true, true),
        (Condition::NoneOf(Vec::new()), true, true),
    ] {
        for (name, allowed) in [("k", with_object), ("nothing", without)] {
            match bench.put_if(name, b"one", vec![condition.clone()]).await {
                Ok(_) => assert!(allowed, "{name}: {condition} was ignored"),
                Err(ObjectError::AlreadyExists { .. }) => {
                    assert!(!allowed && condition == Condition::Absent, "{name}: {condition}");
                }
                Err(ObjectError::PreconditionFailed { expected, found, .. }) => {
                    assert!(!allowed, "{name}: {condition}");
                    assert_eq!((expected, found), (condition.clone(), (name == "k").then(|| one.clone())));
                }
                Err(error) => panic!("{name}: {condition}: {error}"),
            }
        }
        bench.delete("nothing").await.ok();
    }
}

#[tokio::test]
async fn all_conditions_must_hold() {
    let bench = Bench::new().await;
    bench.put("k", b"one").await.unwrap();
    let contradiction = vec![Condition::Present, Condition::NoneOf(vec![etag(b"one")])];
    let refused = bench.put_if("k", b"two", contradiction).await;
    assert!(matches!(refused, Err(ObjectError::PreconditionFailed { .. })));
    let deletion = DeleteObject { if_match: Some(etag(b"one")), request: None };
    let (permit, name) = (permit::<Delete>("scans", "k"), key("k"));
    let conditions = vec![Condition::NoneOf(vec![etag(b"one")])];
    let refused = bench.objects.delete_if(&permit, &bench.bucket, &name, deletion.clone(), conditions);
    assert!(matches!(refused.await, Err(ObjectError::PreconditionFailed { .. })));
    let conditions = vec![Condition::OneOf(vec![etag(b"other"), etag(b"one")])];
    bench.objects.delete_if(&permit, &bench.bucket, &name, deletion, conditions).await.unwrap();
    let nothing = DeleteObject::default();
    let absent = bench.objects.delete_if(&permit, &bench.bucket, &name, nothing, vec![Condition::Present]);
    assert!(matches!(absent.await, Err(ObjectError::PreconditionFailed { found: None, .. })));
}

/// The condition holds when the put begins and no longer when it ends.
#[tokio::test]
async fn a_condition_is_judged_again_at_the_end() {
    let bench = Bench::new().await;
    bench.put("k", b"one").await.unwrap();
    let body = stream::once(async {
        bench.put("k", b"two").await.unwrap();
        Ok(Bytes::from_static(b"three"))
    });
    let (permit, conditions) = (permit::<Update>("scans", "k"), vec![Condition::NoneOf(vec![etag(b"two")])]);
    let put =
        bench.objects.put_if(&permit, &bench.bucket, &key("k"), NewObject::default(), conditions, body).await;
    assert!(matches!(put, Err(ObjectError::PreconditionFailed { found: Some(_), .. })));
    assert_eq!(bench.read("k", None).await.unwrap(), b"two");
}

#[test]
fn a_full_disk_is_told_from_a_broken_one() {
    let storage = |kind: io::ErrorKind| ObjectError::storage("chunks/ab")(io::Error::from(kind));
    let db = |class| {
        let source = Arc::new(io::Error::other("refused"));
        cm_db::DbError::Storage(cm_db::StorageError { class, source })
    };
    let full = cm_db::StorageClass::Full;
    assert!(storage(io::ErrorKind::StorageFull).is_full() && storage(io::ErrorKind::QuotaExceeded).is_full());
    assert!(ObjectError::Db(db(full)).is_full());
    assert!(ObjectError::Events(cm_events::EventError::Db(db(full))).is_full());
    assert!(!storage(io::ErrorKind::PermissionDenied).is_full() && !ObjectError::Busy.is_full());
    assert!(!ObjectError::Db(db(cm_db::StorageClass::Io)).is_full());
    assert!(!ObjectError::Body(io::Error::from(io::ErrorKind::StorageFull)).is_full(), "the sender's disk");
}
