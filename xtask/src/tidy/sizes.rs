//! One noun per file: below 500 lines, never above 1000.

use super::{Finding, SourceFile};

const LINES_AIM: usize = 500;
const LINES_MAX: usize = 1000;
/// Files that people write and read. Generated ones (lock files, the API description) have other ends.
const ENDINGS: &[&str] = &["rs", "md", "toml", "sh", "py", "js", "css", "html", "proto", "sql"];

/// Objects to long files.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let ending = file.path.extension().unwrap_or_default().to_string_lossy();
        let lines = file.text.lines().count();
        if !ENDINGS.contains(&ending.as_ref()) || lines <= LINES_AIM {
            continue;
        }
        let message =
            format!("{lines} lines: one noun per file, aim below {LINES_AIM}, at most {LINES_MAX}: split it");
        findings.push(if lines > LINES_MAX {
            Finding::error(&file.path, LINES_MAX + 1, message)
        } else {
            Finding::warning(&file.path, LINES_AIM + 1, message)
        });
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::{Severity, file};
    use super::*;

    fn severity(path: &str, lines: usize) -> Option<Severity> {
        check(&[file(path, &"x\n".repeat(lines))]).first().map(|finding| finding.severity)
    }

    #[test]
    fn long_files_are_found() {
        assert_eq!(severity("a.rs", 500), None);
        assert_eq!(severity("a.rs", 501), Some(Severity::Warning));
        assert_eq!(severity("a.rs", 1000), Some(Severity::Warning));
        assert_eq!(severity("a.rs", 1001), Some(Severity::Error));
        assert_eq!(severity("Cargo.lock", 9000), None);
    }
}
