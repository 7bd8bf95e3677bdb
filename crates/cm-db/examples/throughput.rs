//! How many durable writes and how many reads a second many callers get, and how long the slowest wait:
//! `cargo run --release -p cm-db --example throughput -- DIRECTORY|POSTGRES-URL [CALLERS] [CALLS] [NODES]`.
//!
//! A write reads a row that all callers share and changes it, and inserts one of its own, as an event and its head do.
//! `NODES` handles on one PostgreSQL database stand for as many nodes.

use std::path::Path;
use std::time::{Duration, Instant};

use cm_db::conformance::{Numbers, Others, schema};
use cm_db::{Db, DbError, PostgresConfig, open_postgres, open_sqlite};

const CALLERS: u64 = 32;
const CALLS_PER_CALLER: u64 = 200;

async fn write(db: &Db, caller: u64, n: u64) -> Result<(), DbError> {
    db.write(move |tx| {
        let head = ("head".to_owned(), 0);
        let last = tx.get::<Numbers>(&head)?.unwrap_or(0);
        tx.insert::<Others>(&("event".to_owned(), last + 1), &n)?;
        tx.put::<Numbers>(&head, &(last + 1))?;
        tx.insert::<Numbers>(&(format!("caller-{caller}"), n), &n)
    })
    .await
}

async fn blind(db: &Db, caller: u64, n: u64) -> Result<(), DbError> {
    db.write(move |tx| tx.put::<Numbers>(&(format!("blind-{caller}"), n), &n)).await
}

async fn read(db: &Db, caller: u64, n: u64) -> Result<(), DbError> {
    db.read(move |tx| tx.get::<Numbers>(&(format!("caller-{caller}"), n)).map(|_| ())).await
}

async fn measure(
    what: &str,
    nodes: &[Db],
    (callers, calls): (u64, u64),
    call: impl AsyncFn(&Db, u64, u64) -> Result<(), DbError>,
) -> Result<(), DbError> {
    let began = Instant::now();
    let call = &call;
    let running = (0..callers).zip(nodes.iter().cycle()).map(|(caller, db)| async move {
        let mut waits: Vec<Duration> = Vec::new();
        for n in 0..calls {
            let began = Instant::now();
            call(db, caller, n).await?;
            waits.push(began.elapsed());
        }
        Ok::<_, DbError>(waits)
    });
    let mut waits: Vec<Duration> = futures::future::try_join_all(running).await?.concat();
    let elapsed = began.elapsed();
    waits.sort();
    let at = |percent: usize| waits.get((waits.len() * percent / 100).min(waits.len() - 1));
    let line = format!(
        "{} {what} by {callers} callers on {} handles in {elapsed:.2?}: {:.0}/s, median {:.2?}, 99% {:.2?}",
        waits.len(),
        nodes.len(),
        waits.len() as f64 / elapsed.as_secs_f64(),
        at(50).copied().unwrap_or_default(),
        at(99).copied().unwrap_or_default(),
    );
    print(&line);
    Ok(())
}

#[allow(clippy::print_stdout, reason = "printing is what this program is for")]
fn print(line: &str) {
    println!("{line}");
}

#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let place = args.next().ok_or("expected a directory, or the address of a PostgreSQL database")?;
    let callers = args.next().map_or(Ok(CALLERS), |text| text.parse())?;
    let calls = args.next().map_or(Ok(CALLS_PER_CALLER), |text| text.parse())?;
    let handles = args.next().map_or(Ok(1), |text| text.parse::<usize>())?;
    let open = || match place.starts_with("postgres") {
        true => open_postgres(&PostgresConfig::parse(&place, None)?, &schema())
            .map_err(Box::<dyn std::error::Error>::from),
        false => Ok(open_sqlite(&Path::new(&place).join("throughput.db"), &schema())?),
    };
    let nodes = (0..handles).map(|_| open()).collect::<Result<Vec<_>, _>>()?;
    measure("chained writes", &nodes, (callers, calls), write).await?;
    measure("blind writes", &nodes, (callers, calls), blind).await?;
    measure("reads", &nodes, (callers, calls * 5), read).await?;
    for db in nodes {
        db.close().await?;
    }
    Ok(())
}
