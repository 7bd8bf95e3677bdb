//! Making policies from their parts, as the published generator of policies names them.
//!
//! A file is named with or without a slash at its beginning and written with one, but for the standard streams. Rights
//! are letters or a number: `/input/:r,/output/:rw,stdout:w,/program/:x` or `/input/:8198`.

use cm_crypto::digest::sha256;
use cm_types::{Sha256Digest, Timestamp};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc2822;

use crate::policy::{
    Certificate, Ciphersuite, DataFile, ExecutionStrategy, Expiry, FileHash, FileRight, FullPolicy, Identity,
    PipelineEntry, PolicyError, Program, ProgramPolicy, UserIdentity, UserPolicy, VaasPolicy,
};
use crate::{FileName, InvalidPath, InvalidRights, Pipeline, Rights};

#[cfg(test)]
mod tests;

/// What the letter `r` grants.
const READS: u64 = 24_582;
/// What the letter `w` grants.
const WRITES: u64 = 534_084;
/// What the letter `x` grants.
const EXECUTES: u64 = 536_879_108;
/// Hexadecimal digits of a Nitro measurement that a policy has room for.
const NITRO_DIGITS: usize = 64;

/// Why a part of a policy cannot be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidPart {
    /// An entry is not of the form `NAME:RIGHTS`.
    #[error("`{0}` must be NAME:RIGHTS, as in /input/:r,/output/:rw")]
    Entry(String),
    /// The rights are neither letters nor a number.
    #[error("`{0}` is neither letters of r, w and x nor a number")]
    Letters(String),
    /// The number has bits that mean nothing.
    #[error(transparent)]
    Rights(#[from] InvalidRights),
    /// A name that no path can be made of.
    #[error(transparent)]
    Path(#[from] InvalidPath),
    /// The moment is not in the form of RFC 2822.
    #[error("`{0}` is no moment of RFC 2822, as `date --rfc-2822 -d 'now + 100 days'` prints it")]
    Moment(String),
    /// The measurement has too few hexadecimal digits.
    #[error("not a measurement of at least {NITRO_DIGITS} hexadecimal digits")]
    Measurement,
}

/// Reads a name as the published tools do: with a slash before it, unless it is a standard stream.
pub fn file_name(text: &str) -> Result<FileName, InvalidPath> {
    if text.is_empty() || text.starts_with('/') || ["stdin", "stdout", "stderr"].contains(&text) {
        return FileName::parse(text);
    }
    FileName::parse(format!("/{text}"))
}

/// Reads a list of rights. An empty text grants nothing.
pub fn capabilities(text: &str) -> Result<Vec<FileRight>, InvalidPart> {
    text.split(',').map(str::trim).filter(|entry| !entry.is_empty()).map(capability).collect()
}

fn capability(entry: &str) -> Result<FileRight, InvalidPart> {
    let (name, rights) = entry.rsplit_once(':').ok_or_else(|| InvalidPart::Entry(entry.to_owned()))?;
    if name.is_empty() || rights.is_empty() {
        return Err(InvalidPart::Entry(entry.to_owned()));
    }
    let bits = match rights.parse::<u64>() {
        Ok(bits) => bits,
        Err(_) => letters(rights)?,
    };
    Ok(FileRight { file_name: file_name(name)?, rights: Rights::from_bits(bits)? })
}

fn letters(text: &str) -> Result<u64, InvalidPart> {
    text.chars().try_fold(0, |bits, letter| match letter {
        'r' => Ok(bits | READS),
        'w' => Ok(bits | WRITES),
        'x' => Ok(bits | EXECUTES),
        _ => Err(InvalidPart::Letters(text.to_owned())),
    })
}

/// Reads a moment as `date --rfc-2822` prints it, and as many write it with the zone `GMT`.
pub fn moment(text: &str) -> Result<Timestamp, InvalidPart> {
    let parsed = OffsetDateTime::parse(text.trim(), &Rfc2822);
    let parsed = parsed.map_err(|_| InvalidPart::Moment(text.to_owned()))?;
    Ok(Timestamp::from_micros(parsed.unix_timestamp().saturating_mul(1_000_000)))
}

/// The measurement of a Nitro instance as policies write it: the first 32 bytes of its PCR0, in digits.
pub fn nitro_measurement(pcr0: &str) -> Result<String, InvalidPart> {
    let digits: String = pcr0.split_whitespace().collect();
    let measurement = digits.get(..NITRO_DIGITS).ok_or(InvalidPart::Measurement)?;
    if !digits.bytes().all(|digit| digit.is_ascii_hexdigit()) {
        return Err(InvalidPart::Measurement);
    }
    Ok(measurement.to_ascii_lowercase())
}

/// The parts of a policy. Numbers are given in the order of the parts.
#[derive(Clone, Debug)]
pub struct Draft {
    /// Who may speak to an instance, and what each may do.
    pub certificates: Vec<(Certificate, Vec<FileRight>)>,
    /// The programs by name and content, and what each may do.
    pub programs: Vec<(FileName, Sha256Digest, Vec<FileRight>)>,
    /// The pipelines, and what each may do. Each is named by its number.
    pub pipelines: Vec<(Pipeline, Vec<FileRight>)>,
    /// Other files whose content is fixed.
    pub files: Vec<(FileName, Sha256Digest)>,
    /// How programs are run.
    pub execution_strategy: ExecutionStrategy,
    /// Whether programs may read a clock.
    pub enable_clock: bool,
    /// Whether the instance may be debugged.
    pub debug: bool,
    /// Most linear memory of a program, in MiB.
    pub max_memory_mib: u32,
}

/// Where an instance will be and what vouches for it.
#[derive(Clone, Debug)]
pub struct Place {
    /// Where the instance listens, as `host:port`.
    pub server: String,
    /// Where evidence is asked for, as `host:port`.
    pub attestation_server: String,
    /// The certificate of the authority that certifies the instance's key.
    pub attestation_certificate: Certificate,
    /// When the instance's certificate ends.
    pub expiry: Timestamp,
    /// SHA-256 of the executable that runs the instance.
    pub linux: Option<String>,
    /// The measurement of a Nitro instance.
    pub nitro: Option<String>,
    /// The measurement of a SEV-SNP instance.
    pub sevsnp: Option<String>,
}

impl Draft {
    /// The policy that registers a function. The other files are its data, loaded in their order.
    pub fn program_policy(&self, function: &str) -> Result<ProgramPolicy, PolicyError> {
        let data_file = |(priority, (name, hash)): (i64, &(FileName, Sha256Digest))| DataFile {
            data_file: name.clone(),
            pi_hash: *hash,
            priority: Some(priority),
        };
        let policy = ProgramPolicy {
            function: function.to_owned(),
            execution_strategy: self.execution_strategy,
            programs: self.programs(true),
            data_files: (0..).zip(&self.files).map(data_file).collect(),
            max_memory_mib: Some(self.max_memory_mib),
            debug: Some(self.debug),
            enable_clock: Some(self.enable_clock),
            file_rights: Vec::new(),
            pipelines: self.pipelines(),
        };
        policy.validate()?;
        Ok(policy)
    }

    /// The policy that asks for an instance of a function.
    pub fn user_policy(&self, function: &str, instance: &str) -> Result<UserPolicy, PolicyError> {
        let identities = self.certificates.iter().map(|(certificate, file_rights)| UserIdentity {
            certificate: certificate.clone(),
            file_rights: file_rights.clone(),
        });
        let policy = UserPolicy {
            function: function.to_owned(),
            instanceid: instance.to_owned(),
            identities: identities.collect(),
        };
        policy.validate()?;
        Ok(policy)
    }

    /// The policy that asks for an instance and brings its programs.
    pub fn vaas_policy(
        &self,
        instance: Option<&str>,
        expiry: Option<Timestamp>,
    ) -> Result<VaasPolicy, PolicyError> {
        let policy = VaasPolicy {
            instance_id: instance.map(str::to_owned),
            ciphersuite: Ciphersuite::Chacha20Poly1305,
            debug: self.debug,
            enable_clock: self.enable_clock,
            execution_strategy: self.execution_strategy,
            identities: self.identities(),
            programs: self.programs(false),
            file_hashes: self.hashes(),
            max_memory_mib: Some(self.max_memory_mib),
            enclave_cert_expiry: expiry.map(Expiry::from_timestamp),
            native_modules: Vec::new(),
            pipelines: self.pipelines(),
        };
        policy.validate()?;
        Ok(policy)
    }

    /// The policy that an instance obeys.
    pub fn full_policy(&self, place: &Place) -> Result<FullPolicy, PolicyError> {
        let policy = FullPolicy {
            ciphersuite: Ciphersuite::Chacha20Poly1305,
            debug: self.debug,
            enable_clock: self.enable_clock,
            enclave_cert_expiry: Expiry::from_timestamp(place.expiry),
            execution_strategy: self.execution_strategy,
            identities: self.identities(),
            programs: self.programs(false),
            proxy_attestation_server_url: place.attestation_server.clone(),
            proxy_service_cert: place.attestation_certificate.clone(),
            runtime_manager_hash_linux: place.linux.clone(),
            runtime_manager_hash_nitro: place.nitro.clone().unwrap_or_default(),
            runtime_manager_hash_sevsnp: place.sevsnp.clone(),
            runtime_manager_hash_sgx: String::new(),
            runtime_manager_hash_tz: String::new(),
            std_streams_table: Vec::new(),
            veracruz_server_url: place.server.clone(),
            file_hashes: self.hashes(),
            max_memory_mib: Some(self.max_memory_mib),
            native_modules: Vec::new(),
            pipelines: self.pipelines(),
        };
        policy.validate()?;
        Ok(policy)
    }

    fn identities(&self) -> Vec<Identity> {
        let identity = |(id, (certificate, file_rights)): (u64, &(Certificate, Vec<FileRight>))| Identity {
            certificate: certificate.clone(),
            file_rights: file_rights.clone(),
            id,
        };
        (0..).zip(&self.certificates).map(identity).collect()
    }

    /// Later policies say the hashes beside the programs; what registers a function says them within.
    fn programs(&self, with_hash: bool) -> Vec<Program> {
        let program =
            |(id, (name, hash, rights)): (u64, &(FileName, Sha256Digest, Vec<FileRight>))| Program {
                file_rights: rights.clone(),
                id,
                pi_hash: with_hash.then_some(*hash),
                program_file_name: name.clone(),
            };
        (0..).zip(&self.programs).map(program).collect()
    }

    fn pipelines(&self) -> Vec<PipelineEntry> {
        let entry = |(id, (pipeline, rights)): (u64, &(Pipeline, Vec<FileRight>))| PipelineEntry {
            file_rights: rights.clone(),
            id,
            name: id.to_string(),
            pipeline: pipeline.clone(),
        };
        (0..).zip(&self.pipelines).map(entry).collect()
    }

    fn hashes(&self) -> Vec<FileHash> {
        let programs = self.programs.iter().map(|(name, hash, _)| (name, hash));
        let files = self.files.iter().map(|(name, hash)| (name, hash));
        programs.chain(files).map(|(name, hash)| FileHash { file_path: name.clone(), hash: *hash }).collect()
    }
}

/// The measurement of an executable as policies write it.
pub fn linux_measurement(executable: &[u8]) -> String {
    sha256(executable).to_string()
}
