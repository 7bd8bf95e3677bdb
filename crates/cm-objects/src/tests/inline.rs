//! Small versions without chunks are as others are.

use super::*;
use crate::inline::{InlineBytes, InlineRow};
use crate::tables::VersionKey;

const MAX: usize = 8 << 10;

impl Bench {
    async fn rows(&self) -> usize {
        let rows = self
            .db
            .read(|tx| tx.range::<InlineBytes>(cm_db::KeyRange::all(), cm_db::Direction::Forward, 100));
        rows.await.unwrap().len()
    }

    async fn overwrite(&self, info: &ObjectInfo, bytes: Vec<u8>) {
        let version = VersionKey(info.version);
        let row = InlineRow { bytes: bytes.into() };
        self.db.write(move |tx| tx.put::<InlineBytes>(&version, &row)).await.unwrap();
    }
}

#[tokio::test]
async fn what_is_small_has_no_chunks_and_reads_as_ever() {
    let bench = Bench::with(Config::default()).await;
    for (size, rows, files) in [(0, 0, 0), (1, 1, 0), (MAX, 1, 0), (MAX + 1, 0, 1)] {
        let bytes = sample(size, size as u64);
        let info = bench.put("k", &bytes).await.unwrap();
        assert_eq!((info.size, info.sha256), (size as u64, cm_crypto::digest::sha256(&bytes)));
        assert_eq!(bench.read("k", None).await.unwrap(), bytes);
        if let Some(last) = (size as u64).checked_sub(1) {
            for range in
                [ByteRange::Inclusive(0, 0), ByteRange::Inclusive(last / 2, last), ByteRange::Suffix(1)]
            {
                let wanted = range.resolve(size as u64).unwrap();
                let found = bench.read("k", Some(range)).await.unwrap();
                assert_eq!(found, bytes[wanted.start as usize..wanted.end as usize]);
            }
        }
        bench.collect_all().await;
        assert_eq!((bench.rows().await, bench.files().len()), (rows, files), "of {size} bytes");
    }
    bench.put("k", b"small again").await.unwrap();
    bench.delete("k").await.unwrap();
    bench.collect_all().await;
    assert_eq!((bench.rows().await, bench.files().len()), (0, 0));
}

#[tokio::test]
async fn rows_are_read_whatever_the_setting_says_now() {
    let mut bench = Bench::with(Config::default()).await;
    bench.put("k", b"a row").await.unwrap();
    bench.reopen().await;
    assert_eq!(bench.objects.0.config.inline_bytes_max, 0);
    assert_eq!(bench.read("k", None).await.unwrap(), b"a row");
}

#[tokio::test]
async fn damage_is_named_and_never_released() {
    let bench = Bench::with(Config::default()).await;
    let info = bench.put("k", b"what was written").await.unwrap();
    for (bytes, is_short) in
        [(&b"what was writteN"[..], false), (b"what was", true), (b"what was written and more", false)]
    {
        bench.overwrite(&info, bytes.to_vec()).await;
        let Err(ObjectError::Damaged(damage)) = bench.read("k", None).await else {
            panic!("it was released")
        };
        assert_eq!((damage.key.as_str(), damage.chunk, damage.digest), ("k", None, info.sha256));
        assert_eq!(matches!(damage.flaw, Flaw::Truncated { .. }), is_short, "{:?}", damage.flaw);
        let (damages, totals) = bench.damages().await;
        assert_eq!((damages, totals.damaged), (vec![*damage], 1));
    }
    let version = VersionKey(info.version);
    bench.db.write(move |tx| tx.delete::<InlineBytes>(&version)).await.unwrap();
    assert!(
        matches!(bench.read("k", None).await, Err(ObjectError::Damaged(damage)) if damage.flaw == Flaw::Missing)
    );
    bench.put("k", b"what was written").await.unwrap();
    let (damages, totals) = bench.damages().await;
    assert_eq!((damages, totals.objects, totals.bytes), (vec![], 1, 16));
}

#[tokio::test]
async fn small_ciphertexts_are_rows_too() {
    let bench = Bench::with(Config::default()).await;
    let new = |encryption| NewObject {
        encryption: Some(encryption),
        tagging: Tagging::Md5,
        ..NewObject::default()
    };
    let own = || CustomerKey::new(Secret::new([1; 32]));
    bench.put_with("node", new(NewEncryption::Node), pieces(b"hidden text", 4)).await.unwrap();
    let info =
        bench.put_with("own", new(NewEncryption::Customer(own())), pieces(b"hidden text", 4)).await.unwrap();
    assert_eq!((bench.rows().await, bench.files().len()), (2, 0));
    assert_eq!(bench.read("node", None).await.unwrap(), b"hidden text");
    assert!(matches!(bench.read("own", None).await, Err(ObjectError::KeyRequired { .. })));
    let permit = permit::<Read>("scans", "own");
    let piece = Some(Piece::Range(ByteRange::Inclusive(7, 10)));
    let reading = Reading { version: None, piece, key: Some(own()) };
    let read = bench.objects.get_opened(&permit, &bench.bucket, &key("own"), reading).await.unwrap();
    assert_eq!(read.body.try_collect::<Vec<Bytes>>().await.unwrap().concat(), b"text");
    assert_eq!(bench.damages().await.1.damaged, 0, "a scrub needs no key");
    let rows =
        bench.db.read(|tx| tx.range::<InlineBytes>(cm_db::KeyRange::all(), cm_db::Direction::Forward, 9));
    assert!(rows.await.unwrap().iter().all(|(_, row)| !row.bytes.windows(6).any(|six| six == b"hidden")));
    bench.overwrite(&info, vec![0; 27]).await;
    assert_eq!(bench.damages().await.1.damaged, 1);
}

#[tokio::test]
async fn small_parts_make_up_objects_small_and_large() {
    let bench = Bench::with(Config { part_bytes_min: 10, ..Config::default() }).await;
    let parts = [sample(4000, 1), sample(20_000, 2), sample(10, 3)];
    for count in [1, 3] {
        let whole = parts[..count].concat();
        let upload = bench.begin("k").await;
        let mut infos = Vec::new();
        for (number, bytes) in (1..).zip(&parts[..count]) {
            infos.push(bench.part(&upload, number, bytes).await.unwrap());
        }
        let info = bench.complete(&upload, &infos.iter().collect::<Vec<_>>()).await.unwrap();
        assert_eq!((info.size, usize::from(info.parts)), (whole.len() as u64, count));
        assert_eq!(bench.read("k", None).await.unwrap(), whole);
        bench.collect_all().await;
        assert_eq!((bench.rows().await, bench.files().len()), if count == 1 { (1, 0) } else { (0, 1) });
    }
}

/// Readers find a version whole or not at all while writers replace it and the collector takes what was replaced.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn versions_are_replaced_while_they_are_read() {
    let bench = Arc::new(Bench::with(Config { garbage_grace: Duration::ZERO, ..Config::default() }).await);
    bench.put("k", &sample(100, 0)).await.unwrap();
    let writing = bench.tasks.spawn("test-writer", {
        let bench = bench.clone();
        async move {
            for round in 1..200_u64 {
                // In turn with chunks and without.
                let size = if round % 3 == 0 { MAX + 100 } else { 100 };
                bench.put("k", &sample(size, round)).await.unwrap();
                if round % 8 == 0 {
                    bench.clock.advance(Duration::from_millis(2));
                    bench.objects.collect_garbage().await.unwrap();
                }
            }
        }
    });
    let mut reads = 0;
    while !writing.is_finished() {
        let permit = permit::<Read>("scans", "k");
        let read = bench.objects.get(&permit, &bench.bucket, &key("k"), None).await.unwrap();
        let found = read.body.try_collect::<Vec<Bytes>>().await.unwrap().concat();
        assert_eq!(cm_crypto::digest::sha256(&found), read.info.sha256);
        reads += 1;
    }
    writing.await.unwrap();
    assert!(reads > 0);
    bench.clock.advance(Duration::from_secs(1));
    bench.collect_all().await;
    assert_eq!((bench.rows().await, bench.files().len()), (1, 0), "only the last one is left");
}
