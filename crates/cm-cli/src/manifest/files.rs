//! Files of declarations: read, judged together, and shown with what is wrong in them.

use std::collections::{HashMap, HashSet};
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};

use cm_client::manifests::{DeclaredResource, Place};
use cm_manifest::{Declared, FILE_LEN_MAX, Manifest, Position, Problem};
use cm_types::{ResourceKind, ResourceRef};
use serde_json::{Map, json};

use crate::{Connection, UsageError, output};

/// Longest part of a line that is shown beside what is wrong with it, in characters.
const SHOWN_CHARS_MAX: usize = 160;

/// A file and what it declares.
struct File {
    source: Source,
    manifest: Manifest,
}

/// The text of a file, and what people call it.
struct Source {
    name: String,
    bytes: Vec<u8>,
}

/// All files of one command. None of them has an error.
pub(super) struct Files {
    files: Vec<File>,
    /// Roles that embedded policies name and no file declares, with the file and the place.
    roles: Vec<(String, usize, Position)>,
}

/// Reads the files. `None` when something is wrong with one of them, which has been shown then: everything that is, in
/// all of them.
pub(super) fn read(paths: &[PathBuf]) -> anyhow::Result<Option<Files>> {
    if paths.iter().filter(|path| path.as_os_str() == "-").count() > 1 {
        return Err(UsageError("standard input can be read once only".to_owned()).into());
    }
    let sources = paths.iter().map(|path| source(path)).collect::<anyhow::Result<Vec<_>>>()?;
    let mut files = Vec::new();
    let mut problems = 0;
    for source in sources {
        match Manifest::parse(&source.bytes) {
            Ok(manifest) => files.push(File { source, manifest }),
            Err(refused) => {
                for Problem { at, reason } in &refused.problems {
                    source.show("", *at, &reason.to_string());
                }
                problems += refused.problems.len() + refused.omitted;
            }
        }
    }
    if problems == 0 {
        problems = show_repeated(&files);
    }
    if problems > 0 {
        let them = if problems == 1 { "1 problem".to_owned() } else { format!("{problems} problems") };
        output::error(&format!("{them}; nothing was sent"));
        return Ok(None);
    }
    let roles = undeclared_roles(&files);
    Ok(Some(Files { files, roles }))
}

fn source(path: &Path) -> anyhow::Result<Source> {
    let mut bytes = Vec::new();
    // One byte more shows that it is too long.
    let limit = FILE_LEN_MAX as u64 + 1;
    let (name, outcome) = if path.as_os_str() == "-" {
        ("<stdin>".to_owned(), std::io::stdin().lock().take(limit).read_to_end(&mut bytes))
    } else {
        let read = std::fs::File::open(path).and_then(|file| file.take(limit).read_to_end(&mut bytes));
        (path.display().to_string(), read)
    };
    outcome.map_err(|error| UsageError(format!("cannot read {name}: {error}")))?;
    Ok(Source { name, bytes })
}

/// What one file declares and another one too, which each file for itself cannot know.
fn show_repeated(files: &[File]) -> usize {
    let mut declared: HashMap<(ResourceKind, &str), (&File, Position)> = HashMap::new();
    let mut repeated = 0;
    for file in files {
        for resource in file.manifest.resources() {
            let identity = (resource.kind, resource.id.as_str());
            if let Some((first, at)) = declared.get(&identity) {
                let resource_name = ResourceRef::new(resource.kind, &resource.id);
                let reason = format!("{resource_name} is already declared at {}:{at}", first.source.name);
                file.source.show("", resource.at, &reason);
                repeated += 1;
            } else {
                declared.insert(identity, (file, resource.at));
            }
        }
    }
    repeated
}

fn undeclared_roles(files: &[File]) -> Vec<(String, usize, Position)> {
    let resources = files.iter().flat_map(|file| file.manifest.resources());
    let roles = resources.filter(|resource| resource.kind == ResourceKind::Role);
    let mut known: HashSet<String> = roles.map(|role| role.id.clone()).collect();
    let mut undeclared = Vec::new();
    for (index, file) in files.iter().enumerate() {
        for (role, at) in file.manifest.undeclared_roles() {
            if known.insert(role.to_string()) {
                undeclared.push((role.to_string(), index, at));
            }
        }
    }
    undeclared
}

impl Files {
    /// Roles that nobody declares; they come first in what is sent.
    pub(super) fn roles(&self) -> &[(String, usize, Position)] {
        &self.roles
    }

    /// What is sent to the node: the roles that nobody declares, then what the files declare, one after the other.
    pub(super) fn sent(&self) -> Vec<DeclaredResource> {
        let role = |(id, ..): &(String, usize, Position)| DeclaredResource {
            kind: ResourceKind::Role,
            id: id.clone(),
            name: None,
            labels: None,
            spec: Map::from_iter([("permissions".to_owned(), json!([]))]),
            if_absent: true,
        };
        let resources = self.files.iter().flat_map(|file| file.manifest.resources());
        self.roles.iter().map(role).chain(resources.map(declared)).collect()
    }

    /// Shows what has no effect, unless nothing but results is wanted.
    pub(super) fn show_warnings(&self, connection: &Connection) {
        if connection.quiet {
            return;
        }
        for file in &self.files {
            for Problem { at, reason } in file.manifest.warnings() {
                file.source.show("warning: ", *at, &reason.to_string());
            }
        }
    }

    /// Shows what the node refused where it stands. `false` if that is nowhere.
    pub(super) fn show_refusal(&self, place: &Place) -> bool {
        if let Some((_, file, at)) = self.roles.get(place.index) {
            for (_, reason) in &place.findings {
                self.files[*file].source.show("", *at, reason);
            }
            return true;
        }
        let mut index = place.index - self.roles.len();
        for File { source, manifest } in &self.files {
            let Some(resource) = manifest.resources().get(index) else {
                index -= manifest.resources().len();
                continue;
            };
            for (path, reason) in &place.findings {
                let at = if path.is_empty() { None } else { manifest.locate(index, path) };
                let about = if path.is_empty() || reason.contains(path.as_str()) {
                    reason.clone()
                } else {
                    format!("{path}: {reason}")
                };
                source.show("", at.unwrap_or(resource.at), &about);
            }
            return true;
        }
        false
    }
}

fn declared(resource: &Declared) -> DeclaredResource {
    let Declared { kind, id, name, labels, spec, at: _ } = resource.clone();
    // A file that writes no labels says nothing of them.
    let labels = Some(labels).filter(|labels| !labels.is_empty());
    DeclaredResource { kind, id, name, labels, spec, if_absent: false }
}

impl Source {
    /// `FILE:LINE:COLUMN: reason` on standard error, and on a terminal the line with the place.
    fn show(&self, severity: &str, at: Position, reason: &str) {
        let mut text = format!("{}:{at}: {severity}{reason}", self.name);
        if std::io::stderr().is_terminal()
            && let Some(excerpt) = self.excerpt(at)
        {
            text.push('\n');
            text.push_str(&excerpt);
        }
        output::diagnostic(&text);
    }

    /// The line and a caret below the column.
    fn excerpt(&self, at: Position) -> Option<String> {
        let line = self.bytes.split(|byte| *byte == b'\n').nth(at.line.checked_sub(1)?)?;
        let line = String::from_utf8_lossy(line);
        let shown = |c: char| if c.is_control() { ' ' } else { c };
        let column = at.column.checked_sub(1)?;
        // Of a long line, the part that ends with the place.
        let skipped = (column + 1).saturating_sub(SHOWN_CHARS_MAX);
        let part: String = line.chars().skip(skipped).take(SHOWN_CHARS_MAX).map(shown).collect();
        Some(format!("    {}\n    {:>width$}", part.trim_end(), '^', width = column - skipped + 1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_excerpt(text: &str, line: usize, column: usize, expected: Option<&str>) {
        let source = Source { name: "f".into(), bytes: text.as_bytes().to_vec() };
        assert_eq!(source.excerpt(Position { line, column }).as_deref(), expected, "{text}");
    }

    #[test]
    fn a_place_is_shown_below_its_line() {
        check_excerpt("a: b\nc: d\n", 2, 4, Some("    c: d\n       ^"));
        check_excerpt("a:\tü\x07\r\n", 1, 4, Some("    a: ü\n       ^"));
        check_excerpt("a", 1, 2, Some("    a\n     ^"));
        check_excerpt("a", 7, 1, None);
        let long = "x".repeat(500);
        let shown = format!("    {}\n    {}^", "x".repeat(160), " ".repeat(159));
        check_excerpt(&long, 1, 400, Some(&shown));
    }

    fn file(name: &str, text: &str) -> File {
        let manifest = Manifest::parse(text.as_bytes()).unwrap();
        File { source: Source { name: name.into(), bytes: text.as_bytes().to_vec() }, manifest }
    }

    #[test]
    fn roles_that_no_file_declares_come_first_and_only_once() {
        let policy = "{security_policy: {roles: [a, b], requires_authentication: true}}";
        let one = file("one", &format!("services: {{s: {policy}}}\n"));
        let other = file("other", &format!("roles: {{b: }}\nservices: {{t: {policy}}}\n"));
        let files = vec![one, other];
        let roles = undeclared_roles(&files);
        let files = Files { files, roles };
        let sent = files.sent();
        let ids: Vec<_> = sent.iter().map(|one| (one.id.as_str(), one.if_absent)).collect();
        assert_eq!(ids, [("a", true), ("s", false), ("b", false), ("t", false)]);
        assert!(!files.show_refusal(&Place { index: 4, findings: Vec::new() }));
        assert!(files.show_refusal(&Place { index: 3, findings: Vec::new() }));
    }

    #[test]
    fn what_two_files_declare_is_found() {
        assert_eq!(show_repeated(&[file("a", "roles: {r: }\n"), file("b", "roles: {q: , r: }\n")]), 1);
        assert_eq!(show_repeated(&[file("a", "roles: {r: }\n"), file("b", "buckets: {r: }\n")]), 0);
    }
}
