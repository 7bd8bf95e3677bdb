//! Principals as callers see them.

use cm_types::{Generation, PrincipalId, ResourceId, TenantId, Timestamp};

use crate::InvalidInput;
use crate::table::PrincipalRow;

/// Longest display name, in bytes.
pub const DISPLAY_NAME_LEN_MAX: usize = 256;
/// Most roles of one principal. A decision looks at all of them.
pub const ROLES_MAX: usize = 64;

/// Somebody or something that can authenticate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Principal {
    /// Its id within the tenant.
    pub id: PrincipalId,
    /// Its tenant.
    pub tenant: TenantId,
    /// What people call it.
    pub display_name: String,
    /// The roles that it holds, by id.
    pub roles: Vec<ResourceId>,
    /// Whether it is barred from authenticating.
    pub disabled: bool,
    /// Counts its changes.
    pub generation: Generation,
    /// When it was created.
    pub created_at: Timestamp,
    /// Whether it can log in with a password.
    pub has_password: bool,
    /// The epoch of its credentials when it was read.
    pub(crate) credential_epoch: String,
}

impl Principal {
    pub(crate) fn from_row(tenant: &TenantId, id: &PrincipalId, row: &PrincipalRow) -> Self {
        Self {
            id: id.clone(),
            tenant: tenant.clone(),
            display_name: row.display_name.clone(),
            roles: row.roles.clone(),
            disabled: row.disabled,
            generation: row.generation,
            created_at: row.created_at,
            has_password: row.password.is_some(),
            credential_epoch: row.credential_epoch.clone(),
        }
    }
}

impl Principal {
    /// Whether it is the same principal with the same credentials as when it was read another time: no password was set since, it was not
    /// barred, and it is not another one of the same name.
    pub fn has_credentials_of(&self, other: &Principal) -> bool {
        let same = self.tenant == other.tenant && self.id == other.id;
        same && self.credential_epoch == other.credential_epoch
    }
}

/// A principal to be created. It cannot authenticate before it is given a credential.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewPrincipal {
    /// Its id within the tenant.
    pub id: PrincipalId,
    /// What people call it; the id, unless told.
    pub display_name: Option<String>,
    /// The roles that it shall hold; any at all need a permit to grant.
    pub roles: Vec<ResourceId>,
}

/// What shall change about a principal; `None` leaves a thing as it is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PrincipalChange {
    /// The generation that the caller has read; if it is another by now, nothing changes.
    pub expected: Option<Generation>,
    /// What people call it.
    pub display_name: Option<String>,
    /// All roles that it shall hold; needs a permit to grant.
    pub roles: Option<Vec<ResourceId>>,
    /// Whether it is barred from authenticating. Barring ends all its tokens.
    pub disabled: Option<bool>,
}

pub(crate) fn check_text(text: &str, max: usize, problem: InvalidInput) -> Result<(), InvalidInput> {
    let fits = !text.is_empty() && text.len() <= max && !text.chars().any(char::is_control);
    if fits { Ok(()) } else { Err(problem) }
}

pub(crate) fn check_display_name(name: &str) -> Result<(), InvalidInput> {
    let max = DISPLAY_NAME_LEN_MAX;
    check_text(name, max, InvalidInput::Text { field: "display_name", max })
}

pub(crate) fn check_roles(roles: &[ResourceId]) -> Result<(), InvalidInput> {
    if roles.len() > ROLES_MAX {
        return Err(InvalidInput::Roles { max: ROLES_MAX });
    }
    for (at, role) in roles.iter().enumerate() {
        if roles[..at].contains(role) {
            return Err(InvalidInput::DuplicateRole(role.clone()));
        }
    }
    Ok(())
}
