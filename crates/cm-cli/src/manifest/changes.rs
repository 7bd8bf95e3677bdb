//! What becomes of what is declared, for people and for programs.

use std::io::IsTerminal;

use cm_client::manifests::{Applied, Effect, FieldDifference};
use serde::Serialize;
use serde_json::Value;

use crate::{Connection, Format, output};

/// Longest value that is shown whole, in characters.
const VALUE_CHARS_MAX: usize = 80;
/// How much of what two long values have in common is shown before they differ, in characters.
const COMMON_CHARS: usize = 16;

const GREEN: &str = "\u{1b}[32m";
const YELLOW: &str = "\u{1b}[33m";
const PLAIN: &str = "\u{1b}[0m";

#[derive(Serialize)]
struct Report<'a> {
    dry_run: bool,
    created: usize,
    changed: usize,
    unchanged: usize,
    resources: &'a [Applied],
}

/// Prints what was done, or with `dry_run` what would be.
pub(super) fn show(connection: &Connection, applied: &[Applied], dry_run: bool) {
    let count = |effect| applied.iter().filter(|one| one.effect == effect).count();
    let report = Report {
        dry_run,
        created: count(Effect::Created),
        changed: count(Effect::Changed),
        unchanged: count(Effect::Unchanged),
        resources: applied,
    };
    match connection.output {
        Format::Json | Format::Yaml => output::document_of(connection, &report),
        Format::Table => {
            // NO_COLOR: https://no-color.org
            let colours = std::io::stdout().is_terminal()
                && std::env::var_os("NO_COLOR").is_none_or(|set| set.is_empty());
            output::line(text(&report, colours).trim_end());
        }
    }
}

fn text(report: &Report<'_>, colours: bool) -> String {
    let paint = |colour, text: String| if colours { format!("{colour}{text}{PLAIN}") } else { text };
    let mut text = String::new();
    for one in report.resources {
        let name = format!("{}/{}", one.kind, one.id);
        match one.effect {
            Effect::Created => text += &paint(GREEN, format!("+ {name}\n")),
            Effect::Changed => {
                text += &paint(YELLOW, format!("~ {name}\n"));
                for change in &one.changes {
                    text += &format!("    {}\n", described(change));
                }
            }
            Effect::Unchanged => {}
        }
    }
    let Report { dry_run, created, changed, unchanged, resources: _ } = report;
    text += &if *dry_run {
        format!("{created} to create, {changed} to change, {unchanged} unchanged\n")
    } else {
        format!("{created} created, {changed} changed, {unchanged} unchanged\n")
    };
    text
}

/// `resources.ram: 512MB -> 1GB`
fn described(change: &FieldDifference) -> String {
    let FieldDifference { path, before, after } = change;
    let (before, after) = (value(before), value(after));
    let common = before.chars().zip(after.chars()).take_while(|(left, right)| left == right).count();
    let skipped = common.saturating_sub(COMMON_CHARS);
    format!("{path}: {} -> {}", shortened(&before, skipped), shortened(&after, skipped))
}

/// A text as it is where that is one word of one line, anything else as JSON.
fn value(value: &Value) -> String {
    match value {
        Value::Null => "(none)".to_owned(),
        Value::String(text)
            if !text.is_empty() && !text.starts_with(['"', '(', ' ']) && !text.contains(char::is_control) =>
        {
            text.clone()
        }
        other => other.to_string(),
    }
}

/// A value, or of a long one the part in which it differs from the other.
fn shortened(value: &str, skipped: usize) -> String {
    if value.chars().count() <= VALUE_CHARS_MAX {
        return value.to_owned();
    }
    let mut shown: String = value.chars().skip(skipped).take(VALUE_CHARS_MAX).collect();
    if skipped > 0 {
        shown.insert(0, '…');
    }
    if value.chars().count() > skipped + VALUE_CHARS_MAX {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use cm_types::ResourceKind;
    use serde_json::json;

    use super::*;

    fn check(before: Value, after: Value, expected: &str) {
        assert_eq!(described(&FieldDifference { path: "p".to_owned(), before, after }), expected);
    }

    #[test]
    fn a_change_says_before_and_after() {
        check(json!("512MB"), json!("1GB"), "p: 512MB -> 1GB");
        check(Value::Null, json!(2), "p: (none) -> 2");
        check(json!(["a"]), json!([]), "p: [\"a\"] -> []");
        check(json!(""), json!("(none)"), "p: \"\" -> \"(none)\"");
        check(json!("a\nb\u{1b}"), json!(" x"), "p: \"a\\nb\\u001b\" -> \" x\"");
        let long = |end: &str| json!("x".repeat(200) + end);
        check(long("a"), long("b"), &format!("p: …{0}a -> …{0}b", "x".repeat(16)));
        check(json!("a"), json!("y".repeat(100)), &format!("p: a -> {}…", "y".repeat(80)));
    }

    #[test]
    fn what_does_not_change_is_only_counted() {
        let one = |id: &str, effect, changes: &[(&str, Value, Value)]| Applied {
            kind: ResourceKind::Service,
            id: id.to_owned(),
            effect,
            changes: changes
                .iter()
                .map(|(path, before, after)| FieldDifference {
                    path: (*path).to_owned(),
                    before: before.clone(),
                    after: after.clone(),
                })
                .collect(),
        };
        let resources = [
            one("a", Effect::Created, &[]),
            one("b", Effect::Changed, &[("name", json!("B"), json!("C"))]),
            one("c", Effect::Unchanged, &[]),
        ];
        let mut report =
            Report { dry_run: true, created: 1, changed: 1, unchanged: 1, resources: &resources };
        let shown = "+ service/a\n~ service/b\n    name: B -> C\n1 to create, 1 to change, 1 unchanged\n";
        assert_eq!(text(&report, false), shown);
        report.dry_run = false;
        let coloured = text(&report, true);
        assert!(coloured.contains("\u{1b}[32m+ service/a\n\u{1b}[0m"), "{coloured:?}");
        assert!(coloured.ends_with("1 created, 1 changed, 1 unchanged\n"), "{coloured:?}");
    }
}
