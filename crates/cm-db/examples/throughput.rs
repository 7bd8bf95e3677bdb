//! How many durable writes a second many callers get, and how long the slowest wait:
//! `cargo run --release -p cm-db --example throughput -- DIRECTORY [CALLERS] [WRITES]`.

use std::path::Path;
use std::time::{Duration, Instant};

use cm_db::conformance::{Numbers, schema};
use cm_db::{Db, DbError, open_sqlite};

const CALLERS: u64 = 64;
const WRITES_PER_CALLER: u64 = 200;

async fn caller(db: Db, caller: u64, writes: u64) -> Result<Vec<Duration>, DbError> {
    let mut waits = Vec::new();
    for n in 0..writes {
        let began = Instant::now();
        db.write(move |tx| tx.insert::<Numbers>(&(format!("caller-{caller}"), n), &n)).await?;
        waits.push(began.elapsed());
    }
    Ok(waits)
}

#[allow(clippy::print_stdout, reason = "printing is what this program is for")]
#[tokio::main]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let dir = args.next().ok_or("expected a directory")?;
    let callers = args.next().map_or(Ok(CALLERS), |text| text.parse())?;
    let writes = args.next().map_or(Ok(WRITES_PER_CALLER), |text| text.parse())?;
    let db = open_sqlite(&Path::new(&dir).join("throughput.db"), &schema())?;
    let tasks = cm_runtime::Tasks::new();
    let began = Instant::now();
    let running: Vec<_> =
        (0..callers).map(|n| tasks.spawn("caller", caller(db.clone(), n, writes))).collect();
    let mut waits = Vec::new();
    for task in running {
        waits.extend(task.await??);
    }
    let elapsed = began.elapsed();
    waits.sort();
    let at = |percent: usize| waits.get((waits.len() * percent / 100).min(waits.len() - 1));
    println!(
        "{} writes by {callers} callers in {elapsed:.2?}: {:.0}/s, median {:.2?}, 99% {:.2?}",
        waits.len(),
        waits.len() as f64 / elapsed.as_secs_f64(),
        at(50).copied().unwrap_or_default(),
        at(99).copied().unwrap_or_default(),
    );
    db.close().await?;
    Ok(())
}
