//! Programs of several versions on one database.

use super::*;

fn schema(version: u32) -> Schema {
    Schema::new(version).with_table::<Numbers>()
}

#[test]
fn of_many_that_start_at_once_one_migrates() {
    let database = Server::shared().create_database();
    let count = |tx: &mut WriteTx<'_>| {
        let count = tx.get::<Numbers>(&key(0))?.unwrap_or(0);
        tx.put::<Numbers>(&key(0), &(count + 1))
    };
    let config = config(database.url()).readers(2);
    // Once on an empty database, once on an older one.
    for (version, expected) in [(2, 1), (3, 2)] {
        let schema = schema(version).with_migration(version, count);
        std::thread::scope(|scope| {
            let opened: Vec<_> =
                (0..8).map(|_| scope.spawn(|| open_postgres(&config, &schema).unwrap())).collect();
            for db in opened {
                let db = db.join().unwrap();
                let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
                assert_eq!(runtime.block_on(number(&db, 0)), Some(expected));
            }
        });
    }
}

#[tokio::test]
async fn an_older_program_works_beside_a_newer_one_until_the_upgrade_is_finished() {
    let database = Server::shared().create_database();
    let config = config(database.url());
    let old = open_postgres(&config, &schema(2)).unwrap();
    put(&old, 1, 1).await.unwrap();
    let fill = |tx: &mut WriteTx<'_>| {
        let one = tx.get::<Numbers>(&key(1))?.unwrap_or(0);
        tx.put::<Others>(&key(1), &one)
    };
    let newer = schema(3).with_table::<Others>().with_migration(3, fill);
    let new = open_postgres(&config, &newer).unwrap();
    assert_eq!(new.versions().await.unwrap(), Versions { data: 3, compatible_from: 2 });
    let seen: Result<_, DbError> = new.read(|tx| tx.get::<Others>(&key(1))).await;
    assert_eq!(seen.unwrap(), Some(1));

    put(&old, 2, 2).await.expect("the old one goes on");
    put(&new, 3, 3).await.unwrap();
    assert_eq!((number(&new, 2).await, number(&old, 3).await), (Some(2), Some(3)));
    let another_old = open_postgres(&config, &schema(2)).expect("an old one may still be started");
    assert_eq!(another_old.versions().await.unwrap(), Versions { data: 3, compatible_from: 2 });

    assert_eq!(new.finish_upgrade().await.unwrap(), Versions { data: 3, compatible_from: 3 });
    let refused = open_postgres(&config, &schema(2)).unwrap_err();
    assert!(matches!(refused, DbError::NewerData { found: 3, compatible_from: 3, known: 2 }), "{refused:?}");
    // Also one that runs writes nothing any more.
    let refused = put(&old, 4, 4).await.unwrap_err();
    assert!(matches!(refused, DbError::NewerData { .. }), "{refused:?}");
    put(&new, 4, 5).await.unwrap();
    assert_eq!(number(&new, 4).await, Some(5));
}

#[tokio::test]
async fn a_failed_migration_leaves_everything_as_it_was() {
    let database = Server::shared().create_database();
    let config = config(database.url());
    let db = open_postgres(&config, &schema(1)).unwrap();
    put(&db, 1, 1).await.unwrap();
    let broken = |tx: &mut WriteTx<'_>| {
        tx.put::<Numbers>(&key(1), &2)?;
        Err(DbError::Closed)
    };
    let failed = open_postgres(&config, &schema(2).with_table::<Others>().with_migration(2, broken));
    assert!(matches!(failed, Err(DbError::Closed)), "{failed:?}");
    assert_eq!(number(&db, 1).await, Some(1));
    assert_eq!(db.versions().await.unwrap(), Versions { data: 1, compatible_from: 1 });
    let created = "SELECT to_regclass('cryptomesh.t_conformance_others')::text";
    assert_eq!(database.query(created), None);
}
