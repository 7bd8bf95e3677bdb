//! What must hold for every parser of foreign bytes, whatever the bytes are.
//!
//! A fuzz target is a function from bytes to nothing that panics when something is wrong. None only waits for a crash: each
//! states what a parser owes its caller, above all that what was accepted is written in one form and read back as
//! the same thing. The tests here run every oracle over examples, their mutations and noise.

mod attestation;
mod axo;
mod computation;
mod instance;
mod intel;
mod manifest;
mod network;
mod quorum;
mod s3;
mod secrets;
mod sharing;
mod stix;
mod text;

pub use attestation::{attestation_results, certificate_requests, dcap_quotes, nitro_documents, snp_reports};
pub use axo::active_objects;
pub use computation::jobs;
pub use instance::{
    frames, guest_paths, instance_certificates, pipelines, policies, posts, requests_of_both_eras,
};
pub use intel::{gossip_packets, threat_frames, threat_messages, threat_payloads};
pub use manifest::manifests;
pub use network::{links, replication_policies};
pub use quorum::quorum_messages;
pub use s3::aws_chunked;
pub use secrets::{evidence, foreign_tokens, keys, sealed_artefacts, sealed_objects, trust_bundles};
pub use sharing::{bucket_policies, form_policies, permission_documents};
pub use stix::stix;
pub use text::{byte_counts, durations, labels, log_heads, permissions, ranges, row_keys, spiffe_ids};

#[cfg(test)]
mod tests;
