//! The policy documents: what may run on which data, and who may see the result.
//!
//! Three documents come from people. The **program policy** registers a function: its programs by hash, and
//! what each may do to which file. The **user policy** asks for an instance: who may do what to which file.
//! The **VaaS policy** says both at once. [`merge`] and [`VaasPolicy::complete`] add where the instance
//! listens and what vouches for it; the result is the **full policy**, whose exact text is hashed, handed to
//! the instance and given to every client.
//!
//! Field names are those of the published services, including the two spellings under which some of them
//! exist. A key that is unknown is an error, with the path to it: a right that was misspelt must not be
//! silently absent.

mod certificate;
mod document;
mod error;
mod form;
mod full;
mod merge;
mod python;
#[cfg(test)]
mod tests;
mod value;

pub use certificate::Certificate;
pub use document::{
    DataFile, FileRight, PipelineEntry, Program, ProgramPolicy, UserIdentity, UserPolicy, VaasPolicy,
};
pub use error::{FieldProblem, PolicyError};
pub use form::PolicyDocument;
pub use full::{FileHash, FullPolicy, Identity, PolicyText, StreamEntry, policy_hash, sorted_text};
pub use merge::{Infrastructure, merge};
pub use value::{Ciphersuite, ExecutionStrategy, Expiry, InvalidExpiry};

/// Longest policy text, in bytes.
pub const POLICY_LEN_MAX: usize = 1024 * 1024;
/// Most identities in one policy.
pub const IDENTITIES_MAX: usize = 64;
/// Most programs in one policy.
pub const PROGRAMS_MAX: usize = 64;
/// Most pipelines in one policy.
pub const PIPELINES_MAX: usize = 64;
/// Most data files or hashes in one policy.
pub const FILES_MAX: usize = 256;
/// Most entries in one list of file rights.
pub const FILE_RIGHTS_MAX: usize = 256;
/// Longest name of a function or an instance, in bytes.
pub const NAME_LEN_MAX: usize = 256;
/// Linear memory when a policy says nothing, in MiB: what the published policy generator assumes.
pub const MEMORY_MIB_DEFAULT: u32 = 256;
/// Most linear memory that a policy may ask for, in MiB: all that 32-bit WebAssembly can address.
pub const MEMORY_MIB_MAX: u32 = 4096;
/// Where a data file without a priority stands in the order of loading.
pub const PRIORITY_DEFAULT: i64 = 99;
