//! Challenges: what is remembered between asking a device and its answer.
//!
//! Anybody may ask to log in, as often as they like. So nothing is kept for who only asks: what is to be remembered goes along with the
//! question, sealed under a key of its own that is derived from the node's secret, and comes back with the answer, on whichever node
//! of the network. Nobody can read it, make one, change it, or use it for something else or for somebody else; and nobody's can be
//! pushed out by others. What is kept is which challenges were *used*, each until it is over: that takes an answer of a credential that
//! there is, and failed answers are counted and locked as wrong passwords are.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use cm_crypto::{sealed, secret};
use cm_db::{Direction, KeyRange, WriteTx};
use cm_types::Timestamp;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use webauthn_rs::prelude::WebauthnError;

use super::relying_party::RelyingParty;
use crate::table::{Mark, SpentChallenges};
use crate::{Identity, IdentityError};

/// How long a challenge may be answered.
pub const CEREMONY_MAX: Duration = Duration::from_secs(5 * 60);
/// How much longer it is remembered that one was used: as far as clocks of nodes may be apart.
const KEPT_LONGER: Duration = Duration::from_secs(5 * 60);
/// Used challenges that are over and that each further one clears away. More than one, so that they never pile up.
const CLEARED_AT_ONCE: usize = 16;

const PURPOSE: &str = "cryptomesh/passkey-challenge/v1";

/// A question for a device, and what comes back to us with its answer.
#[derive(Clone, Debug)]
pub struct PasskeyChallenge {
    /// What comes back with the answer. It is no secret from who asked, and tells nobody anything.
    pub state: String,
    /// What the browser is asked, in JSON: the `publicKey` of `navigator.credentials.create` or `.get` (WebAuthn, level 3).
    pub options: Value,
    /// The origins whose pages may ask.
    pub origins: Vec<String>,
}

impl PasskeyChallenge {
    pub(super) fn new(party: &RelyingParty, state: String, mut options: Value) -> Self {
        Self { state, options: options["publicKey"].take(), origins: party.origins().to_vec() }
    }
}

/// Why the answer of a device proves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum PasskeyProblem {
    /// It is not written as browsers write it, or of a kind that is not taken.
    #[error("it is not the answer of a passkey that is taken here")]
    Form,
    /// For no challenge of ours, or for one that was used or was somebody else's.
    #[error("it answers another challenge, or one that was used before")]
    Challenge,
    /// The challenge is over.
    #[error("it comes too late")]
    Expired,
    /// It was asked for by a page of another origin.
    #[error("it was given to a page of another origin; see the setting `identity.passkeys.origins`")]
    Origin,
    /// It was made for another relying party.
    #[error("it was made for another party; see the setting `identity.passkeys.rp_id`")]
    RelyingParty,
    /// The device did not look who uses it.
    #[error("the device did not make sure who uses it, by a PIN or otherwise")]
    NotVerified,
    /// The device would not find the key by itself.
    #[error("the device did not keep the key so that it finds it by itself")]
    NotDiscoverable,
    /// The account is not the one that the device names.
    #[error("it is of another account")]
    Owner,
    /// Its counter is not beyond that of the last answer: there may be a copy of the device.
    #[error("its counter went back, as if the device had been copied")]
    Counter,
    /// It is not signed with the key.
    #[error("its signature is wrong")]
    Signature,
}

/// What the library found, as far as somebody acts differently on it.
pub(super) fn problem_of(error: &WebauthnError) -> PasskeyProblem {
    match error {
        WebauthnError::MismatchedChallenge => PasskeyProblem::Challenge,
        WebauthnError::InvalidRPOrigin | WebauthnError::CredentialCrossOrigin => PasskeyProblem::Origin,
        WebauthnError::InvalidRPIDHash => PasskeyProblem::RelyingParty,
        WebauthnError::UserNotVerified | WebauthnError::UserNotPresent => PasskeyProblem::NotVerified,
        WebauthnError::CredentialPossibleCompromise => PasskeyProblem::Counter,
        WebauthnError::AuthenticationFailure => PasskeyProblem::Signature,
        _ => PasskeyProblem::Form,
    }
}

/// A challenge of ours that was answered in time.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct Spent {
    id: String,
    ends_at: Timestamp,
}

#[derive(Serialize, Deserialize)]
struct Remembered<S> {
    ends_at: Timestamp,
    state: S,
}

impl Identity {
    /// Sets as whom the node is known to browsers, once. Without it there are no passkeys.
    ///
    /// Errors: the party, if another one is in use already.
    pub fn use_relying_party(&self, party: Arc<RelyingParty>) -> Result<(), Arc<RelyingParty>> {
        self.0.relying_party.set(party)
    }

    pub(super) fn relying_party(&self) -> Result<&RelyingParty, IdentityError> {
        self.0.relying_party.get().map(Arc::as_ref).ok_or(IdentityError::PasskeysOff)
    }

    pub(super) fn shared_relying_party(&self) -> Result<Arc<RelyingParty>, IdentityError> {
        self.0.relying_party.get().cloned().ok_or(IdentityError::PasskeysOff)
    }

    /// Verifies signatures, a few at a time, where they hold up nobody.
    pub(super) async fn off_the_runtime<T: Send + 'static>(
        &self,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Result<T, IdentityError> {
        self.0.hashing.run("passkey-verify", work).await
    }

    /// Seals what is to be remembered. Each has a key of its own: strangers cause as many as they like, and no key may seal that many.
    pub(super) fn seal_ceremony(&self, what: &str, state: &impl Serialize) -> String {
        let id = hex::encode(secret::random_bytes::<16>());
        let remembered = Remembered { ends_at: self.now().after(CEREMONY_MAX), state };
        let json = serde_json::to_vec(&remembered).expect("what is remembered is JSON");
        let key = self.keys().secret_for(&format!("{PURPOSE}/{id}"));
        let sealed = sealed::seal(&key, what.as_bytes(), &json);
        format!("{id}.{}", URL_SAFE_NO_PAD.encode(sealed))
    }

    /// Opens what was sealed for the same purpose, if it is not over.
    pub(super) fn open_ceremony<S: DeserializeOwned>(
        &self,
        what: &str,
        text: &str,
    ) -> Result<(S, Spent), PasskeyProblem> {
        let wrong = PasskeyProblem::Challenge;
        let (id, sealed) = text.split_once('.').ok_or(wrong)?;
        let sealed = URL_SAFE_NO_PAD.decode(sealed).map_err(|_| wrong)?;
        let key = self.keys().secret_for(&format!("{PURPOSE}/{id}"));
        let json = sealed::open(&key, what.as_bytes(), &sealed).map_err(|_| wrong)?;
        let remembered: Remembered<S> = serde_json::from_slice(&json).map_err(|_| wrong)?;
        match self.now() < remembered.ends_at {
            true => Ok((remembered.state, Spent { id: id.to_owned(), ends_at: remembered.ends_at })),
            false => Err(PasskeyProblem::Expired),
        }
    }

    /// Notes that a challenge was used; `false` if it was before.
    pub(super) fn spend_ceremony(&self, tx: &mut WriteTx<'_>, spent: &Spent) -> Result<bool, IdentityError> {
        let key = (spent.ends_at.after(KEPT_LONGER), spent.id.clone());
        if tx.get::<SpentChallenges>(&key)?.is_some() {
            return Ok(false);
        }
        let over = KeyRange::all().before(&(self.now(), String::new()));
        for (gone, _) in tx.range::<SpentChallenges>(over, Direction::Forward, CLEARED_AT_ONCE)? {
            tx.delete::<SpentChallenges>(&gone)?;
        }
        tx.put::<SpentChallenges>(&key, &Mark {})?;
        Ok(true)
    }
}
