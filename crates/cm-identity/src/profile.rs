//! What a principal says of itself, for clients that show it: nothing is decided by it.

use std::collections::BTreeMap;

use cm_db::{ReadTx, Row, WriteTx};
use cm_policy::{ActionKind, Permit};
use cm_types::{PrincipalId, TenantId};
use serde::{Deserialize, Serialize};

use crate::identity::{existing, key_of};
use crate::table::Profiles;
use crate::{Identity, IdentityError, InvalidInput};

/// Longest text of a profile, in bytes.
pub const PROFILE_TEXT_LEN_MAX: usize = 512;
/// Most entries of the free part of a profile.
pub const PROFILE_ENTRIES_MAX: usize = 64;
/// Longest value of the free part, in bytes.
pub const PROFILE_VALUE_LEN_MAX: usize = 4096;

/// What a principal says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Profile {
    /// First name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub first_name: String,
    /// Last name.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub last_name: String,
    /// Mail address; it is not checked.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub email: String,
    /// Where a picture is.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub photo: String,
    /// Whether it wants nobody to log in as itself for now.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub withdrawn: bool,
    /// Whatever a client wants to be given back.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub metadata: BTreeMap<String, String>,
}

impl Row for Profile {}

impl Profile {
    fn check(&self) -> Result<(), InvalidInput> {
        let texts = [
            ("first_name", &self.first_name),
            ("last_name", &self.last_name),
            ("email", &self.email),
            ("profile_photo", &self.photo),
        ];
        for (field, text) in texts {
            check_text(field, text, PROFILE_TEXT_LEN_MAX)?;
        }
        if self.metadata.len() > PROFILE_ENTRIES_MAX {
            return Err(InvalidInput::Profile { field: "metadata", max: PROFILE_ENTRIES_MAX });
        }
        for (name, value) in &self.metadata {
            check_text("metadata", name, PROFILE_TEXT_LEN_MAX)?;
            check_text("metadata", value, PROFILE_VALUE_LEN_MAX)?;
        }
        Ok(())
    }
}

fn check_text(field: &'static str, text: &str, max: usize) -> Result<(), InvalidInput> {
    match text.len() <= max && !text.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(InvalidInput::Profile { field, max }),
    }
}

impl Identity {
    /// Sets what a principal says of itself. Any permit that allows to make or to change the principal will do.
    ///
    /// Errors: `NoSuchPrincipal`, `Invalid`, `WrongPermit`.
    pub fn set_profile<A: ActionKind>(
        &self,
        tx: &mut WriteTx<'_>,
        permit: &Permit<A>,
        id: &PrincipalId,
        profile: &Profile,
    ) -> Result<(), IdentityError> {
        crate::identity::require_cover(permit, permit.tenant(), id)?;
        existing(tx, permit.tenant(), id)?;
        profile.check()?;
        tx.put::<Profiles>(&key_of(permit.tenant(), id), profile)?;
        Ok(())
    }

    /// What a principal says of itself.
    pub fn profile(
        &self,
        tx: &ReadTx<'_>,
        tenant: &TenantId,
        id: &PrincipalId,
    ) -> Result<Profile, IdentityError> {
        Ok(tx.get::<Profiles>(&key_of(tenant, id))?.unwrap_or_default())
    }
}
