//! What the parties agreed on, and whether a policy keeps it.
//!
//! The hash of a policy says that an instance obeys *this text*. Whether the text is acceptable is for each party to
//! say: these programs with these digests and rights, these certificates with these rights, and nobody else.

use std::collections::BTreeMap;

use cm_instance::policy::{ExecutionStrategy, FileHash, FileRight, Program, StreamEntry, UserIdentity};
use cm_instance::{FileName, FullPolicy, PolicyError, ProgramPolicy, Rights, UserPolicy};
use cm_types::Sha256Digest;
use serde_json::Value;

/// What a party insists on before it sends anything to an instance.
#[derive(Clone, Debug)]
pub struct Terms {
    programs: Vec<Program>,
    data_files: Vec<FileHash>,
    identities: Vec<UserIdentity>,
    execution_strategy: ExecutionStrategy,
    enable_clock: bool,
    debug: bool,
}

/// How a policy breaks the terms.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BrokenTerm {
    /// A program is missing, added, or has another digest or other rights.
    #[error("the programs, their digests or their rights are not those agreed on")]
    Programs,
    /// The digest of a data file is not the one agreed on.
    #[error("the data files or their digests are not those agreed on")]
    DataFiles,
    /// Somebody is missing, added, or has other rights.
    #[error("the certificates or their rights are not those agreed on")]
    Identities,
    /// The instance may be debugged, which was not agreed on.
    #[error("the instance would run in debug mode")]
    Debug,
    /// Programs would be run another way.
    #[error("the execution strategy is not the one agreed on")]
    ExecutionStrategy,
    /// Programs could read a clock, which was not agreed on, or could not although it was.
    #[error("whether programs may read a clock is not as agreed on")]
    Clock,
    /// A standard stream is another file than its own, or with other rights.
    #[error("the standard streams are not the usual three")]
    StandardStreams,
}

impl Terms {
    /// Insists on exactly what these two documents say: the function's program policy and the user policy.
    pub fn of_policies(program_policy: &str, user_policy: &Value) -> Result<Terms, PolicyError> {
        let program = ProgramPolicy::parse(program_policy.as_bytes())?;
        let user = UserPolicy::parse(user_policy.to_string().as_bytes())?;
        // A full policy names the hashes of programs beside those of data files.
        let hashes = program.programs.iter().filter_map(|program| {
            Some(FileHash { file_path: program.program_file_name.clone(), hash: program.pi_hash? })
        });
        let data_files = program.data_files.iter();
        let data_files =
            data_files.map(|file| FileHash { file_path: file.data_file.clone(), hash: file.pi_hash });
        Ok(Terms {
            data_files: hashes.chain(data_files).collect(),
            programs: program.programs,
            identities: user.identities,
            execution_strategy: program.execution_strategy,
            enable_clock: program.enable_clock.unwrap_or(false),
            debug: program.debug.unwrap_or(false),
        })
    }

    /// Whether the policy says this and nothing more.
    ///
    /// What only the node knows is its own affair: addresses, the expiry, who signs evidence. So is the limit of
    /// memory: a low one ends a run early, a high one spends the node's own memory; neither shows or changes any
    /// file. The measurement is for the evidence to prove, whatever the policy claims.
    pub fn check(&self, policy: &FullPolicy) -> Result<(), BrokenTerm> {
        if !same(&self.programs, &policy.programs, same_program) {
            return Err(BrokenTerm::Programs);
        }
        if !same(&self.data_files, &policy.file_hashes, FileHash::eq) {
            return Err(BrokenTerm::DataFiles);
        }
        let identities = policy.identities.iter().map(|identity| UserIdentity {
            certificate: identity.certificate.clone(),
            file_rights: identity.file_rights.clone(),
        });
        if !same(&self.identities, &identities.collect::<Vec<_>>(), same_identity) {
            return Err(BrokenTerm::Identities);
        }
        if policy.execution_strategy != self.execution_strategy {
            return Err(BrokenTerm::ExecutionStrategy);
        }
        if policy.enable_clock != self.enable_clock {
            return Err(BrokenTerm::Clock);
        }
        if !same(&standard_streams(), &policy.std_streams_table, StreamEntry::eq) {
            return Err(BrokenTerm::StandardStreams);
        }
        if policy.debug && !self.debug { Err(BrokenTerm::Debug) } else { Ok(()) }
    }
}

/// Each stream is a file of its own name: no stream can be led into a file that holds something else.
fn standard_streams() -> [StreamEntry; 3] {
    let right = |name: &str, rights| FileRight {
        file_name: FileName::parse(name).expect("the names of the streams are paths"),
        rights,
    };
    [
        StreamEntry::Stdin(right("stdin", Rights::READER)),
        StreamEntry::Stdout(right("stdout", Rights::WRITER)),
        StreamEntry::Stderr(right("stderr", Rights::WRITER)),
    ]
}

/// The files whose bytes a program policy fixes, programs and data files, by name.
pub fn digests(program_policy: &str) -> Result<BTreeMap<String, Sha256Digest>, PolicyError> {
    let policy = ProgramPolicy::parse(program_policy.as_bytes())?;
    let programs = policy.programs.iter();
    // A program policy in which a program has no digest is refused when it is read.
    let programs =
        programs.filter_map(|program| Some((program.program_file_name.to_string(), program.pi_hash?)));
    let data_files = policy.data_files.iter().map(|file| (file.data_file.to_string(), file.pi_hash));
    Ok(programs.chain(data_files).collect())
}

/// Whether both hold the same elements, in any order. Neither holds duplicates: policies refuse them.
fn same<T>(a: &[T], b: &[T], equal: impl Fn(&T, &T) -> bool) -> bool {
    a.len() == b.len() && a.iter().all(|x| b.iter().any(|y| equal(x, y)))
}

fn same_rights(a: &[FileRight], b: &[FileRight]) -> bool {
    same(a, b, FileRight::eq)
}

fn same_program(a: &Program, b: &Program) -> bool {
    a.program_file_name == b.program_file_name
        && a.pi_hash == b.pi_hash
        && same_rights(&a.file_rights, &b.file_rights)
}

fn same_identity(a: &UserIdentity, b: &UserIdentity) -> bool {
    a.certificate == b.certificate && same_rights(&a.file_rights, &b.file_rights)
}

#[cfg(test)]
mod tests;
