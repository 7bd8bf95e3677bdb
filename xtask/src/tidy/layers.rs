//! Arrows between our crates: the `deps` block of `docs/ARCHITECTURE.md` against the manifests.
//!
//! A line of the block is `crate: dependency dependency`; `crate: *` allows everything; lines that start with `#` are
//! comments. Tests may name more than the code: whatever the crate already builds on through permitted arrows, and the
//! crates that exist for proofs. They still cannot name what lies above or beside it.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use cargo_metadata::{DependencyKind, Metadata, MetadataCommand};

use super::{Finding, line_where};

const DOCUMENT: &str = "docs/ARCHITECTURE.md";
/// Crates that exist for tests: everybody's tests may use them.
const PROOF_CRATES: &[&str] = &["cm-sim", "cm-testkit"];

/// What a crate may depend on.
#[derive(Debug, PartialEq, Eq)]
enum Arrows {
    Everything,
    Only(BTreeSet<String>),
}

/// A dependency of one of our crates on another.
#[derive(Debug)]
struct Arrow {
    from: String,
    to: String,
    development: bool,
    /// From the root.
    manifest: PathBuf,
    line: usize,
}

/// Compares the block with the manifests of the workspace.
pub(super) fn check(root: &Path) -> Result<Vec<Finding>> {
    let text =
        std::fs::read_to_string(root.join(DOCUMENT)).with_context(|| format!("cannot read {DOCUMENT}"))?;
    let (permitted, mut findings) = parse(&text);
    let metadata = MetadataCommand::new().manifest_path(root.join("Cargo.toml")).no_deps().exec()?;
    let (crates, arrows) = arrows(&metadata, root)?;
    for name in &crates {
        if !permitted.contains_key(name) {
            let message = format!(
                "`{name}` has no line in the `deps` block: add one, with a decision record in docs/adr/"
            );
            findings.push(Finding::error(Path::new(DOCUMENT), block_line(&text), message));
        }
    }
    findings.extend(compare(&permitted, &arrows));
    Ok(findings)
}

fn block_line(text: &str) -> usize {
    line_where(text, |line| line.trim() == "```deps")
}

/// Reads the block. A line that is not of the form, or a crate twice, is a finding.
fn parse(text: &str) -> (BTreeMap<String, Arrows>, Vec<Finding>) {
    let document = Path::new(DOCUMENT);
    let mut permitted = BTreeMap::new();
    let mut findings = Vec::new();
    let mut inside = false;
    let mut seen = false;
    for (index, line) in text.lines().enumerate().map(|(index, line)| (index + 1, line.trim())) {
        match line {
            "```deps" => (inside, seen) = (true, true),
            "```" => inside = false,
            _ if !inside || line.is_empty() || line.starts_with('#') => {}
            _ => match line.split_once(':') {
                Some((name, rest)) => {
                    let arrows = match rest.trim() {
                        "*" => Arrows::Everything,
                        rest => Arrows::Only(rest.split_whitespace().map(str::to_owned).collect()),
                    };
                    if permitted.insert(name.trim().to_owned(), arrows).is_some() {
                        findings.push(Finding::error(
                            document,
                            index,
                            format!("`{name}` has two lines: join them"),
                        ));
                    }
                }
                None => {
                    findings.push(Finding::error(document, index, "write `crate: dependency dependency`"))
                }
            },
        }
    }
    if !seen {
        findings.push(Finding::error(document, 0, "the block that starts with ```deps is missing"));
    }
    (permitted, findings)
}

/// The workspace's crates, and the dependencies between them.
fn arrows(metadata: &Metadata, root: &Path) -> Result<(BTreeSet<String>, Vec<Arrow>)> {
    let packages = metadata.workspace_packages();
    let crates: BTreeSet<String> = packages.iter().map(|package| package.name.to_string()).collect();
    let mut arrows = Vec::new();
    for package in packages {
        let manifest = package.manifest_path.as_std_path();
        let text = std::fs::read_to_string(manifest)
            .with_context(|| format!("cannot read {}", manifest.display()))?;
        for dependency in package.dependencies.iter().filter(|dependency| crates.contains(&dependency.name)) {
            arrows.push(Arrow {
                from: package.name.to_string(),
                to: dependency.name.clone(),
                development: dependency.kind == DependencyKind::Development,
                manifest: manifest.strip_prefix(root).unwrap_or(manifest).to_owned(),
                line: line_where(&text, |line| names_dependency(line, &dependency.name)),
            });
        }
    }
    Ok((crates, arrows))
}

fn names_dependency(line: &str, name: &str) -> bool {
    line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['.', ' ', '=']))
}

fn compare(permitted: &BTreeMap<String, Arrows>, arrows: &[Arrow]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for arrow in arrows {
        let allowed = match permitted.get(&arrow.from) {
            Some(Arrows::Everything) => true,
            Some(Arrows::Only(names)) if !arrow.development => names.contains(&arrow.to),
            Some(Arrows::Only(_)) => {
                PROOF_CRATES.contains(&arrow.to.as_str()) || reaches(permitted, &arrow.from, &arrow.to)
            }
            // The missing line is a finding of its own.
            None => true,
        };
        if !allowed {
            let message = format!(
                "`{}` may not depend on `{}`: remove the dependency, or add the arrow to {DOCUMENT} with a decision \
                 record in docs/adr/",
                arrow.from, arrow.to
            );
            findings.push(Finding::error(&arrow.manifest, arrow.line, message));
        }
    }
    findings
}

/// Whether a chain of permitted arrows leads from one crate to the other.
fn reaches(permitted: &BTreeMap<String, Arrows>, from: &str, to: &str) -> bool {
    let mut seen = BTreeSet::new();
    let mut open = vec![from];
    while let Some(name) = open.pop() {
        match permitted.get(name) {
            Some(Arrows::Everything) => return true,
            Some(Arrows::Only(names)) => {
                open.extend(names.iter().map(String::as_str).filter(|name| seen.insert(*name)))
            }
            None => {}
        }
    }
    seen.contains(to)
}

#[cfg(test)]
mod tests;
