//! Attestation evidence: what an instance's surroundings say about it, and what a client demands of that.
//!
//! Evidence answers one question for a client that is about to hand over data: *is the key at the other
//! end of this TLS connection held by the program I expect, bound by the policy I read, now?* It is a
//! signed token (RFC 9711, an EAT as a JWT) whose claims bind four things: the measurement of the executable
//! that was started, the TLS key that this executable made for itself, the hash of the policy text that
//! it was given, and the nonce that the client chose a moment ago.
//!
//! Who vouches is the [`EvidenceKind`]. Hardware vouches for itself: AWS Nitro ([`nitro`]), AMD SEV-SNP ([`snp`]), Intel TDX
//! and SGX ([`dcap`]), each up to its maker's root, which is pinned. `insecure-software` is the node's own word about a
//! process that it confines by means of the operating system. It proves nothing against the node's operator, therefore
//! it is accepted only when the client says so, and the name is shown wherever evidence is.
//!
//! Judging has two halves. A [`Verifier`] finds out whether evidence is authentic and puts what it says into a
//! [`Statement`], the same for all kinds. [`Demands`] are what somebody wants it to say; they are compared in one place.
//! What a verifier concluded can be handed on as a signed [`AttestationResult`].
//!
//! The crate is pure: it has no clock, no randomness and no I/O.
//!
//! Reading order: [`claims`], [`report_data`] (the binding), [`evidence`] (the signed form of software evidence),
//! [`statement`], [`demands`], [`verify`], the makers' formats, [`result`].

pub mod claims;
pub mod dcap;
pub mod demands;
mod detect;
mod error;
pub mod evidence;
pub mod measurement;
pub mod nitro;
pub mod nonce;
pub mod report_data;
pub mod result;
mod roots;
pub mod snp;
pub mod statement;
pub mod tcb;
pub mod verify;

pub use claims::{Claims, EvidenceKind, IsolationLayer, UnknownKind};
pub use dcap::DcapVerifier;
pub use demands::{Accepted, Demands, ReportBinding};
pub use detect::detect;
pub use error::AttestError;
pub use evidence::{Evidence, issue};
pub use measurement::{InvalidMeasurement, Measurement};
pub use nitro::NitroVerifier;
pub use nonce::{InvalidNonce, Nonce};
pub use report_data::ReportData;
pub use result::{AttestationResult, TrustTier, TrustVector};
pub use snp::SnpVerifier;
pub use statement::{Bound, Statement, Tcb};
pub use tcb::{SnpTcb, TcbPolicy, TcbStatus, UnknownTcbStatus};
pub use verify::{AcceptedMeasurements, Expectation, Presented, SoftwareVerifier, Verifier};
