//! What the parties sign of a result, and how anybody verifies it with one public key and without a node.
//!
//! A [`Statement`] says which plan was carried out in which run, what everybody learned, and by their digests which sealed shares each
//! party gave for whom. So whoever receives a result can tell that the shares are those of the parties, and not of the node that
//! brought them. What is signed, and what is recorded elsewhere, is the statement's digest:
//!
//! ```text
//! SHA-256 of, each with its length before it (8 bytes, big-endian):
//!   "cryptomesh result v1", computation, run, digest of the plan, digest of what is open,
//!   and of each party in turn: its name, the digest of its shares or nothing
//! ```

use std::collections::BTreeMap;

use cm_crypto::digest::{Sha256, sha256};
use cm_crypto::threshold::{GroupKey, ThresholdError};
use cm_types::Sha256Digest;
use serde::{Deserialize, Serialize};

use crate::{Agreed, Literal, SignatureKey};

/// What a proof begins with.
pub const PROOF_FORMAT: &str = "cryptomesh-result-proof/1";
/// How the parties sign.
pub const PROOF_ALGORITHM: &str = "FROST-secp256k1-SHA256-v1";

/// A sealed share that a party gave.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SharedResult {
    /// Of which result.
    pub result: String,
    /// For whom.
    pub receiver: String,
    /// The digest of the sealed bytes.
    pub sha256: Sha256Digest,
}

/// What one party gave.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SignedParty {
    /// What it is called.
    pub name: String,
    /// The digest of what it gave; absent if it did not sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares_sha256: Option<Sha256Digest>,
    /// What that is the digest of; absent if the node that led the run does not have it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub shares: Option<Vec<SharedResult>>,
}

/// What was come to, and by whom.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Which computation it was.
    pub computation: String,
    /// In which run of it.
    pub run: String,
    /// The digest of the plan that was carried out.
    pub plan_sha256: Sha256Digest,
    /// The numbers that everybody learned, as text, by result.
    pub open: BTreeMap<String, Vec<String>>,
    /// The parties, by number.
    pub parties: Vec<SignedParty>,
}

/// A statement with the parties' signature: all that it takes to verify a result but their public key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// [`PROOF_FORMAT`].
    pub format: String,
    /// [`PROOF_ALGORITHM`].
    pub algorithm: String,
    /// What was come to.
    pub statement: Statement,
    /// Its digest, which is what is signed.
    pub result_sha256: Sha256Digest,
    /// The parties' public key in hexadecimal digits.
    pub group_key: String,
    /// Their signature in hexadecimal digits: a compressed point, then a number.
    pub signature: String,
}

/// Why a proof proves nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ProofError {
    /// Of another version, or no proof.
    #[error("not a proof of a result that this version reads: {0}")]
    Form(String),
    /// The digest is not that of the statement.
    #[error("the statement was altered: its digest is {found}, and the proof says {said}")]
    Digest {
        /// What the statement's is.
        found: Sha256Digest,
        /// What the proof says.
        said: Sha256Digest,
    },
    /// What is said of a party's shares is not what the party signed.
    #[error("the list of what party `{0}` gave was altered")]
    Shares(String),
    /// Signed by others.
    #[error("the result was signed by the key {0}, and not by the one that you gave")]
    OtherKey(String),
    /// The signature does not hold.
    #[error("the signature does not hold: the parties have not signed this result")]
    Signature,
    /// The plan is another.
    #[error("the result is that of another plan, {0}")]
    OtherPlan(Sha256Digest),
    /// The plan names another key.
    #[error("the plan demands a signature by the key {0}")]
    OtherPlannedKey(String),
}

/// What everybody learned, as text.
pub fn open_text(open: &BTreeMap<String, Vec<Literal>>) -> BTreeMap<String, Vec<String>> {
    let text = |values: &Vec<Literal>| values.iter().map(ToString::to_string).collect();
    open.iter().map(|(name, values)| (name.clone(), text(values))).collect()
}

/// The digest of what everybody learned.
pub fn open_digest(open: &BTreeMap<String, Vec<String>>) -> Sha256Digest {
    let mut digest = Sha256::new();
    for (name, values) in open {
        digest.update_field(name.as_bytes());
        digest.update_field(&(values.len() as u64).to_be_bytes());
        for value in values {
            digest.update_field(value.as_bytes());
        }
    }
    digest.finish()
}

/// What is said of sealed shares, by result and receiver.
pub fn shared_results<'a>(
    sealed: impl IntoIterator<Item = (&'a (String, String), &'a Vec<u8>)>,
) -> Vec<SharedResult> {
    let said = sealed.into_iter().map(|((result, receiver), bytes)| SharedResult {
        result: result.clone(),
        receiver: receiver.clone(),
        sha256: sha256(bytes),
    });
    let mut said: Vec<SharedResult> = said.collect();
    said.sort();
    said
}

/// The digest of what is said of a party's shares.
pub fn shares_digest(shares: &[SharedResult]) -> Sha256Digest {
    let mut digest = Sha256::new();
    for share in shares {
        digest.update_field(share.result.as_bytes());
        digest.update_field(share.receiver.as_bytes());
        digest.update_field(share.sha256.as_bytes());
    }
    digest.finish()
}

/// The digest of a statement, of the digests of its parts: `shares` by party, `None` for who does not sign.
pub fn statement_digest<'a>(
    computation: &str,
    run: &str,
    plan: &Sha256Digest,
    open: &Sha256Digest,
    shares: impl IntoIterator<Item = (&'a str, Option<[u8; 32]>)>,
) -> Sha256Digest {
    let mut digest = Sha256::new();
    digest.update_field(b"cryptomesh result v1");
    digest.update_field(computation.as_bytes());
    digest.update_field(run.as_bytes());
    digest.update_field(plan.as_bytes());
    digest.update_field(open.as_bytes());
    for (name, shares) in shares {
        digest.update_field(name.as_bytes());
        digest.update_field(shares.as_ref().map_or(&[][..], |digest| &digest[..]));
    }
    digest.finish()
}

impl Statement {
    /// Its digest.
    pub fn digest(&self) -> Sha256Digest {
        let digest = |party: &SignedParty| party.shares_sha256.map(|digest| *digest.as_bytes());
        let parties = self.parties.iter().map(|party| (party.name.as_str(), digest(party)));
        let open = open_digest(&self.open);
        statement_digest(&self.computation, &self.run, &self.plan_sha256, &open, parties)
    }

    /// Those who signed.
    pub fn signers(&self) -> impl Iterator<Item = &str> {
        self.parties.iter().filter(|party| party.shares_sha256.is_some()).map(|party| party.name.as_str())
    }
}

impl Proof {
    /// A statement with its signature.
    pub fn new(statement: Statement, key: &GroupKey, signature: &[u8]) -> Self {
        Self {
            format: PROOF_FORMAT.to_owned(),
            algorithm: PROOF_ALGORITHM.to_owned(),
            result_sha256: statement.digest(),
            statement,
            group_key: key.to_string(),
            signature: hex::encode(signature),
        }
    }

    /// Reads a proof.
    ///
    /// # Errors
    /// [`ProofError::Form`].
    pub fn read(text: &str) -> Result<Self, ProofError> {
        serde_json::from_str(text).map_err(|error| ProofError::Form(error.to_string()))
    }

    /// Whether the holders of this key have signed what the statement says.
    ///
    /// # Errors
    /// Why not.
    pub fn verify(&self, key: &GroupKey) -> Result<(), ProofError> {
        if self.format != PROOF_FORMAT || self.algorithm != PROOF_ALGORITHM {
            return Err(ProofError::Form(format!("{} by {}", self.format, self.algorithm)));
        }
        let found = self.statement.digest();
        if found != self.result_sha256 {
            return Err(ProofError::Digest { found, said: self.result_sha256 });
        }
        for party in &self.statement.parties {
            let found = party.shares.as_deref().map(shares_digest);
            if found.is_some() && found != party.shares_sha256 {
                return Err(ProofError::Shares(party.name.clone()));
            }
        }
        if self.group_key.parse::<GroupKey>().as_ref() != Ok(key) {
            return Err(ProofError::OtherKey(self.group_key.clone()));
        }
        let signature = hex::decode(&self.signature).map_err(|_| ProofError::Signature)?;
        key.verify(found.as_bytes(), &signature).map_err(|_: ThresholdError| ProofError::Signature)
    }

    /// Whether the result is that of this plan, by the key that the plan names, if it names one.
    ///
    /// # Errors
    /// Why not.
    pub fn verify_plan(&self, agreed: &Agreed) -> Result<(), ProofError> {
        let names = self.statement.parties.iter().map(|party| party.name.as_str());
        let planned = agreed.plan().parties.iter().map(|party| party.name.as_str());
        if self.statement.plan_sha256 != *agreed.digest() || !names.eq(planned) {
            return Err(ProofError::OtherPlan(self.statement.plan_sha256));
        }
        match &agreed.plan().signature {
            Some(SignatureKey::Group(key)) if !key.eq_ignore_ascii_case(&self.group_key) => {
                Err(ProofError::OtherPlannedKey(key.clone()))
            }
            _ => Ok(()),
        }
    }

    /// Whether a party has given these bytes as its sealed share of a result for a receiver.
    pub fn covers(&self, party: usize, result: &str, receiver: &str, sealed: &[u8]) -> bool {
        let shares = self.statement.parties.get(party).and_then(|party| party.shares.as_ref());
        let found = shares.and_then(|shares| {
            shares.iter().find(|share| share.result == result && share.receiver == receiver)
        });
        found.is_some_and(|share| share.sha256 == sha256(sealed))
    }
}

#[cfg(test)]
mod tests;
