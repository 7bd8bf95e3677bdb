//! Plans: a program, who computes it, and who learns what. What owners of inputs consent to.
//!
//! A plan is JSON text, and known by the SHA-256 of its bytes. Clients seal their shares for a plan: a party opens them only under
//! the very same one, so that nobody between client and parties can change the program, add a receiver, or put another key in the
//! place of a receiver's.

use std::collections::{BTreeMap, BTreeSet};

use cm_crypto::digest::sha256;
use cm_crypto::seal::RecipientPublicKey;
use cm_crypto::threshold::GroupKey;
use cm_shares::{Committee, JobTag, MpcError, Terms, Tier};
use cm_types::Sha256Digest;
use serde::{Deserialize, Serialize};

use crate::program::{Receivers, is_owner};
use crate::{Owner, Program, ProgramError, Settings, TierName};

/// Longest plan, in bytes: it is part of a catalogue entry.
pub const PLAN_LEN_MAX: usize = 768 << 10;

/// One of the parties.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct PlannedParty {
    /// What it is called.
    pub name: String,
    /// The key by which its links know it.
    pub link_key: Sha256Digest,
    /// The key that shares for it are sealed to, `cmpub1…`.
    pub sealing_key: String,
}

/// By which key the parties sign what they have come to, as members of a group of as many as they are.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum SignatureKey {
    /// One that they make in this run, and keep for others.
    Fresh,
    /// One that they have made: its public part in hexadecimal digits.
    Group(String),
}

/// What is computed, by whom, for whom.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// Which computation it is.
    pub computation: String,
    /// The program.
    pub program: Program,
    /// The parties, by number.
    pub parties: Vec<PlannedParty>,
    /// The keys of those who learn results, `cmpub1…`.
    pub receivers: BTreeMap<String, String>,
    /// By which key the parties sign the result; without it they do not sign.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub signature: Option<SignatureKey>,
}

/// Why a plan cannot be.
#[derive(Clone, Debug, thiserror::Error)]
pub enum PlanError {
    /// The text is no plan.
    #[error("the text is no plan of a computation: {0}")]
    Form(String),
    /// Its program cannot be.
    #[error(transparent)]
    Program(#[from] ProgramError),
    /// The parties cannot compute so.
    #[error(transparent)]
    Terms(#[from] MpcError),
    /// Two parties share a name or a key.
    #[error("party `{0}` is named twice, or has the key of another")]
    SameParty(String),
    /// An input of a party that is none.
    #[error("`{0}` has an input and is no party")]
    NoParty(String),
    /// A key that is none.
    #[error("the key of `{0}` is no public key; it begins with `cmpub1`")]
    Key(String),
    /// A key of parties that is none.
    #[error("`{0}` is no public key of parties; it has 66 hexadecimal digits")]
    SignatureKey(String),
    /// Somebody learns a result without a key to seal it for.
    #[error("`{0}` learns a result and has no key; give one, as `cryptomesh keygen` makes it")]
    NoKey(String),
}

/// A plan that can be carried out, with its exact text.
#[derive(Clone, Debug)]
pub struct Agreed {
    text: String,
    digest: Sha256Digest,
    plan: Plan,
}

impl Agreed {
    /// Writes a plan down.
    ///
    /// # Errors
    /// Why it cannot be carried out.
    pub fn write(plan: &Plan) -> Result<Self, PlanError> {
        Self::read(serde_json::to_string(plan).map_err(|error| PlanError::Form(error.to_string()))?)
    }

    /// Reads a plan, which may come from anywhere.
    ///
    /// # Errors
    /// Why it is none, or cannot be carried out.
    pub fn read(text: String) -> Result<Self, PlanError> {
        if text.len() > PLAN_LEN_MAX {
            return Err(PlanError::Form(format!("it is longer than {PLAN_LEN_MAX} bytes")));
        }
        let mut plan: Plan =
            serde_json::from_str(&text).map_err(|error| PlanError::Form(error.to_string()))?;
        plan.program = plan.program.checked()?;
        let mut seen = BTreeSet::new();
        for party in &plan.parties {
            if !is_owner(&party.name) {
                return Err(ProgramError::BadOwner(party.name.clone()).into());
            }
            party
                .sealing_key
                .parse::<RecipientPublicKey>()
                .map_err(|_| PlanError::Key(party.name.clone()))?;
            let marks = [party.name.clone(), party.link_key.to_string(), party.sealing_key.clone()];
            if marks.into_iter().any(|mark| !seen.insert(mark)) {
                return Err(PlanError::SameParty(party.name.clone()));
            }
        }
        for (_, owner, _) in plan.program.inputs() {
            if let Owner::Party(name) = owner
                && !plan.parties.iter().any(|party| party.name == *name)
            {
                return Err(PlanError::NoParty(name.clone()));
            }
        }
        for (name, key) in &plan.receivers {
            key.parse::<RecipientPublicKey>().map_err(|_| PlanError::Key(name.clone()))?;
        }
        if let Some(SignatureKey::Group(key)) = &plan.signature {
            key.parse::<GroupKey>().map_err(|_| PlanError::SignatureKey(key.clone()))?;
        }
        for output in plan.program.outputs() {
            let Receivers::Clients(names) = output.to else { continue };
            if let Some(name) = names.iter().find(|name| !plan.receivers.contains_key(*name)) {
                return Err(PlanError::NoKey(name.clone()));
            }
        }
        let digest = sha256(text.as_bytes());
        terms(plan.program.settings(), plan.parties.len(), JobTag(*digest.as_bytes()))?;
        Ok(Self { text, digest, plan })
    }

    /// The exact text.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// What it is known by.
    pub fn digest(&self) -> &Sha256Digest {
        &self.digest
    }

    /// What it says.
    pub fn plan(&self) -> &Plan {
        &self.plan
    }

    /// What the parties of one run of it agree on.
    ///
    /// # Errors
    /// Never for a plan that was read; as [`Terms::new`].
    pub fn terms(&self, run: &str) -> Result<Terms, MpcError> {
        let tag = sha256(format!("cryptomesh run v1 {} {run}", self.digest).as_bytes());
        terms(self.plan.program.settings(), self.plan.parties.len(), JobTag(*tag.as_bytes()))
    }

    /// The number of the party of this name.
    pub fn party(&self, name: &str) -> Option<usize> {
        self.plan.parties.iter().position(|party| party.name == name)
    }
}

/// What parties agree on that compute with these settings.
///
/// # Errors
/// [`MpcError::Committee`] when so many parties cannot.
pub fn terms(settings: &Settings, parties: usize, job: JobTag) -> Result<Terms, MpcError> {
    let tier = match settings.tier {
        TierName::SemiHonest => Tier::SemiHonest,
        TierName::MaliciousAbort => Tier::MaliciousAbort,
        TierName::Robust => Tier::Robust,
    };
    let usual =
        if tier == Tier::Robust { parties.saturating_sub(1) / 3 } else { parties.saturating_sub(1) / 2 };
    let threshold = settings.threshold.map_or(usual, usize::from);
    if threshold == 0 {
        let need = "a single party would see every value; take at least 3 parties, and 4 for `robust`";
        return Err(MpcError::Committee { parties, threshold, need });
    }
    Terms::new(Committee::with_threshold(parties, threshold)?, tier, job)
}
