//! What a policy lets whom do, in words, and what in it is suspicious.
//!
//! A policy that is valid can still be one that nobody meant: an output that everybody reads, an input that nobody
//! may provide, a certificate that ended. [`review`] says such things; whether one of them is a mistake only the
//! authors know.

mod certificates;
mod facts;
mod files;
mod pipelines;
mod suspicion;
#[cfg(test)]
mod tests;

use cm_types::Timestamp;

use crate::Rights;
use crate::policy::{Ciphersuite, PolicyDocument};
use facts::Facts;

pub use suspicion::Suspicion;

/// What there is to say about a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Review {
    /// Who may do what to which file.
    pub abilities: Vec<Ability>,
    /// What is suspicious, and what is worth knowing.
    pub findings: Vec<Finding>,
}

impl Review {
    /// Whether anything is suspicious.
    pub fn is_suspicious(&self) -> bool {
        self.findings.iter().any(|finding| finding.weight == Weight::Warning)
    }
}

/// One entry of a list of rights.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ability {
    /// Who: an identity, a program, a pipeline, or every program.
    pub who: String,
    /// Which file; with a slash at its end, the directory and everything below it.
    pub file: String,
    /// What may be done.
    pub rights: Rights,
}

/// How much a finding weighs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Weight {
    /// Worth knowing, and usual.
    Note,
    /// Hardly ever meant.
    Warning,
}

/// One thing to say about a policy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// How much it weighs.
    pub weight: Weight,
    /// Where in the document, as `programs[0].file_rights[1]`.
    pub path: String,
    /// What it is.
    pub suspicion: Suspicion,
}

/// Findings as they are collected.
#[derive(Default)]
struct Findings(Vec<Finding>);

impl Findings {
    fn warn(&mut self, path: impl Into<String>, suspicion: Suspicion) {
        self.0.push(Finding { weight: Weight::Warning, path: path.into(), suspicion });
    }

    fn note(&mut self, path: impl Into<String>, suspicion: Suspicion) {
        self.0.push(Finding { weight: Weight::Note, path: path.into(), suspicion });
    }
}

/// Looks at a policy as of a moment.
pub fn review(document: &PolicyDocument, now: Timestamp) -> Review {
    let facts = Facts::of(document);
    let mut findings = Findings::default();
    settings(document, &facts, now, &mut findings);
    certificates::review(&facts, now, &mut findings);
    files::review(&facts, &mut findings);
    pipelines::review(&facts, &mut findings);
    findings.0.sort_by_key(|finding| std::cmp::Reverse(finding.weight));
    Review { abilities: facts.abilities(), findings: findings.0 }
}

/// What is not about files or certificates.
fn settings(document: &PolicyDocument, facts: &Facts<'_>, now: Timestamp, findings: &mut Findings) {
    if facts.debug {
        findings.warn("debug", Suspicion::Debug);
    }
    if facts.enable_clock {
        findings.note("enable_clock", Suspicion::Clock);
    }
    if facts.max_memory_mib.is_none() && facts.has_programs {
        findings.note("max_memory_mib", Suspicion::NoMemoryLimit);
    }
    if let PolicyDocument::Program(policy) = document
        && !policy.file_rights.is_empty()
    {
        findings.note("file_rights", Suspicion::LoaderRights);
    }
    if let PolicyDocument::Full(policy) = document {
        let hashes = [
            policy.runtime_manager_hash_linux.as_deref(),
            Some(policy.runtime_manager_hash_nitro.as_str()),
            policy.runtime_manager_hash_sevsnp.as_deref(),
            Some(policy.runtime_manager_hash_sgx.as_str()),
            Some(policy.runtime_manager_hash_tz.as_str()),
        ];
        if hashes.iter().flatten().all(|hash| hash.is_empty()) {
            findings.warn("runtime_manager_hash_linux", Suspicion::NoMeasurement);
        }
    }
    if facts.ciphersuite == Some(Ciphersuite::EcdheEcdsaChacha20Poly1305) {
        findings.note("ciphersuite", Suspicion::OldCiphersuite);
    }
    if let Some(expiry) = facts.expiry {
        certificates::ends("enclave_cert_expiry", "the instance", expiry, now, findings);
    }
}
