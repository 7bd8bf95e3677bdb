//! How many instances a node can make, use and end.
//!
//! Some callers at a time, each of which asks for an instance of a cached module, verifies it, sends an input, executes,
//! reads the result, and removes the instance; all of it is timed. Beside it the same by one caller alone.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use futures::future::try_join_all;

use crate::mesh::{Function, INPUT, Mesh, OUTPUT};
use crate::table::{Table, Unit};
use cm_e2e::measure::Outcome;
use cm_e2e::measure::Samples;

const ROUNDS: usize = 5;
const INSTANCES: usize = 64;
const CALLERS: usize = 8;
const DEADLINE: Duration = Duration::from_secs(60);
const PROGRAM: &str = "/../../examples/kernels/sha-256.wasm";
const SIZE: u32 = 1;

/// Measures and prints the group.
pub(crate) async fn measure(mesh: &Mesh) -> Outcome<()> {
    let wasm = std::fs::read(format!("{}{PROGRAM}", env!("CARGO_MANIFEST_DIR")))?;
    let function = mesh.register("rate", wasm, "JIT").await?;
    let title = format!("rate: {INSTANCES} instances from request to removal, {ROUNDS} rounds");
    let mut table = Table::new(&title, Unit::PerSecond(INSTANCES as f64));
    let (mut many, mut one) = (Samples::default(), Samples::default());
    let mut life = Samples::default();
    for round in 0..ROUNDS {
        many.push(live(mesh, &function, &format!("rate-many-{round}"), CALLERS, &mut life).await?);
        one.push(live(mesh, &function, &format!("rate-one-{round}"), 1, &mut Samples::default()).await?);
    }
    table.compared(&format!("{CALLERS} callers at a time"), &many, &one, "one caller");
    table.row("one caller at a time", &one);
    table.report.line(format!(
        "one life among {CALLERS}: median {:.1} ms, p99 {:.1} ms",
        life.median() * 1e3,
        life.p99() * 1e3
    ));
    table.report.print()
}

/// All instances, by so many callers; how long it takes.
async fn live(
    mesh: &Mesh,
    function: &Function,
    name: &str,
    callers: usize,
    lives: &mut Samples,
) -> Outcome<Duration> {
    let next = AtomicUsize::new(0);
    let caller = || async {
        let mut times = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            if number >= INSTANCES {
                return Ok::<_, Box<dyn std::error::Error + Send + Sync>>(times);
            }
            times.push(life(mesh, function, &format!("{name}-{number}")).await?);
        }
    };
    let began = Instant::now();
    let times = try_join_all((0..callers).map(|_| caller())).await?;
    let time = began.elapsed();
    times.into_iter().flatten().for_each(|time| lives.push(time));
    Ok(time)
}

async fn life(mesh: &Mesh, function: &Function, id: &str) -> Outcome<Duration> {
    let began = Instant::now();
    let started = mesh.create(function, id).await?;
    let mut inside = mesh.open(function, &started).await?;
    inside.write_file(INPUT, &SIZE.to_le_bytes()).await?;
    inside.execute(&function.program(), DEADLINE).await?;
    let output = inside.read_file(OUTPUT).await?;
    if output != kernels::sha_256::run(SIZE).to_le_bytes() {
        return Err(format!("a wrong result {output:?}").into());
    }
    drop(inside);
    mesh.remove(started).await?;
    Ok(began.elapsed())
}
