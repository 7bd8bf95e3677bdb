//! `policy check`: is it valid, what does it let whom do, what is suspicious.

use std::path::PathBuf;
use std::process::ExitCode;

use clap::Args;
use cm_instance::explain;
use cm_instance::policy::PolicyDocument;
use cm_instance::review::{Review, Weight, review};
use serde_json::{Map, Value, json};

use crate::{Connection, Format, Outcome, output};

/// `cryptomesh policy check`
#[derive(Args, Debug)]
#[command(
    after_help = "Exit codes: 0 all valid and nothing suspicious, 1 something is invalid or suspicious, 2 wrong usage."
)]
pub struct CheckArgs {
    /// Policies of any of the four forms; `-` reads standard input.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Exit with 0 although something is suspicious.
    #[arg(long)]
    pub allow_suspicious: bool,
    /// Say nothing of what is usual and only worth knowing.
    #[arg(long)]
    pub no_notes: bool,
}

/// What became of one file.
enum Checked {
    Valid { document: Box<PolicyDocument>, hash: String, review: Review },
    Invalid { path: String, problem: String },
}

/// Checks every file before it says how all of them are.
pub(crate) fn run(args: &CheckArgs, connection: &Connection) -> Outcome {
    let now = std::time::SystemTime::now().into();
    let mut good = true;
    let mut documents = Vec::new();
    for file in &args.files {
        let text = super::read(file)?;
        let mut checked = match PolicyDocument::parse(&text) {
            Ok(document) => {
                let review = review(&document, now);
                let hash = cm_crypto::digest::sha256(&text).to_string();
                Checked::Valid { document: Box::new(document), hash, review }
            }
            Err(error) => Checked::Invalid { path: error.path().to_owned(), problem: super::chain(&error) },
        };
        if let (Checked::Valid { review, .. }, true) = (&mut checked, args.no_notes) {
            review.findings.retain(|finding| finding.weight == Weight::Warning);
        }
        good &= match &checked {
            Checked::Valid { review, .. } => args.allow_suspicious || !review.is_suspicious(),
            Checked::Invalid { .. } => false,
        };
        let name = file.display().to_string();
        match connection.output {
            Format::Table => tell(&name, &checked, connection),
            Format::Json | Format::Yaml => documents.push(described(&name, &checked)),
        }
    }
    if connection.output != Format::Table {
        output::document_of(connection, &documents);
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn tell(file: &str, checked: &Checked, connection: &Connection) {
    match checked {
        Checked::Invalid { problem, .. } => output::line(&format!("{file}: INVALID {problem}\n")),
        Checked::Valid { document, hash, review } => {
            let verdict = if review.is_suspicious() { "valid, SUSPICIOUS" } else { "valid" };
            output::line(&format!("{file}: {verdict}, a {} with SHA-256 {hash}", document.form()));
            if !connection.quiet && !review.abilities.is_empty() {
                output::whole_entries(connection, &abilities(review));
            }
            for finding in &review.findings {
                output::line(&format!("{}: {}: {}", word(finding.weight), finding.path, finding.suspicion));
            }
            output::line("");
        }
    }
}

fn word(weight: Weight) -> &'static str {
    match weight {
        Weight::Warning => "warning",
        Weight::Note => "note",
    }
}

fn abilities(review: &Review) -> Vec<Map<String, Value>> {
    let row = |ability: &cm_instance::review::Ability| {
        let mut row = Map::new();
        row.insert("who".to_owned(), json!(ability.who));
        row.insert("file".to_owned(), json!(ability.file));
        row.insert("may".to_owned(), json!(explain::in_words(ability.rights)));
        row.insert("rights".to_owned(), json!(ability.rights.bits()));
        row
    };
    review.abilities.iter().map(row).collect()
}

fn described(file: &str, checked: &Checked) -> Value {
    match checked {
        Checked::Invalid { path, problem } => {
            json!({ "file": file, "valid": false, "path": path, "problem": problem })
        }
        Checked::Valid { document, hash, review } => {
            let findings: Vec<_> = review
                .findings
                .iter()
                .map(|finding| {
                    json!({
                        "weight": word(finding.weight), "path": finding.path,
                        "code": finding.suspicion.code(), "text": finding.suspicion.to_string(),
                    })
                })
                .collect();
            json!({
                "file": file, "valid": true, "form": document.form(), "sha256": hash,
                "suspicious": review.is_suspicious(), "abilities": abilities(review), "findings": findings,
            })
        }
    }
}
