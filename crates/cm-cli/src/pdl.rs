//! `pdl`: documents of the permissions language: written alike, checked, tried, compared, taken over, put in force.

mod apply;

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use anyhow::Context;
use clap::{Args, Subcommand};
use cm_policy::pdl::{self, CaseFile, Compiled, Document, Finding, PdlErrors, Position, Verdict};
use serde_json::{Value, json};

use crate::destination::Destination;
use crate::{Connection, Format, Outcome, UsageError, output};

/// What is wrong was told; nothing else failed.
const FOUND: u8 = 1;
/// Longest file that is read, in bytes.
const FILE_BYTES_MAX: u64 = 4 * 1024 * 1024;

/// `cryptomesh pdl …`
#[derive(Debug, Subcommand)]
pub enum PdlCommand {
    /// Write documents the one way in which they are written.
    Fmt(FmtArgs),
    /// Say what is wrong with documents, and what is hardly meant. Exits with 1 if anything is.
    Check(CheckArgs),
    /// Compare decisions with expected ones. Exits with 1 if one is not as expected.
    Test(TestArgs),
    /// Say who gains and who loses what when one document takes the place of another.
    Diff(DiffArgs),
    /// Say how a document decides, and by which statement.
    Explain(ExplainArgs),
    /// Write policies of the earlier identity service, in JSON, as a document.
    Import(ImportArgs),
    /// Put a document in force on the node, or show what would change.
    Apply(apply::ApplyArgs),
}

/// `cryptomesh pdl fmt`
#[derive(Args, Debug)]
pub struct FmtArgs {
    /// Documents, which are rewritten; `-` reads standard input and writes standard output.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Rewrite nothing; exit with 1 if something would be.
    #[arg(long)]
    pub check: bool,
}

/// `cryptomesh pdl check`
#[derive(Args, Debug)]
pub struct CheckArgs {
    /// Documents; `-` reads standard input.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Say nothing of what is only worth knowing.
    #[arg(long)]
    pub no_notes: bool,
}

/// `cryptomesh pdl test`
#[derive(Args, Debug)]
pub struct TestArgs {
    /// Documents.
    #[arg(required = true)]
    pub files: Vec<PathBuf>,
    /// Expected decisions of the one document, one a line, such as `allow read object ct-scans/1 by role:analyst with mfa -> 3`
    /// [default: FILE with the ending `.cases`].
    #[arg(long, value_name = "FILE")]
    pub cases: Option<PathBuf>,
}

/// `cryptomesh pdl diff`
#[derive(Args, Debug)]
pub struct DiffArgs {
    /// The document before.
    pub old: PathBuf,
    /// The document after.
    pub new: PathBuf,
}

/// `cryptomesh pdl explain`
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// The document.
    pub file: PathBuf,
    /// What is asked, as in a file of expected decisions without the decision: `read object ct-scans/1 by role:analyst with mfa`.
    #[arg(required = true, trailing_var_arg = true)]
    pub question: Vec<String>,
}

/// `cryptomesh pdl import`
#[derive(Args, Debug)]
pub struct ImportArgs {
    /// A policy in JSON, or a list of them; `-` reads standard input.
    pub file: PathBuf,
    /// Where to write the document [default: standard output].
    #[arg(long, short = 'f', value_name = "FILE")]
    pub to_file: Option<PathBuf>,
}

/// Runs one of them.
pub async fn run(command: PdlCommand, connection: &Connection) -> Outcome {
    match command {
        PdlCommand::Fmt(args) => fmt(&args, connection),
        PdlCommand::Check(args) => check(&args, connection),
        PdlCommand::Test(args) => test(&args, connection),
        PdlCommand::Diff(args) => diff(&args, connection),
        PdlCommand::Explain(args) => explain(&args, connection),
        PdlCommand::Import(args) => import(&args, connection),
        PdlCommand::Apply(args) => apply::run(args, connection).await,
    }
}

fn read(file: &Path) -> anyhow::Result<String> {
    let mut bytes = Vec::new();
    let mut source: Box<dyn Read> = match file == Path::new("-") {
        true => Box::new(std::io::stdin()),
        false => {
            Box::new(std::fs::File::open(file).with_context(|| format!("cannot read {}", file.display()))?)
        }
    };
    let read = (&mut source).take(FILE_BYTES_MAX + 1).read_to_end(&mut bytes);
    read.with_context(|| format!("cannot read {}", file.display()))?;
    anyhow::ensure!(
        bytes.len() as u64 <= FILE_BYTES_MAX,
        "{} is longer than {FILE_BYTES_MAX} bytes",
        file.display()
    );
    String::from_utf8(bytes).map_err(|error| {
        let place = end_of(&error.as_bytes()[..error.utf8_error().valid_up_to()]);
        anyhow::anyhow!("{}:{place}: the text is not UTF-8 from here on", file.display())
    })
}

/// Where a text goes on that begins so.
fn end_of(beginning: &[u8]) -> Position {
    let beginning = String::from_utf8_lossy(beginning);
    let last_line = beginning.rsplit('\n').next().unwrap_or_default();
    let count = |number: usize| u32::try_from(number + 1).unwrap_or(u32::MAX);
    Position { line: count(beginning.matches('\n').count()), column: count(last_line.chars().count()) }
}

/// A document; what is wrong with it is an error with a line for each.
pub(crate) fn document(file: &Path) -> anyhow::Result<Document> {
    pdl::parse(&read(file)?).map_err(|errors| anyhow::anyhow!("{}", told(file, &errors)))
}

fn told(file: &Path, errors: &PdlErrors) -> String {
    let lines: Vec<String> = errors.0.iter().map(|error| format!("{}:{error}", file.display())).collect();
    lines.join("\n")
}

fn fmt(args: &FmtArgs, connection: &Connection) -> Outcome {
    let mut differ = Vec::new();
    for file in &args.files {
        let before = read(file)?;
        let parsed = pdl::parse(&before).map_err(|errors| anyhow::anyhow!("{}", told(file, &errors)))?;
        let after = pdl::format(&parsed);
        let is_stream = file == Path::new("-");
        if is_stream && !args.check {
            output::line(after.trim_end());
        }
        if before == after {
            continue;
        }
        differ.push(file.display().to_string());
        if !args.check && !is_stream {
            let mode = std::os::unix::fs::PermissionsExt::mode(&std::fs::metadata(file)?.permissions());
            let mut destination = Destination::create(file, mode & 0o777, true)?;
            destination.write_all(after.as_bytes())?;
            destination.finish()?;
        }
    }
    let verb = if args.check { "would be rewritten" } else { "rewritten" };
    for file in differ.iter().filter(|file| *file != "-" || args.check) {
        output::note(connection, &format!("{file} {verb}"));
    }
    Ok(ExitCode::from(u8::from(args.check && !differ.is_empty())))
}

fn check(args: &CheckArgs, connection: &Connection) -> Outcome {
    let mut documents = Vec::new();
    let mut good = true;
    for file in &args.files {
        let name = file.display().to_string();
        let parsed = pdl::parse(&read(file)?);
        let (said, findings) = match &parsed {
            Err(errors) => {
                good = false;
                let findings = errors.0.iter().map(|error| {
                    json!({ "line": error.at.line, "column": error.at.column, "weight": "error", "text": error.problem.to_string() })
                });
                (told(file, errors), findings.collect::<Vec<Value>>())
            }
            Ok(document) => {
                let mut findings = pdl::check(document);
                findings.retain(|finding| finding.is_warning() || !args.no_notes);
                good &= !findings.iter().any(Finding::is_warning);
                let lines: Vec<String> = findings.iter().map(|finding| format!("{name}:{finding}")).collect();
                let findings = findings.iter().map(|finding| {
                    let weight = if finding.is_warning() { "warning" } else { "note" };
                    json!({ "line": finding.at.line, "column": finding.at.column, "weight": weight, "text": finding.doubt.to_string() })
                });
                let said = match lines.is_empty() {
                    true => format!("{name}: {}, nothing wrong", statements(document.statements.len())),
                    false => lines.join("\n"),
                };
                (said, findings.collect())
            }
        };
        match connection.output {
            Format::Table => output::line(&said),
            Format::Json | Format::Yaml => documents.push(json!({ "file": name, "findings": findings })),
        }
    }
    if connection.output != Format::Table {
        output::document_of(connection, &documents);
    }
    Ok(ExitCode::from(if good { 0 } else { FOUND }))
}

fn test(args: &TestArgs, connection: &Connection) -> Outcome {
    if args.cases.is_some() && args.files.len() > 1 {
        return Err(UsageError("--cases is for one document; each of several has its own".to_owned()).into());
    }
    let (mut all, mut wrong) = (0, Vec::new());
    for file in &args.files {
        let cases_file = args.cases.clone().unwrap_or_else(|| file.with_extension("cases"));
        all += test_one(file, &cases_file, &mut wrong)?;
    }
    let failed = wrong.len();
    match connection.output {
        Format::Table => {
            for case in &wrong {
                let text = |field: &str| case[field].as_str().unwrap_or_default().to_owned();
                let place = format!("{}:{}", text("cases"), case["line"]);
                output::line(&format!("{place}: {}\n    but {}", text("expected"), text("decided")));
            }
            output::line(&format!("{all} decisions, {failed} not as expected"));
        }
        Format::Json | Format::Yaml => {
            output::document_of(connection, &json!({ "decisions": all, "wrong": wrong }))
        }
    }
    Ok(ExitCode::from(if wrong.is_empty() { 0 } else { FOUND }))
}

/// How many decisions are expected of a document; those that are otherwise are added to what is wrong.
fn test_one(file: &Path, cases_file: &Path, wrong: &mut Vec<Value>) -> anyhow::Result<usize> {
    let document = document(file)?;
    let cases = CaseFile::parse(&read(cases_file)?).with_context(|| cases_file.display().to_string())?;
    let name = file.display().to_string();
    let compiled = Compiled::new(&[(&name, &document)]);
    for case in &cases.cases {
        let verdict = compiled.judge(&case.request());
        if !case.expects(&verdict) {
            wrong.push(json!({
                "file": name,
                "cases": cases_file.display().to_string(),
                "line": case.line,
                "expected": case.text,
                "decided": decision(&verdict, &document),
            }));
        }
    }
    Ok(cases.cases.len())
}

fn statements(count: usize) -> String {
    match count {
        1 => "1 statement".to_owned(),
        count => format!("{count} statements"),
    }
}

/// What was decided and by which statement, for people.
fn decision(verdict: &Verdict<'_>, document: &Document) -> String {
    let statement = |line: u32| {
        let found = document.statements.iter().find(|statement| statement.at.line == line);
        let only = found.map(|statement| {
            let mut alone = statement.clone();
            (alone.above, alone.behind, alone.apart) = (Vec::new(), None, false);
            pdl::format(&Document { statements: vec![alone], closing: Vec::new() })
        });
        let only = only.unwrap_or_default();
        only.lines().skip(1).map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(" ")
    };
    match verdict {
        Verdict::Silent => "denied: no statement allows it".to_owned(),
        Verdict::Allows(place) => format!("allowed by line {}: {}", place.line, statement(place.line)),
        Verdict::Denies(place) => format!("denied by line {}: {}", place.line, statement(place.line)),
    }
}

fn explain(args: &ExplainArgs, connection: &Connection) -> Outcome {
    let document = document(&args.file)?;
    // What stands in quotes in a shell may have blanks.
    let quoted = |word: &String| if word.contains(' ') { format!("\"{word}\"") } else { word.clone() };
    let words: Vec<String> = match args.question.as_slice() {
        [whole] => vec![whole.clone()],
        words => words.iter().map(quoted).collect(),
    };
    let cases = CaseFile::parse(&format!("allow {}", words.join(" ")))?;
    let case = cases.cases.first().context("nothing was asked")?;
    let compiled = Compiled::new(&[("", &document)]);
    let verdict = compiled.judge(&case.request());
    let said = decision(&verdict, &document);
    let line = match verdict {
        Verdict::Silent => None,
        Verdict::Allows(place) | Verdict::Denies(place) => Some(place.line),
    };
    match connection.output {
        Format::Table => output::line(&said),
        Format::Json | Format::Yaml => {
            let allowed = matches!(verdict, Verdict::Allows(_));
            output::document_of(connection, &json!({ "allowed": allowed, "line": line, "text": said }));
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn diff(args: &DiffArgs, connection: &Connection) -> Outcome {
    show_diff(&document(&args.old)?, &document(&args.new)?, connection);
    Ok(ExitCode::SUCCESS)
}

/// Says who gains and who loses.
pub(crate) fn show_diff(old: &Document, new: &Document, connection: &Connection) {
    let diff = pdl::diff::diff(old, new);
    let entries: Vec<Value> = diff
        .changes
        .iter()
        .map(|change| {
            let verb = if change.gains { "gains" } else { "loses" };
            let when = if change.when.is_empty() { "always".to_owned() } else { change.when.join(", ") };
            json!({ "who": change.who, "change": verb, "action": change.action, "what": change.what, "when": when })
        })
        .collect();
    match connection.output {
        Format::Table if entries.is_empty() => output::line("nobody gains or loses anything"),
        Format::Table => {
            for entry in &entries {
                let text = |field: &str| entry[field].as_str().unwrap_or_default();
                let sign = if text("change") == "gains" { "+" } else { "-" };
                let when = text("when");
                let when = if when == "always" { String::new() } else { format!("   ({when})") };
                output::line(&format!(
                    "{sign} {}: {} on {}{when}",
                    text("who"),
                    text("action"),
                    text("what")
                ));
            }
        }
        Format::Json | Format::Yaml => {
            output::document_of(connection, &json!({ "changes": entries, "sampled": diff.is_sampled }));
        }
    }
    if diff.is_sampled {
        output::note(connection, "not all combinations of circumstances were tried: there are too many");
    }
}

fn import(args: &ImportArgs, connection: &Connection) -> Outcome {
    let document =
        pdl::import::abac_json(&read(&args.file)?).with_context(|| args.file.display().to_string())?;
    let text = pdl::format(&document);
    match &args.to_file {
        None => output::line(text.trim_end()),
        Some(file) => {
            let mut destination = Destination::create(file, 0o644, false)?;
            destination.write_all(text.as_bytes())?;
            destination.finish()?;
            let written = json!({ "file": file, "statements": document.statements.len() });
            output::done(connection, &format!("{} written", file.display()), &written);
        }
    }
    Ok(ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(clap::Parser)]
    struct Line {
        #[command(subcommand)]
        command: PdlCommand,
    }

    #[test]
    fn several_documents_are_tried_at_once() {
        let line = <Line as clap::Parser>::try_parse_from(["pdl", "test", "a.pdl", "b.pdl"]).unwrap();
        let PdlCommand::Test(args) = line.command else { panic!("another command") };
        assert_eq!(args.files, [Path::new("a.pdl"), Path::new("b.pdl")]);
        let examples = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../examples/policies");
        let (mut all, mut wrong) = (0, Vec::new());
        for name in ["buckets", "functions"] {
            let file = examples.join(name);
            all += test_one(&file.with_extension("pdl"), &file.with_extension("cases"), &mut wrong).unwrap();
        }
        assert!(all > 2 && wrong.is_empty(), "{all} {wrong:?}");
    }

    #[test]
    fn places_count_lines_and_characters() {
        let check = |text: &str, expected: &str| assert_eq!(end_of(text.as_bytes()).to_string(), expected);
        check("", "1:1");
        check("pdl 1\nallow user \"é", "2:14");
        check("pdl 1\n", "2:1");
    }

    #[test]
    fn one_statement_is_one() {
        assert_eq!((statements(1).as_str(), statements(2).as_str()), ("1 statement", "2 statements"));
    }
}
