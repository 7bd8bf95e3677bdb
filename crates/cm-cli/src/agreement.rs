//! What a run is agreed to be: the program policy that its terms are taken from.
//!
//! The node keeps the program policy of each function, but the node is whom the terms are there to bind: one that
//! lies would name other programs, with their digests. What was agreed must come from the function's author, or the
//! caller says that it takes the node's word.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use anyhow::Context;
use clap::Args;
use cm_client::trust::Distrust;
use cm_client::{Api, BrokenTerm, ClientError, terms};
use cm_types::{ResourceKind, Sha256Digest};
use serde_json::Value;

use crate::{Connection, UsageError, output, resource};

/// Where the terms come from; one of them must be given.
#[derive(Args, Debug)]
#[group(required = true, multiple = false)]
pub struct AgreementArgs {
    /// The program policy as the function's author published it: it must be this that runs.
    #[arg(long, value_name = "FILE")]
    pub function_policy: Option<PathBuf>,
    /// The digest of a program or data file, as the function's author published it; one for each of the
    /// function's files. How they are run, and their rights, are taken from the node. May be repeated.
    #[arg(long, value_name = "NAME=SHA256")]
    pub program_sha256: Vec<String>,
    /// Take the programs, their digests and their rights from the node.
    #[arg(long)]
    pub trust_node_policy: bool,
}

impl AgreementArgs {
    /// The text of the program policy that was agreed on.
    pub async fn program_policy(
        &self,
        function: &str,
        api: &Api,
        connection: &Connection,
    ) -> anyhow::Result<String> {
        if let Some(path) = &self.function_policy {
            return published(path, function);
        }
        let policy = registered(function, api).await?;
        let at_node = terms::digests(&policy).context("the node's program policy is unreadable")?;
        if self.trust_node_policy {
            for (name, digest) in &at_node {
                output::note(connection, &format!("on the node's word: {name} is SHA-256 {digest}"));
            }
        } else {
            compare(&self.digests()?, &at_node)?;
            output::note(connection, "on the node's word: how the programs are run, and their rights");
        }
        Ok(policy)
    }

    fn digests(&self) -> anyhow::Result<BTreeMap<String, Sha256Digest>> {
        let mut digests = BTreeMap::new();
        for text in &self.program_sha256 {
            let (name, digest) = resource::pair(text)?;
            let digest =
                digest.parse().map_err(|error| UsageError(format!("--program-sha256 {text}: {error}")))?;
            digests.insert(name, digest);
        }
        Ok(digests)
    }
}

fn published(path: &Path, function: &str) -> anyhow::Result<String> {
    let policy = std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    let document: Value =
        serde_json::from_str(&policy).with_context(|| format!("{} is no JSON document", path.display()))?;
    match document["function"].as_str() {
        Some(named) if named == function => Ok(policy),
        _ => Err(UsageError(format!("{} is no program policy of {function}", path.display())).into()),
    }
}

async fn registered(function: &str, api: &Api) -> anyhow::Result<String> {
    let entry = api.read(ResourceKind::Function, function).await?;
    let policy = entry.get("confidential").and_then(|confidential| confidential["policy"].as_str());
    Ok(policy.with_context(|| format!("{function} is no confidential function"))?.to_owned())
}

/// Demands that the node names exactly the files that the caller names, with these digests.
fn compare(
    agreed: &BTreeMap<String, Sha256Digest>,
    at_node: &BTreeMap<String, Sha256Digest>,
) -> anyhow::Result<()> {
    let refused = |why: String| {
        let broken = ClientError::Untrusted(Distrust::Terms(BrokenTerm::Programs));
        Err(anyhow::Error::from(broken).context(why))
    };
    for (name, digest) in at_node {
        match agreed.get(name) {
            Some(agreed) if agreed == digest => {}
            Some(agreed) => {
                return refused(format!("{name} is SHA-256 {digest} at the node, agreed is {agreed}"));
            }
            None => return refused(format!("{name} has no --program-sha256")),
        }
    }
    match agreed.keys().find(|name| !at_node.contains_key(*name)) {
        Some(name) => refused(format!("the node has no {name}")),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(agreed: &[(&str, u8)], at_node: &[(&str, u8)], expected: Result<(), &str>) {
        let digests = |files: &[(&str, u8)]| {
            let digest = |byte| Sha256Digest::from_bytes([byte; 32]);
            files.iter().map(|(name, byte)| ((*name).to_owned(), digest(*byte))).collect()
        };
        match (compare(&digests(agreed), &digests(at_node)), expected) {
            (Ok(()), Ok(())) => {}
            (Err(error), Err(part)) => {
                assert!(error.to_string().contains(part), "{error}");
                assert_eq!(crate::exit_code(&error), 3);
            }
            (found, expected) => panic!("{found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn every_file_must_be_named_with_its_digest_and_no_other() {
        check(&[("a", 1), ("model", 2)], &[("model", 2), ("a", 1)], Ok(()));
        check(&[("a", 1)], &[("a", 3)], Err("agreed is 0101"));
        check(&[("a", 1)], &[("a", 1), ("b", 2)], Err("b has no --program-sha256"));
        check(&[("a", 1), ("b", 2)], &[("a", 1)], Err("the node has no b"));
        check(&[], &[("a", 1)], Err("a has no --program-sha256"));
    }
}
