//! `xtask openapi`: the API description, generated from the handlers and committed. That it is current is found by the end-to-end tests,
//! which have the program anyway.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};

use crate::shell;

/// Where the description is committed, from the root.
const FILE: &str = "openapi/cryptomesh.json";

/// Writes the description.
pub(crate) fn write() -> Result<()> {
    let path = path();
    let directory = path.parent().expect("the file lies in a directory");
    std::fs::create_dir_all(directory).with_context(|| format!("cannot create {}", directory.display()))?;
    std::fs::write(&path, generate()?).with_context(|| format!("cannot write {FILE}"))?;
    eprintln!("wrote {FILE}");
    Ok(())
}

/// Fails when the committed description is not what the handlers say.
pub(crate) fn check() -> Result<()> {
    let committed =
        std::fs::read(path()).with_context(|| format!("cannot read {FILE}: run `cargo xtask openapi`"))?;
    compare(&committed, &generate()?)
}

fn generate() -> Result<Vec<u8>> {
    shell::output(&mut shell::cargo(&["run", "--quiet", "--package", "cryptomesh", "--", "openapi"]))
}

fn path() -> PathBuf {
    shell::root().join(FILE)
}

/// Names the first line that differs.
fn compare(committed: &[u8], generated: &[u8]) -> Result<()> {
    if committed == generated {
        return Ok(());
    }
    let (committed, generated) =
        (committed.split(|byte| *byte == b'\n'), generated.split(|byte| *byte == b'\n'));
    let same = committed.zip(generated).take_while(|(old, new)| old == new).count();
    bail!("{FILE}:{}: stale: run `cargo xtask openapi` and commit the file", same + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stale_description_is_refused_with_its_first_differing_line() {
        assert!(compare(b"{\n}\n", b"{\n}\n").is_ok());
        let error = compare(b"{\n\"a\": 1\n}\n", b"{\n\"a\": 2\n}\n").expect_err("they differ");
        assert!(error.to_string().starts_with("openapi/cryptomesh.json:2: stale"), "{error}");
        assert!(compare(b"{\n}", b"{\n}\n").is_err());
    }
}
