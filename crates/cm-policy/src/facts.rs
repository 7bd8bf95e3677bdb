//! The facts that a decision is made from. Whoever asks gathers them; nothing is fetched here.

use cm_types::{Action, Labels, PrincipalId, ResourceId, ResourceKind, TenantId};

use crate::{Permission, Rules};

/// The id of the role that makes an administrator, provided that it permits `*:*`.
pub const ADMIN_ROLE: &str = "admin";

/// A role, as far as decisions are concerned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleFacts {
    /// Which role; guards name it by this.
    pub id: ResourceId,
    /// What people call it; shown in reasons.
    pub name: String,
    /// What it permits.
    pub permissions: Vec<Permission>,
}

impl RoleFacts {
    /// The administrator's role. The node itself acts under it.
    pub fn administrator() -> Self {
        let id = ResourceId::parse(ADMIN_ROLE).expect("the constant is a valid id");
        Self { id, name: ADMIN_ROLE.to_owned(), permissions: vec![Permission::everything()] }
    }

    /// Whether this role makes its holder an administrator.
    pub fn is_administrator(&self) -> bool {
        self.id.as_str() == ADMIN_ROLE && self.permissions.contains(&Permission::everything())
    }

    /// The first permission that allows the action on such a resource.
    pub(crate) fn permission_for(&self, action: Action, target: &Target<'_>) -> Option<&Permission> {
        self.permissions.iter().find(|permission| target.is_permitted_by(permission, action))
    }
}

/// Who asks. Without a principal or without a tenant it is an anonymous caller, whatever else is set.
#[derive(Clone, Copy, Debug)]
pub struct Subject<'a> {
    /// The principal, once authenticated.
    pub principal: Option<&'a PrincipalId>,
    /// The principal's tenant.
    pub tenant: Option<&'a TenantId>,
    /// The roles that the principal holds, all of its own tenant.
    pub roles: &'a [RoleFacts],
    /// The permission policies in force in the tenant where it asks.
    pub rules: Option<Rules<'a>>,
}

impl<'a> Subject<'a> {
    /// A caller that did not authenticate.
    pub fn anonymous() -> Self {
        Self { principal: None, tenant: None, roles: &[], rules: None }
    }

    /// An authenticated principal.
    pub fn principal(principal: &'a PrincipalId, tenant: &'a TenantId, roles: &'a [RoleFacts]) -> Self {
        Self { principal: Some(principal), tenant: Some(tenant), roles, rules: None }
    }

    /// Whether one of the roles, or a statement of a permission policy, permits something of the kind and action, whichever
    /// and whatever the labels.
    pub fn holds_some(&self, kind: ResourceKind, action: Action) -> bool {
        let by_role =
            || self.roles.iter().flat_map(|role| &role.permissions).any(|p| p.concerns(kind, action));
        self.principal.is_some() && self.tenant.is_some() && (by_role() || self.is_told_of(kind, action))
    }

    /// Whether one of the roles implies the permission, so that the subject may give it away.
    pub fn holds(&self, permission: &Permission) -> bool {
        self.principal.is_some()
            && self.tenant.is_some()
            && self.roles.iter().flat_map(|role| &role.permissions).any(|own| own.implies(permission))
    }
}

/// A security policy in force on a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Guard {
    /// The security policy.
    pub id: ResourceId,
    /// Whether anonymous callers are refused.
    pub requires_authentication: bool,
    /// The roles that the policy lists, with what they permit. None means that it does not narrow.
    pub roles: Vec<RoleFacts>,
}

/// What the action is about: one resource, or the collection of a kind.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// The kind.
    pub kind: ResourceKind,
    /// The resource; `None` means the collection, for listing and creating.
    pub id: Option<&'a str>,
    /// The tenant that it belongs to.
    pub tenant: &'a TenantId,
    /// Its owner.
    pub owner: Option<&'a PrincipalId>,
    /// Its labels; when creating, those that it is going to have.
    pub labels: &'a Labels,
    /// The security policy in force on it.
    pub guard: Option<&'a Guard>,
}

impl Target<'_> {
    /// Listing a collection ignores selectors: it shows only what may be read, each entry being
    /// decided on its own.
    pub(crate) fn is_permitted_by(&self, permission: &Permission, action: Action) -> bool {
        let whole_collection = self.id.is_none() && action == Action::List;
        permission.concerns(self.kind, action)
            && (whole_collection || permission.selector.matches(self.labels))
    }
}
