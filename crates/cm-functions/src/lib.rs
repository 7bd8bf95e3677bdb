//! Confidential functions: programs with a policy, and the sealed processes that run them.
//!
//! A function is a catalogue record with a program policy; its programs' bytes are objects, accepted only
//! with the hash that the policy names. An **instance** joins the function with a user policy and runs as a
//! process of its own, started from a measured copy of the node's executable. The node knows the instance's
//! address, policy hash and public key, signs evidence about them, and sees neither inputs nor results:
//! clients send those through TLS that ends inside the instance.
//!
//! Reading order: [`functions`] (the service), [`names`], [`files`] (programs and data files), [`creation`] (from
//! policy to running process), [`instances`], `watch` (what becomes of it), [`launcher`] (the process itself),
//! [`module_cache`]; and beside all that [`attestation`], which judges evidence for others.

pub mod attestation;
mod certifier;
pub mod creation;
mod deployment;
mod error;
pub mod files;
pub mod functions;
pub mod instances;
pub mod launcher;
pub mod module_cache;
pub mod names;
mod records;
mod refusals;
mod watch;

#[cfg(test)]
mod tests;

pub use attestation::{
    AppraisalError, AppraisalSubject, Attestation, AttestationConfig, Conclusion, Submission,
};
pub use certifier::Certifier;
pub use creation::Wording;
pub use error::FunctionError;
pub use files::{FileKind, FileView};
pub use functions::{Functions, FunctionsConfig, Platform, check_policy};
pub use instances::InstanceView;
pub use launcher::{
    DockerConfig, DockerLauncher, KubernetesConfig, KubernetesLauncher, LaunchError, Launcher,
    LauncherConfig, MeasuredExecutable, ProcessLauncher,
};
pub use module_cache::ModuleCache;
pub use names::id_of;
