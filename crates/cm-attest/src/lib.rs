//! Attestation evidence: what an instance's surroundings say about it, and what a client demands of that.
//!
//! Evidence answers one question for a client that is about to hand over data: *is the key at the other
//! end of this TLS connection held by the program I expect, bound by the policy I read, now?* It is a
//! signed token (RFC 9711, an EAT as a JWT) whose claims bind four things: the measurement of the executable
//! that was started, the TLS key that this executable made for itself, the hash of the policy text that
//! it was given, and the nonce that the client chose a moment ago.
//!
//! There is one [`EvidenceKind`] so far, `insecure-software`: the node's own word about a process that it
//! confines by means of the operating system. It proves nothing against the node's operator, therefore a
//! [`Verifier`] accepts it only when the client says so, and the name is shown wherever evidence is.
//! Hardware that vouches for itself becomes another kind with another verifier.
//!
//! The crate is pure: it has no clock, no randomness and no I/O.
//!
//! Reading order: [`claims`], [`report_data`] (the binding), [`evidence`] (the signed form), [`verify`].

pub mod claims;
mod error;
pub mod evidence;
pub mod nonce;
pub mod report_data;
pub mod verify;

pub use claims::{Claims, EvidenceKind, IsolationLayer};
pub use error::AttestError;
pub use evidence::{Evidence, issue};
pub use nonce::{InvalidNonce, Nonce};
pub use report_data::ReportData;
pub use verify::{AcceptedMeasurements, Expectation, SoftwareVerifier, Verifier};
