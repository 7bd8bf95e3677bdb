use cm_db::{PostgresConfig, Schema, open_memory, open_postgres};
use cm_runtime::ManualClock;
use cm_testkit::postgres::Server;

use super::*;

const TTL: Duration = Duration::from_secs(30);

fn node(name: &str) -> NodeId {
    name.parse().unwrap()
}

fn schema() -> Schema {
    Schema::new(1).with_tables(TABLES)
}

async fn one_of_two_holds(first: Leases, second: Leases, clock: ManualClock) {
    let lease = first.acquire("deploy", TTL).await.unwrap().expect("nobody has it");
    assert_eq!(second.acquire("deploy", TTL).await.unwrap(), None);
    assert_eq!(first.acquire("deploy", TTL).await.unwrap(), None, "not twice, even by the same node");
    assert_eq!(second.take_over("deploy", TTL).await.unwrap(), None, "only what was one's own");
    assert_eq!(second.holder("deploy").await.unwrap(), Some(first.node.clone()));
    assert!(second.acquire("another", TTL).await.unwrap().is_some());

    clock.advance(TTL / 2);
    let lease = first.renew(&lease, TTL).await.unwrap().expect("it is held");
    clock.advance(TTL / 2);
    assert_eq!(second.acquire("deploy", TTL).await.unwrap(), None, "it was renewed");
    clock.advance(TTL);
    assert_eq!(first.renew(&lease, TTL).await.unwrap(), None, "what has ended is not renewed");
    let taken = second.acquire("deploy", TTL).await.unwrap().expect("it has ended");
    assert!(taken.token() > lease.token());
    first.release(lease).await.unwrap();
    assert_eq!(first.holder("deploy").await.unwrap(), Some(second.node.clone()), "it is somebody else's");

    let again = second.take_over("deploy", TTL).await.unwrap().expect("after a restart");
    assert!(again.token() > taken.token());
    assert_eq!(second.renew(&taken, TTL).await.unwrap(), None, "the one before the restart is no more");
    second.release(again).await.unwrap();
    assert!(first.acquire("deploy", TTL).await.unwrap().is_some());
}

#[tokio::test]
async fn one_node_holds_a_lease_at_a_time() {
    let (db, clock) = (open_memory(&schema()), ManualClock::new());
    let leases = |name| Leases::new(db.clone(), node(name), Arc::new(clock.clone()));
    one_of_two_holds(leases("a"), leases("b"), clock.clone()).await;
}

#[tokio::test]
async fn two_processes_agree_who_holds_it() {
    let (database, clock) = (Server::shared().create_database(), ManualClock::new());
    let config = PostgresConfig::parse(database.url(), None).unwrap();
    let leases =
        |name| Leases::new(open_postgres(&config, &schema()).unwrap(), node(name), Arc::new(clock.clone()));
    let (first, second) = (leases("a"), leases("b"));
    one_of_two_holds(first.clone(), second.clone(), clock.clone()).await;
    for n in 0..20 {
        let name = format!("race-{n}");
        let (a, b) = tokio::join!(first.acquire(&name, TTL), second.acquire(&name, TTL));
        let taken = [a.unwrap(), b.unwrap()];
        assert_eq!(taken.iter().flatten().count(), 1, "{taken:?}");
    }
}

#[tokio::test]
async fn leases_that_have_ended_do_not_pile_up() {
    let (db, clock) = (open_memory(&schema()), ManualClock::new());
    let leases = Leases::new(db.clone(), node("a"), Arc::new(clock.clone()));
    for n in 0..200 {
        leases.acquire(&format!("{}", n * 7919 % 200), TTL).await.unwrap().expect("nobody has it");
        clock.advance(TTL / 10);
    }
    let rows: Result<_, DbError> =
        db.read(|tx| tx.range::<Rows>(KeyRange::all(), Direction::Forward, 1000)).await;
    let rows = rows.unwrap().len();
    assert!(rows < 40, "{rows} rows, of which 10 are held");
    let long = "é".repeat(NAME_LEN_MAX);
    assert!(leases.acquire(&long, TTL).await.unwrap().is_some());
    assert!(leases.holder(&long).await.unwrap().is_some());
}
