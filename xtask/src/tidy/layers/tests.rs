use super::*;

const BLOCK: &str = "# Title\n```deps\n# ground\na:\nb: a\nc: b\ntop: *\n```\nafter: c\n";

fn arrow(from: &str, to: &str, development: bool) -> Arrow {
    Arrow { from: from.into(), to: to.into(), development, manifest: "crates/x/Cargo.toml".into(), line: 7 }
}

fn check_arrow(from: &str, to: &str, development: bool) -> usize {
    let (permitted, findings) = parse(BLOCK);
    assert!(findings.is_empty());
    compare(&permitted, &[arrow(from, to, development)]).len()
}

#[test]
fn a_forbidden_arrow_is_found_and_a_permitted_one_is_not() {
    assert_eq!(check_arrow("b", "a", false), 0);
    assert_eq!(check_arrow("a", "b", false), 1);
    assert_eq!(check_arrow("top", "b", false), 0);
    assert_eq!(check_arrow("c", "a", false), 1);
    assert_eq!(check_arrow("a", "cm-testkit", true), 0);
    assert_eq!(check_arrow("a", "cm-testkit", false), 1);
}

#[test]
fn tests_may_name_what_the_crate_builds_on_and_nothing_above() {
    assert_eq!(check_arrow("c", "a", true), 0);
    assert_eq!(check_arrow("c", "b", true), 0);
    assert_eq!(check_arrow("a", "b", true), 1);
    assert_eq!(check_arrow("b", "c", true), 1);
}

#[test]
fn a_finding_says_where_and_what_to_do() {
    let (permitted, _) = parse(BLOCK);
    let finding = compare(&permitted, &[arrow("a", "b", false)])[0].to_string();
    assert!(finding.starts_with("crates/x/Cargo.toml:7: error: `a` may not depend on `b`"), "{finding}");
}

#[test]
fn only_the_block_counts_and_its_form_is_checked() {
    let (permitted, _) = parse(BLOCK);
    assert_eq!(permitted.keys().collect::<Vec<_>>(), ["a", "b", "c", "top"]);
    assert_eq!(parse("no block").1.len(), 1);
    assert_eq!(parse("```deps\na:\na: b\n```").1[0].line, 3);
    assert_eq!(parse("```deps\nnonsense\n```").1[0].line, 2);
}

#[test]
fn a_dependency_is_found_by_its_whole_name() {
    assert!(names_dependency("cm-a.workspace = true", "cm-a"));
    assert!(names_dependency("cm-a = { workspace = true }", "cm-a"));
    assert!(!names_dependency("cm-ab.workspace = true", "cm-a"));
}

/// The rule on a real workspace of two crates, read through cargo.
#[test]
fn a_forbidden_arrow_in_a_manifest_fails() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let root = directory.path().canonicalize().expect("a path");
    let write = |path: &str, text: &str| {
        let path = root.join(path);
        std::fs::create_dir_all(path.parent().expect("a parent")).expect("a directory");
        std::fs::write(path, text).expect("a file");
    };
    write("Cargo.toml", "[workspace]\nresolver = \"3\"\nmembers = [\"crates/*\"]\n");
    for (name, dependency) in [("a", "b = { path = \"../b\" }\n"), ("b", "")] {
        let package =
            format!("[package]\nname = \"{name}\"\nedition = \"2024\"\n[dependencies]\n{dependency}");
        write(&format!("crates/{name}/Cargo.toml"), &package);
        write(&format!("crates/{name}/src/lib.rs"), "");
    }
    write(DOCUMENT, "```deps\na:\nb:\n```\n");
    let findings = super::check(&root).expect("the rule runs");
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!((findings[0].path.to_str(), findings[0].line), (Some("crates/a/Cargo.toml"), 5));
    write(DOCUMENT, "```deps\na: b\nb:\n```\n");
    assert_eq!(super::check(&root).expect("the rule runs"), []);
    write(DOCUMENT, "```deps\na: b\n```\n");
    assert_eq!(super::check(&root).expect("the rule runs").len(), 1);
}
