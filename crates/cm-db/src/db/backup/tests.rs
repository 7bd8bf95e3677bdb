use std::io::Cursor;

use proptest::prelude::*;

use super::*;
use crate::conformance::{self, Numbers, Others};
use crate::{KeyRange, WriteTx, open_memory, open_sqlite};

fn block_on<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(future)
}

type Rows = Vec<((String, u64), u64)>;

async fn rows(db: &Db) -> (Rows, Rows) {
    db.read(|tx| {
        let all = || (KeyRange::all(), Direction::Forward, usize::MAX);
        let ((range, direction, max), (range_2, _, _)) = (all(), all());
        Ok::<_, DbError>((
            tx.range::<Numbers>(range, direction, max)?,
            tx.range::<Others>(range_2, direction, max)?,
        ))
    })
    .await
    .unwrap()
}

async fn filled(rows: Rows) -> Db {
    let db = open_memory(&conformance::schema());
    let fill = move |tx: &mut WriteTx<'_>| {
        rows.iter().try_for_each(|(key, row)| {
            tx.put::<Numbers>(key, row)?;
            if row % 2 == 0 { tx.put::<Others>(key, &(row / 2)) } else { Ok(()) }
        })
    };
    db.write(fill).await.unwrap();
    db
}

async fn backup_of(db: &Db) -> (Vec<u8>, BackupSummary) {
    db.export(Vec::new()).await.unwrap()
}

fn some_rows(count: u64) -> Rows {
    (0..count).map(|n| ((format!("n{n}"), n), n)).collect()
}

#[test]
fn a_backup_of_one_engine_restores_into_another_and_back() {
    block_on(async {
        let from = filled(some_rows(5000)).await;
        let (bytes, summary) = backup_of(&from).await;
        assert_eq!((summary.tables, summary.rows), (2, 7500));
        let dir = tempfile::tempdir().unwrap();
        let to = open_sqlite(&dir.path().join("a.db"), &conformance::schema()).unwrap();
        assert_eq!(to.import(Cursor::new(bytes.clone())).await.unwrap(), summary);
        assert_eq!(rows(&to).await, rows(&from).await);
        assert_eq!(backup_of(&to).await.0, bytes, "the same data, the same bytes");
        let refused = to.import(Cursor::new(bytes)).await;
        assert!(matches!(refused, Err(DbError::NotEmpty { .. })), "{refused:?}");
    });
}

#[test]
fn older_data_is_migrated_and_newer_data_refused() {
    block_on(async {
        let (bytes, _) = backup_of(&filled(some_rows(3)).await).await;
        let mark = |tx: &mut WriteTx<'_>| tx.put::<Others>(&("migrated".into(), 0), &1);
        let newer = Schema::new(2).with_table::<Numbers>().with_table::<Others>();
        let to = open_memory(&newer.clone());
        let to_migrated = open_memory(&newer.clone().with_migration(2, |_| Ok(())));
        for db in [&to, &to_migrated] {
            db.import(Cursor::new(bytes.clone())).await.unwrap();
            assert_eq!(db.versions().await.unwrap(), Versions { data: 2, compatible_from: 1 });
        }
        // On the empty tables of a new database the migration would find nothing to do.
        let to = open_memory(&conformance::schema());
        let schema = newer.clone().with_migration(2, mark);
        let to = Db { schema: Arc::new(schema), ..to };
        to.import(Cursor::new(bytes)).await.unwrap();
        assert_eq!(rows(&to).await.1.last().unwrap().0.0, "n2");
        assert_eq!(rows(&to).await.1.first().unwrap().0.0, "migrated");

        let (newer_bytes, _) = backup_of(&open_memory(&newer)).await;
        let refused = open_memory(&conformance::schema()).import(Cursor::new(newer_bytes)).await;
        assert!(matches!(refused, Err(DbError::NewerData { found: 2, known: 1, .. })), "{refused:?}");
    });
}

#[test]
fn every_cut_and_every_altered_byte_is_refused_and_changes_nothing() {
    block_on(async {
        let (bytes, _) = backup_of(&filled(some_rows(4)).await).await;
        let to = open_memory(&conformance::schema());
        let empty = (Rows::new(), Rows::new());
        for len in 0..bytes.len() {
            let refused = to.import(Cursor::new(bytes[..len].to_vec())).await.unwrap_err();
            assert!(matches!(refused, DbError::Backup(_)), "cut at {len}: {refused:?}");
        }
        for at in 0..bytes.len() {
            let mut altered = bytes.clone();
            altered[at] ^= 0x55;
            let refused = to.import(Cursor::new(altered)).await.unwrap_err();
            assert!(
                matches!(refused, DbError::Backup(_) | DbError::NewerData { .. }),
                "altered at {at}: {refused:?}"
            );
        }
        let longer = [bytes.as_slice(), b"x"].concat();
        assert!(matches!(to.import(Cursor::new(longer)).await, Err(DbError::Backup(_))));
        assert_eq!(rows(&to).await, empty);
        assert_eq!(to.versions().await.unwrap(), Versions { data: 1, compatible_from: 1 });
        to.import(Cursor::new(bytes)).await.unwrap();
    });
}

#[test]
fn a_failing_writer_and_a_panicking_reader_are_told() {
    struct Failing;
    impl Write for Failing {
        fn write(&mut self, _: &[u8]) -> std::io::Result<usize> {
            Err(std::io::ErrorKind::StorageFull.into())
        }
        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }
    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> std::io::Result<usize> {
            std::panic::resume_unwind(Box::new("deliberate"))
        }
    }
    block_on(async {
        let db = filled(some_rows(1)).await;
        let failed = db.export(Failing).await;
        assert!(matches!(failed, Err(DbError::Backup(BackupError::Io(_)))));
        let db = open_memory(&conformance::schema());
        assert!(matches!(db.import(Failing).await, Err(DbError::Panicked)));
        db.write(|tx| tx.put::<Numbers>(&("still".into(), 1), &1)).await.unwrap();
    });
}

#[test]
fn chunks_shrink_where_rows_are_large() {
    assert_eq!(next_limit(16, &[(vec![0; 10], vec![0; 100])]), 32);
    assert_eq!(next_limit(1024, &[(vec![0; 10], vec![0; 100])]), 1024);
    assert_eq!(next_limit(64, &[(vec![0; 10], vec![0; 1 << 20]), (vec![], vec![])]), 3);
    assert_eq!(next_limit(3, &[(vec![0; 10], vec![0; 32 << 20])]), 1);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn whatever_is_stored_comes_back(
        written in proptest::collection::vec((("[a-c\0]{0,3}", 0u64..4), any::<u64>()), 0..40),
    ) {
        block_on(async {
            let from = filled(written).await;
            let (bytes, summary) = backup_of(&from).await;
            let to = open_memory(&conformance::schema());
            prop_assert_eq!(to.import(Cursor::new(bytes)).await.unwrap(), summary);
            prop_assert_eq!(rows(&to).await, rows(&from).await);
            Ok(())
        })?;
    }
}
