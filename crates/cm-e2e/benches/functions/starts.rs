//! From asking for an instance to the first byte of a result.
//!
//! One program, `sha-256` over 1 KiB, so that nothing but the start takes time. A cold start is that of a module
//! which no cache has seen: the program with a number appended in a custom section. A warm start finds the
//! module in the node's cache. What is timed is what a caller waits for: the call that makes the instance, evidence
//! and handshake with everything verified, sending the input, executing, and reading the result.

use std::time::{Duration, Instant};

use crate::Outcome;
use crate::bare::{self, Bare, Checks};
use crate::mesh::{Function, INPUT, Mesh, OUTPUT};
use crate::table::{Samples, Table, Unit};

const ROUNDS: usize = 25;
/// What the warm start should take at most, in the median.
const AIM: Duration = Duration::from_millis(15);
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
    warm: Vec<Phases>,
    warm_bare: Samples,
    warm_process: Samples,
}

/// Measures and prints the group.
pub(crate) async fn measure(mesh: &Mesh) -> Outcome<()> {
    let wasm = std::fs::read(format!("{}{PROGRAM}", env!("CARGO_MANIFEST_DIR")))?;
    let title = format!(
        "starts: to the first byte of a result, {} bytes of WebAssembly, {ROUNDS} rounds",
        wasm.len()
    );
    let mut table = Table::new(&title, Unit::Milliseconds);
    let measured = rounds(mesh, &wasm).await?;

    let (cold, warm) = (whole(&measured.cold), whole(&measured.warm));
    table.compared("cold: nothing cached", &cold, &measured.cold_bare, "bare");
    phases(&mut table, &measured.cold);
    table.row("  bare wasmtime: compile, instantiate, run", &measured.cold_bare);
    table.compared("warm: module in the cache", &warm, &measured.warm_process, "bare in a process");
    phases(&mut table, &measured.warm);
    table.row("  bare wasmtime: deserialise, instantiate, run", &measured.warm_bare);
    table.row("  the same in a new process", &measured.warm_process);
    let ratio = warm.ratio(&measured.warm_bare);
    table.note(format!("warm against bare wasmtime without a process: {ratio:.0} times"));
    let create: Samples = measured.warm.iter().map(|phases| phases[0]).collect();
    for (what, samples) in [("until it is ready", create), ("to the first byte of a result", warm)] {
        let aim = format!("warm start {what}, median of at most {} ms", AIM.as_millis());
        let found = format!("{:.2} ms", samples.median() * 1e3);
        table.aim(&aim, &found, samples.median() <= AIM.as_secs_f64());
    }
    table.print()
}

async fn rounds(mesh: &Mesh, wasm: &[u8]) -> Outcome<Measured> {
    let expected = kernels::sha_256::run(SIZE).to_le_bytes();
    let input = SIZE.to_le_bytes();
    let bare = Bare::new(Checks::None)?;
    let artefact = bare.compile(wasm)?;
    let dir = tempfile::tempdir()?;
    let artefact_file = dir.path().join("artefact");
    std::fs::write(&artefact_file, &artefact)?;
    let known = mesh.register("start-warm", wasm.to_vec(), "JIT").await?;
    start(mesh, &known, "start-first", &expected).await?;

    let mut measured = Measured::default();
    for round in 0..ROUNDS {
        let unknown = numbered(wasm, round);
        let function = mesh.register(&format!("start-cold-{round}"), unknown.clone(), "JIT").await?;
        measured.cold.push(start(mesh, &function, &format!("cold-{round}"), &expected).await?);
        measured.cold_bare.push(timed(&expected, || {
            let module = bare.load(&bare.compile(&unknown)?)?;
            bare.run(&module, &input)
        })?);
        measured.warm.push(start(mesh, &known, &format!("warm-{round}"), &expected).await?);
        measured.warm_bare.push(timed(&expected, || bare.run(&bare.load(&artefact)?, &input))?);
        measured.warm_process.push(timed(&expected, || bare::in_a_process(&artefact_file, &input))?);
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
