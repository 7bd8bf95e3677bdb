//! Release policies: to which instances the owner of a sealed object releases its key.
//!
//! The object is sealed for its owner alone; no node holds a key. The owner signs what an instance must be to be given
//! the key of this one object: what it runs on (its **measurement**), what it obeys (its **policy**), or which
//! **function** it is an instance of. Of each kind that is named, one must hold. The owner's agent compares with the
//! evidence of the very instance that it then speaks to; nobody else's word counts. Unless the policy is named, and with it
//! who takes part, nobody but the owner may be able to read what the object becomes inside.
//!
//! The policy names the object by bucket and key and by the digest of its sealed header, which commits to the content:
//! put elsewhere, or beside another object, it releases nothing.

use cm_crypto::CryptoError;
use cm_crypto::digest::sha256;
use cm_crypto::jws::{self, TokenType};
use cm_crypto::sign::{SigningKey, VerifyingKey};
use cm_types::{Sha256Digest, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use crate::policy::{DataFile, FileHash, FileRight, PipelineEntry, Program, sorted_text};
use crate::{FullPolicy, GuestPath, PolicyText, Principal, ProgramPolicy, Rights, RightsTable};

#[cfg(test)]
mod tests;

/// Most values of one kind in a release policy.
pub const VALUES_MAX: usize = 16;

/// To which instances the key of one object is released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleasePolicy {
    /// The object's bucket.
    pub bucket: String,
    /// The object's key.
    pub key: String,
    /// SHA-256 of the object's sealed header.
    pub sealed: Sha256Digest,
    /// What may run the instance.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub measurements: Vec<Sha256Digest>,
    /// Which policies it may obey, by the hashes of their texts.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub policies: Vec<Sha256Digest>,
    /// Which functions it may be an instance of.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<ReleasedFunction>,
    /// When the release ends, in seconds since 1970; absent if it does not.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<i64>,
}

/// A function to whose instances a key is released.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ReleasedFunction {
    /// Its name, for people.
    pub id: String,
    /// What it does, as [`function_digest`] has it.
    pub digest: Sha256Digest,
}

/// Why a text is no release policy.
#[derive(Debug, thiserror::Error)]
pub enum InvalidRelease {
    /// It is not signed by the owner, or was altered.
    #[error("the release policy is not signed by the object's owner")]
    Signature(#[from] CryptoError),
    /// What was signed is no release policy.
    #[error("the release policy is unreadable")]
    Form(#[from] serde_json::Error),
    /// Nothing is demanded of an instance, or too much.
    #[error(
        "a release policy names at least one and at most {VALUES_MAX} measurements, policies and functions each"
    )]
    Count,
}

/// Why a key is not released to an instance.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotReleased {
    /// The policy is about another object, or another version of it.
    #[error("the release policy is about another object")]
    OtherObject,
    /// The release has ended.
    #[error("the release has ended")]
    Ended,
    /// Something else runs the instance.
    #[error("the instance's measurement {0} is not one that the key is released to")]
    Measurement(Sha256Digest),
    /// The instance obeys another policy.
    #[error("the instance's policy {0} is not one that the key is released to")]
    Policy(Sha256Digest),
    /// It is an instance of another function, or of one that was changed.
    #[error("the instance runs no function that the key is released to")]
    Function,
    /// The policy text cannot be read.
    #[error("the instance's policy is unreadable")]
    Unreadable,
    /// Only a policy that was named may let others than the owner read the file.
    #[error("the instance lets others read the file, and its policy is not one that the key is released to")]
    ReadByOthers,
    /// Nobody watches, and nothing says what the programs may be.
    #[error(
        "a release to measurements alone leaves the programs open: release it by hand, or name a function or policy"
    )]
    Unwatched,
}

/// What asks for a key: facts that evidence and the object itself have proved.
#[derive(Clone, Debug)]
pub struct Asking<'a> {
    /// The object's bucket.
    pub bucket: &'a str,
    /// The object's key.
    pub key: &'a str,
    /// SHA-256 of the object's sealed header.
    pub sealed: Sha256Digest,
    /// The measurement that the evidence proves.
    pub measurement: Sha256Digest,
    /// The policy whose hash the evidence proves.
    pub policy: &'a PolicyText,
    /// The file that the object becomes inside.
    pub file: &'a GuestPath,
    /// The owner's certificate, in DER.
    pub owner: &'a [u8],
    /// Whether the owner asked for this very release, rather than an agent that answers whoever asks.
    pub by_hand: bool,
}

impl ReleasePolicy {
    /// The policy as its owner signs it: a token of one line.
    pub fn sign(&self, owner: &SigningKey) -> Result<String, InvalidRelease> {
        self.check()?;
        Ok(jws::sign(owner, TokenType::RELEASE, &serde_json::to_vec(self)?))
    }

    /// Reads what the owner signed.
    pub fn verify(token: &str, owner: &VerifyingKey) -> Result<Self, InvalidRelease> {
        let (claims, _) = jws::verify(token, TokenType::RELEASE, std::slice::from_ref(owner))?;
        let policy: Self = serde_json::from_slice(&claims)?;
        policy.check()?;
        Ok(policy)
    }

    /// Reads what somebody claims that the owner signed: for people to see, never to act on.
    pub fn unverified(token: &str) -> Option<Self> {
        use base64::Engine as _;
        let claims = token.split('.').nth(1)?;
        let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).ok()?;
        serde_json::from_slice(&claims).ok()
    }

    fn check(&self) -> Result<(), InvalidRelease> {
        let counts = [self.measurements.len(), self.policies.len(), self.functions.len()];
        let some = counts.iter().any(|count| *count > 0);
        if some && counts.iter().all(|count| *count <= VALUES_MAX) {
            Ok(())
        } else {
            Err(InvalidRelease::Count)
        }
    }

    /// Whether the key goes to an instance.
    pub fn admits(&self, asking: &Asking<'_>, now: Timestamp) -> Result<(), NotReleased> {
        if (self.bucket.as_str(), self.key.as_str(), self.sealed)
            != (asking.bucket, asking.key, asking.sealed)
        {
            return Err(NotReleased::OtherObject);
        }
        if self.until.is_some_and(|until| until <= now.as_secs()) {
            return Err(NotReleased::Ended);
        }
        if !self.measurements.is_empty() && !self.measurements.contains(&asking.measurement) {
            return Err(NotReleased::Measurement(asking.measurement));
        }
        let hash = asking.policy.hash();
        if !self.policies.is_empty() && !self.policies.contains(&hash) {
            return Err(NotReleased::Policy(hash));
        }
        let policy = asking.policy.parse().map_err(|_| NotReleased::Unreadable)?;
        if self.policies.is_empty() {
            // Anybody may make an instance of a function, with identities of their choice.
            let owner = policy.identity_of(asking.owner);
            let table = RightsTable::from_policy(&policy);
            let others = policy.identities.iter().map(|identity| identity.id).filter(|id| Some(*id) != owner);
            let reads = |id| table.rights(&Principal::Identity(id), asking.file).contains(Rights::FD_READ);
            if others.into_iter().any(reads) {
                return Err(NotReleased::ReadByOthers);
            }
            if self.functions.is_empty() && !asking.by_hand {
                return Err(NotReleased::Unwatched);
            }
        }
        if !self.functions.is_empty() {
            let found = instance_digest(&policy).ok_or(NotReleased::Function)?;
            if !self.functions.iter().any(|function| function.digest == found) {
                return Err(NotReleased::Function);
            }
        }
        Ok(())
    }
}

/// What a function does: its programs with their hashes and rights, its pipelines and data, and how they are run. Names,
/// numbers and limits of memory are not part of it, and neither is who speaks to an instance.
pub fn function_digest(policy: &ProgramPolicy) -> Sha256Digest {
    let data =
        policy.data_files.iter().map(|DataFile { data_file, pi_hash, .. }| (data_file.path(), *pi_hash));
    let hash = |program: &Program| program.pi_hash;
    digest(
        &policy.programs,
        hash,
        data.collect(),
        &policy.pipelines,
        json!([
            policy.execution_strategy.as_str(),
            policy.enable_clock.unwrap_or(false),
            policy.debug.unwrap_or(false),
        ]),
    )
}

/// The same of the function that an instance runs; `None` if its standard streams are not the usual files.
pub fn instance_digest(policy: &FullPolicy) -> Option<Sha256Digest> {
    const STREAMS: [&str; 3] = ["/stdin", "/stdout", "/stderr"];
    let usual = policy.std_streams_table.iter().all(|entry| {
        STREAMS.get(entry.descriptor() as usize) == Some(&entry.file_right().file_name.path().as_str())
    });
    let data = policy.file_hashes.iter().map(|FileHash { file_path, hash }| (file_path.path(), *hash));
    let data = data.filter(|(path, _)| policy.program(path).is_none());
    let hash = |program: &Program| policy.expected_hash(program.program_file_name.path());
    usual.then(|| {
        digest(
            &policy.programs,
            hash,
            data.collect(),
            &policy.pipelines,
            json!([policy.execution_strategy.as_str(), policy.enable_clock, policy.debug,]),
        )
    })
}

fn digest(
    programs: &[Program],
    hash: impl Fn(&Program) -> Option<Sha256Digest>,
    mut data: Vec<(&GuestPath, Sha256Digest)>,
    pipelines: &[PipelineEntry],
    settings: Value,
) -> Sha256Digest {
    let mut programs: Vec<Value> = programs
        .iter()
        .map(|program| json!([program.program_file_name.path(), hash(program), rights(&program.file_rights)]))
        .collect();
    programs.sort_by_key(Value::to_string);
    data.sort();
    let mut pipelines: Vec<Value> = pipelines
        .iter()
        .map(|entry| json!([entry.name, entry.pipeline.to_string(), rights(&entry.file_rights)]))
        .collect();
    pipelines.sort_by_key(Value::to_string);
    let shape = json!({ "programs": programs, "data": data, "pipelines": pipelines, "settings": settings });
    sha256(sorted_text(&shape).as_bytes())
}

fn rights(rights: &[FileRight]) -> Vec<Value> {
    let mut rights: Vec<(&GuestPath, bool, u32)> = rights
        .iter()
        .map(|right| (right.file_name.path(), right.file_name.is_subtree(), right.rights.bits()))
        .collect();
    rights.sort();
    rights.into_iter().map(|(path, subtree, bits)| json!([path, subtree, bits])).collect()
}
