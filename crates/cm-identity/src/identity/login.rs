//! Logging in with a password.

use std::sync::{MutexGuard, PoisonError};

use cm_crypto::Secret;
use cm_crypto::password::PasswordHash;
use cm_db::WriteTx;
use cm_events::Outcome;
use cm_types::{PrincipalId, RequestId, TenantId, Timestamp};

use super::{Identity, PASSWORD_LEN_MAX, key_of, require_tenant};
use crate::lockout::{Attempts, Source, Sprays, UnknownNames};
use crate::second_factor::Code;
use crate::table::{LoginFailures, PrincipalRow, Principals, SecondFactors, Tenants};
use crate::trail::Entry;
use crate::{Authenticated, Credential, CredentialProblem, IdentityError, Principal};

/// One attempt whose password was compared.
struct Attempt {
    tenant: TenantId,
    principal: PrincipalId,
    source: Source,
    /// The hash that the password was compared with.
    compared: Option<PasswordHash>,
    matches: bool,
    /// The code of the second factor, if one was shown.
    code: Option<Secret<String>>,
    /// What takes the place of an outdated hash.
    renewed: Option<PasswordHash>,
    /// Whether it may be made once more.
    is_first: bool,
    request: Option<RequestId>,
}

/// What an attempt comes to. A failure is not an `Err` of its transaction, because it must be counted.
enum Verdict {
    In(Box<Authenticated>),
    Out(CredentialProblem),
    /// The password is right, and a code was not shown.
    CodeMissing,
    /// The password was right for a hash that has been replaced since: by somebody else's login, or by another password.
    Replaced,
    Locked(std::time::Duration),
    /// No principal of this name.
    Unknown,
}

impl Identity {
    /// Who has this name and password. `source` says where the attempt comes from; see [`crate::lockout`].
    ///
    /// A hash that an earlier service made is replaced by one of our own on this occasion.
    ///
    /// Errors: `InvalidCredential`, the same for an unknown name, a wrong password, no password and a
    /// disabled principal, and after the same time; `Locked` after too many failures; `Busy`
    /// when too many log in at once. Events: `login.succeeded`, `login.failed`, `principal.locked`.
    ///
    /// Not cancel-safe: an attempt that is dropped midway may or may not be counted.
    pub async fn login(
        &self,
        tenant: &TenantId,
        principal: &PrincipalId,
        password: Secret<String>,
        source: &Source,
        request: Option<&RequestId>,
    ) -> Result<Authenticated, IdentityError> {
        self.login_with_code((tenant, principal), (password, None), source, request).await
    }

    /// As [`Identity::login`], with a code of the [second factor](crate::second_factor) besides.
    ///
    /// Errors: `SecondFactorRequired` for a right password without a code where one is needed. A wrong code is
    /// `InvalidCredential`, and counts as a wrong password does.
    pub async fn login_with_code(
        &self,
        name: (&TenantId, &PrincipalId),
        shown: (Secret<String>, Option<Secret<String>>),
        source: &Source,
        request: Option<&RequestId>,
    ) -> Result<Authenticated, IdentityError> {
        if let Some(authenticated) = self.attempt(name, shown.clone(), source, (request, true)).await? {
            return Ok(authenticated);
        }
        let again = self.attempt(name, shown, source, (request, false)).await?;
        again.ok_or_else(|| CredentialProblem::WrongPassword.into())
    }

    /// `None` if the hash was replaced meanwhile and this is the first attempt.
    async fn attempt(
        &self,
        (tenant, principal): (&TenantId, &PrincipalId),
        (password, code): (Secret<String>, Option<Secret<String>>),
        source: &Source,
        (request, is_first): (Option<&RequestId>, bool),
    ) -> Result<Option<Authenticated>, IdentityError> {
        let name = key_of(tenant, principal);
        let key = name.clone();
        let (row, attempts) = self
            .0
            .db
            .read(move |tx| {
                let row = tx.get::<Principals>(&key)?;
                let attempts = tx.get::<LoginFailures>(&key)?.unwrap_or_default();
                Ok::<_, IdentityError>((row, attempts))
            })
            .await?;
        let attempts = if row.is_some() { attempts } else { self.unknown_names().get(&name) };
        if let Some(retry_after) = self.locked_for(&attempts, source) {
            return Err(IdentityError::Locked { retry_after });
        }
        // An endless password is wrong without being hashed, but not sooner than others.
        let endless = password.expose().len() > PASSWORD_LEN_MAX;
        let (password, compared) = match row.and_then(|row| row.password) {
            Some(hash) if !endless => (password, Some(hash)),
            _ => (Secret::new(String::new()), None),
        };
        let matches = self.0.hashing.verify(password.clone(), compared.clone()).await?;
        let renewed = match &compared {
            Some(hash) if matches && hash.is_outdated() => Some(self.0.hashing.hash(password).await?),
            _ => None,
        };
        let (tenant, principal) = name;
        let (source, request) = (source.clone(), request.cloned());
        let attempt =
            Attempt { tenant, principal, source, compared, matches, code, renewed, is_first, request };
        self.conclude(attempt).await
    }

    /// Takes one from what a source may fail, because it signs somebody up without having shown who it is: a password is hashed
    /// for it, and it learns whether a name is taken.
    ///
    /// Errors: `Locked` if nothing is left.
    pub fn spend_on_sign_up(&self, source: &Source) -> Result<(), IdentityError> {
        let (mut sprays, now) = (self.sprays(), self.now());
        if let Some(retry_after) = sprays.wait(source, now) {
            return Err(IdentityError::Locked { retry_after });
        }
        sprays.fail(source, now);
        Ok(())
    }

    /// How long a source has to wait, for the account's sake or for its own.
    pub(crate) fn locked_for(&self, attempts: &Attempts, source: &Source) -> Option<std::time::Duration> {
        let now = self.now();
        let sprayed = match attempts.knows(source, now) {
            true => None,
            false => self.sprays().wait(source, now),
        };
        attempts.locked_for(source, now).max(sprayed)
    }

    async fn conclude(&self, attempt: Attempt) -> Result<Option<Authenticated>, IdentityError> {
        let name = key_of(&attempt.tenant, &attempt.principal);
        let source = attempt.source.clone();
        let (identity, now) = (self.clone(), self.now());
        let verdict = self.0.db.write(move |tx| identity.judge(tx, &attempt, now)).await?;
        if matches!(verdict, Verdict::Out(_) | Verdict::Unknown) {
            self.sprays().fail(&source, now);
        }
        match verdict {
            Verdict::In(authenticated) => Ok(Some(*authenticated)),
            Verdict::Replaced => Ok(None),
            Verdict::Out(problem) => Err(problem.into()),
            Verdict::CodeMissing => Err(IdentityError::SecondFactorRequired),
            Verdict::Locked(retry_after) => Err(IdentityError::Locked { retry_after }),
            Verdict::Unknown => {
                let mut names = self.unknown_names();
                let locked = names.get(&name).locked_for(&source, now);
                if let Some(retry_after) = locked {
                    return Err(IdentityError::Locked { retry_after });
                }
                names.fail(name, &source, now);
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
        let mut attempts = tx.get::<LoginFailures>(&key)?.unwrap_or_default();
        if let Some(retry_after) = attempts.locked_for(&attempt.source, now) {
            return Ok(Verdict::Locked(retry_after));
        }
        if attempt.is_first && attempt.matches && row.password != attempt.compared {
            return Ok(Verdict::Replaced);
        }
        let closed = match require_tenant(tx, &attempt.tenant) {
            Err(IdentityError::NoSuchTenant) => true,
            outcome => outcome.map(|()| false)?,
        };
        let problem = if !attempt.matches || row.password != attempt.compared {
            CredentialProblem::WrongPassword
        } else if row.disabled || closed {
            CredentialProblem::Disabled
        } else if let Some(verdict) = self.judge_factor(tx, attempt)? {
            match verdict {
                Verdict::Out(problem) => problem,
                other => return Ok(other),
            }
        } else {
            attempts.succeed(&attempt.source, now);
            tx.put::<LoginFailures>(&key, &attempts)?;
            if let Some(renewed) = &attempt.renewed {
                let row = PrincipalRow { password: Some(renewed.clone()), ..row.clone() };
                tx.put::<Principals>(&key, &row)?;
            }
            self.record(tx, attempt.entry("login.succeeded", Outcome::Allowed))?;
            let principal = Principal::from_row(&attempt.tenant, &attempt.principal, &row);
            let authenticated = Authenticated::new(principal, Credential::Password);
            let has_factor = tx.get::<SecondFactors>(&key)?.is_some_and(|factor| factor.confirmed);
            return Ok(Verdict::In(Box::new(match has_factor {
                true => authenticated.with_second_factor(),
                false => authenticated,
            })));
        };
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

    /// What somebody is kept out by whose password is right; `None` if by nothing. A code that was right is used by then.
    fn judge_factor(
        &self,
        tx: &mut WriteTx<'_>,
        attempt: &Attempt,
    ) -> Result<Option<Verdict>, IdentityError> {
        let who = (&attempt.tenant, &attempt.principal);
        Ok(match self.judge_code(tx, who, attempt.code.as_ref(), attempt.request.as_ref())? {
            Code::NotNeeded | Code::Right => None,
            Code::Wrong => Some(Verdict::Out(CredentialProblem::WrongCode)),
            Code::TooSoon(left) => Some(Verdict::Locked(left)),
            Code::Missing => {
                self.record(tx, attempt.entry("login.code-missing", Outcome::Denied))?;
                Some(Verdict::CodeMissing)
            }
        })
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
        let mut attempts = Attempts::default();
        attempts.fail(&attempt.source, now);
        tx.put::<LoginFailures>(&nobody, &attempts)?;
        if tx.get::<Tenants>(&attempt.tenant)?.is_some() && self.unknown_names().event_due(now) {
            let entry = attempt.entry("login.failed", Outcome::Denied);
            self.record(tx, entry.fact("unknown", true))?;
        }
        Ok(Verdict::Unknown)
    }

    fn unknown_names(&self) -> MutexGuard<'_, UnknownNames> {
        self.0.unknown_names.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn sprays(&self) -> MutexGuard<'_, Sprays> {
        self.0.sprays.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Attempt {
    fn entry(&self, verb: &'static str, outcome: Outcome) -> Entry<'_> {
        let actor = matches!(outcome, Outcome::Allowed).then_some(&self.principal);
        let request = self.request.as_ref();
        let entry = Entry { outcome, ..Entry::done(verb, &self.tenant, actor, &self.principal, request) };
        entry.fact("source", self.source.as_str())
    }
}
