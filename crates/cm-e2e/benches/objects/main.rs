//! What storing and reading objects costs, beside what it is compared with in the same run.
//!
//! `cargo xtask bench objects -- --help` says what can be chosen.
//!
//! Group `transfers`: PUT and GET, over connections that are kept, of objects no two of whose chunks are alike. The node is
//! the `cryptomesh` executable of the same profile, a process of its own, as it is when nobody configures it; it is asked
//!
//! - **by the native API**, with a bearer token;
//! - **by S3**, requests signed by AWS4-HMAC-SHA256, the digest of the body included. The client makes that digest before the
//!   clock of the request starts, but it takes part of the same machine;
//! - **by S3, three nodes**: the same at one node of a network of three, all on this machine, that keeps three copies of everything: each byte
//!   is written three times, and a write is answered when two copies are durable. What the server uses is what that one node uses;
//! - **by S3, unsigned**: the same of a node in open mode, so that what a signature costs is seen.
//!
//! Beside it stand
//!
//! - **the disk** ([`disk`]): as many threads that hash the same bytes, write them to a file of the same file system and wait
//!   for `fsync`; and that read and hash them again, as the node does when it reads;
//! - **loopback** ([`bare`]): the same server loop with a handler that takes in all bytes, or streams as many;
//! - **Garage** ([`garage`]), a reference server of S3 from crates.io, by the same signed requests: told to wait for `fsync`
//!   of data and metadata, as the node does, and once more as it is when nobody tells it to, that is without.
//!
//! Every contender of a round starts with an empty directory, which is removed after its turn; they run in turns, so that a
//! busy machine slows all of them. A ratio is the median over the rounds of the ratio within a round. Aims are printed with
//! what was found and never asserted.
//!
//! Group `listing`: all keys of a bucket of small objects, a thousand a page, by both faces, and by Garage without `fsync`,
//! which is filled faster.

mod bare;
mod client;
mod contenders;
mod content;
mod disk;
mod garage;
mod listing;
mod options;
mod signature;
mod table;
mod transfers;

use std::process::ExitCode;

use cm_e2e::measure::Outcome;

use options::{Group, Options};

fn main() -> ExitCode {
    let outcome = match std::env::args().nth(1).as_deref() {
        Some(bare::PROCESS) => bare::process(),
        _ => run(&Options::read()),
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
    if options.garage.is_none() {
        eprintln!("without Garage; `cargo install garage --version {}` makes it", garage::VERSION);
    }
    if options.has(Group::Transfers) {
        transfers::run(options)?;
    }
    if options.has(Group::Listing) {
        listing::run(options)?;
    }
    Ok(())
}
