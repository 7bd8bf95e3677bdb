//! Content that is cut by its bytes or compressed is what it was, and takes less.

use std::collections::BTreeSet;

use super::*;
use crate::tables::{Manifests, SEGMENT_BYTES, SegmentRow, VersionKey};
use crate::{Compression, Cutting, NewEncryption, Packing};

const ALL: [Packing; 3] = [
    Packing { cutting: Cutting::Fixed, compression: Compression::Zstd },
    Packing { cutting: Cutting::Content, compression: Compression::None },
    Packing { cutting: Cutting::Content, compression: Compression::Zstd },
];

/// Text such as people have, and no two MiB of it alike.
fn text(len: usize) -> Vec<u8> {
    let mut text = Vec::with_capacity(len + 64);
    for line in 0_u64.. {
        if text.len() >= len {
            break;
        }
        let at = line.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        text.extend_from_slice(format!("{line} measured {at:x} at station {}\n", at % 977).as_bytes());
    }
    text.truncate(len);
    text
}

impl Bench {
    async fn pack(&self, packing: Packing) {
        let update = permit_for::<Update>(ResourceKind::Bucket, Some("scans"));
        self.objects.set_packing(&update, &self.bucket, packing, None).await.unwrap();
    }

    async fn manifest(&self, info: &ObjectInfo) -> Vec<SegmentRow> {
        let key = cm_db::KeyPrefix::new().part(&VersionKey(info.version));
        let rows = self.db.read(move |tx| tx.prefix::<Manifests>(key, None, 100)).await.unwrap();
        rows.into_iter().map(|(_, row)| row).collect()
    }

    fn bytes_stored(&self) -> u64 {
        self.files().iter().map(|file| file.metadata().unwrap().len()).sum()
    }
}

#[tokio::test]
async fn what_is_packed_reads_as_ever() {
    let bench = Bench::new().await;
    let long = SEGMENT_BYTES as usize * 2 + 300_000;
    for packing in ALL {
        bench.pack(packing).await;
        for bytes in [text(1), text(100_000), text(CHUNK_BYTES), sample(CHUNK_BYTES + 1, 3), text(long)] {
            let info = bench.put("k", &bytes).await.unwrap();
            let size = bytes.len() as u64;
            assert_eq!((info.size, info.sha256), (size, cm_crypto::digest::sha256(&bytes)));
            assert!(bench.read("k", None).await.unwrap() == bytes);
            for at in [0, 1, size / 3, size / 2, size - 1, SEGMENT_BYTES - 1, SEGMENT_BYTES] {
                for length in [1, 70_000, 2 * SEGMENT_BYTES] {
                    if at < size {
                        let end = (at + length).min(size) - 1;
                        let found = bench.read("k", Some(ByteRange::Inclusive(at, end))).await.unwrap();
                        assert!(found == bytes[at as usize..=end as usize], "{at} {length} of {size}");
                    }
                }
            }
            assert_eq!(bench.damages().await.0, []);
        }
    }
    bench.delete("k").await.unwrap();
    bench.collect_all().await;
    assert_eq!(bench.files(), Vec::<PathBuf>::new());
}

#[tokio::test]
async fn what_can_be_compressed_takes_less_and_what_cannot_no_more() {
    let bench = Bench::new().await;
    bench.pack(ALL[0]).await;
    let info = bench.put("text", &text(2_500_000)).await.unwrap();
    let stored = bench.bytes_stored();
    assert!(stored < 1_250_000, "{stored}");
    let manifest = bench.manifest(&info).await;
    assert_eq!((manifest.len(), manifest[0].packed.len(), manifest[0].lens.len()), (1, 3, 0));
    assert_eq!(manifest[0].packed.iter().map(|len| u64::from(*len)).sum::<u64>(), stored);
    // Its size is that of what was written, also for quotas.
    assert_eq!(info.size, 2_500_000);

    let info = bench.put("noise", &sample(2_500_000, 5)).await.unwrap();
    assert_eq!(bench.bytes_stored() - stored, 2_500_000);
    assert_eq!(
        bench.manifest(&info).await,
        [SegmentRow::new(bench.manifest(&info).await[0].digests.clone(), &[])]
    );
}

#[tokio::test]
async fn what_is_inserted_changes_few_chunks_that_are_cut_by_content() {
    let bench = Bench::new().await;
    bench.pack(ALL[1]).await;
    let before = sample(SEGMENT_BYTES as usize - 100_000, 11);
    let after = [&before[..700_000], b"a few more words", &before[700_000..]].concat();
    let digests = async |bytes: &[u8]| -> BTreeSet<_> {
        let info = bench.put("k", bytes).await.unwrap();
        bench.manifest(&info).await.into_iter().flat_map(|row| row.digests).collect()
    };
    let (before, after) = (digests(&before).await, digests(&after).await);
    assert!(before.len() >= 3 && after.difference(&before).count() <= 2, "{} {}", before.len(), after.len());
    bench.pack(Packing::default()).await;
    assert!(bench.manifest(&bench.put("k", &sample(2_000_000, 11)).await.unwrap()).await[0].lens.is_empty());
}

#[tokio::test]
async fn what_is_encrypted_is_not_packed() {
    let bench = Bench::new().await;
    bench.pack(ALL[2]).await;
    let bytes = text(2_000_000);
    let sealed = NewObject { encryption: Some(NewEncryption::Node), ..NewObject::default() };
    let info = bench.put_with("sealed", sealed, pieces(&bytes, 300_000)).await.unwrap();
    assert!(bench.read("sealed", None).await.unwrap() == bytes);
    let manifest = bench.manifest(&info).await;
    assert!(manifest[0].packed.is_empty() && manifest[0].lens.is_empty(), "its length tells of its content");
}

#[tokio::test]
async fn damage_is_named_and_never_released() {
    let bench = Bench::new().await;
    bench.pack(ALL[0]).await;
    let bytes = text(2_500_000);
    let info = bench.put("k", &bytes).await.unwrap();
    // A manifest that says something else of the same chunks.
    let manifest = bench.manifest(&info).await.remove(0);
    let key = (VersionKey(info.version), 0);
    for wrong in [
        SegmentRow { packed: Vec::new(), ..manifest.clone() },
        SegmentRow { lens: vec![1 << 20, 1 << 19, 1 << 20], ..manifest.clone() },
        SegmentRow { lens: vec![u32::MAX; 3], ..manifest.clone() },
        SegmentRow { lens: vec![0; 3], ..manifest.clone() },
        SegmentRow { packed: vec![1; 3], ..manifest.clone() },
        SegmentRow { digests: manifest.digests[..1].to_vec(), ..manifest.clone() },
    ] {
        let row = wrong.clone();
        bench.db.write(move |tx| tx.put::<Manifests>(&key, &row)).await.unwrap();
        let read = bench.read("k", None).await;
        assert!(matches!(read, Err(ObjectError::Damaged(_))), "{wrong:?}");
    }
    let row = manifest.clone();
    bench.db.write(move |tx| tx.put::<Manifests>(&key, &row)).await.unwrap();
    assert!(bench.read("k", None).await.unwrap() == bytes);
    let file = bench.files().pop().unwrap();
    let mut stored = std::fs::read(&file).unwrap();
    stored[1000] ^= 1;
    std::fs::write(&file, stored).unwrap();
    assert!(matches!(bench.read("k", None).await, Err(ObjectError::Damaged(_))));
}

#[tokio::test]
async fn nothing_is_packed_while_older_programs_may_work_with_the_data() {
    let bench = Bench::with(Config { packing_from: 2, ..in_chunks() }).await;
    bench.pack(ALL[2]).await;
    let info = bench.put("k", &text(2_000_000)).await.unwrap();
    let manifest = bench.manifest(&info).await;
    assert!(manifest[0].packed.is_empty() && manifest[0].lens.is_empty());
}
