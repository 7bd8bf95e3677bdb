//! What the parties agreed on, and whether a policy keeps it.
//!
//! The hash of a policy says that an instance obeys *this text*. Whether the text is acceptable is for each party to
//! say: these programs with these digests and rights, these certificates with these rights, and nobody else.

use cm_instance::policy::{FileHash, FileRight, Program, UserIdentity};
use cm_instance::{FullPolicy, PolicyError, ProgramPolicy, UserPolicy};
use serde_json::Value;

/// What a party insists on before it sends anything to an instance.
#[derive(Clone, Debug)]
pub struct Terms {
    programs: Vec<Program>,
    data_files: Vec<FileHash>,
    identities: Vec<UserIdentity>,
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
}

impl Terms {
    /// Insists on exactly what these two documents say: the function's program policy and the user policy.
    pub fn of_policies(program_policy: &str, user_policy: &Value) -> Result<Terms, PolicyError> {
        let program = ProgramPolicy::parse(program_policy.as_bytes())?;
        let user = UserPolicy::parse(user_policy.to_string().as_bytes())?;
        let data_files = program.data_files.iter();
        Ok(Terms {
            data_files: data_files
                .map(|file| FileHash { file_path: file.data_file.clone(), hash: file.pi_hash })
                .collect(),
            programs: program.programs,
            identities: user.identities,
            debug: program.debug.unwrap_or(false),
        })
    }

    /// Whether the policy says this and nothing more.
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
        if policy.debug && !self.debug { Err(BrokenTerm::Debug) } else { Ok(()) }
    }
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
