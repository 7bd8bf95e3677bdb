//! The full policy, its text and its hash.

use std::collections::BTreeMap;

use cm_crypto::digest::sha256;
use cm_types::{Sha256Digest, Timestamp};
use serde::{Deserialize, Serialize, Serializer};

use super::document::{
    check_file_rights, check_hashes, check_length, check_memory, check_name, check_native_modules,
    check_numbered_identities, check_pipelines, check_programs, from_json,
};
use super::python::Python;
use super::{
    Certificate, Ciphersuite, ExecutionStrategy, Expiry, FieldProblem, FileRight, MEMORY_MIB_DEFAULT,
    PipelineEntry, PolicyError, Program,
};
use crate::{FileName, GuestPath, Rights};

/// Somebody who may speak to an instance, with the number that the rights table uses.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Identity {
    /// The certificate that proves it.
    pub certificate: Certificate,
    /// What this identity may do to which file.
    pub file_rights: Vec<FileRight>,
    /// Its number, unique among the identities.
    pub id: u64,
}

/// Which bytes a file must have.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FileHash {
    /// The file.
    pub file_path: FileName,
    /// SHA-256 of its bytes.
    pub hash: Sha256Digest,
}

/// Which file one of the three standard streams is, and what every program may do to it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum StreamEntry {
    /// Descriptor 0.
    Stdin(FileRight),
    /// Descriptor 1.
    Stdout(FileRight),
    /// Descriptor 2.
    Stderr(FileRight),
}

impl StreamEntry {
    /// The file and the rights.
    pub fn file_right(&self) -> &FileRight {
        match self {
            Self::Stdin(right) | Self::Stdout(right) | Self::Stderr(right) => right,
        }
    }

    /// Whether any of the programs is granted the file by name.
    pub(super) fn is_granted(&self, programs: &[Program]) -> bool {
        let mut rights = programs.iter().flat_map(|program| &program.file_rights);
        rights.any(|right| right.file_name == self.file_right().file_name)
    }

    /// The number of the descriptor.
    pub fn descriptor(&self) -> u32 {
        match self {
            Self::Stdin(_) => 0,
            Self::Stdout(_) => 1,
            Self::Stderr(_) => 2,
        }
    }
}

/// The streams of the published full policies.
pub(super) fn standard_streams() -> Vec<StreamEntry> {
    let right = |name: &str, rights| FileRight {
        file_name: FileName::parse(name).expect("the names of the streams are paths"),
        rights,
    };
    vec![
        StreamEntry::Stdin(right("stdin", Rights::READER)),
        StreamEntry::Stdout(right("stdout", Rights::WRITER)),
        StreamEntry::Stderr(right("stderr", Rights::WRITER)),
    ]
}

/// Everything that an instance obeys. Its hash is over its text, hence over every field.
///
/// Empty lists are written too: the published clients of one era or the other refuse a policy without them.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct FullPolicy {
    /// The cipher of its connections.
    pub ciphersuite: Ciphersuite,
    /// Whether the instance may be run for debugging.
    pub debug: bool,
    /// Whether programs may read a clock.
    pub enable_clock: bool,
    /// When the instance's certificate ends.
    pub enclave_cert_expiry: Expiry,
    /// How programs are run.
    pub execution_strategy: ExecutionStrategy,
    /// Who may speak to the instance.
    pub identities: Vec<Identity>,
    /// The programs.
    pub programs: Vec<Program>,
    /// Where evidence about the instance comes from.
    pub proxy_attestation_server_url: String,
    /// The certificate of the authority that certifies the instance's key.
    pub proxy_service_cert: Certificate,
    /// SHA-256 of the executable that runs the instance here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_manager_hash_linux: Option<String>,
    /// The measurement of an AWS Nitro instance; empty when it is none.
    #[serde(default)]
    pub runtime_manager_hash_nitro: String,
    /// The measurement of an AMD SEV-SNP instance.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub runtime_manager_hash_sevsnp: Option<String>,
    /// The measurement of an Intel SGX instance; empty when it is none.
    #[serde(default)]
    pub runtime_manager_hash_sgx: String,
    /// The measurement of an Arm TrustZone instance; empty when it is none.
    #[serde(default)]
    pub runtime_manager_hash_tz: String,
    /// What the standard streams are.
    #[serde(default)]
    pub std_streams_table: Vec<StreamEntry>,
    /// Where the instance listens, as `host:port`.
    pub veracruz_server_url: String,
    /// Hashes of files other than programs.
    #[serde(default)]
    pub file_hashes: Vec<FileHash>,
    /// Most linear memory of a program, in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_memory_mib: Option<u32>,
    /// Native modules of later policies; must be empty.
    #[serde(default)]
    pub native_modules: Vec<serde_json::Value>,
    /// The programs one after the other.
    #[serde(default)]
    pub pipelines: Vec<PipelineEntry>,
}

impl FullPolicy {
    /// Reads and checks a document.
    pub fn parse(text: &[u8]) -> Result<Self, PolicyError> {
        let policy: Self = from_json(text)?;
        policy.validate()?;
        Ok(policy)
    }

    /// Checks what the types do not: lengths, duplicates, a hash for every program.
    pub fn validate(&self) -> Result<(), PolicyError> {
        check_memory(self.max_memory_mib)?;
        check_native_modules(&self.native_modules)?;
        check_numbered_identities(&self.identities)?;
        check_programs(&self.programs)?;
        check_pipelines(&self.pipelines, &self.programs)?;
        check_hashes(&self.programs, &self.file_hashes)?;
        check_name("veracruz_server_url", &self.veracruz_server_url)?;
        check_length("std_streams_table", self.std_streams_table.len(), 3)?;
        for (at, entry) in self.std_streams_table.iter().enumerate() {
            let same = |earlier: &StreamEntry| earlier.descriptor() == entry.descriptor();
            if self.std_streams_table[..at].iter().any(same) {
                let problem = FieldProblem::Duplicate(entry.file_right().file_name.to_string());
                return Err(PolicyError::field(format!("std_streams_table[{at}]"), problem));
            }
            check_file_rights(&format!("std_streams_table[{at}]"), std::slice::from_ref(entry.file_right()))?;
            if entry.file_right().file_name.is_subtree() {
                let problem = FieldProblem::Directory(entry.file_right().file_name.clone());
                return Err(PolicyError::field(format!("std_streams_table[{at}]"), problem));
            }
        }
        Ok(())
    }

    /// Which bytes the policy demands of a file; `None` if it says nothing about it.
    pub fn expected_hash(&self, path: &GuestPath) -> Option<Sha256Digest> {
        let program = self.programs.iter().find(|program| program.program_file_name.path() == path);
        let listed = || self.file_hashes.iter().find(|hash| hash.file_path.path() == path);
        program.and_then(|program| program.pi_hash).or_else(|| listed().map(|hash| hash.hash))
    }

    /// The program stored as this file.
    pub fn program(&self, path: &GuestPath) -> Option<&Program> {
        self.programs.iter().find(|program| program.program_file_name.path() == path)
    }

    /// The pipeline that a client means: by its name, or by its number. The published client writes a slash before
    /// either.
    pub fn pipeline(&self, asked: &str) -> Option<&PipelineEntry> {
        let find = |asked: &str| {
            let named = self.pipelines.iter().find(|entry| entry.name == asked);
            named.or_else(|| self.pipelines.iter().find(|entry| entry.id.to_string() == asked))
        };
        find(asked).or_else(|| find(asked.strip_prefix('/')?))
    }

    /// The measurements of which the instance must have one. Those of no meaning here, as of another length, name none.
    pub fn measurements(&self) -> impl Iterator<Item = Sha256Digest> {
        let named = [
            self.runtime_manager_hash_linux.as_deref(),
            self.runtime_manager_hash_sevsnp.as_deref(),
            Some(self.runtime_manager_hash_nitro.as_str()),
            Some(self.runtime_manager_hash_sgx.as_str()),
            Some(self.runtime_manager_hash_tz.as_str()),
        ];
        named.into_iter().flatten().filter_map(|text| text.parse().ok())
    }

    /// The standard streams. Earlier policies have a table of them; in later ones a program that is granted a file called
    /// `stdin`, `stdout` or `stderr` has that stream, with these rights.
    pub fn streams(&self) -> Vec<StreamEntry> {
        if !self.std_streams_table.is_empty() {
            return self.std_streams_table.clone();
        }
        standard_streams().into_iter().filter(|stream| stream.is_granted(&self.programs)).collect()
    }

    /// The number of the identity whose certificate this is, to the last byte.
    pub fn identity_of(&self, certificate_der: &[u8]) -> Option<u64> {
        let same = |identity: &&Identity| identity.certificate.der() == certificate_der;
        self.identities.iter().find(same).map(|identity| identity.id)
    }

    /// Refuses a policy whose instance would have ended before it begins, `now`, and one with a certificate that is over:
    /// whoever has it could not speak to the instance.
    ///
    /// # Errors
    /// Names the field.
    pub fn demand_unexpired(&self, now: Timestamp) -> Result<(), PolicyError> {
        if self.enclave_cert_expiry.to_timestamp() <= now {
            return Err(PolicyError::field("enclave_cert_expiry", FieldProblem::Past));
        }
        let certificates = self.identities.iter().map(|identity| &identity.certificate).enumerate();
        let named =
            certificates.map(|(at, certificate)| (format!("identities[{at}].certificate"), certificate));
        for (path, certificate) in named.chain([("proxy_service_cert".to_owned(), &self.proxy_service_cert)])
        {
            let (_, until) = certificate.validity();
            if until < now {
                return Err(PolicyError::field(path, FieldProblem::Expired(until)));
            }
        }
        Ok(())
    }

    /// Most linear memory of a program, in bytes.
    pub fn memory_bytes(&self) -> u64 {
        u64::from(self.max_memory_mib.unwrap_or(MEMORY_MIB_DEFAULT)) * 1024 * 1024
    }

    /// The text: JSON with sorted keys, indented by four. The same policy always gives the same text.
    pub fn to_text(&self) -> PolicyText {
        PolicyText(sorted_text(self))
    }
}

/// A document of this module as JSON with sorted keys, indented by four, in ASCII. The same document always gives the same text.
pub fn sorted_text(document: &impl Serialize) -> String {
    let value = serde_json::to_value(document).expect("a policy has only text keys");
    let mut bytes = Vec::new();
    let mut json = serde_json::Serializer::with_formatter(&mut bytes, Python::new());
    Sorted(&value).serialize(&mut json).expect("writing to memory does not fail");
    String::from_utf8(bytes).expect("JSON is UTF-8")
}

/// A JSON value that is written with sorted keys, whatever order the map type keeps them in.
struct Sorted<'a>(&'a serde_json::Value);

impl Serialize for Sorted<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self.0 {
            serde_json::Value::Object(map) => {
                let sorted: BTreeMap<&str, Sorted<'_>> =
                    map.iter().map(|(key, value)| (key.as_str(), Sorted(value))).collect();
                serializer.collect_map(sorted)
            }
            serde_json::Value::Array(values) => serializer.collect_seq(values.iter().map(Sorted)),
            other => other.serialize(serializer),
        }
    }
}

/// The exact text of a full policy: what is hashed, handed over and verified.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct PolicyText(String);

impl PolicyText {
    /// Takes a text over as it is.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// SHA-256 of the exact bytes.
    pub fn hash(&self) -> Sha256Digest {
        policy_hash(&self.0)
    }

    /// Reads and checks the policy.
    pub fn parse(&self) -> Result<FullPolicy, PolicyError> {
        FullPolicy::parse(self.0.as_bytes())
    }
}

/// SHA-256 of the exact bytes of a policy's text.
pub fn policy_hash(text: &str) -> Sha256Digest {
    sha256(text.as_bytes())
}
