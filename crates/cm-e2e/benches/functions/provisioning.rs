//! Sending files of several sizes into an instance, and the memory that it takes.
//!
//! Both ends of both streams are processes of their own on this machine, both receivers begin empty, both streams use
//! the same provider with its preferences, and all come from memory. The instance answers every piece and keeps the
//! file; the plain receiver copies what arrives into memory of its own and answers once.

use std::time::{Duration, Instant};

use crate::mesh::{Function, INPUT, Mesh};
use crate::plain_tls::{self, Receiver};
use crate::table::{Table, Unit};
use cm_e2e::measure::Outcome;
use cm_e2e::measure::Samples;

/// MiB of the files, and how often each is sent.
const SIZES: [(usize, usize); 3] = [(1, 25), (100, 7), (1000, 3)];
/// The share of the plain stream's rate that should be reached.
const AIM: f64 = 0.8;
/// What an instance may need besides the file itself, in MiB.
const MEMORY_AIM_MIB: f64 = 64.0;
const PROGRAM: &str = "/../../examples/kernels/sha-256.wasm";

/// Measures and prints the group.
pub(crate) async fn measure(mesh: &Mesh) -> Outcome<()> {
    let wasm = std::fs::read(format!("{}{PROGRAM}", env!("CARGO_MANIFEST_DIR")))?;
    let function = mesh.register("provisioning", wasm, "JIT").await?;
    for (mib, rounds) in SIZES {
        measure_size(mesh, &function, mib, rounds).await?;
    }
    Ok(())
}

async fn measure_size(mesh: &Mesh, function: &Function, mib: usize, rounds: usize) -> Outcome<()> {
    let content: Vec<u8> = (0..mib << 20).map(|index| (index ^ (index >> 9)) as u8).collect();
    let title = format!("provisioning: {mib} MiB over TLS 1.3, {rounds} rounds");
    let mut table = Table::new(&title, Unit::Rate(mib as f64));
    let [mut inside, mut stored, mut discarded] = [const { Vec::new() }; 3];
    let mut peak = 0;
    let mut suite = String::new();
    for round in 0..rounds {
        let name = format!("provisioning-{mib}-{round}");
        let sent = into_instance(mesh, function, &name, &content).await?;
        inside.push(sent.time);
        peak = peak.max(sent.memory_peak);
        let plain = plain_tls::send(&content, Receiver::Stores).await?;
        stored.push(plain.time);
        discarded.push(plain_tls::send(&content, Receiver::Discards).await?.time);
        suite = plain.suite;
    }
    let [inside, stored, discarded]: [Samples; 3] =
        [inside, stored, discarded].map(|times| times.into_iter().collect());
    table.compared("into an instance", &inside, &stored, "plain TLS into memory");
    table.row("plain TLS into memory", &stored);
    table.row("plain TLS, discarded", &discarded);
    table.report.line(format!("suite: {suite}"));
    let share = stored.ratio(&inside);
    let aim = format!("at least {:.0} % of plain TLS into memory", AIM * 100.0);
    table.report.aim(&aim, format!("{:.1} %", share * 100.0), share >= AIM);
    let over = peak as f64 / f64::from(1 << 20) - mib as f64;
    let aim = format!("at most the file and {MEMORY_AIM_MIB} MiB of memory at a time");
    table.report.aim(&aim, format!("the file and {over:.1} MiB"), over <= MEMORY_AIM_MIB);
    table.report.print()
}

/// One sending.
struct Sent {
    /// From the first byte to the last answer.
    time: Duration,
    /// The most memory that the instance's process has held, in bytes.
    memory_peak: u64,
}

/// Sends the file into a new instance.
async fn into_instance(mesh: &Mesh, function: &Function, name: &str, content: &[u8]) -> Outcome<Sent> {
    let started = mesh.create(function, name).await?;
    let mut inside = mesh.open(function, &started).await?;
    let began = Instant::now();
    inside.write_stream(INPUT, content, None).await?;
    let time = began.elapsed();
    let memory_peak = mesh.instance_memory_peak()?;
    drop(inside);
    mesh.remove(started).await?;
    Ok(Sent { time, memory_peak })
}
