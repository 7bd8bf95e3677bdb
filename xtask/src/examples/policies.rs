//! The policies beside the example programs: each names its program by the digest of the committed file.

use std::collections::BTreeMap;
use std::path::Path;

use anyhow::{Context, Result, ensure};
use serde_json::Value;

/// The policies, from `examples/`. The kernels have none: only benchmarks run them.
const POLICIES: &[&str] = &[
    "classifier/policy.json",
    "column-means/policy.json",
    "k-means/policy.json",
    "linear-regression/policy.json",
    "logistic-regression/policy.json",
    "manifest/policy.json",
    "motion/policy.json",
    "word-count/policy.json",
];

/// What differs between the policies and the digests of the programs, one line each.
pub(super) fn compare(directory: &Path, found: &BTreeMap<String, String>) -> Result<Vec<String>> {
    let mut differences = Vec::new();
    for policy in POLICIES {
        for (program, said) in programs(policy, &read(directory, policy)?)? {
            differences.extend(match found.get(&program) {
                None => Some(format!("examples/{policy}: {program} is missing")),
                Some(digest) if *digest != said => {
                    Some(format!("examples/{policy}: pi_hash {said}, but {program} has digest {digest}"))
                }
                Some(_) => None,
            });
        }
    }
    Ok(differences)
}

/// Writes the digests of the programs into the policies and leaves everything else as it is.
pub(super) fn replace(directory: &Path, built: &BTreeMap<String, String>) -> Result<()> {
    for policy in POLICIES {
        let mut text = read(directory, policy)?;
        for (program, said) in programs(policy, &text)? {
            let digest = built.get(&program).with_context(|| format!("examples/{policy}: no {program}"))?;
            text = text.replace(&said, digest);
        }
        std::fs::write(directory.join(policy), text).with_context(|| format!("cannot write {policy}"))?;
    }
    Ok(())
}

fn read(directory: &Path, policy: &str) -> Result<String> {
    std::fs::read_to_string(directory.join(policy)).with_context(|| format!("cannot read examples/{policy}"))
}

/// The programs of a policy, from `examples/`, and the digests that it gives them. There is at least one.
fn programs(policy: &str, text: &str) -> Result<Vec<(String, String)>> {
    let document: Value = serde_json::from_str(text).with_context(|| format!("examples/{policy}"))?;
    let folder = Path::new(policy).parent().unwrap_or(Path::new(""));
    let named: Option<Vec<(String, String)>> = document["programs"].as_array().and_then(|programs| {
        programs
            .iter()
            .map(|program| {
                let file = folder.join(program["program_file_name"].as_str()?);
                Some((file.to_str()?.to_owned(), program["pi_hash"].as_str()?.to_owned()))
            })
            .collect()
    });
    let named =
        named.with_context(|| format!("examples/{policy}: not every program has a name and a pi_hash"))?;
    ensure!(!named.is_empty(), "examples/{policy}: no programs");
    Ok(named)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Policies that give every program this digest.
    fn examples(digest: &str) -> tempfile::TempDir {
        let directory = tempfile::tempdir().expect("a temporary directory");
        for policy in POLICIES {
            let file = directory.path().join(policy);
            std::fs::create_dir(file.parent().expect("a folder")).expect("a directory");
            let text =
                format!(r#"{{"programs": [{{"pi_hash": "{digest}", "program_file_name": "p.wasm"}}]}}"#);
            std::fs::write(file, text).expect("a policy");
        }
        directory
    }

    fn built(digest: &str) -> BTreeMap<String, String> {
        let program = |policy: &&str| policy.replace("policy.json", "p.wasm");
        POLICIES.iter().map(|policy| (program(policy), digest.to_owned())).collect()
    }

    #[test]
    fn a_policy_for_other_bytes_is_named_and_replaced() {
        let old = "a".repeat(64);
        let directory = examples(&old);
        let differences = |digest: &str| compare(directory.path(), &built(digest)).expect("policies");
        assert!(differences(&old).is_empty());

        let new = "b".repeat(64);
        let found = differences(&new);
        assert_eq!(found.len(), POLICIES.len());
        assert!(found[0].starts_with("examples/classifier/policy.json: pi_hash aaaa"), "{found:?}");
        assert!(found[0].contains("classifier/p.wasm has digest bbbb"), "{found:?}");

        replace(directory.path(), &built(&new)).expect("policies are written");
        assert!(differences(&new).is_empty());
        let absent = compare(directory.path(), &BTreeMap::new()).expect("policies");
        assert!(absent[0].ends_with("classifier/p.wasm is missing"), "{absent:?}");
    }

    #[test]
    fn a_policy_without_digests_is_no_policy() {
        for text in ["{}", r#"{"programs": []}"#, r#"{"programs": [{"program_file_name": "p.wasm"}]}"#, "{"] {
            let error = programs("k-means/policy.json", text).expect_err(text);
            assert!(error.to_string().starts_with("examples/k-means/policy.json"), "{error}");
        }
    }
}
