//! The kinds that the API serves as collections, and how their records refer to each other.

use cm_types::ResourceKind;
use serde_json::{Map, Value};

use ResourceKind::{
    ActiveObject, Bucket, Endpoint, EndpointState, Event, Function, FunctionResult, FunctionState, Instance,
    IntelPeer, Measure, Microservice, PermissionPolicy, Principal, Role, SecurityPolicy, Service, Storage,
    ThreatCollection,
};

/// The kinds that the API serves as collections. Objects are in buckets, and have commands of their own.
pub(crate) const SERVED: &[ResourceKind] = &[
    Service,
    Microservice,
    Function,
    ActiveObject,
    FunctionState,
    FunctionResult,
    Endpoint,
    EndpointState,
    Storage,
    Instance,
    Bucket,
    Principal,
    Role,
    SecurityPolicy,
    PermissionPolicy,
    IntelPeer,
    Measure,
    ThreatCollection,
    Event,
];

/// Reads a kind as an argument, in singular or plural.
pub(crate) fn kind(text: &str) -> Result<ResourceKind, String> {
    let named = |kind: &&ResourceKind| [kind.as_str(), kind.plural()].contains(&text);
    SERVED.iter().find(named).copied().ok_or_else(|| {
        let served: Vec<_> = SERVED.iter().map(|kind| kind.as_str()).collect();
        format!("expected one of {}", served.join(", "))
    })
}

/// One way in which records refer to others.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Link {
    /// The kind of the records that refer.
    pub(crate) from: ResourceKind,
    /// The field that says to what; of a list each element.
    pub(crate) field: &'static str,
    /// The kind that it leads to.
    pub(crate) to: ResourceKind,
}

/// All ways in which records refer to others. What has several forms is named once for each.
pub(crate) const LINKS: &[Link] = &[
    link(Principal, "roles", Role),
    link(SecurityPolicy, "roles", Role),
    link(Service, "security_policy", SecurityPolicy),
    link(Service, "security_policy.roles", Role),
    link(Microservice, "service_id", Service),
    link(Microservice, "security_policy", SecurityPolicy),
    link(Microservice, "security_policy.roles", Role),
    link(Function, "microservice_id", Microservice),
    link(Function, "endpoint_id", Endpoint),
    link(Function, "active_object_id", ActiveObject),
    link(Function, "storage", Storage),
    link(Function, "security_policy", SecurityPolicy),
    link(Function, "security_policy.roles", Role),
    link(ActiveObject, "axo_microservice_id", Microservice),
    link(ActiveObject, "axo_endpoint_id", Endpoint),
    link(FunctionState, "function_id", Function),
    link(FunctionState, "instance_id", Instance),
    link(FunctionResult, "function_id", Function),
    link(FunctionResult, "state_id", FunctionState),
    link(FunctionResult, "instance_id", Instance),
    link(Endpoint, "security_policy", SecurityPolicy),
    link(Endpoint, "security_policy.roles", Role),
    link(EndpointState, "endpoint_id", Endpoint),
    link(Instance, "function", Function),
    link(ThreatCollection, "security_policy", SecurityPolicy),
    link(ThreatCollection, "security_policy.roles", Role),
    link(Instance, "security_policy", SecurityPolicy),
    link(Instance, "security_policy.roles", Role),
    link(Bucket, "security_policy", SecurityPolicy),
    link(Bucket, "security_policy.roles", Role),
];

const fn link(from: ResourceKind, field: &'static str, to: ResourceKind) -> Link {
    Link { from, field, to }
}

impl Link {
    /// The ids that a record of `from` refers to by the field.
    pub(crate) fn ids<'a>(&self, record: &'a Map<String, Value>) -> Vec<&'a str> {
        let mut path = self.field.split('.');
        let first = path.next().and_then(|name| record.get(name));
        match path.fold(first, |value, name| value?.get(name)) {
            Some(Value::String(id)) => vec![id],
            Some(Value::Array(ids)) => ids.iter().filter_map(Value::as_str).collect(),
            _ => Vec::new(),
        }
    }
}

/// Whether records of the kind are states and results, of which there are many and the newest count.
pub(crate) fn is_history(kind: ResourceKind) -> bool {
    matches!(kind, FunctionState | FunctionResult | EndpointState)
}

/// Whether others can depend on a record of the kind, so that its deletion can be planned.
pub(crate) fn has_dependents(kind: ResourceKind) -> bool {
    !matches!(kind, Instance | Principal | Event)
}

/// The field in which a record of the kind repeats its id.
pub(crate) fn repeats_id(kind: ResourceKind) -> Option<&'static str> {
    match kind {
        Role => Some("role_id"),
        SecurityPolicy => Some("sp_id"),
        Service => Some("service_id"),
        Microservice => Some("microservice_id"),
        Function => Some("function_id"),
        ActiveObject => Some("active_object_id"),
        Endpoint => Some("endpoint_id"),
        Storage => Some("storage_id"),
        FunctionState | EndpointState => Some("state_id"),
        FunctionResult => Some("result_id"),
        _ => None,
    }
}

/// Whether a field of a record of the kind is for those who look at the one record: a row has no room for it.
pub(crate) fn is_detail(kind: ResourceKind, field: &str) -> bool {
    let details: &[&str] = match kind {
        Instance => &["evidence", "measurement", "node", "policy_hash", "isolation", "labels"],
        ResourceKind::Object => &["etag", "sha256", "version", "content_type"],
        FunctionState | FunctionResult | EndpointState => &["owner"],
        _ => &[],
    };
    details.contains(&field)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn check(from: ResourceKind, record: Value, expected: &[(&str, ResourceKind, &str)]) {
        let record = record.as_object().unwrap();
        let links = LINKS.iter().filter(|link| link.from == from);
        let found: Vec<_> =
            links.flat_map(|link| link.ids(record).into_iter().map(|id| (link.field, link.to, id))).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn references_are_found_in_texts_lists_and_embedded_policies() {
        check(SecurityPolicy, json!({ "roles": ["a", "b"] }), &[("roles", Role, "a"), ("roles", Role, "b")]);
        check(
            Function,
            json!({ "microservice_id": "m", "storage": { "capacity": "1GB" }, "security_policy": { "roles": ["r"] } }),
            &[("microservice_id", Microservice, "m"), ("security_policy.roles", Role, "r")],
        );
        check(Service, json!({ "security_policy": "p" }), &[("security_policy", SecurityPolicy, "p")]);
        check(Role, json!({ "role_id": "r" }), &[]);
    }

    #[test]
    fn a_kind_is_read_in_singular_and_plural() {
        assert_eq!(kind("security-policies"), Ok(SecurityPolicy));
        assert_eq!(kind("service"), Ok(Service));
        assert!(kind("object").is_err_and(|message| message.contains("function-state")));
    }
}
