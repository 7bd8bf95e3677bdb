//! How results look.

use std::io::{IsTerminal, Write};
use std::sync::Arc;

use cm_client::Progress;
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde_json::{Map, Value};

use crate::{Connection, Format};

/// Columns that come first when an entry has them.
const COLUMNS_FIRST: &[&str] = &["seq", "id", "key", "name", "kind", "state", "verb", "size"];
/// Columns that a table leaves out because they are the same everywhere or follow from others.
const COLUMNS_LEFT_OUT: &[&str] = &["tenant", "updated_at", "generation", "request", "outcome"];
/// Longest text of a specification that a row shows.
const TEXT_LEN_MAX: usize = 120;
/// Widest cell of a table, in characters, before it is cut.
const CELL_WIDTH_MAX: usize = 60;

/// Prints a line to standard output. A reader that has gone away is no error of ours.
pub fn line(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
}

/// Prints a line to standard error, unless told to be quiet.
pub fn note(connection: &Connection, text: &str) {
    if !connection.quiet {
        let mut err = std::io::stderr().lock();
        let _ = writeln!(err, "{text}");
    }
}

/// Prints an error to standard error, quiet or not.
pub fn error(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "error: {text}");
}

/// Prints one entry.
pub fn entry(connection: &Connection, entry: &Map<String, Value>) {
    match connection.output {
        Format::Json => line(&pretty(&Value::Object(entry.clone()))),
        Format::Table => {
            let mut table = blank_table();
            for (name, value) in entry {
                table.add_row([name.clone(), full(value)]);
            }
            line(&table.trim_fmt());
        }
    }
}

/// Prints entries: a JSON array, or a table with one row each. A row shows what identifies an entry and the plain
/// values of its specification; everything is in the JSON.
pub fn entries(connection: &Connection, entries: &[Map<String, Value>]) {
    match connection.output {
        Format::Json => {
            line(&pretty(&Value::Array(entries.iter().cloned().map(Value::Object).collect())));
        }
        Format::Table if entries.is_empty() => note(connection, "nothing found"),
        Format::Table => {
            let rows: Vec<_> = entries.iter().map(summary).collect();
            let columns = columns(&rows);
            let mut table = blank_table();
            table.set_header(columns.iter().map(|column| column.to_uppercase()));
            for row in &rows {
                table.add_row(columns.iter().map(|column| row.get(column).map_or_else(String::new, short)));
            }
            line(&table.trim_fmt());
        }
    }
}

/// What a row shows of an entry.
fn summary(entry: &Map<String, Value>) -> Map<String, Value> {
    let named_by_id = entry.get("id").is_some_and(|id| entry.get("name") == Some(id));
    let shown = |name: &str, value: &Value| match value {
        Value::Object(fields) => !fields.is_empty() && name != "spec" && name != "status",
        Value::Array(_) | Value::Null => name == "roles",
        _ if name == "name" && named_by_id => false,
        _ => !COLUMNS_LEFT_OUT.contains(&name),
    };
    let own = entry.iter().filter(|(name, value)| shown(name, value));
    let inner = ["spec", "status"].into_iter().filter_map(|part| entry.get(part)?.as_object()).flatten();
    let plain = |value: &Value| match value {
        Value::String(text) => text.len() <= TEXT_LEN_MAX && !text.contains('\n'),
        Value::Number(_) | Value::Bool(_) => true,
        Value::Object(fields) => !fields.is_empty() && fields.values().all(Value::is_string),
        Value::Array(_) | Value::Null => false,
    };
    let inner = inner.filter(|(name, value)| plain(value) && !COLUMNS_LEFT_OUT.contains(&name.as_str()));
    own.chain(inner).map(|(name, value)| (name.clone(), value.clone())).collect()
}

fn blank_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

fn columns(entries: &[Map<String, Value>]) -> Vec<String> {
    let mut names: Vec<&str> = Vec::new();
    for name in entries.iter().flat_map(Map::keys) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    names.sort_by_key(|name| COLUMNS_FIRST.iter().position(|first| first == name).unwrap_or(usize::MAX));
    names.into_iter().map(str::to_owned).collect()
}

fn short(value: &Value) -> String {
    let text = match value {
        Value::Null => String::new(),
        Value::String(text) => text.replace('\n', " "),
        Value::Array(values) => values.iter().map(short).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name}={}", short(value)))
            .collect::<Vec<_>>()
            .join(" "),
        other => other.to_string(),
    };
    if text.chars().count() <= CELL_WIDTH_MAX {
        return text;
    }
    text.chars().take(CELL_WIDTH_MAX - 1).chain(['…']).collect()
}

fn full(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => match document(text) {
            Some(document) => pretty(&document),
            None => text.trim_end().to_owned(),
        },
        Value::Object(fields) if fields.is_empty() => String::new(),
        Value::Object(_) => pretty(&unfolded(value)),
        Value::Array(values) => values.iter().map(full).collect::<Vec<_>>().join(", "),
        other => other.to_string(),
    }
}

/// The document that a text is, as a policy is: as one escaped line nobody could read it.
fn document(text: &str) -> Option<Value> {
    let parsed = serde_json::from_str(text).ok()?;
    matches!(parsed, Value::Object(_) | Value::Array(_)).then_some(parsed)
}

fn unfolded(value: &Value) -> Value {
    match value {
        Value::String(text) => document(text).unwrap_or_else(|| value.clone()),
        Value::Array(values) => values.iter().map(unfolded).collect(),
        Value::Object(fields) => {
            Value::Object(fields.iter().map(|(name, value)| (name.clone(), unfolded(value))).collect())
        }
        other => other.clone(),
    }
}

fn pretty(value: &Value) -> String {
    serde_json::to_string_pretty(value).expect("a JSON value can always be written")
}

/// A progress bar on standard error where a person watches, and a callback that moves it.
pub fn progress(connection: &Connection, total: Option<u64>, what: &str) -> (ProgressBar, Progress) {
    let watched = !connection.quiet && std::io::stderr().is_terminal();
    let target = if watched { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
    let bar = ProgressBar::with_draw_target(total, target);
    let style = ProgressStyle::with_template("{msg} {wide_bar} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
        .unwrap_or_else(|_| ProgressStyle::default_bar());
    bar.set_style(style);
    bar.set_message(what.to_owned());
    let moved = bar.clone();
    (bar, Arc::new(move |bytes| moved.set_position(bytes)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_within_a_text_is_shown_as_a_document() {
        let policy = r#"{"function":"f","programs":[]}"#;
        let spec = serde_json::json!({ "confidential": { "policy": policy }, "description": "[x" });
        for shown in [full(&spec), full(&Value::String(policy.to_owned()))] {
            assert!(shown.contains("\"function\": \"f\"") && !shown.contains('\\'), "{shown}");
        }
        assert!(full(&spec).contains("\"[x\""));
        assert_eq!(full(&Value::String("7".to_owned())), "7");
    }

    #[test]
    fn what_identifies_comes_first_and_long_cells_are_cut() {
        let entry = serde_json::json!({ "description": "x".repeat(100), "id": "a" });
        let entry = entry.as_object().unwrap().clone();
        assert_eq!(columns(std::slice::from_ref(&entry)), ["id", "description"]);
        assert_eq!(short(&entry["description"]).chars().count(), CELL_WIDTH_MAX);
    }
}
