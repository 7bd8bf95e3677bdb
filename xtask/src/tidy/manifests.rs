//! Manifests take versions from the workspace, so that a crate is upgraded in one place and never twice in the tree.

use std::path::Path;

use toml::{Table, Value};

use super::{Finding, SourceFile, line_where};

const PACKAGE_FIELDS: &[&str] = &["version", "edition", "rust-version", "license", "publish"];
const DEPENDENCY_TABLES: &[&str] = &["dependencies", "dev-dependencies", "build-dependencies"];

/// Objects to members of the workspace that state a version themselves.
pub(super) fn check(files: &[SourceFile]) -> Vec<Finding> {
    files.iter().filter(|file| is_member(&file.path)).flat_map(check_manifest).collect()
}

fn is_member(path: &Path) -> bool {
    let path = path.to_string_lossy();
    let in_crates =
        path.starts_with("crates/") && path.matches('/').count() == 2 && path.ends_with("/Cargo.toml");
    in_crates || path == "xtask/Cargo.toml"
}

fn check_manifest(file: &SourceFile) -> Vec<Finding> {
    let manifest = match file.text.parse::<Table>() {
        Ok(manifest) => manifest,
        Err(error) => {
            return vec![Finding::error(&file.path, 0, format!("not a manifest: {}", error.message()))];
        }
    };
    let mut findings = Vec::new();
    let package = manifest.get("package").and_then(Value::as_table);
    for field in PACKAGE_FIELDS {
        if !package.and_then(|package| package.get(*field)).is_some_and(is_from_workspace) {
            let line = line_where(&file.text, |line| line.starts_with(field));
            findings.push(Finding::error(
                &file.path,
                line,
                format!("write `{field}.workspace = true` under [package]"),
            ));
        }
    }
    if !manifest.get("lints").is_some_and(is_from_workspace) {
        findings.push(Finding::error(&file.path, 0, "add the section [lints] with `workspace = true`"));
    }
    for table in dependency_tables(&manifest) {
        for (name, value) in table {
            if !is_from_workspace(value) {
                let line = line_where(&file.text, |line| line.trim_start().starts_with(name.as_str()));
                let message = format!(
                    "write `{name}.workspace = true` and put the version into [workspace.dependencies] of the root"
                );
                findings.push(Finding::error(&file.path, line, message));
            }
        }
    }
    findings
}

/// The dependency tables of all kinds, also those for some targets only.
fn dependency_tables(manifest: &Table) -> Vec<&Table> {
    let targets = manifest.get("target").and_then(Value::as_table);
    let for_targets = targets.into_iter().flat_map(|targets| targets.values().filter_map(Value::as_table));
    std::iter::once(manifest)
        .chain(for_targets)
        .flat_map(|table| {
            DEPENDENCY_TABLES.iter().filter_map(|name| table.get(*name).and_then(Value::as_table))
        })
        .collect()
}

fn is_from_workspace(value: &Value) -> bool {
    value.get("workspace").and_then(Value::as_bool) == Some(true)
}

#[cfg(test)]
mod tests {
    use super::super::file;
    use super::*;

    const GOOD: &str = "[package]\nname = \"cm-a\"\nversion.workspace = true\nedition.workspace = true\n\
        rust-version.workspace = true\nlicense.workspace = true\npublish.workspace = true\n\n[lints]\n\
        workspace = true\n\n[dependencies]\nserde.workspace = true\n";

    fn findings(text: &str) -> Vec<Finding> {
        check(&[file("crates/cm-a/Cargo.toml", text)])
    }

    #[test]
    fn a_manifest_that_inherits_everything_passes() {
        assert_eq!(findings(GOOD), []);
        assert_eq!(
            findings(&GOOD.replace("serde.workspace = true", "serde = { workspace = true, features = [] }")),
            []
        );
    }

    #[test]
    fn each_own_version_is_found_with_its_line() {
        let own = findings(&GOOD.replace("serde.workspace = true", "serde = \"1\""));
        assert_eq!((own.len(), own[0].line), (1, 13));
        let edition = findings(&GOOD.replace("edition.workspace = true", "edition = \"2021\""));
        assert_eq!((edition.len(), edition[0].line), (1, 4));
        assert_eq!(findings(&GOOD.replace("[lints]\nworkspace = true\n", "")).len(), 1);
        assert_eq!(findings(&format!("{GOOD}\n[dev-dependencies]\nx = {{ path = \"../x\" }}\n")).len(), 1);
        assert_eq!(findings(&format!("{GOOD}\n[target.'cfg(unix)'.dependencies]\nx = \"1\"\n")).len(), 1);
        assert_eq!(findings("not toml").len(), 1);
    }

    #[test]
    fn other_workspaces_are_their_own_business() {
        assert_eq!(check(&[file("examples/Cargo.toml", "[workspace]")]), []);
        assert_eq!(check(&[file("Cargo.toml", "[workspace]")]), []);
        assert_eq!(check(&[file("xtask/Cargo.toml", "")]).len(), 6);
    }
}
