//! Logging in with a passkey.

use cm_db::WriteTx;
use cm_events::Outcome;
use cm_types::{PrincipalId, RequestId, TenantId, Timestamp};
use serde_json::Value;
use std::time::Duration;
use webauthn_rs::prelude::{
    AuthenticationResult, Credential as Kept, DiscoverableAuthentication, Passkey, PublicKeyCredential,
};

use super::ceremony::{PasskeyChallenge, PasskeyProblem, Spent, problem_of};
use super::id_of;
use crate::identity::{key_of, require_tenant};
use crate::lockout::Source;
use crate::table::{LoginFailures, PasskeyOwnerRow, PasskeyOwners, PasskeyRow, Passkeys, Principals};
use crate::trail::Entry;
use crate::{Authenticated, Credential, CredentialProblem, Identity, IdentityError, Principal};

const LOGIN: &str = "login";

/// An answer that was compared with the passkey that it names.
struct Attempt {
    tenant: TenantId,
    principal: PrincipalId,
    /// The passkey's id.
    key: String,
    /// The challenge that it answers, if that is one of ours and not over.
    spent: Option<Spent>,
    outcome: Result<AuthenticationResult, PasskeyProblem>,
    source: Source,
    request: Option<RequestId>,
}

enum Verdict {
    In(Box<Authenticated>),
    Out(CredentialProblem),
    Locked(Duration),
}

impl Identity {
    /// Begins to log in with a passkey: the same for everybody, since nobody has said who they are.
    ///
    /// Errors: `PasskeysOff`.
    pub fn begin_passkey_login(&self) -> Result<PasskeyChallenge, IdentityError> {
        let party = self.relying_party()?;
        let begun = party.webauthn().start_discoverable_authentication();
        let (options, state) = begun.map_err(|error| IdentityError::PasskeyRefused(problem_of(&error)))?;
        let options = serde_json::to_value(options).expect("options are JSON");
        Ok(PasskeyChallenge::new(party, self.seal_ceremony(LOGIN, &state), options))
    }

    /// Whose passkey gave this answer. `credential` is the browser's, in JSON (WebAuthn, level 3, section 5.1.1).
    ///
    /// Errors: `PasskeysOff`; `InvalidCredential`, the same for whatever is wrong; `Locked` and `Busy` as for passwords
    /// ([`Identity::login`]), whose failures and locks these are too. Events: `login.succeeded`, `login.failed`, `principal.locked`,
    /// `passkey.counter-went-back`.
    ///
    /// Not cancel-safe: an attempt that is dropped midway may or may not be counted.
    pub async fn login_with_passkey(
        &self,
        state: &str,
        credential: Value,
        source: &Source,
        request: Option<&RequestId>,
    ) -> Result<Authenticated, IdentityError> {
        let party = self.shared_relying_party()?;
        let answer: Option<PublicKeyCredential> = serde_json::from_value(credential).ok();
        let key = answer.as_ref().map(|answer| id_of(&answer.raw_id));
        let found = match key.clone() {
            Some(key) => self.passkey_of(key).await?,
            None => None,
        };
        let (Some(answer), Some(key), Some((owner, row))) = (answer, key, found) else {
            return Err(self.refuse_unknown_passkey(source));
        };
        self.require_unlocked(&owner, source).await?;
        let opened = self.open_ceremony::<DiscoverableAuthentication>(LOGIN, state);
        let (outcome, spent) = match opened {
            Err(problem) => (Err(problem), None),
            Ok(_) if answer.get_user_unique_id() != Some(row.handle.as_bytes()) => {
                (Err(PasskeyProblem::Owner), None)
            }
            Ok((begun, spent)) => {
                let verify = move || {
                    let webauthn = party.webauthn();
                    let result = webauthn.finish_discoverable_authentication_v2(&answer, begun, &row.passkey);
                    let result = result.map_err(|error| problem_of(&error))?;
                    // The library has looked; what `mfa` stands on is looked at where it is said.
                    if result.user_verified() { Ok(result) } else { Err(PasskeyProblem::NotVerified) }
                };
                (self.off_the_runtime(verify).await?, Some(spent))
            }
        };
        let PasskeyOwnerRow { tenant, principal } = owner;
        let (source, request) = (source.clone(), request.cloned());
        self.conclude_passkey(Attempt { tenant, principal, key, spent, outcome, source, request }).await
    }

    async fn passkey_of(&self, key: String) -> Result<Option<(PasskeyOwnerRow, PasskeyRow)>, IdentityError> {
        self.0
            .db
            .read(move |tx| {
                let Some(owner) = tx.get::<PasskeyOwners>(&key)? else { return Ok(None) };
                let place = (owner.tenant.clone(), owner.principal.clone(), key);
                Ok(tx.get::<Passkeys>(&place)?.map(|row| (owner, row)))
            })
            .await
    }

    /// A credential that nobody has is no account's failure, but its source's.
    fn refuse_unknown_passkey(&self, source: &Source) -> IdentityError {
        let (mut sprays, now) = (self.sprays(), self.now());
        if let Some(retry_after) = sprays.wait(source, now) {
            return IdentityError::Locked { retry_after };
        }
        sprays.fail(source, now);
        CredentialProblem::UnknownPasskey.into()
    }

    async fn require_unlocked(&self, owner: &PasskeyOwnerRow, source: &Source) -> Result<(), IdentityError> {
        let key = key_of(&owner.tenant, &owner.principal);
        let attempts = self
            .0
            .db
            .read(move |tx| Ok::<_, IdentityError>(tx.get::<LoginFailures>(&key)?.unwrap_or_default()))
            .await?;
        match self.locked_for(&attempts, source) {
            Some(retry_after) => Err(IdentityError::Locked { retry_after }),
            None => Ok(()),
        }
    }

    async fn conclude_passkey(&self, attempt: Attempt) -> Result<Authenticated, IdentityError> {
        let (identity, now, source) = (self.clone(), self.now(), attempt.source.clone());
        let verdict = self.0.db.write(move |tx| identity.judge_passkey(tx, &attempt, now)).await?;
        match verdict {
            Verdict::In(authenticated) => Ok(*authenticated),
            Verdict::Locked(retry_after) => Err(IdentityError::Locked { retry_after }),
            Verdict::Out(problem) => {
                self.sprays().fail(&source, now);
                Err(problem.into())
            }
        }
    }

    /// Decides in the transaction that counts: an answer lets in once, a counter goes up only, and of many attempts that were begun
    /// before a lock none is let in after it.
    fn judge_passkey(
        &self,
        tx: &mut WriteTx<'_>,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Result<Verdict, IdentityError> {
        let (key, place) = (key_of(&attempt.tenant, &attempt.principal), attempt.place());
        // Both may have gone since they were read.
        let (Some(mut row), Some(owner)) = (tx.get::<Passkeys>(&place)?, tx.get::<Principals>(&key)?) else {
            return Ok(Verdict::Out(CredentialProblem::UnknownPasskey));
        };
        let mut attempts = tx.get::<LoginFailures>(&key)?.unwrap_or_default();
        if let Some(retry_after) = attempts.locked_for(&attempt.source, now) {
            return Ok(Verdict::Locked(retry_after));
        }
        let fresh = match &attempt.spent {
            Some(spent) => self.spend_ceremony(tx, spent)?,
            None => true,
        };
        let outcome = match &attempt.outcome {
            Ok(_) if !fresh => Err(PasskeyProblem::Challenge),
            Ok(result) => take(&mut row.passkey, result),
            Err(problem) => Err(*problem),
        };
        let closed = match require_tenant(tx, &attempt.tenant) {
            Err(IdentityError::NoSuchTenant) => true,
            outcome => outcome.map(|()| false)?,
        };
        let problem = match outcome {
            Err(problem) => CredentialProblem::Passkey(problem),
            Ok(()) if owner.disabled || closed => CredentialProblem::Disabled,
            Ok(()) if row.closed => CredentialProblem::Revoked,
            Ok(()) => {
                row.last_used_at = Some(now);
                tx.put::<Passkeys>(&place, &row)?;
                attempts.succeed(&attempt.source, now);
                tx.put::<LoginFailures>(&key, &attempts)?;
                self.record(tx, attempt.entry("login.succeeded", Outcome::Allowed))?;
                let principal = Principal::from_row(&attempt.tenant, &attempt.principal, &owner);
                let authenticated =
                    Authenticated::new(principal, Credential::Passkey { id: attempt.key.clone() });
                return Ok(Verdict::In(Box::new(authenticated.with_second_factor())));
            }
        };
        if problem == CredentialProblem::Passkey(PasskeyProblem::Counter) {
            self.record(tx, attempt.entry("passkey.counter-went-back", Outcome::Denied))?;
        }
        attempts.fail(&attempt.source, now);
        tx.put::<LoginFailures>(&key, &attempts)?;
        let failures = attempts.count(&attempt.source);
        self.record(tx, attempt.entry("login.failed", Outcome::Denied).fact("failures", failures))?;
        if let Some(lock) = attempts.locked_for(&attempt.source, now) {
            let entry = attempt.entry("principal.locked", Outcome::Denied);
            self.record(tx, entry.fact("seconds", lock.as_secs()))?;
        }
        Ok(Verdict::Out(problem))
    }
}

/// Notes the counter of an answer. The library compared it with the one that was read; another answer may have been taken since.
fn take(passkey: &mut Passkey, result: &AuthenticationResult) -> Result<(), PasskeyProblem> {
    let kept = Kept::from(passkey.clone()).counter;
    if (kept > 0 || result.counter() > 0) && result.counter() <= kept {
        return Err(PasskeyProblem::Counter);
    }
    match passkey.update_credential(result) {
        Some(_) => Ok(()),
        None => Err(PasskeyProblem::Owner),
    }
}

impl Attempt {
    fn place(&self) -> (TenantId, PrincipalId, String) {
        (self.tenant.clone(), self.principal.clone(), self.key.clone())
    }

    fn entry(&self, verb: &'static str, outcome: Outcome) -> Entry<'_> {
        let actor = matches!(outcome, Outcome::Allowed).then_some(&self.principal);
        let request = self.request.as_ref();
        let entry = Entry { outcome, ..Entry::done(verb, &self.tenant, actor, &self.principal, request) };
        entry.fact("source", self.source.as_str()).fact("way", "passkey").fact("passkey", self.key.as_str())
    }
}
