//! What exists: every kind of resource that carries a header, obeys policy and leaves a trail.

use serde::{Deserialize, Serialize};

macro_rules! kinds {
    ($( $(#[doc = $doc:literal])+ $variant:ident => $name:literal, $plural:literal; )+) => {
        /// A kind of resource. Its name is used in permissions and commands, its plural in routes.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub enum ResourceKind {
            $( $(#[doc = $doc])+ #[serde(rename = $name)] $variant, )+
        }

        impl ResourceKind {
            /// All kinds, in the order in which help texts list them.
            pub const ALL: &'static [ResourceKind] = &[$(ResourceKind::$variant),+];

            /// The singular name, used in permissions (`function:invoke`) and commands.
            pub fn as_str(self) -> &'static str {
                match self { $(ResourceKind::$variant => $name),+ }
            }

            /// The plural, used as the route segment of the kind's collection.
            pub fn plural(self) -> &'static str {
                match self { $(ResourceKind::$variant => $plural),+ }
            }
        }
    };
}

kinds! {
    /// An isolated namespace of principals and resources.
    Tenant => "tenant", "tenants";
    /// Somebody or something that can authenticate.
    Principal => "principal", "principals";
    /// A named set of permissions.
    Role => "role", "roles";
    /// Roles and authentication that a resource demands of its users.
    SecurityPolicy => "security-policy", "security-policies";
    /// What may be done in a tenant, in the permissions language.
    PermissionPolicy => "permission-policy", "permission-policies";
    /// A group of microservices under one security policy.
    Service => "service", "services";
    /// A group of functions within a service.
    Microservice => "microservice", "microservices";
    /// Something that can be computed.
    Function => "function", "functions";
    /// A server that functions are deployed on.
    Endpoint => "endpoint", "endpoints";
    /// Where a function's inputs come from and its outputs go.
    Storage => "storage", "storages";
    /// Python code with state, described by its schema.
    ActiveObject => "active-object", "active-objects";
    /// One moment in an endpoint's life.
    EndpointState => "endpoint-state", "endpoint-states";
    /// One moment in a function's run.
    FunctionState => "function-state", "function-states";
    /// What a function's run came to.
    FunctionResult => "function-result", "function-results";
    /// A running, sealed copy of a function.
    Instance => "instance", "instances";
    /// Something that several parties compute together on values that none of them sees.
    Computation => "computation", "computations";
    /// A namespace of objects.
    Bucket => "bucket", "buckets";
    /// A sequence of bytes with a key.
    Object => "object", "objects";
    /// A record of the append-only log.
    Event => "event", "events";
    /// A signed report of a threat, by this node or a peer.
    ThreatEvent => "threat-event", "threat-events";
    /// A node with which reports of threats are shared.
    IntelPeer => "intel-peer", "intel-peers";
    /// What is done about a source or a principal that threatens.
    Measure => "measure", "measures";
    /// STIX objects that others put in and take out.
    ThreatCollection => "threat-collection", "threat-collections";
}

impl std::fmt::Display for ResourceKind {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no kind.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown kind `{0}`")]
pub struct UnknownKind(pub String);

impl std::str::FromStr for ResourceKind {
    type Err = UnknownKind;

    /// Accepts the singular and the plural, as a person types either.
    fn from_str(text: &str) -> Result<Self, Self::Err> {
        ResourceKind::ALL
            .iter()
            .copied()
            .find(|kind| kind.as_str() == text || kind.plural() == text)
            .ok_or_else(|| UnknownKind(text.to_owned()))
    }
}
