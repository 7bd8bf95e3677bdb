//! Programs that only compute.
//!
//! In an instance the time is that of the execution report, which covers instantiation and the run; for bare wasmtime the
//! same is timed. Native is the same source, built as this workspace builds releases, for the plain architecture: it may use
//! fewer instructions of this processor than wasmtime does. Interpretation is far slower, so it runs a part of the
//! work, and the time is multiplied.

use std::hint::black_box;
use std::time::{Duration, Instant};

use cm_client::InstanceConnection;

use crate::bare::{Bare, Checks};
use crate::mesh::{Function, INPUT, Mesh, OUTPUT, Started};
use crate::table::{Table, Unit};
use cm_e2e::measure::Outcome;
use cm_e2e::measure::Samples;

const ROUNDS: usize = 9;
/// How much longer than in bare wasmtime a program may take in an instance.
const AIM: f64 = 1.05;
/// How long a program may run.
const DEADLINE: Duration = Duration::from_secs(120);

struct Kernel {
    name: &'static str,
    run: kernels::Kernel,
    /// Half a second and more in bare wasmtime, so that the report's milliseconds are exact enough.
    size: u32,
    /// What interpretation does instead.
    part: u32,
    /// How many times as much work `size` is.
    parts: f64,
}

const KERNELS: [Kernel; 3] = [
    Kernel {
        name: "matrix-multiply",
        run: kernels::matrix_multiply::run,
        size: 1024,
        part: 256,
        parts: 64.0,
    },
    Kernel { name: "n-body", run: kernels::n_body::run, size: 12_000_000, part: 500_000, parts: 24.0 },
    Kernel { name: "sha-256", run: kernels::sha_256::run, size: 240_000, part: 10_000, parts: 24.0 },
];

/// A running instance of one kernel.
struct Inside {
    function: Function,
    started: Started,
    connection: InstanceConnection,
}

/// Measures and prints the group.
pub(crate) async fn measure(mesh: &Mesh) -> Outcome<()> {
    let title = format!("compute: {ROUNDS} rounds");
    let mut table = Table::new(&title, Unit::Milliseconds);
    for kernel in &KERNELS {
        measure_kernel(mesh, kernel, &mut table).await?;
    }
    table.report.print()
}

async fn measure_kernel(mesh: &Mesh, kernel: &Kernel, table: &mut Table) -> Outcome<()> {
    let path = format!("{}/../../examples/kernels/{}.wasm", env!("CARGO_MANIFEST_DIR"), kernel.name);
    let wasm = std::fs::read(path)?;
    let expected = (kernel.run)(kernel.size);
    let part_expected = (kernel.run)(kernel.part);
    let mut compiled = Inside::begin(mesh, kernel.name, &wasm, "JIT").await?;
    let mut interpreted = Inside::begin(mesh, kernel.name, &wasm, "Interpretation").await?;
    let (bare, checked) = (Bare::new(Checks::None)?, Bare::new(Checks::Epoch)?);
    let modules = (bare.load(&bare.compile(&wasm)?)?, checked.load(&checked.compile(&wasm)?)?);
    let in_bare = |bare: &Bare, module| {
        let began = Instant::now();
        let output = bare.run(module, &kernel.size.to_le_bytes())?;
        let time = began.elapsed();
        check(&output, expected).map(|()| time)
    };

    let [mut instance, mut plain, mut epoch, mut native, mut pulley] = [const { Vec::new() }; 5];
    for _ in 0..ROUNDS {
        instance.push(compiled.run(kernel.size, expected).await?);
        plain.push(in_bare(&bare, &modules.0)?);
        epoch.push(in_bare(&checked, &modules.1)?);
        let began = Instant::now();
        check(&(kernel.run)(black_box(kernel.size)).to_le_bytes(), expected)?;
        native.push(began.elapsed());
        pulley.push(interpreted.run(kernel.part, part_expected).await?);
    }
    compiled.end(mesh).await?;
    interpreted.end(mesh).await?;

    let [instance, plain, epoch, native, pulley]: [Samples; 5] =
        [instance, plain, epoch, native, pulley].map(|times| times.into_iter().collect());
    let name = kernel.name;
    table.compared(&format!("{name}: in an instance, JIT"), &instance, &plain, "bare");
    table.row("  bare wasmtime", &plain);
    table.compared("  bare wasmtime with epoch checks", &epoch, &plain, "bare");
    table.compared("  native", &native, &plain, "bare");
    let label = format!("  in an instance, Interpretation (1/{:.0}, multiplied)", kernel.parts);
    table.compared(&label, &pulley.scaled(kernel.parts), &plain, "bare");
    let ratio = instance.ratio(&plain);
    let aim = format!("{name} within {:.0} % of bare wasmtime", (AIM - 1.0) * 100.0);
    table.report.aim(&aim, format!("{:+.1} %", (ratio - 1.0) * 100.0), ratio <= AIM);
    Ok(())
}

fn check(output: &[u8], expected: u64) -> Outcome<()> {
    if output == expected.to_le_bytes() { Ok(()) } else { Err(format!("a wrong result {output:?}").into()) }
}

impl Inside {
    async fn begin(mesh: &Mesh, kernel: &str, wasm: &[u8], strategy: &str) -> Outcome<Inside> {
        let name = format!("{kernel}-{}", strategy.to_lowercase());
        let function = mesh.register(&name, wasm.to_vec(), strategy).await?;
        let started = mesh.create(&function, &format!("{name}-instance")).await?;
        let connection = mesh.open(&function, &started).await?;
        Ok(Inside { function, started, connection })
    }

    /// Runs the kernel; the time is the report's.
    async fn run(&mut self, size: u32, expected: u64) -> Outcome<Duration> {
        self.connection.write_file(INPUT, &size.to_le_bytes()).await?;
        let report = self.connection.execute(&self.function.program(), DEADLINE).await?;
        let output = self.connection.read_file(OUTPUT).await?;
        check(&output, expected).map_err(|error| format!("{error} after {report:?}"))?;
        Ok(Duration::from_millis(report.wall_ms))
    }

    async fn end(self, mesh: &Mesh) -> Outcome<()> {
        drop(self.connection);
        mesh.remove(self.started).await
    }
}
