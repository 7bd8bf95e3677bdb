//! `policy explain`: rights in words.

use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::Context;
use clap::Args;
use cm_instance::policy::PolicyDocument;
use cm_instance::review::review;
use cm_instance::{Rights, draft, explain};
use serde_json::{Map, Value, json};

use crate::{Connection, Format, Outcome, UsageError, output};

/// `cryptomesh policy explain`
#[derive(Args, Debug)]
pub struct ExplainArgs {
    /// A policy's file (`-` reads standard input), a number, names of rights joined by `|`, or letters of r, w and x.
    pub what: String,
}

/// Explains.
pub(crate) fn run(args: &ExplainArgs, connection: &Connection) -> Outcome {
    let path = PathBuf::from(&args.what);
    if args.what == "-" || path.is_file() {
        return document(&path, connection);
    }
    let rights = rights(&args.what)?;
    if connection.output == Format::Table {
        let known = explain::known_as(rights).map(|words| format!(", {words}")).unwrap_or_default();
        output::line(&format!("{} is {rights}{known}", rights.bits()));
    }
    let each = explain::each(rights).map(|(right, name, words)| {
        entry(json!({ "bit": explain::bit(right), "value": right.bits(), "right": name, "lets": words }))
    });
    let each: Vec<_> = each.collect();
    match connection.output {
        Format::Table if each.is_empty() => {}
        Format::Table => output::whole_entries(connection, &each),
        Format::Json | Format::Yaml => output::document_of(
            connection,
            &json!({ "value": rights.bits(), "known_as": explain::known_as(rights), "rights": each }),
        ),
    }
    Ok(ExitCode::SUCCESS)
}

fn document(path: &std::path::Path, connection: &Connection) -> Outcome {
    let document = PolicyDocument::parse(&super::read(path)?)
        .with_context(|| format!("{} is no policy", path.display()))?;
    let now = std::time::SystemTime::now().into();
    let abilities: Vec<_> = review(&document, now)
        .abilities
        .into_iter()
        .map(|ability| {
            entry(json!({
                "who": ability.who, "file": ability.file, "may": explain::in_words(ability.rights),
                "rights": ability.rights.bits(),
            }))
        })
        .collect();
    output::whole_entries(connection, &abilities);
    Ok(ExitCode::SUCCESS)
}

/// A set of rights in any of the ways that people write one.
fn rights(text: &str) -> anyhow::Result<Rights> {
    let text = text.trim();
    if let Ok(bits) = text.parse::<u64>() {
        return Ok(Rights::from_bits(bits).map_err(|error| UsageError(error.to_string()))?);
    }
    let named = |name: &str| {
        let known = Rights::NAMED.into_iter().find(|(_, known)| known.eq_ignore_ascii_case(name.trim()));
        known.map(|(right, _)| right)
    };
    if let Some(rights) = text.split('|').map(named).try_fold(Rights::NONE, |all, right| Some(all | right?)) {
        return Ok(rights);
    }
    match draft::capabilities(&format!("f:{text}")) {
        Ok(parsed) if parsed.len() == 1 => Ok(parsed[0].rights),
        _ => Err(UsageError(format!("`{text}` is no file, no number and names no rights")).into()),
    }
}

fn entry(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(entry) => entry,
        _ => Map::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rights_are_read_as_people_write_them() {
        let check = |text: &str, expected: u32| assert_eq!(rights(text).unwrap().bits(), expected, "{text}");
        check("533572", 533_572);
        check("FD_READ|fd_seek | PATH_OPEN", 8198);
        check("rw", 550_470);
        check("0", 0);
        for wrong in ["1073741824", "FD_FLY", "", "q", "-1"] {
            assert!(rights(wrong).is_err(), "{wrong}");
        }
    }
}
