//! What it costs to find out who somebody is, beside the arithmetic alone.
//!
//! `cargo xtask bench identity -- --help` says what can be chosen.
//!
//! The node is the release binary, a process of its own, in enforced mode, as it is configured when nobody configures it. It is
//! asked over 32 connections that are kept.
//!
//! - **Sign-ins** (`POST /api/v1/auth/login`, 64 people, none of whom fails) beside argon2id alone, on one core.
//! - **Verifications** (`GET /api/v1/auth/whoami`) with one token, which the node knows again until somebody commits, and with
//!   more tokens than it remembers, each of which it verifies; the verification alone, in this process; all beside Ed25519 alone,
//!   on one core.
//! - **Introspections** (`POST /api/v1/auth/introspect`) of those tokens, beside the same.
//!
//! What is compared runs in turns; a ratio is the median over the rounds of the ratio within a round. The client takes part of the
//! same machine, which is why its share is printed. Nothing is asserted: a busy machine is no failure.

mod alone;
mod people;
mod table;

use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use clap::builder::RangedU64ValueParser;
use cm_e2e::measure::{Outcome, Request, Runs, Server, ask_for, progress};
use cm_e2e::{Node, NodeOptions};

use alone::Alone;
use people::{PEOPLE, People};

/// Connections of the client.
const CALLERS: usize = 32;

/// What it costs to find out who somebody is, beside the arithmetic alone.
#[derive(Debug, Parser)]
#[command(bin_name = "cargo xtask bench identity --")]
struct Options {
    /// How often everything is measured.
    #[arg(long, value_name = "COUNT", default_value = "5", value_parser = RangedU64ValueParser::<usize>::new().range(1..))]
    rounds: usize,
    /// How long one run of a round takes, in milliseconds.
    #[arg(long, value_name = "TIME", default_value = "2000", value_parser = RangedU64ValueParser::<u64>::new().range(100..))]
    millis: u64,
    /// What cargo itself adds.
    #[arg(long, hide = true)]
    bench: bool,
}

fn main() -> ExitCode {
    match run(&Options::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// What was measured.
#[derive(Default)]
struct Found {
    hashes: Runs,
    logins: Runs,
    signatures: Runs,
    judged: Runs,
    known: Runs,
    whoami: Runs,
    whoami_known: Runs,
    introspections: Runs,
}

fn run(options: &Options) -> Outcome<()> {
    let root = tempfile::tempdir()?;
    let node = Node::start(root.path(), &NodeOptions::default());
    let administrator =
        Server { address: node.address("api").parse()?, pid: node.pid(), token: node.admin_token() };
    let people = People::make(&administrator)?;
    let alone = Alone::open(&root.path().join("alone"))?;
    let mut found = Found::default();
    for round in 1..=options.rounds {
        measure(Duration::from_millis(options.millis), &administrator, &people, &alone, &mut found)?;
        progress(&format!("round {round} of {} done", options.rounds));
    }
    print(&found)
}

fn measure(
    window: Duration,
    administrator: &Server,
    people: &People,
    alone: &Alone,
    found: &mut Found,
) -> Outcome<()> {
    let nobody = Server { token: String::new(), ..administrator.clone() };
    found.hashes.push(alone.hashes(window));
    found.logins.push(ask_for(&nobody, CALLERS, window, |n| people.login(n))?);
    found.signatures.push(alone.signatures(window)?);
    found.judged.push(alone.judged(window)?);
    found.known.push(alone.known(window)?);
    let whoami = || Request::get("/api/v1/auth/whoami");
    let one = Server { token: people.token(0).to_owned(), ..administrator.clone() };
    found.whoami_known.push(ask_for(&one, CALLERS, window, |_| whoami())?);
    found.whoami.push(ask_for(&nobody, CALLERS, window, |n| Request {
        token: Some(people.token(n).to_owned()),
        ..whoami()
    })?);
    found.introspections.push(ask_for(administrator, CALLERS, window, |n| people.introspection(n))?);
    Ok(())
}

fn print(found: &Found) -> Outcome<()> {
    let mut report = table::table("sign-ins");
    report.line(format!("argon2id as passwords are hashed with it: {}", cm_crypto::password::COST));
    report.line(table::row("argon2id alone, one core", &found.hashes));
    report.line(table::compared(
        &format!("sign-ins of {PEOPLE} people"),
        &found.logins,
        &found.hashes,
        "argon2id alone",
    ));
    report.print()?;
    let raw = "Ed25519 alone";
    let mut report = table::table("verifications and introspections");
    report.line(table::row("Ed25519 alone, one core", &found.signatures));
    report.line(table::compared("verification in process", &found.judged, &found.signatures, raw));
    report.line(table::compared("the same, known again", &found.known, &found.signatures, raw));
    report.line(table::compared("requests, each token verified", &found.whoami, &found.signatures, raw));
    report.line(table::compared("requests, token known again", &found.whoami_known, &found.signatures, raw));
    report.line(table::compared("introspections", &found.introspections, &found.signatures, raw));
    table::legend(&mut report);
    report.print()
}
