//! `xtask tidy`: the rules that compilers do not know.
//!
//! One module per rule. A rule takes facts (file contents, package metadata) and returns findings, so that its tests
//! run on fixtures; this file gathers the facts and prints the findings as `file:line: what to do`.

mod docs;
mod layers;
mod manifests;
mod names;
mod sizes;
mod words;

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};

use crate::shell;

/// Something that a rule objects to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Finding {
    path: PathBuf,
    /// Counted from one; zero means the whole file.
    line: usize,
    severity: Severity,
    message: String,
}

/// Whether a finding fails the task.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Severity {
    Error,
    Warning,
}

impl Finding {
    fn error(path: &Path, line: usize, message: impl Into<String>) -> Self {
        Self { path: path.to_owned(), line, severity: Severity::Error, message: message.into() }
    }

    fn warning(path: &Path, line: usize, message: impl Into<String>) -> Self {
        Self { severity: Severity::Warning, ..Self::error(path, line, message) }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let word = match self.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        write!(f, "{}:{}: {word}: {}", self.path.display(), self.line.max(1), self.message)
    }
}

/// A text file of the work tree.
pub(crate) struct SourceFile {
    /// From the root.
    path: PathBuf,
    text: String,
}

/// Applies every rule and fails when one finds an error.
pub(crate) fn run() -> Result<()> {
    let files = read_files()?;
    let mut findings = Vec::new();
    findings.extend(layers::check(shell::root())?);
    findings.extend(names::check(&files));
    findings.extend(manifests::check(&files));
    findings.extend(sizes::check(&files));
    findings.extend(docs::check(&files));
    findings.extend(words::check(&files));
    findings.sort();
    report(&findings)
}

fn report(findings: &[Finding]) -> Result<()> {
    for finding in findings {
        eprintln!("{finding}");
    }
    let errors = findings.iter().filter(|finding| finding.severity == Severity::Error).count();
    if errors > 0 {
        bail!("tidy: {errors} errors, {} warnings", findings.len() - errors);
    }
    eprintln!("tidy: no errors, {} warnings", findings.len());
    Ok(())
}

/// Reads the files that are text; others (built programs, certificates in DER) obey no rule here.
fn read_files() -> Result<Vec<SourceFile>> {
    let mut files = Vec::new();
    for path in shell::work_tree_files()? {
        let bytes = match std::fs::read(shell::root().join(&path)) {
            Ok(bytes) => bytes,
            // Removed between the listing and now.
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => continue,
            Err(error) => return Err(error).with_context(|| format!("cannot read {}", path.display())),
        };
        if let Ok(text) = String::from_utf8(bytes) {
            files.push(SourceFile { path, text });
        }
    }
    Ok(files)
}

/// The line of the first line that satisfies `matches`, counted from one; one when there is none.
fn line_where(text: &str, matches: impl Fn(&str) -> bool) -> usize {
    text.lines().position(matches).map_or(1, |index| index + 1)
}

#[cfg(test)]
fn file(path: &str, text: &str) -> SourceFile {
    SourceFile { path: path.into(), text: text.to_owned() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn errors_fail_and_warnings_do_not() {
        let path = Path::new("a.rs");
        assert!(report(&[Finding::warning(path, 3, "long")]).is_ok());
        assert!(report(&[Finding::error(path, 3, "longer")]).is_err());
        assert_eq!(Finding::error(path, 3, "do this").to_string(), "a.rs:3: error: do this");
    }
}
