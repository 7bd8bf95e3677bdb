//! `policy`: make the documents that say who may do what inside an instance, and understand them.
//!
//! None of these commands speaks to a node: a policy is judged before anybody else has it.

pub mod check;
pub mod explain;
pub mod generate;

use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use cm_instance::policy::POLICY_LEN_MAX;

use crate::{Connection, Format, Outcome, output};

/// `cryptomesh policy …`
#[derive(Debug, Subcommand)]
pub enum PolicyCommand {
    /// Make a policy from certificates, programs and rights.
    Generate(Box<generate::GenerateArgs>),
    /// Say whether policies are valid, what each lets whom do, and what in it is suspicious.
    Check(check::CheckArgs),
    /// Print the SHA-256 of a policy's exact bytes, which an instance binds and clients compare.
    Hash(HashArgs),
    /// Put rights into words: those of a policy, or a number such as 533572.
    Explain(explain::ExplainArgs),
}

/// `cryptomesh policy hash`
#[derive(Args, Debug)]
pub struct HashArgs {
    /// Files; `-` reads standard input.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
}

/// Runs one of them.
pub fn run(command: PolicyCommand, connection: &Connection) -> Outcome {
    match command {
        PolicyCommand::Generate(args) => generate::run(&args, connection),
        PolicyCommand::Check(args) => check::run(&args, connection),
        PolicyCommand::Hash(args) => hash(&args, connection),
        PolicyCommand::Explain(args) => explain::run(&args, connection),
    }
}

fn hash(args: &HashArgs, connection: &Connection) -> Outcome {
    let mut hashes = Vec::new();
    for file in &args.files {
        hashes.push((file.display().to_string(), cm_crypto::digest::sha256(&read(file)?).to_string()));
    }
    match connection.output {
        Format::Table => hashes.iter().for_each(|(file, hash)| output::line(&format!("{hash}  {file}"))),
        Format::Json | Format::Yaml => {
            let entries: Vec<_> = hashes
                .into_iter()
                .map(|(file, hash)| serde_json::json!({ "file": file, "sha256": hash }))
                .collect();
            output::document_of(connection, &entries);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// The bytes of a file, or of standard input; no more than a policy may have, and one that shows that there are more.
pub(crate) fn read(file: &Path) -> anyhow::Result<Vec<u8>> {
    let unreadable = || format!("cannot read {}", file.display());
    let mut bytes = Vec::new();
    let most = POLICY_LEN_MAX as u64 + 1;
    if file == Path::new("-") {
        std::io::stdin().lock().take(most).read_to_end(&mut bytes).with_context(unreadable)?;
    } else {
        let opened = std::fs::File::open(file).with_context(unreadable)?;
        opened.take(most).read_to_end(&mut bytes).with_context(unreadable)?;
    }
    Ok(bytes)
}

/// The error with everything beneath it, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(inner) = source {
        text.push_str(": ");
        text.push_str(&inner.to_string());
        source = inner.source();
    }
    text
}
