//! Crates are named for what they provide: a name that says nothing collects everything.

use super::{Finding, SourceFile};

const EMPTY_NAMES: &[&str] = &["common", "util", "utils", "base", "core", "helpers", "shared", "misc"];

/// Objects to crates whose name, without our prefix, says nothing.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    let mut findings = Vec::new();
    for file in files {
        let path = file.path.to_string_lossy();
        let Some(name) = path.strip_prefix("crates/").and_then(|rest| rest.strip_suffix("/Cargo.toml"))
        else {
            continue;
        };
        if EMPTY_NAMES.contains(&name.strip_prefix("cm-").unwrap_or(name)) {
            let message = format!("a crate named `{name}` collects everything: name it for what it provides");
            findings.push(Finding::error(&file.path, 0, message));
        }
    }
    findings
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    #[test]
    fn an_empty_name_is_found() {
        let count = |path: &str| check(&[file(path, "")]).len();
        assert_eq!(count("crates/cm-common/Cargo.toml"), 1);
        assert_eq!(count("crates/util/Cargo.toml"), 1);
        assert_eq!(count("crates/cm-policy/Cargo.toml"), 0);
    }
}
