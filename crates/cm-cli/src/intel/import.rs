//! `intel import`: events from a file or from standard input.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader, Read};
use std::net::IpAddr;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context as _;
use clap::{Args, ValueEnum};
use cm_client::{Api, ClientError};
use serde_json::{Value, json};

use super::lines::LinePattern;
use crate::{Connection, Outcome, UsageError, output};

/// Longest line that is read, in bytes.
const LINE_LEN_MAX: u64 = 1 << 20;

/// What a file holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Form {
    /// A JSON document a line: signed events as `export --format events` writes them, or reports of this node.
    Jsonl,
    /// CSV with the columns source_ip, threat_type and severity.
    Csv,
    /// Lines of a log; with --pattern.
    Log,
}

/// `cryptomesh intel import`
#[derive(Args, Debug)]
#[command(after_help = "\
Examples:
  cryptomesh intel import events.jsonl
  cryptomesh intel import reports.csv --form csv
  journalctl -u ssh -o cat | cryptomesh intel import - --form log \\
    --pattern 'Failed password for * from <HOST> port' --type 'ssh brute force' --severity high --at-least 5

What carries a signature is verified and kept under its signer's name; anything else becomes a report of this node.")]
pub struct ImportArgs {
    /// The file; `-` reads standard input.
    pub file: PathBuf,
    /// What it holds.
    #[arg(long, value_enum, default_value_t = Form::Jsonl)]
    pub form: Form,
    /// What a line of a log looks like: `*` stands for any text, `<HOST>` for the address.
    #[arg(long, value_name = "TEXT", required_if_eq("form", "log"))]
    pub pattern: Option<String>,
    /// What such a line means.
    #[arg(long = "type", value_name = "TEXT", required_if_eq("form", "log"))]
    pub threat_type: Option<String>,
    /// How grave it is.
    #[arg(long, default_value = "medium", value_name = "TEXT")]
    pub severity: String,
    /// Report an address once so many lines name it, and then no more.
    #[arg(long, default_value_t = 5, value_name = "COUNT")]
    pub at_least: u32,
    /// Most reports to make of one file.
    #[arg(long, default_value_t = 10_000, value_name = "COUNT")]
    pub limit: usize,
}

/// What became of a file.
#[derive(Debug, Default)]
struct Tally {
    kept: usize,
    known: usize,
    refused: usize,
}

pub(super) async fn run(args: ImportArgs, connection: &Connection) -> Outcome {
    let api = connection.api()?;
    let source: Box<dyn Read> = if args.file.as_os_str() == "-" {
        Box::new(std::io::stdin().lock())
    } else {
        let opened = std::fs::File::open(&args.file);
        Box::new(opened.with_context(|| format!("cannot read {}", args.file.display()))?)
    };
    let mut reader = BufReader::new(source);
    let mut tally = Tally::default();
    match args.form {
        Form::Jsonl => documents(&api, &mut reader, &args, connection, &mut tally).await?,
        Form::Csv => table(&api, reader, &args, connection, &mut tally).await?,
        Form::Log => log(&api, &mut reader, &args, connection, &mut tally).await?,
    }
    let Tally { kept, known, refused } = tally;
    let text = format!("{kept} events kept, {known} known, {refused} refused");
    output::done(connection, &text, &json!({ "kept": kept, "known": known, "refused": refused }));
    Ok(if refused == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The next line, without its end; `None` behind the last.
fn next_line(reader: &mut impl BufRead) -> anyhow::Result<Option<String>> {
    let mut line = Vec::new();
    let read = reader.by_ref().take(LINE_LEN_MAX).read_until(b'\n', &mut line)?;
    if read == 0 {
        return Ok(None);
    }
    if read as u64 == LINE_LEN_MAX {
        return Err(UsageError("a line is longer than a mebibyte".to_owned()).into());
    }
    Ok(Some(String::from_utf8_lossy(&line).trim_end_matches(['\r', '\n']).to_owned()))
}

/// Counts an answer. What is refused is told and passed over; an answer that ends all is an error.
fn count(
    outcome: Result<bool, ClientError>,
    what: &str,
    connection: &Connection,
    tally: &mut Tally,
) -> Result<(), ClientError> {
    match outcome {
        Ok(true) => tally.known += 1,
        Ok(false) => tally.kept += 1,
        Err(ClientError::Refused(refusal)) if matches!(refusal.status, 400 | 409 | 422) => {
            output::note(connection, &format!("{what}: {}", refusal.message));
            tally.refused += 1;
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

async fn report(api: &Api, source: &str, threat_type: &str, severity: &str) -> Result<bool, ClientError> {
    api.report_threat(source, threat_type, severity, None).await.map(|_| false)
}

async fn documents(
    api: &Api,
    reader: &mut impl BufRead,
    args: &ImportArgs,
    connection: &Connection,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let mut number = 0;
    while let Some(line) = next_line(reader)? {
        number += 1;
        if line.trim().is_empty() {
            continue;
        }
        let what = format!("line {number}");
        let document: Value = serde_json::from_str(&line).with_context(|| format!("{what} is no JSON"))?;
        let text = |name: &str| document.get(name).and_then(Value::as_str).unwrap_or_default();
        let outcome = if document.get("signature").is_some() {
            let imported = api.import_threat_event(&document).await;
            imported.map(|entry| entry.get("known").and_then(Value::as_bool).unwrap_or(false))
        } else {
            let severity = document.get("severity").and_then(Value::as_str).unwrap_or(&args.severity);
            report(api, text("source_ip"), text("threat_type"), severity).await
        };
        count(outcome, &what, connection, tally)?;
    }
    Ok(())
}

async fn table(
    api: &Api,
    reader: impl Read,
    args: &ImportArgs,
    connection: &Connection,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let mut rows = csv::Reader::from_reader(reader);
    let headers = rows.headers()?.clone();
    let column = |name: &str| headers.iter().position(|header| header.trim() == name);
    let (Some(source), Some(kind)) = (column("source_ip"), column("threat_type")) else {
        return Err(UsageError("the first line must name source_ip and threat_type".to_owned()).into());
    };
    let severity = column("severity");
    for (number, row) in rows.records().enumerate().take(args.limit) {
        let row = row?;
        let cell = |at: usize| row.get(at).unwrap_or_default().trim();
        let severity = severity.map(cell).filter(|text| !text.is_empty()).unwrap_or(&args.severity);
        let outcome = report(api, cell(source), cell(kind), severity).await;
        count(outcome, &format!("row {}", number + 1), connection, tally)?;
    }
    Ok(())
}

async fn log(
    api: &Api,
    reader: &mut impl BufRead,
    args: &ImportArgs,
    connection: &Connection,
    tally: &mut Tally,
) -> anyhow::Result<()> {
    let (pattern, threat_type) = (args.pattern.as_deref(), args.threat_type.as_deref());
    let (Some(pattern), Some(threat_type)) = (pattern, threat_type) else {
        return Err(UsageError("lines of a log need --pattern and --type".to_owned()).into());
    };
    let pattern: LinePattern = pattern.parse().map_err(|error| UsageError(format!("--pattern: {error}")))?;
    let mut seen: BTreeMap<IpAddr, u32> = BTreeMap::new();
    let mut reports = 0;
    while let Some(line) = next_line(reader)? {
        let Some(address) = pattern.address(&line) else { continue };
        let times = seen.entry(address).or_default();
        *times = times.saturating_add(1);
        // Once for each address, however often it comes: a log that is full of one attacker is one event.
        if *times == args.at_least.max(1) {
            let outcome = report(api, &address.to_string(), threat_type, &args.severity).await;
            count(outcome, &address.to_string(), connection, tally)?;
            reports += 1;
            if reports == args.limit {
                output::note(
                    connection,
                    "as many reports as were allowed; the rest of the file is not looked at",
                );
                break;
            }
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_bounded() {
        let mut text = std::io::Cursor::new(b"a\r\nb\n\nlast".to_vec());
        let mut lines = Vec::new();
        while let Some(line) = next_line(&mut text).unwrap() {
            lines.push(line);
        }
        assert_eq!(lines, ["a", "b", "", "last"]);
        let mut long = std::io::Cursor::new(vec![b'x'; 2 << 20]);
        assert!(next_line(&mut long).is_err());
    }
}
