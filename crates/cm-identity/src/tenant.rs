//! Tenants as callers see them.

use cm_types::{PrincipalId, TenantId, Timestamp};

use crate::InvalidInput;
use crate::principal::check_text;
use crate::table::TenantRow;

/// Longest name of a tenant, in bytes.
pub const TENANT_NAME_LEN_MAX: usize = 256;

/// An isolated namespace of principals and resources: an organisation, or an application of the Xolo dialect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Tenant {
    /// Its id.
    pub id: TenantId,
    /// What people call it.
    pub name: String,
    /// Whether anybody may sign up.
    pub open: bool,
    /// When it was created.
    pub created_at: Timestamp,
    /// Whether it is being removed: nobody gets in any more.
    pub leaving: bool,
}

impl Tenant {
    pub(crate) fn from_row(id: &TenantId, row: &TenantRow) -> Self {
        let name = row.name.clone().unwrap_or_else(|| id.to_string());
        Self { id: id.clone(), name, open: row.open, created_at: row.created_at, leaving: row.leaving }
    }
}

/// A tenant to be created.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewTenant {
    /// Its id.
    pub id: TenantId,
    /// What people call it; the id, unless told.
    pub name: Option<String>,
    /// Whether anybody may sign up.
    pub open: bool,
    /// Its first administrator, who gets an API key; nobody, unless told.
    pub administrator: Option<PrincipalId>,
}

pub(crate) fn check_name(name: Option<&str>) -> Result<(), InvalidInput> {
    let max = TENANT_NAME_LEN_MAX;
    name.map_or(Ok(()), |name| check_text(name, max, InvalidInput::Text { field: "name", max }))
}
