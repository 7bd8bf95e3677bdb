//! From asking for an instance to the first byte of a result.
//!
//! One program, `sha-256` over 1 KiB, so that nothing but the start takes time. A cold start is that of a module
//! which no cache has seen: the program with a number appended in a custom section. A cached start finds the
//! module in the node's cache and makes a process; a pooled start, on a second node, finds a process waiting too, and the pool full. What
//! is timed is what a caller waits for: the call that makes the instance, evidence and handshake with everything
//! verified, sending the input, executing, and reading the result.

use std::time::{Duration, Instant};

use crate::bare::{self, Bare, Checks};
use crate::mesh::{Function, INPUT, Mesh, OUTPUT};
use crate::table::{Table, Unit};
use cm_e2e::measure::Outcome;
use cm_e2e::measure::Samples;

const ROUNDS: usize = 50;
/// What starts should take at most, in the median.
const CACHED_READY_AIM: Duration = Duration::from_millis(15);
const CACHED_AIM: Duration = Duration::from_millis(30);
const POOLED_AIM: Duration = Duration::from_millis(5);
/// Processes that wait on the second node, and how many processes one of them is: itself and its supervisor.
const POOL: usize = 2;
const PROCESSES_EACH: usize = 2;
/// How long the program may run.
const DEADLINE: Duration = Duration::from_secs(60);
const PROGRAM: &str = "/../../examples/kernels/sha-256.wasm";
/// KiB to hash.
const SIZE: u32 = 1;
const PHASES: [&str; 5] = [
    "  create call, until it is ready",
    "  evidence and handshake",
    "  send the input",
    "  execute",
    "  read the result",
];

/// Times of the phases of one start.
type Phases = [Duration; PHASES.len()];

#[derive(Default)]
struct Measured {
    cold: Vec<Phases>,
    cold_bare: Samples,
    cached: Vec<Phases>,
    pooled: Vec<Phases>,
    cached_bare: Samples,
    cached_process: Samples,
}

/// Measures and prints the group.
pub(crate) async fn measure(mesh: &Mesh) -> Outcome<()> {
    let wasm = std::fs::read(format!("{}{PROGRAM}", env!("CARGO_MANIFEST_DIR")))?;
    let title = format!(
        "starts: to the first byte of a result, {} bytes of WebAssembly, {ROUNDS} rounds",
        wasm.len()
    );
    let mut table = Table::new(&title, Unit::Milliseconds);
    let pooled_mesh = Mesh::start(POOL).await?;
    let measured = rounds(mesh, &pooled_mesh, &wasm).await?;
    pooled_mesh.stop();

    let [cold, cached, pooled] = [whole(&measured.cold), whole(&measured.cached), whole(&measured.pooled)];
    table.compared("cold: nothing cached", &cold, &measured.cold_bare, "bare");
    phases(&mut table, &measured.cold);
    table.row("  bare wasmtime: compile, instantiate, run", &measured.cold_bare);
    table.compared("cached: module in the cache", &cached, &measured.cached_process, "bare in a process");
    phases(&mut table, &measured.cached);
    table.compared("pooled: a process waits as well", &pooled, &measured.cached_process, "bare in a process");
    phases(&mut table, &measured.pooled);
    table.row("  bare wasmtime: deserialise, instantiate, run", &measured.cached_bare);
    table.row("  the same in a new process", &measured.cached_process);
    let create: Samples = measured.cached.iter().map(|phases| phases[0]).collect();
    for (what, samples, aim) in [
        ("cached start until it is ready", create, CACHED_READY_AIM),
        ("cached start to the first byte of a result", cached, CACHED_AIM),
        ("pooled start to the first byte of a result", pooled, POOLED_AIM),
    ] {
        let found = format!("{:.2} ms", samples.median() * 1e3);
        let met = samples.median() <= aim.as_secs_f64();
        table.report.aim(&format!("{what}, median of at most {} ms", aim.as_millis()), &found, met);
    }
    table.report.print()
}

async fn rounds(mesh: &Mesh, pooled_mesh: &Mesh, wasm: &[u8]) -> Outcome<Measured> {
    let expected = kernels::sha_256::run(SIZE).to_le_bytes();
    let input = SIZE.to_le_bytes();
    let bare = Bare::new(Checks::None)?;
    let artefact = bare.compile(wasm)?;
    let dir = tempfile::tempdir()?;
    let artefact_file = dir.path().join("artefact");
    std::fs::write(&artefact_file, &artefact)?;
    let known = mesh.register("start-cached", wasm.to_vec(), "JIT").await?;
    let pooled = pooled_mesh.register("start-pooled", wasm.to_vec(), "JIT").await?;
    start(mesh, &known, "start-first", &expected).await?;
    start(pooled_mesh, &pooled, "start-first", &expected).await?;

    let mut measured = Measured::default();
    for round in 0..ROUNDS {
        let unknown = numbered(wasm, round);
        let function = mesh.register(&format!("start-cold-{round}"), unknown.clone(), "JIT").await?;
        measured.cold.push(start(mesh, &function, &format!("cold-{round}"), &expected).await?);
        measured.cold_bare.push(timed(&expected, || {
            let module = bare.load(&bare.compile(&unknown)?)?;
            bare.run(&module, &input)
        })?);
        measured.cached.push(start(mesh, &known, &format!("cached-{round}"), &expected).await?);
        pooled_mesh.settled(POOL * PROCESSES_EACH).await?;
        measured.pooled.push(start(pooled_mesh, &pooled, &format!("pooled-{round}"), &expected).await?);
        measured.cached_bare.push(timed(&expected, || bare.run(&bare.load(&artefact)?, &input))?);
        measured.cached_process.push(timed(&expected, || bare::in_a_process(&artefact_file, &input))?);
    }
    Ok(measured)
}

/// Starts an instance, takes it to its first result, and removes it again, the last untimed.
async fn start(mesh: &Mesh, function: &Function, id: &str, expected: &[u8]) -> Outcome<Phases> {
    let mut moments = vec![Instant::now()];
    let started = mesh.create(function, id).await?;
    moments.push(Instant::now());
    let mut inside = mesh.open(function, &started).await?;
    moments.push(Instant::now());
    inside.write_file(INPUT, &SIZE.to_le_bytes()).await?;
    moments.push(Instant::now());
    let report = inside.execute(&function.program(), DEADLINE).await?;
    moments.push(Instant::now());
    let output = inside.read_file(OUTPUT).await?;
    moments.push(Instant::now());
    if output != expected {
        return Err(format!("a wrong result {output:?} after {report:?}").into());
    }
    drop(inside);
    mesh.remove(started).await?;
    Ok(std::array::from_fn(|index| moments[index + 1] - moments[index]))
}

fn timed(expected: &[u8], run: impl FnOnce() -> Outcome<Vec<u8>>) -> Outcome<Duration> {
    let began = Instant::now();
    let output = run()?;
    let time = began.elapsed();
    if output == expected { Ok(time) } else { Err(format!("bare wasmtime gave {output:?}").into()) }
}

/// The same program as a module that nobody has seen.
fn numbered(wasm: &[u8], number: usize) -> Vec<u8> {
    // A custom section: its id, its length, the length of its name, the name.
    let name = format!("round-{number:03}");
    let length = u8::try_from(name.len()).unwrap_or(u8::MAX);
    [wasm, &[0, length + 1, length], name.as_bytes()].concat()
}

fn whole(starts: &[Phases]) -> Samples {
    starts.iter().map(|phases| phases.iter().sum()).collect()
}

fn phases(table: &mut Table, starts: &[Phases]) {
    for (index, name) in PHASES.iter().enumerate() {
        table.row(name, &starts.iter().map(|phases| phases[index]).collect());
    }
}
