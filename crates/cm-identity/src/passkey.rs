//! Passkeys (WebAuthn, level 3): keys that a person's device keeps and uses for its owner alone.
//!
//! A passkey logs in by itself. Its device has the key, and looks whether it is its owner who asks, by a finger, a face or a PIN; both
//! are demanded and checked, so that what comes of it has the `mfa` of permission policies. Passwords go on working beside passkeys, and
//! without `mfa` as before. Only passkeys that devices find by themselves are made: no stranger is told which of them somebody has,
//! or that there is somebody.
//!
//! Whoever has a password alone must not get past `mfa` by it. So who has a passkey or a second factor adds, renames and removes passkeys,
//! and enrols a second factor, in a session that was begun with one of them ([`Identity::require_factor_shown`]). Nor must a token that
//! somebody found: factors are enrolled soon after the login ([`Identity::require_enrolment`]), and a new password ends the passkeys that a thief
//! may have registered all the same ([`Identity::end_passkeys`]).
//!
//! Reading order: [`relying_party`], `ceremony`, this, `guard`, `login`.

mod ceremony;
mod guard;
mod login;
pub mod relying_party;

use cm_crypto::{digest, secret};
use cm_db::{KeyPrefix, ReadTx, WriteTx};
use cm_types::{PrincipalId, RequestId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::Value;
use webauthn_rs::prelude::{Passkey, PasskeyRegistration, RegisterPublicKeyCredential, Uuid};

use crate::identity::{LABEL_LEN_MAX, existing, key_of, require_right};
use crate::principal::check_text;
use crate::table::{PasskeyOwnerRow, PasskeyOwners, PasskeyRow, Passkeys};
use crate::trail::Entry;
use crate::{Authenticated, CredentialRight, Identity, IdentityError, InvalidInput};
pub use ceremony::{CEREMONY_MAX, PasskeyChallenge, PasskeyProblem};
use ceremony::{Spent, problem_of};
pub use guard::{ENROL_WITHIN, EndedPasskeys};

/// Passkeys of one principal.
pub const PASSKEYS_MAX: usize = 16;
/// Longest id of a credential, in bytes (WebAuthn, level 3, section 5.1).
const CREDENTIAL_ID_LEN_MAX: usize = 1023;

/// A passkey without its key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PasskeyInfo {
    /// Its id, which is no secret.
    pub id: String,
    /// What it is, in its owner's words.
    pub label: String,
    /// When it was registered.
    pub created_at: Timestamp,
    /// When somebody logged in with it last.
    pub last_used_at: Option<Timestamp>,
    /// Whether it logs in no more, because the password was changed without a factor ([`Identity::end_passkeys`]).
    pub closed: bool,
}

/// A passkey that a device made for one of our challenges. It opens nothing before [`Identity::add_passkey`].
pub struct CheckedPasskey {
    owner: (TenantId, PrincipalId),
    registration: Registration,
    spent: Spent,
    passkey: Passkey,
}

/// What is remembered of a registration.
#[derive(Serialize, Deserialize)]
struct Registration {
    /// The principal's credential epoch.
    epoch: String,
    /// What devices know the account by: random, and the same for all of its passkeys.
    handle: Uuid,
    state: PasskeyRegistration,
}

fn what((tenant, id): (&TenantId, &PrincipalId)) -> String {
    format!("registration/{tenant}/{id}")
}

/// What we call a credential: a digest, so that its length is known and devices choose no keys of our tables.
fn id_of(credential_id: &[u8]) -> String {
    let digest = digest::sha256(credential_id).to_string();
    digest[..32].to_owned()
}

fn info((id, row): (String, PasskeyRow)) -> PasskeyInfo {
    let PasskeyRow { label, created_at, last_used_at, closed, .. } = row;
    PasskeyInfo { id, label, created_at, last_used_at, closed }
}

fn passkeys_of(
    tx: &ReadTx<'_>,
    tenant: &TenantId,
    id: &PrincipalId,
) -> Result<Vec<(String, PasskeyRow)>, IdentityError> {
    let prefix = KeyPrefix::new().part(tenant).part(id);
    let found = tx.prefix::<Passkeys>(&prefix, None, PASSKEYS_MAX)?;
    Ok(found.into_iter().map(|((_, _, key), row)| (key, row)).collect())
}

impl Identity {
    /// Begins to register a passkey of who shows these credentials. Nothing is kept of it but what is answered.
    ///
    /// Errors: `PasskeysOff`; `NotInPerson`, `FactorNotShown`, `LoginTooLongAgo`; `TooManyPasskeys`; `Vouched`, `NoSuchPrincipal`, `WrongPermit`.
    pub fn begin_passkey(
        &self,
        tx: &ReadTx<'_>,
        right: CredentialRight<'_>,
        shown: &Authenticated,
    ) -> Result<PasskeyChallenge, IdentityError> {
        let party = self.relying_party()?;
        let (tenant, id) = (right.tenant(), &shown.principal().id);
        self.require_own_change(tx, right, shown)?;
        self.require_enrolment(tx, shown)?;
        let row = existing(tx, tenant, id)?;
        let passkeys = passkeys_of(tx, tenant, id)?;
        if passkeys.len() >= PASSKEYS_MAX {
            return Err(IdentityError::TooManyPasskeys { max: PASSKEYS_MAX });
        }
        let handle = match passkeys.first() {
            Some((_, row)) => row.handle,
            None => Uuid::from_bytes(secret::random_bytes::<16>()),
        };
        let exclude = passkeys.iter().map(|(_, row)| row.passkey.cred_id().clone()).collect();
        let name = format!("{tenant}/{id}");
        let (options, state) = party
            .webauthn()
            .start_passkey_registration(handle, &name, &row.display_name, Some(exclude))
            .map_err(|error| IdentityError::PasskeyRefused(problem_of(&error)))?;
        let mut options = serde_json::to_value(options).expect("options are JSON");
        // The library leaves it to devices whether they find the key by themselves; without that nobody could log in by it.
        let selection = &mut options["publicKey"]["authenticatorSelection"];
        selection["residentKey"] = "required".into();
        selection["requireResidentKey"] = true.into();
        let registration = Registration { epoch: row.credential_epoch, handle, state };
        let state = self.seal_ceremony(&what((tenant, id)), &registration);
        Ok(PasskeyChallenge::new(party, state, options))
    }

    /// Checks what a device made for a registration. `credential` is the browser's answer in JSON (WebAuthn, level 3, section 5.1.1).
    /// It takes no transaction, for it may verify signatures.
    ///
    /// Errors: `PasskeysOff`, `PasskeyRefused`, `Busy`.
    pub async fn check_passkey(
        &self,
        shown: &Authenticated,
        state: &str,
        credential: Value,
    ) -> Result<CheckedPasskey, IdentityError> {
        let party = self.shared_relying_party()?;
        let owner = key_of(&shown.principal().tenant, &shown.principal().id);
        let what = what((&owner.0, &owner.1));
        let (registration, spent) =
            self.open_ceremony::<Registration>(&what, state).map_err(IdentityError::PasskeyRefused)?;
        let pending = registration.state.clone();
        let checked = self
            .off_the_runtime(move || {
                let answer: RegisterPublicKeyCredential =
                    serde_json::from_value(credential).map_err(|_| PasskeyProblem::Form)?;
                if answer.raw_id.len() > CREDENTIAL_ID_LEN_MAX {
                    return Err(PasskeyProblem::Form);
                }
                if answer.extensions.cred_props.as_ref().is_some_and(|props| props.rk == Some(false)) {
                    return Err(PasskeyProblem::NotDiscoverable);
                }
                let webauthn = party.webauthn();
                webauthn.finish_passkey_registration(&answer, &pending).map_err(|error| problem_of(&error))
            })
            .await?;
        let passkey = checked.map_err(IdentityError::PasskeyRefused)?;
        Ok(CheckedPasskey { owner, registration, spent, passkey })
    }

    /// Keeps a passkey that was checked: from now on it lets its owner in.
    ///
    /// Errors: as [`Identity::begin_passkey`]; `Invalid` for the label; `PasskeyExists`; `PasskeyRefused` when the challenge was used
    /// before, or when the password was changed since. Events: `passkey.registered`.
    pub fn add_passkey(
        &self,
        tx: &mut WriteTx<'_>,
        right: CredentialRight<'_>,
        (shown, checked): (&Authenticated, CheckedPasskey),
        label: &str,
        request: Option<&RequestId>,
    ) -> Result<PasskeyInfo, IdentityError> {
        check_label(label)?;
        let (tenant, id) = (right.tenant(), &shown.principal().id);
        self.require_own_change(tx, right, shown)?;
        self.require_enrolment(tx, shown)?;
        let CheckedPasskey { owner, registration, spent, passkey } = checked;
        let over = IdentityError::PasskeyRefused(PasskeyProblem::Challenge);
        if owner != key_of(tenant, id) || existing(tx, tenant, id)?.credential_epoch != registration.epoch {
            return Err(over);
        }
        if !self.spend_ceremony(tx, &spent)? {
            return Err(over);
        }
        if passkeys_of(tx, tenant, id)?.len() >= PASSKEYS_MAX {
            return Err(IdentityError::TooManyPasskeys { max: PASSKEYS_MAX });
        }
        let key = id_of(passkey.cred_id());
        if tx.get::<PasskeyOwners>(&key)?.is_some() {
            return Err(IdentityError::PasskeyExists);
        }
        let row = PasskeyRow {
            label: label.to_owned(),
            created_at: self.now(),
            last_used_at: None,
            closed: false,
            handle: registration.handle,
            passkey,
        };
        tx.put::<Passkeys>(&(tenant.clone(), id.clone(), key.clone()), &row)?;
        tx.put::<PasskeyOwners>(&key, &PasskeyOwnerRow { tenant: tenant.clone(), principal: id.clone() })?;
        let entry = Entry::done("passkey.registered", tenant, right.actor(), id, request);
        self.record(tx, entry.fact("passkey", key.as_str()).fact("label", label))?;
        Ok(info((key, row)))
    }

    /// The passkeys of a principal, without their keys.
    pub fn passkeys(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
        id: &PrincipalId,
    ) -> Result<Vec<PasskeyInfo>, IdentityError> {
        let mut found: Vec<_> = passkeys_of(tx, tenant, id)?.into_iter().map(info).collect();
        found.sort_by(|a, b| (a.created_at, &a.id).cmp(&(b.created_at, &b.id)));
        Ok(found)
    }

    /// Calls a passkey of one's own something else.
    ///
    /// Errors: `NoSuchPasskey`, `Invalid` for the label; `NotInPerson`, `FactorNotShown`, `WrongPermit`. Events: `passkey.renamed`.
    pub fn rename_passkey(
        &self,
        tx: &mut WriteTx<'_>,
        right: CredentialRight<'_>,
        shown: &Authenticated,
        (key, label): (&str, &str),
        request: Option<&RequestId>,
    ) -> Result<PasskeyInfo, IdentityError> {
        check_label(label)?;
        self.require_own_change(tx, right, shown)?;
        let (tenant, id) = (right.tenant(), &shown.principal().id);
        let place = (tenant.clone(), id.clone(), key.to_owned());
        let mut row = tx.get::<Passkeys>(&place)?.ok_or(IdentityError::NoSuchPasskey)?;
        row.label = label.to_owned();
        tx.put::<Passkeys>(&place, &row)?;
        let entry = Entry::done("passkey.renamed", tenant, right.actor(), id, request);
        self.record(tx, entry.fact("passkey", key).fact("label", label))?;
        Ok(info((key.to_owned(), row)))
    }

    /// Takes a passkey of one's own away, and ends the sessions that it began.
    ///
    /// Errors: `NoSuchPasskey`; `NotInPerson`, `FactorNotShown`, `WrongPermit`. Events: `passkey.removed`.
    pub fn remove_passkey(
        &self,
        tx: &mut WriteTx<'_>,
        right: CredentialRight<'_>,
        shown: &Authenticated,
        key: &str,
        request: Option<&RequestId>,
    ) -> Result<(), IdentityError> {
        self.require_own_change(tx, right, shown)?;
        let (tenant, id) = (right.tenant(), &shown.principal().id);
        let place = (tenant.clone(), id.clone(), key.to_owned());
        let row = tx.get::<Passkeys>(&place)?.ok_or(IdentityError::NoSuchPasskey)?;
        self.delete_passkey(tx, (right, id), (key, &row), request)
    }

    /// Takes all passkeys of somebody away who lost them. One's own take a session that was begun with one of them or with a second
    /// factor, whatever else one may. `shown` is by what the actor is known, if it is a principal.
    ///
    /// Errors: `NoSuchPasskey` if there are none; `FactorNotShown`, `WrongPermit`. Events: `passkey.removed` for each.
    pub fn reset_passkeys(
        &self,
        tx: &mut WriteTx<'_>,
        right: CredentialRight<'_>,
        shown: Option<&Authenticated>,
        id: &PrincipalId,
        request: Option<&RequestId>,
    ) -> Result<usize, IdentityError> {
        require_right(right, id)?;
        let tenant = right.tenant();
        let own = right.actor() == Some(id) && shown.is_none_or(|shown| shown.principal().tenant == *tenant);
        if own && !shown.is_some_and(Authenticated::has_second_factor) {
            return Err(IdentityError::FactorNotShown);
        }
        let found = passkeys_of(tx, tenant, id)?;
        if found.is_empty() {
            return Err(IdentityError::NoSuchPasskey);
        }
        for (key, row) in &found {
            self.delete_passkey(tx, (right, id), (key, row), request)?;
        }
        Ok(found.len())
    }

    /// Removes the passkeys of a principal that is being deleted.
    pub(crate) fn forget_passkeys(
        &self,
        tx: &mut WriteTx<'_>,
        tenant: &TenantId,
        id: &PrincipalId,
    ) -> Result<(), IdentityError> {
        for (key, _) in passkeys_of(tx, tenant, id)? {
            tx.delete::<PasskeyOwners>(&key)?;
            tx.delete::<Passkeys>(&(tenant.clone(), id.clone(), key))?;
        }
        Ok(())
    }

    fn delete_passkey(
        &self,
        tx: &mut WriteTx<'_>,
        (right, id): (CredentialRight<'_>, &PrincipalId),
        (key, row): (&str, &PasskeyRow),
        request: Option<&RequestId>,
    ) -> Result<(), IdentityError> {
        let tenant = right.tenant();
        tx.delete::<PasskeyOwners>(&key.to_owned())?;
        tx.delete::<Passkeys>(&(tenant.clone(), id.clone(), key.to_owned()))?;
        let entry = Entry::done("passkey.removed", tenant, right.actor(), id, request);
        self.record(tx, entry.fact("passkey", key).fact("label", row.label.as_str()))
    }
}

fn check_label(label: &str) -> Result<(), InvalidInput> {
    let max = LABEL_LEN_MAX;
    check_text(label, max, InvalidInput::Text { field: "label", max })
}
