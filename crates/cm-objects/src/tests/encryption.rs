//! What is encrypted opens with its key only, whole and in part, and nothing of it lies in a file.

use proptest::prelude::*;

use super::*;

fn customer(byte: u8) -> CustomerKey {
    CustomerKey::new(Secret::new([byte; 32]))
}

fn new(encryption: NewEncryption) -> NewObject {
    NewObject { encryption: Some(encryption), tagging: Tagging::Md5, ..NewObject::default() }
}

impl Bench {
    async fn read_with(
        &self,
        name: &str,
        customer: Option<CustomerKey>,
        range: Option<ByteRange>,
    ) -> Result<Vec<u8>, ObjectError> {
        let permit = permit::<Read>("scans", name);
        let reading = Reading { version: None, piece: range.map(Piece::Range), key: customer };
        let read = self.objects.get_opened(&permit, &self.bucket, &key(name), reading).await?;
        let pieces: Vec<Bytes> = read.body.try_collect().await?;
        assert_eq!(pieces.concat().len() as u64, read.range.end - read.range.start);
        Ok(pieces.concat())
    }

    /// Whether a text lies in any chunk.
    fn lies_open(&self, text: &[u8]) -> bool {
        let holds = |bytes: Vec<u8>| bytes.windows(text.len()).any(|window| window == text);
        self.files().into_iter().any(|path| holds(std::fs::read(path).unwrap()))
    }
}

#[tokio::test]
async fn with_a_key_of_the_node_the_content_is_as_ever_and_the_disk_tells_nothing() {
    let bench = Bench::new().await;
    let bytes = sample(2 * CHUNK_BYTES + 5, 1);
    let info = bench.put_with("a", new(NewEncryption::Node), pieces(&bytes, 70_001)).await.unwrap();
    assert_eq!((info.size, info.sha256), (bytes.len() as u64, cm_crypto::digest::sha256(&bytes)));
    assert_eq!(info.encryption.as_ref().map(Encryption::by), Some(EncryptedBy::Node));
    assert!(bench.read("a", None).await.unwrap() == bytes);
    assert!(!bench.lies_open(&bytes[CHUNK_BYTES..CHUNK_BYTES + 64]));
    bench.put("open", &bytes).await.unwrap();
    assert!(bench.lies_open(&bytes[CHUNK_BYTES..CHUNK_BYTES + 64]), "the search would find it");
    // The same bytes are another ciphertext.
    let before = bench.files().len();
    bench.put_with("b", new(NewEncryption::Node), pieces(&bytes, 70_001)).await.unwrap();
    assert_eq!(bench.files().len(), before + 3);
    let refused = bench.read_with("a", Some(customer(1)), None).await;
    assert!(matches!(refused, Err(ObjectError::WrongKey { .. })));
    assert_eq!(bench.damages().await.1.damaged, 0, "a scrub needs no key");
}

#[tokio::test]
async fn a_key_of_the_writer_must_come_again() {
    let bench = Bench::new().await;
    let bytes = sample(CHUNK_BYTES + 100, 2);
    let asked = new(NewEncryption::Customer(customer(1)));
    let info = bench.put_with("a", asked, pieces(&bytes, 300_000)).await.unwrap();
    assert_eq!(info.encryption.as_ref().map(Encryption::by), Some(EncryptedBy::Customer));
    assert_ne!(info.sha256, cm_crypto::digest::sha256(&bytes), "a digest would tell what to guess");
    assert_eq!(info.etag().len(), 32);
    assert!(matches!(bench.read("a", None).await, Err(ObjectError::KeyRequired { .. })));
    let refused = bench.read_with("a", Some(customer(2)), None).await;
    assert!(matches!(refused, Err(ObjectError::WrongKey { .. })));
    assert!(bench.read_with("a", Some(customer(1)), None).await.unwrap() == bytes);
    assert!(matches!(bench.objects.check_key(&info, None), Err(ObjectError::KeyRequired { .. })));
    bench.objects.check_key(&info, Some(&customer(1))).unwrap();
    bench.put("open", b"x").await.unwrap();
    let refused = bench.read_with("open", Some(customer(1)), None).await;
    assert!(matches!(refused, Err(ObjectError::WrongKey { .. })));
    assert_eq!(bench.damages().await.1.damaged, 0);
}

#[tokio::test]
async fn what_was_announced_is_checked_against_the_content() {
    let bench = Bench::new().await;
    for encryption in [NewEncryption::Node, NewEncryption::Customer(customer(1))] {
        let wrong = NewObject { expected_md5: Some([7; 16]), ..new(encryption.clone()) };
        assert!(matches!(
            bench.put_with("a", wrong, pieces(b"content", 3)).await,
            Err(ObjectError::Md5Mismatch)
        ));
        let right = cm_crypto::digest::sha256(b"content");
        let right = NewObject { expected_sha256: Some(right), ..new(encryption.clone()) };
        bench.put_with("a", right, pieces(b"content", 3)).await.unwrap();
        bench.put_with("empty", new(encryption), pieces(b"", 1)).await.unwrap();
    }
    assert_eq!(bench.read_with("empty", Some(customer(1)), None).await.unwrap(), b"");
}

#[tokio::test]
async fn a_chunk_of_another_object_does_not_open() {
    let bench = Bench::new().await;
    bench.put_with("a", new(NewEncryption::Node), pieces(&sample(1000, 1), 1000)).await.unwrap();
    let before = bench.files();
    bench.put_with("b", new(NewEncryption::Node), pieces(&sample(1000, 2), 1000)).await.unwrap();
    // The manifest of one names the chunk of the other, which is intact.
    let name = |name: &str| (TenantId::default_tenant(), bench.bucket.clone(), key(name));
    let (one, other) = (name("a"), name("b"));
    bench
        .db
        .write(move |tx| {
            let row =
                |tx: &cm_db::WriteTx<'_>, name| tx.get::<crate::tables::ObjectRows>(&name).unwrap().unwrap();
            let (one, other) = (row(tx, one), row(tx, other));
            let key = |version| (crate::tables::VersionKey(version), 0);
            let manifest = tx.get::<crate::tables::Manifests>(&key(other.version)).unwrap().unwrap();
            tx.put::<crate::tables::Manifests>(&key(one.version), &manifest)?;
            Ok::<_, ObjectError>(())
        })
        .await
        .unwrap();
    assert_eq!(before.len() + 1, bench.files().len());
    let Err(ObjectError::Damaged(damage)) = bench.read("a", None).await else { panic!("it opened") };
    assert_eq!(damage.flaw, Flaw::Sealed);
}

#[tokio::test]
async fn uploads_in_parts_take_the_key_with_every_part_and_complete_without() {
    let bench = Bench::with(Config { part_bytes_min: 10, ..in_chunks() }).await;
    for (name, encryption, brought) in [
        ("node", NewEncryption::Node, None),
        ("customer", NewEncryption::Customer(customer(3)), Some(customer(3))),
    ] {
        let permit = permit::<Update>("scans", name);
        let begun = NewUpload { encryption: Some(encryption), ..NewUpload::default() };
        let upload =
            bench.objects.begin_upload(&permit, &bench.bucket, &key(name), begun).await.unwrap().upload;
        let parts = [sample(CHUNK_BYTES + 17, 1), sample(50, 2)];
        let mut tags = Vec::new();
        for (number, bytes) in (1..).zip(&parts) {
            let put = |key: Option<CustomerKey>| {
                let new = NewPart { key, ..NewPart::default() };
                bench.objects.put_part(&permit, &upload, number, new, pieces(bytes, 300_000))
            };
            assert!(matches!(put(Some(customer(4))).await, Err(ObjectError::WrongKey { .. })));
            if brought.is_some() {
                assert!(matches!(put(None).await, Err(ObjectError::KeyRequired { .. })));
            }
            tags.push((number, put(brought.clone()).await.unwrap().tag));
        }
        let completion = Completion { parts: tags, ..Completion::default() };
        let info =
            bench.objects.complete_upload(&permit, &upload, completion, |contents| contents).await.unwrap();
        assert_eq!(info.size, (CHUNK_BYTES + 67) as u64);
        assert!(bench.read_with(name, brought.clone(), None).await.unwrap() == parts.concat());
        let second = Reading { version: None, piece: Some(Piece::Part(2)), key: brought };
        let permit = self::permit::<Read>("scans", name);
        let read = bench.objects.get_opened(&permit, &bench.bucket, &key(name), second).await.unwrap();
        let bytes: Vec<Bytes> = read.body.try_collect().await.unwrap();
        assert!(bytes.concat() == parts[1]);
    }
    bench.collect_all().await;
    assert_eq!(bench.damages().await.1.damaged, 0);
}

#[tokio::test]
async fn a_bucket_may_ask_for_its_writers() {
    let bench = Bench::new().await;
    let permit = permit_for::<Update>(ResourceKind::Bucket, Some("scans"));
    let value = Some(BucketEncryption::Node.to_text().to_owned());
    bench.objects.set_setting(&permit, &bench.bucket, Setting::Encryption, value, None).await.unwrap();
    let info = bench.put("a", b"content").await.unwrap();
    assert_eq!(info.encryption.as_ref().map(Encryption::by), Some(EncryptedBy::Node));
    assert_eq!(bench.read("a", None).await.unwrap(), b"content");
    let asked = new(NewEncryption::Customer(customer(1)));
    let info = bench.put_with("b", asked, pieces(b"content", 7)).await.unwrap();
    assert_eq!(info.encryption.as_ref().map(Encryption::by), Some(EncryptedBy::Customer));
}

#[tokio::test(flavor = "multi_thread")]
async fn any_range_is_the_range_of_the_content() {
    let bench = Bench::new().await;
    let size = 2 * CHUNK_BYTES + 100;
    let bytes = sample(size, 5);
    bench.put_with("a", new(NewEncryption::Node), pieces(&bytes, 300_000)).await.unwrap();
    let frame = CHUNK_BYTES - 16;
    let near = |at: usize| (at.saturating_sub(3)..at + 3).collect::<Vec<_>>();
    let points: Vec<usize> = [0, frame, CHUNK_BYTES, 2 * frame, 2 * CHUNK_BYTES]
        .into_iter()
        .flat_map(near)
        .chain([size - 1])
        .collect();
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(64));
    let handle = tokio::runtime::Handle::current();
    runner
        .run(&(prop::sample::select(points.clone()), prop::sample::select(points)), |(one, other)| {
            let (first, last) = (one.min(other), one.max(other));
            let range = ByteRange::Inclusive(first as u64, last as u64);
            let read = tokio::task::block_in_place(|| handle.block_on(bench.read("a", Some(range))));
            prop_assert!(read.unwrap() == bytes[first..=last]);
            Ok(())
        })
        .unwrap();
}
