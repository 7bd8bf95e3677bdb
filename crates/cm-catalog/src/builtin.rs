//! The roles that exist from the first start of every tenant.

use cm_types::{PrincipalId, ResourceId};

use crate::NewRecord;
use crate::kinds::Role;

/// Id (which is also the name), description, permissions.
const ROLES: &[(&str, &str, &[&str])] = &[
    (cm_policy::ADMIN_ROLE, "Everything. In the first tenant also in every other one.", &["*:*"]),
    (
        "operator",
        "Keeps the platform running: endpoints, storages, buckets and instances; sees everything else that \
         is declared, and the log.",
        &[
            "endpoint:*",
            "endpoint-state:*",
            "storage:*",
            "bucket:*",
            "instance:*",
            "computation:*",
            "service:read",
            "service:list",
            "microservice:read",
            "microservice:list",
            "function:read",
            "function:list",
            "function-state:read",
            "function-state:list",
            "active-object:read",
            "active-object:list",
            "role:read",
            "role:list",
            "security-policy:read",
            "security-policy:list",
            "event:read",
            "event:list",
            "threat-event:*",
            "intel-peer:*",
            "measure:*",
            "threat-collection:*",
        ],
    ),
    (
        "developer",
        "Declares services, microservices, functions and active objects, runs them, and keeps their data.",
        &[
            "service:*",
            "microservice:*",
            "function:*",
            "active-object:*",
            "function-state:*",
            "function-result:*",
            "instance:*",
            "computation:*",
            "storage:*",
            "bucket:create",
            "bucket:list",
            "bucket:read",
            "object:*",
            "endpoint:read",
            "endpoint:list",
            "endpoint:invoke",
            "endpoint-state:read",
            "endpoint-state:list",
            "security-policy:read",
            "security-policy:list",
            "role:read",
            "role:list",
        ],
    ),
    (
        "analyst",
        "Runs functions on data and reads what comes out.",
        &[
            "function:read",
            "function:list",
            "function:invoke",
            "computation:create",
            "computation:read",
            "computation:list",
            "computation:invoke",
            "instance:create",
            "instance:read",
            "instance:list",
            "instance:invoke",
            "function-state:read",
            "function-state:list",
            "function-result:read",
            "function-result:list",
            "bucket:read",
            "bucket:list",
            "object:create",
            "object:read",
            "object:list",
        ],
    ),
    (
        "auditor",
        "Sees every declaration and the log, changes and runs nothing, and reads no stored data.",
        &[
            "tenant:read",
            "tenant:list",
            "principal:read",
            "principal:list",
            "role:read",
            "role:list",
            "security-policy:read",
            "security-policy:list",
            "service:read",
            "service:list",
            "microservice:read",
            "microservice:list",
            "function:read",
            "function:list",
            "endpoint:read",
            "endpoint:list",
            "endpoint-state:read",
            "endpoint-state:list",
            "function-state:read",
            "function-state:list",
            "storage:read",
            "storage:list",
            "active-object:read",
            "active-object:list",
            "instance:read",
            "instance:list",
            "bucket:read",
            "bucket:list",
            "object:list",
            "event:read",
            "event:list",
            "threat-event:list",
            "intel-peer:read",
            "intel-peer:list",
            "measure:read",
            "measure:list",
            "threat-collection:read",
            "threat-collection:list",
        ],
    ),
];

/// The built-in roles, owned by the node, to be created when a tenant begins. All but the first
/// tenant's `admin` can be changed and removed like any other.
pub fn builtin_roles() -> Vec<NewRecord> {
    ROLES
        .iter()
        .map(|(id, description, permissions)| {
            let permissions = permissions.iter().map(|text| (*text).to_owned()).collect();
            let role = Role { description: Some((*description).to_owned()), permissions };
            let id_checked = ResourceId::parse(*id).expect("built-in ids are valid");
            NewRecord { owner: Some(PrincipalId::node()), ..NewRecord::of(*id, &role).with_id(id_checked) }
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_word_of_a_built_in_role_permits_something() {
        for new in builtin_roles() {
            let role: Role = serde_json::from_value(new.spec).unwrap();
            assert_eq!(role.unknown_permissions(), [], "{}", new.name);
        }
    }
}
