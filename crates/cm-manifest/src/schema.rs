//! Which sections and fields there are, and what stands in them.

use cm_types::ResourceKind;

/// A field of a mapping.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) name: &'static str,
    pub(crate) shape: Shape,
}

/// What stands in a field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Shape {
    /// The resource's own id once more.
    OwnId,
    /// The resource's name.
    Name,
    /// Labels: texts by name.
    Labels,
    /// What only the platform writes.
    Written,
    /// Resources that belong to this one: a list of ids, or a mapping that declares them.
    Children(ResourceKind),
    /// Any text.
    Text,
    /// The id of a resource.
    Id,
    /// A list of ids.
    Ids,
    /// The ids of roles in a policy that stands in another resource.
    EmbeddedRoles,
    /// A list of texts.
    Texts,
    /// `true` or `false`.
    Bool,
    /// A positive number of cores, as number or digits in quotes.
    Cpu,
    /// An amount of bytes.
    Bytes,
    /// A whole number from a minimum to a maximum.
    Integer(u64, u64),
    /// A mapping, and what messages call it.
    Map(&'static str, &'static [Field]),
    /// The id of a resource, or that resource itself.
    IdOr(&'static str, &'static [Field]),
}

impl Shape {
    /// Whether a value of this shape is part of the spec.
    pub(crate) fn is_of_spec(self) -> bool {
        !matches!(self, Shape::OwnId | Shape::Name | Shape::Labels | Shape::Written | Shape::Children(_))
    }
}

const fn field(name: &'static str, shape: Shape) -> Field {
    Field { name, shape }
}

const RESOURCES: Shape = Shape::Map("`resources`", &[field("cpu", Shape::Cpu), field("ram", Shape::Bytes)]);

const SECURITY_POLICY: Shape = Shape::IdOr(
    "`security_policy`",
    &[
        field("sp_id", Shape::Id),
        field("roles", Shape::EmbeddedRoles),
        field("requires_authentication", Shape::Bool),
    ],
);

const LOCATION: &[Field] =
    &[field("path", Shape::Text), field("bucket_id", Shape::Text), field("key", Shape::Text)];

const STORAGE: Shape = Shape::IdOr(
    "`storage`",
    &[
        field("storage_id", Shape::Id),
        field("capacity", Shape::Bytes),
        field("source_path", Shape::Text),
        field("sink_path", Shape::Text),
        field("source", Shape::Map("`source`", LOCATION)),
        field("sink", Shape::Map("`sink`", LOCATION)),
    ],
);

/// The fields of a kind, with those of every record around them; what the platform writes is in what the API returns.
macro_rules! record {
    ($own_id:literal, $($field:expr),+ $(,)?) => {
        &[
            field("id", Shape::OwnId),
            field($own_id, Shape::OwnId),
            field("name", Shape::Name),
            field("labels", Shape::Labels),
            field("description", Shape::Text),
            $($field,)+
            field("tenant", Shape::Written),
            field("owner", Shape::Written),
            field("generation", Shape::Written),
            field("created_at", Shape::Written),
            field("updated_at", Shape::Written),
            field("timestamp", Shape::Written),
            field("status", Shape::Written),
        ]
    };
}

const ROLE: &[Field] = record!["role_id", field("permissions", Shape::Texts)];

const PERMISSION_POLICY: &[Field] =
    record!["permission_policy_id", field("source", Shape::Text), field("enforced", Shape::Bool),];

const POLICY: &[Field] =
    record!["sp_id", field("roles", Shape::Ids), field("requires_authentication", Shape::Bool)];

const BUCKET: &[Field] = record!["bucket_id", field("security_policy", SECURITY_POLICY)];

const STORAGE_RECORD: &[Field] = record![
    "storage_id",
    field("capacity", Shape::Bytes),
    field("source_path", Shape::Text),
    field("sink_path", Shape::Text),
];

const ENDPOINT: &[Field] = record![
    "endpoint_id",
    field("image", Shape::Text),
    field("resources", RESOURCES),
    field("security_policy", SECURITY_POLICY),
    field("policy_id", Shape::Text),
    field("pubsub_port", Shape::Written),
    field("req_res_port", Shape::Written),
];

const SERVICE: &[Field] = record![
    "service_id",
    field("resources", RESOURCES),
    field("security_policy", SECURITY_POLICY),
    field("policy_id", Shape::Text),
    field("microservices", Shape::Children(ResourceKind::Microservice)),
];

const MICROSERVICE: &[Field] = record![
    "microservice_id",
    field("service_id", Shape::Id),
    field("resources", RESOURCES),
    field("security_policy", SECURITY_POLICY),
    field("policy_id", Shape::Text),
    field("functions", Shape::Children(ResourceKind::Function)),
];

const FUNCTION: &[Field] = record![
    "function_id",
    field("microservice_id", Shape::Id),
    field("image", Shape::Text),
    field("resources", RESOURCES),
    field("storage", STORAGE),
    field("endpoint_id", Shape::Id),
    field("security_policy", SECURITY_POLICY),
    field("policy_id", Shape::Text),
    field("executor", Shape::Text),
    field("confidential", Shape::Map("`confidential`", &[field("policy", Shape::Text)])),
    field("active_object_id", Shape::Id),
    field("deployment_status", Shape::Written),
];

const ACTIVE_OBJECT: &[Field] = record![
    "active_object_id",
    field("axo_module", Shape::Text),
    field("axo_class_name", Shape::Text),
    field("axo_microservice_id", Shape::Id),
    field("axo_endpoint_id", Shape::Id),
    field("axo_version", Shape::Integer(0, u32::MAX as u64)),
    field("axo_is_read_only", Shape::Bool),
    field("axo_alias", Shape::Text),
    field("axo_key", Shape::Text),
    field("axo_bucket_id", Shape::Id),
    field("axo_source_bucket_id", Shape::Id),
    field("axo_sink_bucket_id", Shape::Id),
    field("axo_uri", Shape::Text),
    field("axo_dependencies", Shape::Texts),
    field("path", Shape::Text),
    field("source_path", Shape::Text),
    field("sink_path", Shape::Text),
    field("axo_code", Shape::Text),
    field("axo_schema", Shape::Written),
    field("functions", Shape::Written),
];

/// The kinds that can be declared, in the order in which they are written: what is referred to comes first.
pub(crate) const KINDS: &[(ResourceKind, &str, &[Field])] = &[
    (ResourceKind::Role, "a role", ROLE),
    (ResourceKind::SecurityPolicy, "a security policy", POLICY),
    (ResourceKind::PermissionPolicy, "a permission policy", PERMISSION_POLICY),
    (ResourceKind::Bucket, "a bucket", BUCKET),
    (ResourceKind::Storage, "a storage", STORAGE_RECORD),
    (ResourceKind::Endpoint, "an endpoint", ENDPOINT),
    (ResourceKind::Service, "a service", SERVICE),
    (ResourceKind::Microservice, "a microservice", MICROSERVICE),
    (ResourceKind::Function, "a function", FUNCTION),
    (ResourceKind::ActiveObject, "an active object", ACTIVE_OBJECT),
];

/// What a connection of the nested shape says.
pub(crate) const CONNECTION: Shape = Shape::Map(
    "a connection",
    &[
        field("from", Shape::Text),
        field("to", Shape::Text),
        field("condition", Shape::Text),
        field("event", Shape::Text),
    ],
);

/// The section that names the version of the format.
pub(crate) const VERSION_SECTION: &str = "cryptomesh";
/// The only version.
pub(crate) const VERSION: &str = "v1";
/// The section of connections.
pub(crate) const CONNECTIONS_SECTION: &str = "connections";

/// The fields of a kind, if it can be declared.
pub(crate) fn fields_of(kind: ResourceKind) -> Option<&'static [Field]> {
    KINDS.iter().find(|(known, ..)| *known == kind).map(|(.., fields)| *fields)
}

/// What messages call a resource of the kind.
pub(crate) fn called(kind: ResourceKind) -> &'static str {
    KINDS.iter().find(|(known, ..)| *known == kind).map_or("a resource", |(_, called, _)| called)
}

/// The place of a kind in [`KINDS`]; those that cannot be declared come last.
pub(crate) fn rank(kind: ResourceKind) -> usize {
    KINDS.iter().position(|(known, ..)| *known == kind).unwrap_or(KINDS.len())
}

/// The kind whose section this is; its words are joined by `-` or `_`.
pub(crate) fn kind_of_section(section: &str) -> Option<ResourceKind> {
    let plural = section.replace('_', "-");
    KINDS.iter().map(|(kind, ..)| *kind).find(|kind| kind.plural() == plural)
}

/// The names of all sections.
pub(crate) fn sections() -> impl Iterator<Item = &'static str> {
    KINDS.iter().map(|(kind, ..)| kind.plural()).chain([CONNECTIONS_SECTION, VERSION_SECTION])
}

/// The field by which a child names what it belongs to.
pub(crate) fn parent_field(child: ResourceKind) -> &'static str {
    match child {
        ResourceKind::Microservice => "service_id",
        _ => "microservice_id",
    }
}

/// Names longer than this are nobody's slip of the pen; comparing them would only cost time.
const NEAREST_LEN_MAX: usize = 40;

/// The known name that was probably meant: at most a third of its letters differ, and at most three.
pub(crate) fn nearest(name: &str, known: impl Iterator<Item = &'static str>) -> Option<&'static str> {
    if name.len() > NEAREST_LEN_MAX {
        return None;
    }
    let name = name.to_lowercase().replace('-', "_");
    known
        .map(|known| (distance(&name, &known.replace('-', "_")), known))
        .filter(|(distance, known)| *distance <= (known.len() / 3).clamp(1, 3))
        .min()
        .map(|(_, known)| known)
}

/// How many letters must be inserted, removed or replaced (Levenshtein 1965).
fn distance(left: &str, right: &str) -> usize {
    let right: Vec<char> = right.chars().collect();
    let mut row: Vec<usize> = (0..=right.len()).collect();
    for (above, letter) in left.chars().enumerate() {
        let mut diagonal = above;
        row[0] = above + 1;
        for (at, other) in right.iter().enumerate() {
            let replaced = diagonal + usize::from(letter != *other);
            diagonal = row[at + 1];
            row[at + 1] = replaced.min(row[at] + 1).min(diagonal + 1);
        }
    }
    row[right.len()]
}
