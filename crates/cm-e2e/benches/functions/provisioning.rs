//! Sending a large file into an instance.
//!
//! Both ends of both streams are processes of their own on this machine, both receivers begin empty, both streams use
//! the same provider with its preferences, and all come from memory. The instance answers every piece and keeps the
//! file; the plain receiver copies what arrives into memory of its own and answers once.

use std::time::{Duration, Instant};

use crate::Outcome;
use crate::mesh::{Function, INPUT, Mesh};
use crate::plain_tls::{self, Receiver};
use crate::table::{Samples, Table, Unit};

const ROUNDS: usize = 7;
const MIB: usize = 256;
/// The share of the plain stream's rate that should be reached.
const AIM: f64 = 0.8;
const PROGRAM: &str = "/../../examples/kernels/sha-256.wasm";

/// Measures and prints the group.
pub(crate) async fn measure(mesh: &Mesh) -> Outcome<()> {
    let wasm = std::fs::read(format!("{}{PROGRAM}", env!("CARGO_MANIFEST_DIR")))?;
    let function = mesh.register("provisioning", wasm, "JIT").await?;
    let content: Vec<u8> = (0..MIB << 20).map(|index| (index ^ (index >> 9)) as u8).collect();
    let title = format!("provisioning: {MIB} MiB over TLS 1.3, {ROUNDS} rounds");
    let mut table = Table::new(&title, Unit::Rate(MIB as f64));
    let (mut inside, mut stored, mut discarded) =
        (Samples::default(), Samples::default(), Samples::default());
    let mut suite = String::new();
    for round in 0..ROUNDS {
        inside.push(into_instance(mesh, &function, round, &content).await?);
        let plain = plain_tls::send(&content, Receiver::Stores).await?;
        stored.push(plain.time);
        discarded.push(plain_tls::send(&content, Receiver::Discards).await?.time);
        suite = plain.suite;
    }
    table.compared("into an instance", &inside, &stored, "plain TLS into memory");
    table.row("plain TLS into memory", &stored);
    table.row("plain TLS, discarded", &discarded);
    table.note(format!("suite: {suite}"));
    let share = stored.ratio(&inside);
    let aim = format!("at least {:.0} % of plain TLS into memory", AIM * 100.0);
    table.aim(&aim, &format!("{:.1} %", share * 100.0), share >= AIM);
    table.print()
}

/// Sends the file into a new instance; times from the first byte to the last answer.
async fn into_instance(mesh: &Mesh, function: &Function, round: usize, content: &[u8]) -> Outcome<Duration> {
    let started = mesh.create(function, &format!("provisioning-{round}")).await?;
    let mut inside = mesh.open(function, &started).await?;
    let began = Instant::now();
    inside.write_stream(INPUT, content, None).await?;
    let time = began.elapsed();
    drop(inside);
    mesh.remove(started).await?;
    Ok(time)
}
