//! What a record demands of its users: a security policy by name, or one of its own.

use cm_types::{ResourceId, ResourceKind};
use serde::{Deserialize, Deserializer, Serialize, de};

use super::{Reference, refer};
use crate::OnDelete;
use crate::validation::Findings;

/// Most roles of one security policy.
pub(super) const ROLES_MAX: usize = 64;

/// The security policy of a record.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(untagged)]
pub enum GuardedBy {
    /// The id of a security policy.
    Policy(ResourceId),
    /// A policy written where others have an id. It is in force for this record, and for those that have theirs from it.
    Own(OwnPolicy),
}

/// A security policy within the record that it guards.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct OwnPolicy {
    /// What its author calls it. Nothing is looked up by it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub sp_id: Option<ResourceId>,
    /// The roles of which a user must hold one. None: the policy does not narrow.
    #[serde(default)]
    pub roles: Vec<ResourceId>,
    /// Whether anonymous callers are refused; they are unless told otherwise.
    #[serde(default = "yes")]
    pub requires_authentication: bool,
}

fn yes() -> bool {
    true
}

impl GuardedBy {
    /// What the policy refers to, its own roles included.
    pub(super) fn references(policy: Option<&GuardedBy>) -> Vec<Reference> {
        match policy {
            None => Vec::new(),
            Some(GuardedBy::Policy(id)) => {
                vec![refer("security_policy", ResourceKind::SecurityPolicy, id, OnDelete::Restrict)]
            }
            Some(GuardedBy::Own(own)) => own
                .roles
                .iter()
                .enumerate()
                .map(|(at, role)| {
                    let field = format!("security_policy.roles[{at}]");
                    refer(field, ResourceKind::Role, role, OnDelete::Restrict)
                })
                .collect(),
        }
    }

    pub(super) fn check(policy: Option<&GuardedBy>, findings: &mut Findings) {
        if let Some(GuardedBy::Own(own)) = policy {
            check_roles("spec.security_policy.roles", &own.roles, findings);
        }
    }
}

/// Few, and none twice.
pub(super) fn check_roles(path: &str, roles: &[ResourceId], findings: &mut Findings) {
    findings.count(path, roles.len(), ROLES_MAX);
    for (position, role) in roles.iter().enumerate() {
        if roles[..position].contains(role) {
            findings.add(format!("{path}[{position}]"), "is listed twice");
        }
    }
}

// By hand, because serde's own way for such a choice forgets what was wrong with the chosen form.
impl<'de> Deserialize<'de> for GuardedBy {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Visitor;

        impl<'de> de::Visitor<'de> for Visitor {
            type Value = GuardedBy;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(
                    "the id of a security policy, or a policy with `roles` and `requires_authentication`",
                )
            }

            fn visit_str<E: de::Error>(self, text: &str) -> Result<GuardedBy, E> {
                ResourceId::parse(text).map(GuardedBy::Policy).map_err(E::custom)
            }

            fn visit_map<A: de::MapAccess<'de>>(self, map: A) -> Result<GuardedBy, A::Error> {
                OwnPolicy::deserialize(de::value::MapAccessDeserializer::new(map)).map(GuardedBy::Own)
            }
        }

        deserializer.deserialize_any(Visitor)
    }
}
