//! What the API costs, beside what it is compared with in the same run.
//!
//! `cargo xtask bench api -- --help` says what can be chosen.
//!
//! The subject is a role: POST, GET, PUT and a list of 100, over 32 connections that are kept. The node is the release
//! binary, started as a process of its own, in enforced mode, with the administrator's key, as it is configured when
//! nobody configures it.
//!
//! Group `compare` sets it beside
//!
//! - **the same SQL alone** ([`sqlite_alone`], [`postgres_alone`]): 32 threads that issue the statements of such
//!   requests through the same driver on a copy of the same catalogue, in the same transactions, as durable, committed
//!   together as the node commits them; without HTTP, authentication, JSON and policy. Which statements those are is
//!   recorded in [`statements`], and [`check`] makes sure that the record is true before anything is measured;
//! - **a bare handler** ([`bare`]): the same server loop, in a process of its own, with a handler that only answers as
//!   many bytes.
//!
//! Group `growth` measures nodes with catalogues of different sizes.
//!
//! What is compared runs in turns, so that a busy machine slows all of it. A ratio is the median over the rounds of the
//! ratio within a round. Aims are printed with what was found and never asserted: a busy machine is no failure. The
//! client takes part of the same machine, which is why its share is printed: the SQL alone has no client.

mod bare;
mod check;
mod compare;
mod fill;
mod growth;
mod options;
mod place;
mod postgres_alone;
mod rows;
mod sqlite_alone;
mod statements;
mod table;

use std::process::ExitCode;

use clap::Parser;
use cm_e2e::measure::Outcome;

use options::Options;

/// Connections of the client, and callers of the SQL alone.
const CALLERS: usize = 32;

fn main() -> ExitCode {
    let outcome = match std::env::args().nth(1).as_deref() {
        Some(bare::PROCESS) => bare::process(),
        _ => run(&Options::parse()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(options: &Options) -> Outcome<()> {
    if options.compare() {
        compare::run(options)?;
    }
    if options.growth() {
        growth::run(options)?;
    }
    Ok(())
}
