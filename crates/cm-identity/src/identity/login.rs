//! Logging in with a password.

use std::sync::{MutexGuard, PoisonError};

use cm_crypto::Secret;
use cm_crypto::password::PasswordHash;
use cm_db::WriteTx;
use cm_events::Outcome;
use cm_types::{PrincipalId, RequestId, TenantId, Timestamp};

use super::{Identity, PASSWORD_LEN_MAX, key_of};
use crate::lockout::{Failures, UnknownNames};
use crate::table::{LoginFailures, Principals, Tenants};
use crate::trail::Entry;
use crate::{Authenticated, Credential, CredentialProblem, IdentityError, Principal};

/// One attempt whose password was compared.
struct Attempt {
    tenant: TenantId,
    principal: PrincipalId,
    /// The hash that the password was compared with.
    compared: Option<PasswordHash>,
    matches: bool,
    request: Option<RequestId>,
}

/// What an attempt comes to. A failure is not an `Err` of its transaction, because it must be counted.
enum Verdict {
    In(Authenticated),
    Out(CredentialProblem),
    Locked(std::time::Duration),
    /// No principal of this name.
    Unknown,
}

impl Identity {
    /// Who has this name and password.
    ///
    /// Errors: `InvalidCredential`, the same for an unknown name, a wrong password, no password and a
    /// disabled principal, and after the same time; `Locked` after too many failures in a row; `Busy`
    /// when too many log in at once. Events: `login.succeeded`, `login.failed`, `principal.locked`.
    ///
    /// Not cancel-safe: an attempt that is dropped midway may or may not be counted.
    pub async fn login(
        &self,
        tenant: &TenantId,
        principal: &PrincipalId,
        password: Secret<String>,
        request: Option<&RequestId>,
    ) -> Result<Authenticated, IdentityError> {
        let name = key_of(tenant, principal);
        let key = name.clone();
        let (row, failures) = self
            .0
            .db
            .read(move |tx| {
                let row = tx.get::<Principals>(&key)?;
                let failures = tx.get::<LoginFailures>(&key)?.unwrap_or_default();
                Ok::<_, IdentityError>((row, failures))
            })
            .await?;
        let failures = if row.is_some() { failures } else { self.unknown_names().get(&name) };
        if let Some(retry_after) = failures.locked_for(self.now()) {
            return Err(IdentityError::Locked { retry_after });
        }
        // An endless password is wrong without being hashed, but not sooner than others.
        let endless = password.expose().len() > PASSWORD_LEN_MAX;
        let (password, compared) = match row.and_then(|row| row.password) {
            Some(hash) if !endless => (password, Some(hash)),
            _ => (Secret::new(String::new()), None),
        };
        let matches = self.0.hashing.verify(password, compared.clone()).await?;
        let (tenant, principal) = name;
        let attempt = Attempt { tenant, principal, compared, matches, request: request.cloned() };
        self.conclude(attempt).await
    }

    async fn conclude(&self, attempt: Attempt) -> Result<Authenticated, IdentityError> {
        let name = key_of(&attempt.tenant, &attempt.principal);
        let (identity, now) = (self.clone(), self.now());
        match self.0.db.write(move |tx| identity.judge(tx, &attempt, now)).await? {
            Verdict::In(authenticated) => Ok(authenticated),
            Verdict::Out(problem) => Err(problem.into()),
            Verdict::Locked(retry_after) => Err(IdentityError::Locked { retry_after }),
            Verdict::Unknown => {
                let mut names = self.unknown_names();
                let locked = names.get(&name).locked_for(now);
                if let Some(retry_after) = locked {
                    return Err(IdentityError::Locked { retry_after });
                }
                names.fail(name, now);
                Err(CredentialProblem::UnknownPrincipal.into())
            }
        }
    }

    /// Decides in the transaction that counts: of many attempts that were begun before a lock, none is let
    /// in after it, not even with the right password.
    fn judge(
        &self,
        tx: &mut WriteTx<'_>,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Result<Verdict, IdentityError> {
        let key = key_of(&attempt.tenant, &attempt.principal);
        let Some(row) = tx.get::<Principals>(&key)? else {
            return self.judge_unknown(tx, attempt, now);
        };
        let failures = tx.get::<LoginFailures>(&key)?.unwrap_or_default();
        if let Some(retry_after) = failures.locked_for(now) {
            return Ok(Verdict::Locked(retry_after));
        }
        let problem = if !attempt.matches || row.password != attempt.compared {
            CredentialProblem::WrongPassword
        } else if row.disabled {
            CredentialProblem::Disabled
        } else {
            tx.delete::<LoginFailures>(&key)?;
            self.record(tx, attempt.entry("login.succeeded", Outcome::Allowed))?;
            let principal = Principal::from_row(&attempt.tenant, &attempt.principal, &row);
            return Ok(Verdict::In(Authenticated::new(principal, Credential::Password)));
        };
        let failures = failures.after_failure(now);
        tx.put::<LoginFailures>(&key, &failures)?;
        self.record(tx, attempt.entry("login.failed", Outcome::Denied).fact("failures", failures.count()))?;
        if let Some(lock) = failures.locked_for(now) {
            let entry = attempt.entry("principal.locked", Outcome::Denied);
            self.record(tx, entry.fact("seconds", lock.as_secs()))?;
        }
        Ok(Verdict::Out(problem))
    }

    /// Leaves an event now and then, if there is a tenant to leave it in. Always writes the row of a name
    /// that nobody can have, so that the flush which counting a failure costs is paid here too.
    fn judge_unknown(
        &self,
        tx: &mut WriteTx<'_>,
        attempt: &Attempt,
        now: Timestamp,
    ) -> Result<Verdict, IdentityError> {
        let nobody = key_of(&TenantId::default_tenant(), &PrincipalId::node());
        tx.put::<LoginFailures>(&nobody, &Failures::default().after_failure(now))?;
        if tx.get::<Tenants>(&attempt.tenant)?.is_some() && self.unknown_names().event_due(now) {
            let entry = attempt.entry("login.failed", Outcome::Denied);
            self.record(tx, entry.fact("unknown", true))?;
        }
        Ok(Verdict::Unknown)
    }

    fn unknown_names(&self) -> MutexGuard<'_, UnknownNames> {
        self.0.unknown_names.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    fn entry(&self, verb: &'static str, outcome: Outcome) -> Entry<'_> {
        let actor = matches!(outcome, Outcome::Allowed).then_some(&self.principal);
        let request = self.request.as_ref();
        Entry { outcome, ..Entry::done(verb, &self.tenant, actor, &self.principal, request) }
    }
}
