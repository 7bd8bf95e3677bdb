//! Who may change what guards an account, and what a new password does to it.

use std::time::Duration;

use cm_db::{ReadTx, WriteTx};
use cm_types::{PrincipalId, RequestId};

use super::passkeys_of;
use crate::identity::{CLOCK_SKEW_MAX, key_of, require_not_vouched, require_open_doors, require_right};
use crate::table::{Passkeys, SecondFactors};
use crate::trail::Entry;
use crate::{Authenticated, CredentialRight, Identity, IdentityError};

/// How long after a login a second factor or a passkey may be enrolled: long enough to find the device, and much shorter than a
/// session, whose token may be found meanwhile.
pub const ENROL_WITHIN: Duration = Duration::from_secs(10 * 60);

/// What a new password did to the passkeys of its owner.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct EndedPasskeys {
    /// How many there are no more.
    pub removed: usize,
    /// How many log in no more, and have to be reset by who may grant before others are registered.
    pub closed: usize,
}

impl Identity {
    /// Whether what is shown was shown just now, or began less than [`ENROL_WITHIN`] ago. Refreshing makes no session younger.
    pub fn is_recent(&self, shown: &Authenticated) -> bool {
        let now = self.now();
        // A wall clock that was set back makes no session younger either.
        let is_recent = |began| now.since(began) < ENROL_WITHIN && began.since(now) <= CLOCK_SKEW_MAX;
        shown.began_at().is_none_or(is_recent)
    }

    /// Whether somebody may enrol a second factor or a passkey: a person, with what guards the account already, who logged in
    /// lately. Otherwise a token that was found would become a credential that stays.
    ///
    /// Errors: `NotInPerson`, `FactorNotShown`, `LoginTooLongAgo`.
    pub fn require_enrolment(&self, tx: &ReadTx<'_>, shown: &Authenticated) -> Result<(), IdentityError> {
        if !shown.is_in_person() {
            return Err(IdentityError::NotInPerson);
        }
        self.require_factor_shown(tx, shown)?;
        match self.is_recent(shown) {
            true => Ok(()),
            false => Err(IdentityError::LoginTooLongAgo { within: ENROL_WITHIN }),
        }
    }

    /// Refuses who has a second factor or a passkey and began without: what makes an account safer is not undone, or made of use to
    /// somebody else, by whoever has the password alone.
    ///
    /// Errors: `FactorNotShown`.
    pub fn require_factor_shown(&self, tx: &ReadTx<'_>, shown: &Authenticated) -> Result<(), IdentityError> {
        if shown.has_second_factor() {
            return Ok(());
        }
        let (tenant, id) = (&shown.principal().tenant, &shown.principal().id);
        let has_factor = tx.get::<SecondFactors>(&key_of(tenant, id))?.is_some_and(|row| row.confirmed);
        match has_factor || !passkeys_of(tx, tenant, id)?.is_empty() {
            true => Err(IdentityError::FactorNotShown),
            false => Ok(()),
        }
    }

    /// Whether somebody may change passkeys of its own: in person, and with what guards the account already.
    pub(super) fn require_own_change(
        &self,
        tx: &ReadTx<'_>,
        right: CredentialRight<'_>,
        shown: &Authenticated,
    ) -> Result<(), IdentityError> {
        let (tenant, id) = (&shown.principal().tenant, &shown.principal().id);
        require_right(right, id)?;
        if right.tenant() != tenant {
            return Err(IdentityError::WrongPermit);
        }
        require_open_doors(tx, tenant)?;
        require_not_vouched(tx, tenant, id)?;
        if !shown.is_in_person() {
            return Err(IdentityError::NotInPerson);
        }
        self.require_factor_shown(tx, shown)
    }

    /// Ends the passkeys of somebody who changes its own password by the old one, whoever registered them. With a factor shown they are
    /// removed. Without, they log in no more but stay, until somebody who may grant resets them: otherwise whoever has the password
    /// alone would get rid of them so, register another, and be past `mfa`.
    ///
    /// Errors: `WrongPermit`. Events: `passkey.removed` or `passkey.closed` for each.
    pub fn end_passkeys(
        &self,
        tx: &mut WriteTx<'_>,
        right: CredentialRight<'_>,
        (id, factor_shown): (&PrincipalId, bool),
        request: Option<&RequestId>,
    ) -> Result<EndedPasskeys, IdentityError> {
        require_right(right, id)?;
        let tenant = right.tenant();
        let mut ended = EndedPasskeys::default();
        for (key, mut row) in passkeys_of(tx, tenant, id)? {
            if factor_shown {
                self.delete_passkey(tx, (right, id), (&key, &row), request)?;
                ended.removed += 1;
                continue;
            }
            ended.closed += 1;
            if !row.closed {
                row.closed = true;
                tx.put::<Passkeys>(&(tenant.clone(), id.clone(), key.clone()), &row)?;
                let entry = Entry::done("passkey.closed", tenant, right.actor(), id, request);
                self.record(tx, entry.fact("passkey", key.as_str()).fact("label", row.label.as_str()))?;
            }
        }
        Ok(ended)
    }
}
