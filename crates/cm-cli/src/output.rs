//! How results look.

use std::borrow::Cow;
use std::io::{self, IsTerminal, Write};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use cm_client::{ClientError, Progress};
use cm_types::ResourceKind;
use comfy_table::{ContentArrangement, Table, presets};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use serde::Serialize;
use serde_json::{Map, Value};

use crate::{Connection, Format, kinds};

/// Columns that come first when an entry has them.
const COLUMNS_FIRST: &[&str] = &["verdict", "seq", "id", "key", "name", "kind", "state", "verb", "size"];
/// Columns that come last, and whole: what explains an entry is a sentence.
const COLUMNS_LAST: &[&str] = &["metadata", "facts", "reason"];
/// Columns that a table leaves out because they are the same everywhere or follow from others.
const COLUMNS_LEFT_OUT: &[&str] = &["tenant", "updated_at", "generation", "request", "outcome", "timestamp"];
/// Longest text that a row shows.
const TEXT_LEN_MAX: usize = 120;
/// Widest cell of a table, in characters, before it is cut.
const CELL_WIDTH_MAX: usize = 60;

/// Standard output. What cannot be written there is remembered until the command ends: see [`take_failure`].
#[derive(Debug)]
pub(crate) struct Out;

/// The first failure to write to standard output.
static FAILURE: Mutex<Option<io::Error>> = Mutex::new(None);

fn noted<T>(written: io::Result<T>) -> io::Result<T> {
    written.map_err(|error| {
        let named = |error: &io::Error| io::Error::new(error.kind(), format!("standard output: {error}"));
        FAILURE.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert_with(|| named(&error));
        named(&error)
    })
}

impl Write for Out {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        noted(io::stdout().write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        noted(io::stdout().flush())
    }
}

/// Writes what is left, and says what could not be written to standard output since the command began, if anything.
pub(crate) fn take_failure() -> Option<io::Error> {
    // Remembered like the others.
    let _ = Out.flush();
    FAILURE.lock().unwrap_or_else(PoisonError::into_inner).take()
}

/// Prints a line to standard output. Whether it could be written decides in the end how the command ends.
pub fn line(content: &str) {
    text(&format!("{content}\n"));
}

/// As [`line()`], of text that has its ends of lines.
pub fn text(text: &str) {
    let _ = Out.write_all(text.as_bytes());
}

/// Prints a line to standard output; whether it could be written there and then.
pub(crate) fn line_is_read(text: &str) -> bool {
    Out.write_all(format!("{text}\n").as_bytes()).and_then(|()| Out.flush()).is_ok()
}

/// Prints a question, or what it is about, to standard error, quiet or not.
pub(crate) fn prompt(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = write!(err, "{text}");
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

/// Prints an error as one line of JSON to standard error, quiet or not: the name of the reason, the message, and what the node said
/// besides.
pub(crate) fn error_document(code: &str, error: &anyhow::Error) {
    let mut document = serde_json::json!({ "code": code, "message": format!("{error:#}") });
    let refusal = error.chain().find_map(|cause| match cause.downcast_ref() {
        Some(ClientError::Refused(refusal)) => Some(refusal),
        _ => None,
    });
    if let Some(refusal) = refusal {
        document["code"] = refusal.code.as_str().into();
        document["status"] = refusal.status.into();
        document["request_id"] = refusal.request_id.as_deref().into();
        document["details"] = refusal.details.clone();
    }
    let mut err = io::stderr().lock();
    let _ = writeln!(err, "{}", serde_json::json!({ "error": document }));
}

/// Says on standard error that a node takes its time.
pub(crate) fn silence(silent: Duration, limit: Option<Duration>) {
    let until = limit.map_or_else(String::new, |limit| format!(", {} s at most", limit.as_secs()));
    let mut err = io::stderr().lock();
    let _ = writeln!(err, "no answer from the node for {} s; still waiting{until}", silent.as_secs());
}

/// Prints what is wrong with a file to standard error, quiet or not: it begins with the place.
pub(crate) fn diagnostic(text: &str) {
    let mut err = std::io::stderr().lock();
    let _ = writeln!(err, "{text}");
}

/// Prints one entry.
pub fn entry(connection: &Connection, entry: &Map<String, Value>) {
    match connection.output {
        Format::Json | Format::Yaml => document_of(connection, entry),
        Format::Table => {
            let mut table = blank_table();
            let mut rows: Vec<_> = entry.iter().collect();
            rows.sort_by_key(|(name, _)| {
                COLUMNS_FIRST.iter().position(|first| first == name).unwrap_or(usize::MAX)
            });
            for (name, value) in rows {
                table.add_row([name.clone(), full(value)]);
            }
            line(&table.trim_fmt());
        }
    }
}

/// Prints entries: one document, or a table with one row each. A row shows what identifies an entry and its plain
/// values; everything is in the document.
pub fn entries(connection: &Connection, entries: &[Map<String, Value>]) {
    listing(connection, None, entries);
}

/// As [`entries`], of records of one kind.
pub fn records(connection: &Connection, kind: ResourceKind, records: &[Map<String, Value>]) {
    listing(connection, Some(kind), records);
}

/// As [`entries`], of rows that are read as sentences: nothing is left out or cut, and long cells wrap where the terminal
/// ends.
pub fn whole_entries(connection: &Connection, entries: &[Map<String, Value>]) {
    match connection.output {
        Format::Table if !entries.is_empty() => line(&whole_table(entries)),
        _ => listing(connection, None, entries),
    }
}

/// How wide the terminal is, in characters, if standard output is one.
pub fn width() -> Option<usize> {
    blank_table().width().map(usize::from)
}

/// A text whose parts go on in the line of its head as far as there is room, and then in lines of their own that are
/// indented. Without a width, all of it in one line.
pub fn hanging(
    head: &str,
    parts: impl IntoIterator<Item = String>,
    indent: usize,
    width: Option<usize>,
) -> String {
    let mut text = head.to_owned();
    let Some(width) = width else {
        parts.into_iter().for_each(|part| text.extend(["  ", &part]));
        return text;
    };
    let mut column = head.chars().count();
    for part in parts {
        let length = part.chars().count();
        let fits = column + 2 + length <= width;
        // A part that fits no line is broken between its words.
        let is_endless = indent + length > width;
        for (at, word) in part.split(' ').enumerate() {
            let length = if is_endless || at > 0 { word.chars().count() } else { length };
            let gap = if at == 0 { 2 } else { 1 };
            let stays = if is_endless { column + gap + length <= width } else { fits || at > 0 };
            if stays {
                text.push_str(&" ".repeat(gap));
                column += gap;
            } else {
                text.push('\n');
                text.push_str(&" ".repeat(indent));
                column = indent;
            }
            text.push_str(word);
            column += word.chars().count();
        }
    }
    text
}

/// A moment without the fraction of its second, which nobody reads in a row; anything else as it is.
pub(crate) fn to_the_second(text: &str) -> Cow<'_, str> {
    match text.split_once('.') {
        Some((moment, fraction))
            if moment.len() == "2026-01-01T00:00:00".len()
                && moment.as_bytes()[10] == b'T'
                && moment.bytes().all(|byte| byte.is_ascii_digit() || b"-:T".contains(&byte))
                && fraction
                    .strip_suffix('Z')
                    .is_some_and(|digits| digits.bytes().all(|byte| byte.is_ascii_digit())) =>
        {
            format!("{moment}Z").into()
        }
        _ => text.into(),
    }
}

/// A value within a line, whole; a text with blanks stands in quotes.
pub(crate) fn fact(value: &Value) -> String {
    match value {
        Value::String(text) if !text.contains(char::is_whitespace) && !text.is_empty() => text.clone(),
        Value::String(text) => format!("\"{}\"", text.replace('\n', " ")),
        Value::Array(values) => values.iter().map(fact).collect::<Vec<_>>().join(","),
        other => other.to_string(),
    }
}

/// A state or result of something, in one line: what, when, where, and what is known of it.
pub(crate) fn state(record: &Map<String, Value>) -> String {
    let text = |field: &str| record.get(field).and_then(Value::as_str);
    let what = text("state").or_else(|| text("name")).unwrap_or("?");
    let at = to_the_second(text("created_at").unwrap_or_default());
    let instance = text("instance_id").map(|id| format!("in instance {id}"));
    let metadata = record.get("metadata").and_then(Value::as_object).into_iter().flatten();
    let facts = metadata.map(|(name, value)| format!("{name}={}", fact(value)));
    let parts: Vec<_> = [what.to_owned(), at.into_owned()].into_iter().chain(instance).chain(facts).collect();
    parts.join(" ")
}

/// Says on standard error that something is done, and prints the document about it if one was asked for.
pub fn done(connection: &Connection, text: &str, document: &impl Serialize) {
    note(connection, text);
    if connection.output != Format::Table {
        document_of(connection, document);
    }
}

fn listing(connection: &Connection, kind: Option<ResourceKind>, entries: &[Map<String, Value>]) {
    match connection.output {
        Format::Json | Format::Yaml => document_of(connection, &entries),
        Format::Table if entries.is_empty() => note(connection, "nothing found"),
        Format::Table => line(&table(kind, entries)),
    }
}

/// Prints a value as the document that was asked for: YAML, or else JSON.
pub fn document_of(connection: &Connection, value: &impl Serialize) {
    match connection.output {
        Format::Yaml => line(yaml(value).trim_end()),
        Format::Json | Format::Table => line(&pretty(value)),
    }
}

/// A table with one row for each entry.
pub(crate) fn table(kind: Option<ResourceKind>, entries: &[Map<String, Value>]) -> String {
    let rows: Vec<_> = entries.iter().map(|entry| summary(kind, entry)).collect();
    let columns = columns(&rows);
    let mut table = blank_table();
    table.set_header(columns.iter().map(|column| column.to_uppercase()));
    for row in &rows {
        let cell = |column: &String| match row.get(column) {
            None => String::new(),
            Some(value) if COLUMNS_LAST.contains(&column.as_str()) => in_line(value),
            Some(value) => short(value),
        };
        table.add_row(columns.iter().map(cell));
    }
    table.trim_fmt()
}

fn whole_table(entries: &[Map<String, Value>]) -> String {
    let columns = columns(entries);
    let mut table = blank_table();
    table.set_header(columns.iter().map(|column| column.to_uppercase()));
    for entry in entries {
        table.add_row(columns.iter().map(|column| entry.get(column).map_or_else(String::new, in_line)));
    }
    table.trim_fmt()
}

/// What a row shows of an entry: what is short and says something. The fields of the status stand beside the others.
fn summary(kind: Option<ResourceKind>, entry: &Map<String, Value>) -> Map<String, Value> {
    let named_by_id = entry.get("id").is_some_and(|id| entry.get("name") == Some(id));
    let repeats_id = kind.and_then(kinds::repeats_id);
    let is_detail = |name: &str| kind.is_some_and(|kind| kinds::is_detail(kind, name));
    let shown = |name: &str, value: &Value| match name {
        "roles" | "facts" => value.as_object().is_none_or(|fields| !fields.is_empty()),
        "status" => value.is_string(),
        "name" if named_by_id || entry.get("state") == Some(value) => false,
        _ if is_detail(name) => false,
        _ if COLUMNS_LEFT_OUT.contains(&name) || Some(name) == repeats_id => false,
        _ => is_short(value),
    };
    let own = entry.iter().filter(|(name, value)| shown(name, value));
    let found = entry.get("status").and_then(Value::as_object).into_iter().flatten();
    let is_found = |name: &str, value: &Value| match name {
        // However long: it is why the others look at the row.
        "reason" => value.is_string(),
        name => is_short(value) && !is_detail(name),
    };
    let found = found.filter(|(name, value)| is_found(name, value) && !entry.contains_key(*name));
    own.chain(found).map(|(name, value)| (name.clone(), value.clone())).collect()
}

/// Whether a value fits a cell: no list, no document, no nested fields.
fn is_short(value: &Value) -> bool {
    let plain = |value: &Value| match value {
        Value::String(text) => text.len() <= TEXT_LEN_MAX && !text.contains('\n') && document(text).is_none(),
        Value::Number(_) | Value::Bool(_) => true,
        Value::Null | Value::Array(_) | Value::Object(_) => false,
    };
    match value {
        Value::Object(fields) => !fields.is_empty() && fields.values().all(plain),
        value => plain(value),
    }
}

fn blank_table() -> Table {
    let mut table = Table::new();
    table.load_style(presets::NOTHING).set_content_arrangement(ContentArrangement::Dynamic);
    table
}

/// The names of all fields. One that the first entries lack stands behind the field that it follows where it is.
fn columns(entries: &[Map<String, Value>]) -> Vec<String> {
    let mut names: Vec<&str> = Vec::new();
    for entry in entries {
        let mut next = 0;
        for name in entry.keys() {
            next = match names.iter().position(|known| known == name) {
                Some(at) => at + 1,
                None => {
                    names.insert(next, name);
                    next + 1
                }
            };
        }
    }
    names.sort_by_key(|name| {
        let first = COLUMNS_FIRST.iter().position(|first| first == name);
        let last = COLUMNS_LAST.iter().position(|last| last == name);
        match (first, last) {
            (Some(at), _) => (0, at),
            (None, None) => (1, 0),
            (None, Some(at)) => (2, at),
        }
    });
    names.into_iter().map(str::to_owned).collect()
}

fn short(value: &Value) -> String {
    let text = in_line(value);
    if text.chars().count() <= CELL_WIDTH_MAX {
        return text;
    }
    text.chars().take(CELL_WIDTH_MAX - 1).chain(['…']).collect()
}

fn in_line(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => to_the_second(text).replace('\n', " "),
        Value::Array(values) => values.iter().map(short).collect::<Vec<_>>().join(", "),
        Value::Object(fields) => fields
            .iter()
            .map(|(name, value)| format!("{name}={}", short(value)))
            .collect::<Vec<_>>()
            .join(" "),
        other => other.to_string(),
    }
}

fn full(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => match document(text) {
            Some(document) => pretty(&document),
            None => text.trim_end().to_owned(),
        },
        Value::Object(fields) if fields.values().all(|value| value.is_number() || value.is_boolean()) => {
            in_line(value)
        }
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

fn pretty(value: &impl Serialize) -> String {
    serde_json::to_string_pretty(value).expect("plain data with text keys can be written")
}

pub(crate) fn yaml(value: &impl Serialize) -> String {
    let options = serde_saphyr::ser_options! { folded_wrap_chars: usize::MAX };
    serde_saphyr::to_string_with_options(value, options).expect("plain data with text keys can be written")
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
    fn a_row_of_an_instance_says_why_it_ended_and_fits_a_terminal() {
        let hash = "6".repeat(64);
        let reason = "the instance was ended by signal 9 ".repeat(5);
        let entry = serde_json::json!({
            "id": "552ae472-9502-48a5-b668-980dcf970d4c", "function": "means", "owner": "ada", "state": "failed",
            "created_at": "2026-11-21T12:39:51.999846Z",
            "status": {
                "state": "failed", "address": "127.0.0.1:46309", "measurement": hash, "policy_hash": hash,
                "node": "66847c39-28f2-4142-ba1d-142a2405dcb5", "evidence": "insecure-software", "reason": reason,
            },
        });
        let shown = table(Some(ResourceKind::Instance), &[entry.as_object().unwrap().clone()]);
        assert!(
            shown.contains(reason.trim()) && shown.contains("12:39:51Z") && !shown.contains("6666"),
            "{shown}"
        );
        let widest = shown.lines().map(|line| line.find("REASON").unwrap_or_default()).max();
        assert!(widest.is_some_and(|at| at <= 110), "{shown}");
    }

    #[test]
    fn what_a_line_has_no_room_for_goes_on_below_it() {
        let check = |parts: &[&str], width, expected| {
            let parts = parts.iter().map(|part| (*part).to_owned());
            assert_eq!(hanging("head", parts, 2, width), expected);
        };
        check(&["a b", "c"], None, "head  a b  c");
        check(&["a b", "c"], Some(12), "head  a b  c");
        check(&["a b", "c"], Some(11), "head  a b\n  c");
        check(&["a b", "c"], Some(8), "head\n  a b  c");
        check(&["aa bb cc", "d"], Some(7), "head\n  aa bb\n  cc  d");
        check(&["abcdefghij"], Some(8), "head\n  abcdefghij");
    }

    #[test]
    fn only_moments_lose_their_fraction() {
        assert_eq!(to_the_second("2026-11-21T12:39:51.999846Z"), "2026-11-21T12:39:51Z");
        for other in ["2026-11-21T12:39:51Z", "1.5Z", "a.b", "2026-11-21T12:39:51.x9Z", ""] {
            assert_eq!(to_the_second(other), other);
        }
    }

    #[test]
    fn what_identifies_comes_first_and_long_cells_are_cut() {
        let entry = serde_json::json!({ "description": "x".repeat(100), "id": "a" });
        let entry = entry.as_object().unwrap().clone();
        assert_eq!(columns(std::slice::from_ref(&entry)), ["id", "description"]);
        assert_eq!(short(&entry["description"]).chars().count(), CELL_WIDTH_MAX);
    }

    #[test]
    fn a_field_that_the_first_entry_lacks_keeps_its_place() {
        let check = |entries: Value, expected: &[&str]| {
            let entries = entries.as_array().unwrap().iter().map(|entry| entry.as_object().unwrap().clone());
            assert_eq!(columns(&entries.collect::<Vec<_>>()), expected);
        };
        let (whole, lacking) =
            (serde_json::json!({ "a": 1, "b": 2, "c": 3 }), serde_json::json!({ "a": 1, "c": 3 }));
        check(serde_json::json!([whole, lacking]), &["a", "b", "c"]);
        check(serde_json::json!([lacking, whole]), &["a", "b", "c"]);
        check(serde_json::json!([{ "c": 3 }, whole, { "b": 1, "id": 2 }]), &["id", "a", "b", "c"]);
    }

    #[test]
    fn a_table_of_sentences_shows_them_whole() {
        for rights in [534_084, 550_470, (1 << 30) - 1] {
            let may = cm_instance::explain::in_words(cm_instance::Rights::from_bits_truncated(rights));
            let entry = serde_json::json!({ "file": "f".repeat(70), "may": may, "rights": rights });
            let shown = whole_table(&[entry.as_object().unwrap().clone()]);
            let words = |text: &str| text.split_whitespace().map(str::to_owned).collect::<Vec<_>>();
            for word in words(&may) {
                assert!(words(&shown).contains(&word), "{word}: {shown}");
            }
            assert!(!shown.contains('…'), "{shown}");
        }
    }

    fn check_row(kind: Option<ResourceKind>, entry: Value, expected: Value) {
        assert_eq!(Value::Object(summary(kind, entry.as_object().unwrap())), expected);
    }

    #[test]
    fn a_row_shows_short_values_and_what_the_platform_found() {
        check_row(
            Some(ResourceKind::Function),
            serde_json::json!({
                "id": "f", "name": "f", "function_id": "f", "microservice_id": "f", "labels": {}, "generation": 3,
                "resources": { "cpu": 2, "ram": "2GB" }, "confidential": { "policy": "{\"programs\":[]}" },
                "deployment_status": "completed", "status": { "deployment_status": "completed", "port": 3 },
                "storage": { "source": { "path": "/a" } }, "status_of": null,
            }),
            serde_json::json!({
                "id": "f", "microservice_id": "f", "resources": { "cpu": 2, "ram": "2GB" },
                "deployment_status": "completed", "port": 3,
            }),
        );
        check_row(
            None,
            serde_json::json!({ "seq": 1, "facts": { "deep": { "er": 1 } }, "request": "x", "roles": ["a"] }),
            serde_json::json!({ "seq": 1, "facts": { "deep": { "er": 1 } }, "roles": ["a"] }),
        );
    }
}
