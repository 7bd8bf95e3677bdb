//! `xtask examples`: the built example programs against their sources, their digests and their policies.
//!
//! The build is reproducible: the lock file pins the dependencies, and remapped path prefixes keep the build's directory
//! out of the files. The digests belong to one version of rustc.

mod policies;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::shell;

/// The compiler whose output the committed files are.
const RUSTC: &str = "1.95.0";

/// The built programs, from `examples/`.
const PROGRAMS: &[&str] = &[
    "classifier/classifier.wasm",
    "column-means/column-means.wasm",
    "k-means/k-means.wasm",
    "kernels/matrix-multiply.wasm",
    "kernels/n-body.wasm",
    "kernels/sha-256.wasm",
    "linear-regression/linear-regression.wasm",
    "logistic-regression/logistic-regression.wasm",
    "manifest/manifest.wasm",
    "motion/motion.wasm",
    "word-count/word-count.wasm",
];
/// Those of them that are components.
const COMPONENTS: &[&str] = &["column-means/column-means.wasm"];
/// Those that other compilers made, by the commands of `examples/README.md`; they are not built here.
const FOREIGN: &[&str] = &["manifest/manifest.wasm", "word-count/word-count.wasm"];

/// The target that a program is built for; `None` if it is not built here.
fn target(program: &str) -> Option<&'static str> {
    match program {
        foreign if FOREIGN.contains(&foreign) => None,
        component if COMPONENTS.contains(&component) => Some("wasm32-wasip2"),
        _ => Some("wasm32-wasip1"),
    }
}

/// Compares the committed files with `SHA256SUMS`, and the policies with the files.
pub(crate) fn check() -> Result<()> {
    let directory = directory();
    let listed = parse_sums(&read_sums(&directory)?)?;
    let found = digests(&directory, Path::to_path_buf)?;
    let mut differences = compare(&listed, &found);
    differences.extend(policies::compare(&directory, &found)?);
    report(differences)?;
    eprintln!("examples: {} programs match SHA256SUMS and their policies", PROGRAMS.len());
    Ok(())
}

/// Builds the programs and compares them with `SHA256SUMS`; with `bless`, replaces the files, the list and the
/// digests in the policies.
pub(crate) fn build(bless: bool) -> Result<()> {
    let directory = directory();
    check_compiler()?;
    shell::run(&mut build_command(&directory, "wasm32-wasip1", &[]))?;
    let components = COMPONENTS.iter().filter_map(|program| program.split('/').next());
    let packages: Vec<&str> = components.flat_map(|name| ["--package", name]).collect();
    shell::run(&mut build_command(&directory, "wasm32-wasip2", &packages))?;
    let built = digests(&directory, built_place)?;
    if bless {
        return replace(&directory, &built);
    }
    report(compare(&parse_sums(&read_sums(&directory)?)?, &built))?;
    check()
}

fn directory() -> PathBuf {
    shell::root().join("examples")
}

/// Where the build leaves a program, from `examples/`; one that is not built is where it is.
fn built_place(program: &Path) -> PathBuf {
    let built = program.to_str().and_then(target).zip(program.file_name());
    built.map_or_else(
        || program.to_path_buf(),
        |(target, name)| Path::new("target").join(target).join("release").join(name),
    )
}

/// The build for one target, as `examples/README.md` gives it.
fn build_command(directory: &Path, target: &str, packages: &[&str]) -> Command {
    let home = std::env::var_os("HOME").unwrap_or_default();
    let cargo_home =
        std::env::var_os("CARGO_HOME").map_or_else(|| Path::new(&home).join(".cargo"), PathBuf::from);
    let flags = format!(
        "--remap-path-prefix={}=/examples\u{1f}--remap-path-prefix={}=/cargo",
        directory.display(),
        cargo_home.display()
    );
    let mut command = shell::cargo(&["build", "--release", "--locked", "--target", target, "--bins"]);
    command.args(packages);
    command.arg("--target-dir").arg(directory.join("target"));
    command.current_dir(directory).env("CARGO_ENCODED_RUSTFLAGS", flags);
    command
}

fn check_compiler() -> Result<()> {
    let version = String::from_utf8(shell::output(Command::new("rustc").arg("--version"))?)?;
    if version.split_whitespace().nth(1) != Some(RUSTC) {
        bail!("the digests belong to rustc {RUSTC}, this is {}: use that toolchain", version.trim());
    }
    Ok(())
}

fn replace(directory: &Path, built: &BTreeMap<String, String>) -> Result<()> {
    for program in PROGRAMS {
        let bytes = std::fs::read(directory.join(built_place(Path::new(program))))?;
        std::fs::write(directory.join(program), bytes).with_context(|| format!("cannot write {program}"))?;
    }
    let list: String = built.iter().map(|(program, digest)| format!("{digest}  {program}\n")).collect();
    std::fs::write(directory.join("SHA256SUMS"), list)?;
    policies::replace(directory, built)?;
    eprintln!("examples: {} programs, SHA256SUMS and the digests in the policies replaced", PROGRAMS.len());
    Ok(())
}

fn read_sums(directory: &Path) -> Result<String> {
    std::fs::read_to_string(directory.join("SHA256SUMS")).context("cannot read examples/SHA256SUMS")
}

/// Lines of `<hex digest>  <path>`.
fn parse_sums(text: &str) -> Result<BTreeMap<String, String>> {
    let mut sums = BTreeMap::new();
    for (index, line) in text.lines().enumerate() {
        match line.split_once("  ") {
            Some((digest, path)) if digest.len() == 64 => sums.insert(path.to_owned(), digest.to_owned()),
            _ => bail!("examples/SHA256SUMS:{}: not `<sha-256>  <path>`", index + 1),
        };
    }
    Ok(sums)
}

/// The digests of the programs that lie in `directory` under `place(program)`; an absent one is left out.
fn digests(directory: &Path, place: impl Fn(&Path) -> PathBuf) -> Result<BTreeMap<String, String>> {
    let mut digests = BTreeMap::new();
    for program in PROGRAMS {
        let path = directory.join(place(Path::new(program)));
        if path.is_file() {
            let bytes = std::fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
            let hex = Sha256::digest(&bytes).iter().map(|byte| format!("{byte:02x}")).collect();
            digests.insert((*program).to_owned(), hex);
        }
    }
    Ok(digests)
}

/// What differs, one line each.
fn compare(listed: &BTreeMap<String, String>, found: &BTreeMap<String, String>) -> Vec<String> {
    let mut differences = Vec::new();
    for program in PROGRAMS {
        differences.extend(match (listed.get(*program), found.get(*program)) {
            (None, _) => Some(format!("examples/SHA256SUMS: {program} is not listed")),
            (_, None) => Some(format!("examples/{program}: missing")),
            (Some(listed), Some(found)) if listed != found => {
                Some(format!("examples/{program}: digest {found}, SHA256SUMS says {listed}"))
            }
            _ => None,
        });
    }
    for path in listed.keys().filter(|path| !PROGRAMS.contains(&path.as_str())) {
        differences.push(format!("examples/SHA256SUMS: {path} is no program of xtask's list"));
    }
    differences
}

fn report(differences: Vec<String>) -> Result<()> {
    if differences.is_empty() {
        return Ok(());
    }
    bail!("{}\nafter a change of the sources run `cargo xtask examples --bless`", differences.join("\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(digest: &str) -> BTreeMap<String, String> {
        PROGRAMS.iter().map(|program| ((*program).to_owned(), digest.to_owned())).collect()
    }

    #[test]
    fn every_kind_of_difference_is_named() {
        assert!(compare(&all("a"), &all("a")).is_empty());
        assert_eq!(compare(&all("a"), &all("b")).len(), PROGRAMS.len());
        assert!(compare(&all("a"), &BTreeMap::new())[0].ends_with("missing"));
        assert!(compare(&BTreeMap::new(), &all("a"))[0].ends_with("is not listed"));
        let mut extra = all("a");
        extra.insert("other.wasm".to_owned(), "a".to_owned());
        assert!(compare(&extra, &all("a"))[0].contains("other.wasm"));
        assert!(report(vec!["x".to_owned()]).is_err());
    }

    #[test]
    fn a_changed_byte_changes_the_digest() {
        let directory = tempfile::tempdir().expect("a temporary directory");
        let folder = Path::new(PROGRAMS[0]).parent().expect("a folder");
        std::fs::create_dir(directory.path().join(folder)).expect("a directory");
        let file = directory.path().join(PROGRAMS[0]);
        std::fs::write(&file, b"abc").expect("a file");
        let first = digests(directory.path(), Path::to_path_buf).expect("digests");
        assert!(first[PROGRAMS[0]].starts_with("ba7816bf8f01cfea"));
        std::fs::write(&file, b"abd").expect("a file");
        assert_ne!(first, digests(directory.path(), Path::to_path_buf).expect("digests"));
    }

    #[test]
    fn every_program_has_its_place() {
        let place = |program: &str| built_place(Path::new(program));
        assert_eq!(place("kernels/n-body.wasm"), Path::new("target/wasm32-wasip1/release/n-body.wasm"));
        assert_eq!(place(COMPONENTS[0]), Path::new("target/wasm32-wasip2/release/column-means.wasm"));
        assert_eq!(place(FOREIGN[0]), Path::new(FOREIGN[0]));
        assert!(COMPONENTS.iter().chain(FOREIGN).all(|program| PROGRAMS.contains(program)));
    }

    #[test]
    fn a_malformed_list_is_refused_with_its_line() {
        let good = format!("{}  a.wasm\n", "0".repeat(64));
        assert_eq!(parse_sums(&good).expect("a list").len(), 1);
        let error = parse_sums(&format!("{good}short  b.wasm\n")).expect_err("a short digest");
        assert!(error.to_string().starts_with("examples/SHA256SUMS:2"), "{error}");
    }
}
