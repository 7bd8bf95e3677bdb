//! The project's tasks: whatever would need an `if` in a shell line.
//!
//! `cargo xtask ci` is what `.ci/run` runs. Each task is a module; `tidy` holds one module per rule.

mod bench;
mod ci;
mod clients;
mod examples;
mod launchers;
mod openapi;
mod shell;
mod sim;
mod test;
mod tidy;

use std::ffi::OsString;
use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

/// Tasks of the project.
#[derive(Debug, Parser)]
#[command(name = "cargo xtask")]
struct Arguments {
    #[command(subcommand)]
    task: Task,
}

#[derive(Debug, Subcommand)]
enum Task {
    /// Run every test: the example programs, doc tests, then the workspace
    Test {
        /// Arguments for the test runner, after `--`: with any, only the workspace's tests run
        #[arg(last = true)]
        runner: Vec<String>,
    },
    /// Run what continuous integration runs: format, lints, tidy, examples, documentation, tests
    Ci,
    /// Check the rules that compilers do not know: arrows, sizes, documentation, manifests, words
    Tidy,
    /// Run a benchmark by name; without a name, list them
    Bench {
        /// The benchmark
        name: Option<String>,
        /// Arguments for the benchmark, after `--`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Ask the launchers of a real Docker daemon or Kubernetes cluster what the tests ask of simulated ones
    Launchers {
        /// `docker` or `kubernetes`, then settings of the node such as `instances.image=IMAGE`, after `--`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Run the checks of S3 with boto3 against a node that is started for them
    S3 {
        /// A Python that has `boto3[crt]`, `requests` and `pytest`
        #[arg(long, env = "S3_PYTHON", default_value = "python3")]
        python: OsString,
        /// Arguments for `pytest`, after `--`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Run the checks of TAXII, STIX and MISP with the libraries of the field against a node that is started for them
    Taxii {
        /// A Python that has `taxii2-client==2.3.0`, `stix2==3.0.2`, `stix2-validator==3.2.0`, `pymisp`, `requests` and `pytest`
        #[arg(long, env = "TAXII_PYTHON", default_value = "python3")]
        python: OsString,
        /// Arguments for `pytest`, after `--`
        #[arg(last = true)]
        arguments: Vec<String>,
    },
    /// Simulate clusters under random faults, or networks that share threats under attack; each run is determined by its seed
    Sim {
        /// What to simulate
        #[arg(value_enum, default_value_t = sim::Subject::Quorum)]
        subject: sim::Subject,
        /// How many schedules of a cluster
        #[arg(long, default_value_t = 1000)]
        schedules: u64,
        /// The seed, of schedules that of the first; the others follow it
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Write openapi/cryptomesh.json from the handlers
    Openapi {
        /// Compare instead of writing
        #[arg(long)]
        check: bool,
    },
    /// Build the example programs again and compare their digests
    Examples {
        /// Compare the committed files with SHA256SUMS; needs no WebAssembly target
        #[arg(long, conflicts_with = "bless")]
        check: bool,
        /// Replace the committed files and SHA256SUMS by what was built
        #[arg(long)]
        bless: bool,
    },
}

fn main() -> ExitCode {
    match run(Arguments::parse().task) {
        Ok(()) => ExitCode::SUCCESS,
        // Never a backtrace: the findings and the failed command are what counts.
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<()> {
    match task {
        Task::Test { runner } => test::run(&runner),
        Task::Ci => ci::run(),
        Task::Tidy => tidy::run(),
        Task::Bench { name, arguments } => bench::run(name.as_deref(), &arguments),
        Task::Launchers { arguments } => launchers::run(&arguments),
        Task::S3 { python, arguments } => clients::run("s3_checks", "crates/cm-e2e/s3", &python, &arguments),
        Task::Taxii { python, arguments } => {
            clients::run("taxii_checks", "crates/cm-e2e/taxii", &python, &arguments)
        }
        Task::Sim { subject: sim::Subject::Quorum, schedules, seed } => sim::quorum(schedules, seed),
        Task::Sim { subject: sim::Subject::Gossip, seed, .. } => sim::gossip(seed),
        Task::Openapi { check: true } => openapi::check(),
        Task::Openapi { check: false } => openapi::write(),
        Task::Examples { check: true, .. } => examples::check(),
        Task::Examples { bless, .. } => examples::build(bless),
    }
}
