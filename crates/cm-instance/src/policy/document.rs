//! The documents that people write, and what must be true of them.

use cm_types::Sha256Digest;
use serde::de::{DeserializeOwned, Error as _, Unexpected};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::{
    Certificate, Ciphersuite, ExecutionStrategy, Expiry, FILE_RIGHTS_MAX, FILES_MAX, FieldProblem, FileHash,
    IDENTITIES_MAX, Identity, MEMORY_MIB_MAX, NAME_LEN_MAX, PIPELINES_MAX, POLICY_LEN_MAX, PROGRAMS_MAX,
    PolicyError,
};
use crate::{FileName, GuestPath, Pipeline, Rights};

/// Rights on one file or directory.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileRight {
    /// What they are on.
    pub file_name: FileName,
    /// The rights.
    pub rights: Rights,
}

/// One program of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Program {
    /// What the program may do to which file, whoever runs it.
    pub file_rights: Vec<FileRight>,
    /// Its number, unique among the programs.
    pub id: u64,
    /// SHA-256 of its bytes. Later policies say it in `file_hashes` instead.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pi_hash: Option<Sha256Digest>,
    /// The file that it is stored as.
    pub program_file_name: FileName,
}

/// Programs that run one after the other, under a name.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PipelineEntry {
    /// What the pipeline itself may do: execute its programs, and learn whether the paths that it asks for exist.
    /// Each program runs with its own rights.
    pub file_rights: Vec<FileRight>,
    /// Its number, unique among the pipelines.
    pub id: u64,
    /// Its name, unique among the pipelines.
    pub name: String,
    /// What runs.
    pub pipeline: Pipeline,
}

/// A file that is loaded before anything runs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct DataFile {
    /// The file that it is stored as.
    pub data_file: FileName,
    /// SHA-256 of its bytes.
    pub pi_hash: Sha256Digest,
    /// Files with lower numbers are loaded first; absent means [`super::PRIORITY_DEFAULT`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub priority: Option<i64>,
}

/// Registers a function: its programs, and the data that belongs to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ProgramPolicy {
    /// The function's name.
    pub function: String,
    /// How its programs are run.
    pub execution_strategy: ExecutionStrategy,
    /// Its programs.
    pub programs: Vec<Program>,
    /// Its data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub data_files: Vec<DataFile>,
    /// Most linear memory of a program, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory_mib: Option<u32>,
    /// Whether the instance may be run for debugging.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub debug: Option<bool>,
    /// Whether programs may read a clock.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enable_clock: Option<bool>,
    /// What later services grant to whoever loads the programs. Here the instance loads them by hash, so
    /// that nobody needs these rights; they are accepted and grant nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub file_rights: Vec<FileRight>,
    /// Its programs one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pipelines: Vec<PipelineEntry>,
}

/// Somebody who may speak to an instance.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserIdentity {
    /// The certificate that proves it.
    pub certificate: Certificate,
    /// What this identity may do to which file.
    pub file_rights: Vec<FileRight>,
}

/// Asks for an instance of a function.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct UserPolicy {
    /// The function's name.
    pub function: String,
    /// The instance's name.
    #[serde(alias = "instance_id")]
    pub instanceid: String,
    /// Who may speak to the instance.
    pub identities: Vec<UserIdentity>,
}

/// Asks for an instance and brings its own programs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct VaasPolicy {
    /// The instance's name.
    #[serde(default, alias = "id", alias = "instanceid", skip_serializing_if = "Option::is_none")]
    pub instance_id: Option<String>,
    /// The cipher of its connections.
    pub ciphersuite: Ciphersuite,
    /// Whether the instance may be run for debugging.
    pub debug: bool,
    /// Whether programs may read a clock.
    pub enable_clock: bool,
    /// How programs are run.
    pub execution_strategy: ExecutionStrategy,
    /// Who may speak to the instance.
    pub identities: Vec<Identity>,
    /// The programs.
    pub programs: Vec<Program>,
    /// Hashes of files, as later policies give them.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub file_hashes: Vec<FileHash>,
    /// Most linear memory of a program, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory_mib: Option<u32>,
    /// When the instance's certificate ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub enclave_cert_expiry: Option<Expiry>,
    /// Native modules of later policies; must be empty.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub native_modules: Vec<Value>,
    /// The programs one after the other.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pipelines: Vec<PipelineEntry>,
}

impl ProgramPolicy {
    /// Reads and checks a document.
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        let policy: Self = from_json(text)?;
        policy.validate()?;
        Ok(policy)
    }

    /// Checks what the types do not: lengths, duplicates, files where files are needed.
    pub fn validate(&self) -> Result<(), PolicyError> {
        check_name("function", &self.function)?;
        check_memory(self.max_memory_mib)?;
        check_programs(&self.programs)?;
        check_pipelines(&self.pipelines, &self.programs)?;
        check_file_rights("file_rights", &self.file_rights)?;
        let mut names: Vec<&FileName> =
            self.programs.iter().map(|program| &program.program_file_name).collect();
        for (at, program) in self.programs.iter().enumerate() {
            if program.pi_hash.is_none() {
                let problem = FieldProblem::MissingHash(program.program_file_name.clone());
                return Err(PolicyError::field(format!("programs[{at}].pi_hash"), problem));
            }
        }
        check_length("data_files", self.data_files.len(), FILES_MAX)?;
        for (at, file) in self.data_files.iter().enumerate() {
            let path = format!("data_files[{at}].data_file");
            check_file(&path, &file.data_file)?;
            if names.contains(&&file.data_file) {
                return Err(PolicyError::field(path, FieldProblem::Duplicate(file.data_file.to_string())));
            }
            names.push(&file.data_file);
        }
        Ok(())
    }
}

impl UserPolicy {
    /// Reads and checks a document.
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        let policy: Self = from_json(text)?;
        policy.validate()?;
        Ok(policy)
    }

    /// Checks what the types do not: lengths and duplicates.
    pub fn validate(&self) -> Result<(), PolicyError> {
        check_name("function", &self.function)?;
        check_name("instanceid", &self.instanceid)?;
        let entries = self.identities.iter().map(|identity| (&identity.certificate, &identity.file_rights));
        check_identities(entries)
    }
}

impl VaasPolicy {
    /// Reads and checks a document.
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        let policy: Self = from_json(text)?;
        policy.validate()?;
        Ok(policy)
    }

    /// Checks what the types do not: lengths, duplicates, a hash for every program.
    pub fn validate(&self) -> Result<(), PolicyError> {
        if let Some(name) = &self.instance_id {
            check_name("instance_id", name)?;
        }
        check_memory(self.max_memory_mib)?;
        check_native_modules(&self.native_modules)?;
        check_numbered_identities(&self.identities)?;
        check_programs(&self.programs)?;
        check_pipelines(&self.pipelines, &self.programs)?;
        check_hashes(&self.programs, &self.file_hashes)
    }
}

pub(super) fn from_json<T: DeserializeOwned + Serialize>(text: &[u8]) -> Result<T, PolicyError> {
    if text.len() > POLICY_LEN_MAX {
        return Err(PolicyError::TooLarge { found: text.len(), max: POLICY_LEN_MAX });
    }
    let mut json = serde_json::Deserializer::from_slice(text);
    let document = serde_path_to_error::deserialize(&mut json)
        .map_err(|error| PolicyError::Json { path: error.path().to_string(), source: error.into_inner() })?;
    let whole = |source| PolicyError::Json { path: ".".to_owned(), source };
    json.end().map_err(whole)?;
    let written = serde_json::from_slice(text).map_err(whole)?;
    let meant = serde_json::to_value(&document).map_err(whole)?;
    misshapen(&written, &meant).map_or(Ok(document), |(path, source)| {
        let path = if path.is_empty() { "." } else { path.trim_start_matches('.') };
        Err(PolicyError::Json { path: path.to_owned(), source })
    })
}

/// Where a text has a list or an object and the document that was read from it has something else, and what.
///
/// The reader takes the members of an object as a list too, in the order in which this program happens to declare them. Nobody who
/// reads such a policy sees what it grants, and other readers refuse it.
fn misshapen(written: &Value, meant: &Value) -> Option<(String, serde_json::Error)> {
    match (written, meant) {
        (Value::Array(written), Value::Array(meant)) => {
            written.iter().zip(meant).enumerate().find_map(|(at, (written, meant))| {
                misshapen(written, meant).map(|(path, error)| (format!("[{at}]{path}"), error))
            })
        }
        (Value::Object(written), Value::Object(meant)) => written.iter().find_map(|(name, written)| {
            misshapen(written, meant.get(name)?).map(|(path, error)| (format!(".{name}{path}"), error))
        }),
        (Value::Array(_), _) => Some((String::new(), unexpected(Unexpected::Seq, meant))),
        (Value::Object(_), _) => Some((String::new(), unexpected(Unexpected::Map, meant))),
        _ => None,
    }
}

fn unexpected(found: Unexpected<'_>, meant: &Value) -> serde_json::Error {
    serde_json::Error::invalid_type(found, &if meant.is_object() { "an object" } else { "another value" })
}

pub(super) fn check_length(path: &str, found: usize, max: usize) -> Result<(), PolicyError> {
    if found > max {
        return Err(PolicyError::field(path, FieldProblem::TooLong { found, max }));
    }
    Ok(())
}

pub(super) fn check_name(path: &str, name: &str) -> Result<(), PolicyError> {
    if name.is_empty() {
        return Err(PolicyError::field(path, FieldProblem::Empty));
    }
    if name.chars().any(char::is_control) {
        return Err(PolicyError::field(path, FieldProblem::Character));
    }
    check_length(path, name.len(), NAME_LEN_MAX)
}

pub(super) fn check_memory(mib: Option<u32>) -> Result<(), PolicyError> {
    let max = MEMORY_MIB_MAX.into();
    match mib {
        Some(mib) if mib == 0 || mib > MEMORY_MIB_MAX => {
            let problem = FieldProblem::Range { found: mib.into(), min: 1, max };
            Err(PolicyError::field("max_memory_mib", problem))
        }
        _ => Ok(()),
    }
}

pub(super) fn check_native_modules(native_modules: &[Value]) -> Result<(), PolicyError> {
    if !native_modules.is_empty() {
        return Err(PolicyError::field("native_modules", FieldProblem::Unsupported("native modules")));
    }
    Ok(())
}

/// A pipeline runs programs of its policy only, since those alone have a hash.
pub(super) fn check_pipelines(pipelines: &[PipelineEntry], programs: &[Program]) -> Result<(), PolicyError> {
    check_length("pipelines", pipelines.len(), PIPELINES_MAX)?;
    check_numbers("pipelines", pipelines.iter().map(|entry| entry.id))?;
    for (at, entry) in pipelines.iter().enumerate() {
        let path = format!("pipelines[{at}].name");
        check_name(&path, &entry.name)?;
        if pipelines[..at].iter().any(|earlier| earlier.name == entry.name) {
            return Err(PolicyError::field(path, FieldProblem::Duplicate(entry.name.clone())));
        }
        let known =
            |path: &GuestPath| programs.iter().any(|program| program.program_file_name.path() == path);
        if let Some(unknown) = entry.pipeline.programs().into_iter().find(|path| !known(path)) {
            let problem = FieldProblem::UnknownProgram(unknown.clone());
            return Err(PolicyError::field(format!("pipelines[{at}].pipeline"), problem));
        }
        check_file_rights(&format!("pipelines[{at}].file_rights"), &entry.file_rights)?;
    }
    Ok(())
}

fn check_file(path: &str, name: &FileName) -> Result<(), PolicyError> {
    if name.is_subtree() || name.path().is_root() {
        return Err(PolicyError::field(path, FieldProblem::Directory(name.clone())));
    }
    Ok(())
}

pub(super) fn check_file_rights(path: &str, rights: &[FileRight]) -> Result<(), PolicyError> {
    check_length(path, rights.len(), FILE_RIGHTS_MAX)?;
    for (at, right) in rights.iter().enumerate() {
        if rights[..at].iter().any(|earlier| earlier.file_name == right.file_name) {
            let problem = FieldProblem::Duplicate(right.file_name.to_string());
            return Err(PolicyError::field(format!("{path}[{at}].file_name"), problem));
        }
    }
    Ok(())
}

pub(super) fn check_identities<'a>(
    identities: impl ExactSizeIterator<Item = (&'a Certificate, &'a Vec<FileRight>)>,
) -> Result<(), PolicyError> {
    if identities.len() == 0 {
        return Err(PolicyError::field("identities", FieldProblem::Empty));
    }
    check_length("identities", identities.len(), IDENTITIES_MAX)?;
    let mut seen: Vec<&Certificate> = Vec::new();
    for (at, (certificate, rights)) in identities.enumerate() {
        if seen.contains(&certificate) {
            let subject = cm_crypto::cert::subject(certificate.der()).unwrap_or_default();
            let problem = FieldProblem::Duplicate(subject);
            return Err(PolicyError::field(format!("identities[{at}].certificate"), problem));
        }
        seen.push(certificate);
        check_file_rights(&format!("identities[{at}].file_rights"), rights)?;
    }
    Ok(())
}

pub(super) fn check_numbered_identities(identities: &[Identity]) -> Result<(), PolicyError> {
    check_identities(identities.iter().map(|identity| (&identity.certificate, &identity.file_rights)))?;
    check_numbers("identities", identities.iter().map(|identity| identity.id))
}

fn check_numbers(path: &str, numbers: impl Iterator<Item = u64>) -> Result<(), PolicyError> {
    let mut seen = Vec::new();
    for (at, number) in numbers.enumerate() {
        if seen.contains(&number) {
            let problem = FieldProblem::Duplicate(number.to_string());
            return Err(PolicyError::field(format!("{path}[{at}].id"), problem));
        }
        seen.push(number);
    }
    Ok(())
}

pub(super) fn check_programs(programs: &[Program]) -> Result<(), PolicyError> {
    if programs.is_empty() {
        return Err(PolicyError::field("programs", FieldProblem::Empty));
    }
    check_length("programs", programs.len(), PROGRAMS_MAX)?;
    check_numbers("programs", programs.iter().map(|program| program.id))?;
    for (at, program) in programs.iter().enumerate() {
        let path = format!("programs[{at}].program_file_name");
        check_file(&path, &program.program_file_name)?;
        if programs[..at].iter().any(|earlier| earlier.program_file_name == program.program_file_name) {
            let problem = FieldProblem::Duplicate(program.program_file_name.to_string());
            return Err(PolicyError::field(path, problem));
        }
        check_file_rights(&format!("programs[{at}].file_rights"), &program.file_rights)?;
    }
    Ok(())
}

pub(super) fn check_hashes(programs: &[Program], hashes: &[FileHash]) -> Result<(), PolicyError> {
    // Full policies list the hashes of programs too.
    check_length("file_hashes", hashes.len(), FILES_MAX + PROGRAMS_MAX)?;
    for (at, hash) in hashes.iter().enumerate() {
        let path = format!("file_hashes[{at}].file_path");
        check_file(&path, &hash.file_path)?;
        if hashes[..at].iter().any(|earlier| earlier.file_path == hash.file_path) {
            return Err(PolicyError::field(path, FieldProblem::Duplicate(hash.file_path.to_string())));
        }
    }
    for (at, program) in programs.iter().enumerate() {
        let name = &program.program_file_name;
        let listed = hashes.iter().find(|hash| hash.file_path == *name).map(|hash| hash.hash);
        let problem = match (program.pi_hash, listed) {
            (None, None) => FieldProblem::MissingHash(name.clone()),
            (Some(own), Some(listed)) if own != listed => FieldProblem::ConflictingHash(name.clone()),
            _ => continue,
        };
        return Err(PolicyError::field(format!("programs[{at}].pi_hash"), problem));
    }
    Ok(())
}
