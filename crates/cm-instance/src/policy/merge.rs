//! From what people asked for to what an instance obeys.

use cm_types::{Sha256Digest, Timestamp};

use super::full::standard_streams;
use super::{
    Certificate, Ciphersuite, Expiry, FieldProblem, FileHash, FullPolicy, Identity, PolicyError, Program,
    ProgramPolicy, StreamEntry, UserPolicy, VaasPolicy,
};
use crate::FileName;

/// What the node knows about the instance and people do not.
#[derive(Clone, Debug)]
pub struct Infrastructure {
    /// Where the instance will listen, as `host:port`.
    pub server_url: String,
    /// SHA-256 of the executable that will run it.
    pub measurement: Sha256Digest,
    /// The certificate of the authority that will certify its key.
    pub node_certificate: Certificate,
    /// Where that evidence is asked for.
    pub attestation_url: String,
    /// When the instance's certificate ends.
    pub expiry: Timestamp,
    /// Whether programs may read a clock when the documents say nothing.
    pub enable_clock: bool,
    /// Most linear memory of a program when the documents say nothing, in MiB.
    pub max_memory_mib: u32,
}

/// Joins a function and a request for an instance of it. Identities are numbered from 0 in their order.
///
/// An identity may only be granted files that the function has: a program, a data file, a standard stream,
/// or what a program is granted.
pub fn merge(
    program: &ProgramPolicy,
    user: &UserPolicy,
    infrastructure: &Infrastructure,
) -> Result<FullPolicy, PolicyError> {
    program.validate()?;
    user.validate()?;
    if program.function != user.function {
        let problem =
            FieldProblem::Function { expected: program.function.clone(), found: user.function.clone() };
        return Err(PolicyError::field("function", problem));
    }
    let streams = standard_streams();
    for (at, identity) in user.identities.iter().enumerate() {
        for (index, right) in identity.file_rights.iter().enumerate() {
            if !files_of(program, &streams).any(|file| file.overlaps(&right.file_name)) {
                let path = format!("identities[{at}].file_rights[{index}].file_name");
                return Err(PolicyError::field(path, FieldProblem::UnknownFile(right.file_name.clone())));
            }
        }
    }
    let identities = user.identities.iter().zip(0..).map(|(identity, id)| Identity {
        certificate: identity.certificate.clone(),
        file_rights: identity.file_rights.clone(),
        id,
    });
    // Later clients look for the hashes of programs here, earlier ones in the programs.
    let programs = program.programs.iter().filter_map(|program| {
        Some(FileHash { file_path: program.program_file_name.clone(), hash: program.pi_hash? })
    });
    let data_files = program.data_files.iter();
    let data_files =
        data_files.map(|file| FileHash { file_path: file.data_file.clone(), hash: file.pi_hash });
    let hashes = programs.chain(data_files);
    let full = FullPolicy {
        debug: program.debug.unwrap_or(false),
        enable_clock: program.enable_clock.unwrap_or(infrastructure.enable_clock),
        execution_strategy: program.execution_strategy,
        identities: identities.collect(),
        programs: program.programs.clone(),
        pipelines: program.pipelines.clone(),
        file_hashes: hashes.collect(),
        max_memory_mib: Some(program.max_memory_mib.unwrap_or(infrastructure.max_memory_mib)),
        ..bare(infrastructure, program.execution_strategy, streams)
    };
    full.validate()?;
    Ok(full)
}

impl VaasPolicy {
    /// Adds what only the node knows.
    pub fn complete(&self, infrastructure: &Infrastructure) -> Result<FullPolicy, PolicyError> {
        self.validate()?;
        // A policy that grants its programs streams by name is of the later form, and grants no others.
        let mut streams = standard_streams();
        if streams.iter().any(|stream| stream.is_granted(&self.programs)) {
            streams.clear();
        }
        let bare = bare(infrastructure, self.execution_strategy, streams);
        // No certificate outlives what the node vouches for.
        let sooner = |expiry: &super::Expiry| expiry.to_timestamp() <= infrastructure.expiry;
        let full = FullPolicy {
            ciphersuite: self.ciphersuite,
            debug: self.debug,
            enable_clock: self.enable_clock,
            enclave_cert_expiry: self.enclave_cert_expiry.filter(sooner).unwrap_or(bare.enclave_cert_expiry),
            identities: self.identities.clone(),
            programs: self.programs.iter().map(|program| self.hashed(program)).collect(),
            pipelines: self.pipelines.clone(),
            file_hashes: self.file_hashes.clone(),
            max_memory_mib: Some(self.max_memory_mib.unwrap_or(infrastructure.max_memory_mib)),
            ..bare
        };
        full.validate()?;
        Ok(full)
    }

    /// The program with its hash, where clients of the first era look for it.
    fn hashed(&self, program: &Program) -> Program {
        let listed = self.file_hashes.iter().find(|hash| hash.file_path == program.program_file_name);
        Program { pi_hash: program.pi_hash.or(listed.map(|hash| hash.hash)), ..program.clone() }
    }
}

fn files_of<'a>(
    program: &'a ProgramPolicy,
    streams: &'a [StreamEntry],
) -> impl Iterator<Item = &'a FileName> {
    let granted = |entry: &'a super::Program| entry.file_rights.iter().map(|right| &right.file_name);
    let own = program.programs.iter().map(|entry| &entry.program_file_name);
    let data = program.data_files.iter().map(|file| &file.data_file);
    let streams = streams.iter().map(|stream| &stream.file_right().file_name);
    own.chain(program.programs.iter().flat_map(granted)).chain(data).chain(streams)
}

fn bare(
    infrastructure: &Infrastructure,
    execution_strategy: super::ExecutionStrategy,
    std_streams_table: Vec<StreamEntry>,
) -> FullPolicy {
    FullPolicy {
        ciphersuite: Ciphersuite::Chacha20Poly1305,
        debug: false,
        enable_clock: infrastructure.enable_clock,
        enclave_cert_expiry: Expiry::from_timestamp(infrastructure.expiry),
        execution_strategy,
        identities: Vec::new(),
        programs: Vec::new(),
        proxy_attestation_server_url: infrastructure.attestation_url.clone(),
        proxy_service_cert: infrastructure.node_certificate.clone(),
        runtime_manager_hash_linux: Some(infrastructure.measurement.to_string()),
        // Clients of the first era look for the measurement in the fields that they know, of which this is the only one
        // that the published services filled in.
        runtime_manager_hash_nitro: infrastructure.measurement.to_string(),
        runtime_manager_hash_sevsnp: None,
        runtime_manager_hash_sgx: String::new(),
        runtime_manager_hash_tz: String::new(),
        std_streams_table,
        veracruz_server_url: infrastructure.server_url.clone(),
        file_hashes: Vec::new(),
        max_memory_mib: None,
        native_modules: Vec::new(),
        pipelines: Vec::new(),
    }
}
