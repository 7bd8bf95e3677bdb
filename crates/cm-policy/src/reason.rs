//! Why a decision went as it did, as data; `Display` is for people.

use cm_types::{Action, ResourceId, ResourceKind};

use crate::Permission;
use crate::sharing::{AclPermission, Grantee};

/// One thing that was weighed and mattered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The subject administers the target's tenant, or all of them.
    Administrator {
        /// Whether the target belongs to another tenant than the subject.
        across_tenants: bool,
    },
    /// The subject owns the target.
    Owner,
    /// Nobody but the owner and administrators may, whatever roles permit.
    OwnerOnly {
        /// The kind.
        kind: ResourceKind,
        /// The action.
        action: Action,
    },
    /// A role permits it.
    RolePermits {
        /// The role's name.
        role: String,
        /// What it permits.
        permission: Permission,
    },
    /// A role speaks of the kind and the action, but its selector does not match the labels.
    LabelsDiffer {
        /// The role's name.
        role: String,
        /// What it permits.
        permission: Permission,
    },
    /// No role speaks of the kind and the action.
    NoPermission {
        /// The kind.
        kind: ResourceKind,
        /// The action.
        action: Action,
    },
    /// The target belongs to another tenant.
    OtherTenant,
    /// The subject holds a role that the guard lists.
    GuardSatisfied {
        /// The security policy.
        guard: ResourceId,
        /// The role's name.
        role: String,
    },
    /// The subject holds none of the roles that the guard lists.
    GuardDemandsRole {
        /// The security policy.
        guard: ResourceId,
        /// The ids of the roles that it lists.
        roles: Vec<ResourceId>,
    },
    /// The guard refuses anonymous callers.
    GuardDemandsAuthentication {
        /// The security policy.
        guard: ResourceId,
    },
    /// The guard demands no authentication, and a role that it lists permits the action.
    GuardOpens {
        /// The security policy.
        guard: ResourceId,
        /// The role's name.
        role: String,
        /// What it permits.
        permission: Permission,
    },
    /// The caller did not authenticate, and nothing opens the target to such callers.
    Anonymous,
    /// A grant on the bucket or the object.
    AclGrants {
        /// To whom.
        grantee: Grantee,
        /// What.
        permission: AclPermission,
    },
    /// A statement of the bucket's policy allows it.
    PolicyAllows {
        /// Its `Sid`, or its place.
        statement: String,
    },
    /// A statement of the bucket's policy denies it.
    PolicyDenies {
        /// Its `Sid`, or its place.
        statement: String,
    },
    /// A statement of a permission policy allows it.
    StatementAllows {
        /// The policy.
        policy: String,
        /// The line of the statement in it.
        line: u32,
    },
    /// A statement of a permission policy denies it.
    StatementDenies {
        /// The policy.
        policy: String,
        /// The line of the statement in it.
        line: u32,
    },
    /// The bucket has a list of grants, and neither that nor its policy gives this to the subject.
    NotShared,
}

impl Reason {
    /// A name for programs that does not change.
    pub fn code(&self) -> &'static str {
        match self {
            Reason::Administrator { .. } => "administrator",
            Reason::Owner => "owner",
            Reason::OwnerOnly { .. } => "owner-only",
            Reason::RolePermits { .. } => "role-permits",
            Reason::LabelsDiffer { .. } => "labels-differ",
            Reason::NoPermission { .. } => "no-permission",
            Reason::OtherTenant => "other-tenant",
            Reason::GuardSatisfied { .. } => "guard-satisfied",
            Reason::GuardDemandsRole { .. } => "guard-demands-role",
            Reason::GuardDemandsAuthentication { .. } => "guard-demands-authentication",
            Reason::GuardOpens { .. } => "guard-opens",
            Reason::Anonymous => "anonymous",
            Reason::AclGrants { .. } => "acl-grants",
            Reason::PolicyAllows { .. } => "policy-allows",
            Reason::PolicyDenies { .. } => "policy-denies",
            Reason::StatementAllows { .. } => "statement-allows",
            Reason::StatementDenies { .. } => "statement-denies",
            Reason::NotShared => "not-shared",
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Reason::Administrator { across_tenants: false } => f.write_str("administrator"),
            Reason::Administrator { across_tenants: true } => f.write_str("administrator of all tenants"),
            Reason::Owner => f.write_str("owner"),
            Reason::OwnerOnly { kind, action } => {
                write!(f, "only the owner and administrators may do `{kind}:{action}`")
            }
            Reason::RolePermits { role, permission } => write!(f, "role `{role}` permits `{permission}`"),
            Reason::LabelsDiffer { role, permission } => {
                write!(f, "role `{role}` permits `{permission}`, but the labels differ")
            }
            Reason::NoPermission { kind, action } => write!(f, "no role permits `{kind}:{action}`"),
            Reason::OtherTenant => f.write_str("other tenant"),
            Reason::GuardSatisfied { guard, role } => {
                write!(f, "role `{role}` satisfies security policy `{guard}`")
            }
            Reason::GuardDemandsRole { guard, roles } => {
                let roles: Vec<&str> = roles.iter().map(ResourceId::as_str).collect();
                write!(f, "security policy `{guard}` demands one of roles [{}]", roles.join(", "))
            }
            Reason::GuardDemandsAuthentication { guard } => {
                write!(f, "security policy `{guard}` demands authentication")
            }
            Reason::GuardOpens { guard, role, permission } => write!(
                f,
                "security policy `{guard}` demands no authentication, and its role `{role}` permits `{permission}`"
            ),
            Reason::Anonymous => f.write_str("not authenticated"),
            Reason::AclGrants { grantee, permission } => {
                let permission = match permission {
                    AclPermission::Read => "READ",
                    AclPermission::Write => "WRITE",
                    AclPermission::ReadAcp => "READ_ACP",
                    AclPermission::WriteAcp => "WRITE_ACP",
                    AclPermission::FullControl => "FULL_CONTROL",
                };
                match grantee {
                    Grantee::Principal(principal) => write!(f, "`{permission}` was granted to `{principal}`"),
                    Grantee::Authenticated => write!(f, "`{permission}` was granted to all who authenticate"),
                    Grantee::Everybody => write!(f, "`{permission}` was granted to everybody"),
                }
            }
            Reason::PolicyAllows { statement } => {
                write!(f, "statement `{statement}` of the bucket's policy allows it")
            }
            Reason::PolicyDenies { statement } => {
                write!(f, "statement `{statement}` of the bucket's policy denies it")
            }
            Reason::StatementAllows { policy, line } => {
                write!(f, "line {line} of permission policy `{policy}` allows it")
            }
            Reason::StatementDenies { policy, line } => {
                write!(f, "line {line} of permission policy `{policy}` denies it")
            }
            Reason::NotShared => f.write_str("the bucket is private, and its owner has not shared it so"),
        }
    }
}

/// How a decision went and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Explanation {
    /// What was asked.
    pub action: Action,
    /// The kind that it was asked about.
    pub kind: ResourceKind,
    /// Whether it is allowed.
    pub allowed: bool,
    /// What decided, the most important first; at most [`REASONS_MAX`].
    pub reasons: Vec<Reason>,
}

/// Most reasons in one explanation. Only denials for labels can have more than two.
pub const REASONS_MAX: usize = 16;

impl std::fmt::Display for Explanation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let verdict = if self.allowed { "allowed" } else { "denied" };
        write!(f, "`{}:{}` {verdict}", self.kind, self.action)?;
        for (position, reason) in self.reasons.iter().enumerate() {
            write!(f, "{}{reason}", if position == 0 { ": " } else { "; " })?;
        }
        Ok(())
    }
}
