//! One-time codes as a second factor of passwords (TOTP, RFC 6238), and the codes for the day the device is lost.
//!
//! A principal enrols by itself: it is given a secret, and shows by a code that its device has it. From then on its password alone
//! lets nobody in, by whichever face. A code is accepted once: the step of the clock that it was made for is remembered, and no code
//! of it or of an earlier one is taken again. A wrong code counts as a wrong password does ([`crate::lockout`]), and
//! besides for the account, whatever its source: whoever has the password and many addresses guesses no faster for them.
//!
//! Recovery codes have eighty random bits each, so that a digest of them gives nothing away; each is of use once.
//!
//! What was proven by both is known of the session and of all that is made of it: the `mfa` of permission policies.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use cm_crypto::{Secret, secret};
use cm_db::{ReadTx, WriteTx};
use cm_types::{PrincipalId, RequestId, TenantId, Timestamp};
use totp_rs::{Algorithm, Builder, Totp};

use crate::identity::{existing, key_of, require_right};
use crate::secret_digest::SecretDigest;
use crate::table::{SecondFactorRow, SecondFactors};
use crate::trail::Entry;
use crate::{CredentialRight, Identity, IdentityError};

/// Length of a code's secret, in bytes: what RFC 4226 recommends, and every device takes.
const SECRET_BYTES: usize = 20;
const DIGITS: u8 = 6;
const STEP_SECS: u64 = 30;
/// Steps before and after the present one whose codes are taken, for devices whose clocks differ.
const SKEW_STEPS: u16 = 1;
/// How many recovery codes there are.
pub const RECOVERY_CODES: usize = 10;
/// Random bytes of a recovery code.
const RECOVERY_BYTES: usize = 10;
/// Wrong codes after which somebody waits: for taking the factor away, and with the right password for logging in, each counted
/// by itself.
const WRONG_MAX: u32 = 5;
/// How long they wait first; twice as long with each further one.
const WAIT_FIRST: Duration = Duration::from_secs(30);
const WAIT_MAX: Duration = Duration::from_secs(15 * 60);

/// What a device needs to make codes. Shown this once.
#[derive(Clone, Debug)]
pub struct Enrolment {
    /// The secret in base32, to be typed.
    pub secret: Secret<String>,
    /// The same as a URL, to be scanned.
    pub url: Secret<String>,
}

/// What is known of a second factor without its secrets.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SecondFactor {
    /// Whether a code has shown that a device has the secret; it is asked for from then on.
    pub confirmed: bool,
    /// When it was enrolled.
    pub created_at: Timestamp,
    /// How many recovery codes are left.
    pub recovery_left: usize,
}

/// What a login's code comes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Code {
    /// There is no second factor.
    NotNeeded,
    Right,
    Missing,
    Wrong,
    /// Too many were wrong; it was not looked at.
    TooSoon(Duration),
}

fn totp(secret: &[u8]) -> Result<Totp, IdentityError> {
    let builder = Builder::new()
        .with_algorithm(Algorithm::SHA1)
        .with_digits(DIGITS)
        .with_secret(secret.to_vec())
        .with_skew(SKEW_STEPS)
        .with_step_duration(STEP_SECS);
    builder.build().map_err(|_| IdentityError::SecondFactorUnusable)
}

/// How long is left of a wait. A wall clock that was set back makes none longer than any may be.
fn wait(until: Option<Timestamp>, now: Timestamp) -> Option<Duration> {
    let left = until?.since(now).min(WAIT_MAX);
    (!left.is_zero()).then_some(left)
}

/// Counts a wrong code, and says how long to wait after too many.
fn count_wrong(wrong: &mut u32, wait_until: &mut Option<Timestamp>, now: Timestamp) {
    *wrong = wrong.saturating_add(1);
    if let Some(doublings) = wrong.checked_sub(WRONG_MAX) {
        *wait_until = Some(now.after((WAIT_FIRST * 2_u32.pow(doublings.min(10))).min(WAIT_MAX)));
    }
}

fn what((tenant, id): (&TenantId, &PrincipalId)) -> String {
    format!("second-factor/{tenant}/{id}")
}

impl Identity {
    /// Begins to enrol a second factor; one that was begun and not confirmed is replaced.
    ///
    /// Errors: `SecondFactorExists`, `NoSuchPrincipal`, `WrongPermit`.
    pub fn enrol_second_factor(
        &self,
        tx: &mut WriteTx<'_>,
        right: CredentialRight<'_>,
        id: &PrincipalId,
    ) -> Result<Enrolment, IdentityError> {
        require_right(right, id)?;
        let tenant = right.tenant();
        existing(tx, tenant, id)?;
        let key = key_of(tenant, id);
        if tx.get::<SecondFactors>(&key)?.is_some_and(|row| row.confirmed) {
            return Err(IdentityError::SecondFactorExists);
        }
        let bytes = secret::random_bytes::<SECRET_BYTES>();
        let sealed = self.master().seal(&what((tenant, id)), &bytes);
        let row = SecondFactorRow {
            sealed: STANDARD.encode(sealed),
            master: self.master().name().to_owned(),
            confirmed: false,
            created_at: self.now(),
            last_step: 0,
            recovery: Vec::new(),
            wrong: 0,
            wait_until: None,
            login_wrong: 0,
            login_wait_until: None,
        };
        tx.put::<SecondFactors>(&key, &row)?;
        let text = totp_rs::Secret::from(bytes.to_vec()).to_base32();
        // The label of a device: ids have no character that would have to be encoded but these.
        let label = format!("{tenant}/{id}")
            .replace('/', "%2F")
            .replace(':', "%3A")
            .replace('+', "%2B")
            .replace('@', "%40");
        let url = format!("otpauth://totp/CryptoMesh:{label}?secret={text}&issuer=CryptoMesh");
        Ok(Enrolment { secret: Secret::new(text), url: Secret::new(url) })
    }

    /// Confirms an enrolment by a code of the device: from now on codes are asked for. The recovery codes, shown this once.
    ///
    /// Errors: `NoSuchSecondFactor`, `SecondFactorExists`, `WrongCode`, `WrongPermit`. Events: `second-factor.enrolled`.
    pub fn confirm_second_factor(
        &self,
        tx: &mut WriteTx<'_>,
        right: CredentialRight<'_>,
        (id, code): (&PrincipalId, &str),
        request: Option<&RequestId>,
    ) -> Result<Vec<Secret<String>>, IdentityError> {
        require_right(right, id)?;
        let tenant = right.tenant();
        let key = key_of(tenant, id);
        let mut row = tx.get::<SecondFactors>(&key)?.ok_or(IdentityError::NoSuchSecondFactor)?;
        if row.confirmed {
            return Err(IdentityError::SecondFactorExists);
        }
        row.last_step = self.step_of((tenant, id), &row, code)?.ok_or(IdentityError::WrongCode)?;
        let codes: Vec<Secret<String>> = (0..RECOVERY_CODES).map(|_| recovery_code()).collect();
        row.recovery = codes.iter().map(|code| digest_of(code.expose())).collect();
        row.confirmed = true;
        tx.put::<SecondFactors>(&key, &row)?;
        self.record(tx, Entry::done("second-factor.enrolled", tenant, right.actor(), id, request))?;
        Ok(codes)
    }

    /// Takes a second factor away: its owner by a code, by whichever right, and somebody else who may grant without. `Ok(Err(_))` is a refusal that must be
    /// committed, because it is counted.
    ///
    /// Errors: `NoSuchSecondFactor`, `WrongPermit`; `WrongCode`, and `Locked` after too many of them. Events:
    /// `second-factor.removed`, `second-factor.refused`.
    pub fn remove_second_factor(
        &self,
        tx: &mut WriteTx<'_>,
        right: CredentialRight<'_>,
        (id, code): (&PrincipalId, Option<&str>),
        request: Option<&RequestId>,
    ) -> Result<Result<(), IdentityError>, IdentityError> {
        require_right(right, id)?;
        let tenant = right.tenant();
        let key = key_of(tenant, id);
        let mut row = tx.get::<SecondFactors>(&key)?.ok_or(IdentityError::NoSuchSecondFactor)?;
        // Who may grant may help others; for oneself it takes a code, whatever else one may.
        if right.actor() == Some(id) && row.confirmed {
            let now = self.now();
            if let Some(retry_after) = wait(row.wait_until, now) {
                return Err(IdentityError::Locked { retry_after });
            }
            let shown = code.unwrap_or_default();
            if self.take_code((tenant, id), &mut row, shown)?.is_none() {
                count_wrong(&mut row.wrong, &mut row.wait_until, now);
                tx.put::<SecondFactors>(&key, &row)?;
                let entry = Entry::done("second-factor.refused", tenant, right.actor(), id, request);
                let outcome = cm_events::Outcome::Denied;
                self.record(tx, Entry { outcome, ..entry }.fact("failures", row.wrong))?;
                return Ok(Err(IdentityError::WrongCode));
            }
        }
        tx.delete::<SecondFactors>(&key)?;
        self.record(tx, Entry::done("second-factor.removed", tenant, right.actor(), id, request))?;
        Ok(Ok(()))
    }

    /// What is known of a principal's second factor; `None` if it has none.
    pub fn second_factor(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
        id: &PrincipalId,
    ) -> Result<Option<SecondFactor>, IdentityError> {
        let row = tx.get::<SecondFactors>(&key_of(tenant, id))?;
        Ok(row.map(|row| SecondFactor {
            confirmed: row.confirmed,
            created_at: row.created_at,
            recovery_left: row.recovery.len(),
        }))
    }

    /// What the code of somebody whose password is right comes to. A code that is right is used from now on; one that is wrong
    /// counts for the account, from wherever it comes, since whoever gets here has the password.
    pub(crate) fn judge_code(
        &self,
        tx: &mut WriteTx<'_>,
        (tenant, id): (&TenantId, &PrincipalId),
        code: Option<&Secret<String>>,
        request: Option<&RequestId>,
    ) -> Result<Code, IdentityError> {
        let key = key_of(tenant, id);
        let row = tx.get::<SecondFactors>(&key)?.filter(|row| row.confirmed);
        let Some(mut row) = row else { return Ok(Code::NotNeeded) };
        let Some(code) = code else { return Ok(Code::Missing) };
        let now = self.now();
        if let Some(left) = wait(row.login_wait_until, now) {
            return Ok(Code::TooSoon(left));
        }
        let Some(by) = self.take_code((tenant, id), &mut row, code.expose())? else {
            count_wrong(&mut row.login_wrong, &mut row.login_wait_until, now);
            tx.put::<SecondFactors>(&key, &row)?;
            if let Some(left) = wait(row.login_wait_until, now) {
                let entry = Entry::done("second-factor.locked", tenant, None, id, request);
                let outcome = cm_events::Outcome::Denied;
                let entry = Entry { outcome, ..entry }.fact("failures", row.login_wrong);
                self.record(tx, entry.fact("seconds", left.as_secs()))?;
            }
            return Ok(Code::Wrong);
        };
        (row.login_wrong, row.login_wait_until) = (0, None);
        if by == Taken::Recovery {
            let entry = Entry::done("second-factor.recovery-used", tenant, Some(id), id, request);
            self.record(tx, entry.fact("left", row.recovery.len()))?;
        }
        tx.put::<SecondFactors>(&key, &row)?;
        Ok(Code::Right)
    }

    /// Takes a code of the device or a recovery code, which is of no use again. Recovery codes do without the secret, and so work where
    /// it does not open any more, as after a change of the master key.
    fn take_code(
        &self,
        who: (&TenantId, &PrincipalId),
        row: &mut SecondFactorRow,
        code: &str,
    ) -> Result<Option<Taken>, IdentityError> {
        let code: String = code.chars().filter(|c| !c.is_whitespace()).collect();
        let step = self.step_of(who, row, &code);
        if let Ok(Some(step)) = step {
            row.last_step = step;
            row.wrong = 0;
            return Ok(Some(Taken::Device));
        }
        let shown = digest_of(&code);
        if let Some(at) = row.recovery.iter().position(|kept| kept.matches(&shown)) {
            row.recovery.remove(at);
            row.wrong = 0;
            return Ok(Some(Taken::Recovery));
        }
        // Where the secret does not open no code of the device is wrong: that is said, and counts for nobody.
        step.map(|_| None)
    }

    /// The step of the clock that a code is of, if that is near the present and later than the last one that was taken.
    fn step_of(
        &self,
        who: (&TenantId, &PrincipalId),
        row: &SecondFactorRow,
        code: &str,
    ) -> Result<Option<u64>, IdentityError> {
        let closed = || IdentityError::MasterKey { expected: row.master.clone() };
        let sealed = STANDARD.decode(&row.sealed).map_err(|_| closed())?;
        let bytes = self.master().open(&what(who), &sealed).ok_or_else(closed)?;
        let now = u64::try_from(self.now().as_secs()).unwrap_or(0);
        let step = totp(bytes.expose())?.check(code.trim(), now);
        Ok(step.filter(|step| *step > row.last_step))
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Taken {
    Device,
    Recovery,
}

/// `a1b2c-…`: hexadecimal digits in groups, which people copy from paper.
fn recovery_code() -> Secret<String> {
    let digits = hex::encode(secret::random_bytes::<RECOVERY_BYTES>());
    let groups: Vec<&str> = (0..digits.len()).step_by(5).map(|at| &digits[at..at + 5]).collect();
    Secret::new(groups.join("-"))
}

/// Whatever way it is written.
fn digest_of(code: &str) -> SecretDigest {
    let plain: String =
        code.chars().filter(char::is_ascii_alphanumeric).map(|c| c.to_ascii_lowercase()).collect();
    SecretDigest::of(format!("cryptomesh/recovery-code/v1/{plain}").as_bytes())
}
