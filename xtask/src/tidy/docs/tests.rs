use super::super::file;
use super::*;

/// The lines of the findings in one source file.
fn lines(text: &str) -> Vec<usize> {
    check(&[file("crates/a/src/lib.rs", text)]).iter().map(|finding| finding.line).collect()
}

#[test]
fn each_kind_of_undocumented_item_is_found() {
    for item in [
        "pub fn f() {}",
        "pub struct S;",
        "pub enum E {}",
        "pub trait T {}",
        "pub const C: u8 = 1;",
        "pub static S: u8 = 1;",
        "pub type T = u8;",
        "pub mod m {}",
        "pub async fn f() {}",
        "#[macro_export] macro_rules! m { () => {} }",
        "impl S { pub fn f() {} }",
        "impl S { pub const C: u8 = 1; }",
        "/// S\npub struct S { pub field: u8 }",
        "/// E\npub enum E { One }",
        "/// E\npub enum E { /** One */ One { field: u8 } }",
        "/// T\npub trait T { fn f(); }",
        "/// T\npub trait T { type A; }",
        "/** M */ pub mod m { pub fn f() {} }",
        "#[derive(Debug)] pub struct S;",
    ] {
        assert_eq!(lines(&format!("//! Story.\n{item}\n")).len(), 1, "{item}");
    }
}

#[test]
fn documented_private_hidden_and_test_items_pass() {
    for item in [
        "/// F\npub fn f() {}",
        "#[doc = include_str!(\"x.md\")] pub fn f() {}",
        "fn f() {}",
        "pub(crate) fn f() {}",
        "#[doc(hidden)] pub fn f() {}",
        "#[cfg(test)] mod tests { pub fn f() {} }",
        "#[cfg(test)] pub fn f() {}",
        "impl T for S { fn f() {} }",
        "/// S\npub struct S { field: u8 }",
        "/// S\npub struct S(pub u8);",
        "struct S { pub field: u8 }",
        "pub use a::b;",
        "mod sealed { pub trait Sealed {} }",
        "#[doc(hidden)] pub enum E { One }",
    ] {
        assert_eq!(lines(&format!("//! Story.\n{item}\n")), [0; 0], "{item}");
    }
}

#[test]
fn a_finding_names_the_line_of_the_name() {
    assert_eq!(lines("//! Story.\n\n#[inline]\npub fn f() {}\n"), [4]);
    assert_eq!(lines("//! Story.\nfn broken( {\n"), [2]);
}

#[test]
fn a_public_module_is_documented_in_its_file() {
    let parent = file("crates/a/src/lib.rs", "//! Story.\npub mod good;\npub mod bad;\nmod private;\n");
    let nested = file("crates/a/src/good.rs", "//! Good.\npub mod inner;\n");
    let files = [
        parent,
        nested,
        file("crates/a/src/bad.rs", "fn f() {}\n"),
        file("crates/a/src/private.rs", "fn f() {}\n"),
        file("crates/a/src/good/inner.rs", "fn f() {}\n"),
    ];
    let findings = check(&files);
    let places: Vec<_> = findings.iter().map(|finding| (finding.path.to_str(), finding.line)).collect();
    assert_eq!(places, [(Some("crates/a/src/lib.rs"), 3), (Some("crates/a/src/good.rs"), 2)]);
}

#[test]
fn tests_and_other_folders_are_exempt() {
    for path in ["crates/a/src/x/tests.rs", "crates/a/tests/all/main.rs", "xtask/src/main.rs"] {
        assert_eq!(check(&[file(path, "pub fn f() {}")]), []);
    }
}
