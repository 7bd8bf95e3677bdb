//! How things are named. Holding an identifier means that its text is valid.

use serde::{Deserialize, Serialize};

use crate::ResourceKind;

/// Longest identifier, in bytes. Long enough for "tenant/uuid" compounds, short enough for a table cell.
pub const ID_LEN_MAX: usize = 128;
/// Longest object key, in bytes: the limit of S3, which clients expect.
pub const OBJECT_KEY_LEN_MAX: usize = 1024;

/// Why a text is no identifier.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidId {
    /// Nothing was given.
    #[error("{what} is empty")]
    Empty {
        /// The kind of identifier, for the message.
        what: &'static str,
    },
    /// More bytes than the limit.
    #[error("{what} is longer than {max} bytes")]
    TooLong {
        /// The kind of identifier, for the message.
        what: &'static str,
        /// The limit.
        max: usize,
    },
    /// A character that is not allowed, and where.
    #[error("{what} contains {found:?} at byte {at}; {allowed}")]
    Character {
        /// The kind of identifier, for the message.
        what: &'static str,
        /// The offending character.
        found: char,
        /// Its byte offset.
        at: usize,
        /// What would have been allowed.
        allowed: &'static str,
    },
}

fn check(
    what: &'static str,
    text: &str,
    max: usize,
    allowed: &'static str,
    ok: impl Fn(usize, char) -> bool,
) -> Result<(), InvalidId> {
    if text.is_empty() {
        return Err(InvalidId::Empty { what });
    }
    if text.len() > max {
        return Err(InvalidId::TooLong { what, max });
    }
    match text.char_indices().find(|&(at, c)| !ok(at, c)) {
        Some((at, found)) => Err(InvalidId::Character { what, found, at, allowed }),
        None => Ok(()),
    }
}

macro_rules! text_id {
    ($(#[doc = $doc:literal])+ $name:ident, $what:literal, $max:expr, $allowed:literal, $ok:expr) => {
        $(#[doc = $doc])+
        #[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks the text and takes it over.
            pub fn parse(text: impl Into<String>) -> Result<Self, InvalidId> {
                let text = text.into();
                check($what, &text, $max, $allowed, $ok)?;
                Ok(Self(text))
            }

            /// The text.
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl std::str::FromStr for $name {
            type Err = InvalidId;

            fn from_str(text: &str) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = InvalidId;

            fn try_from(text: String) -> Result<Self, InvalidId> {
                Self::parse(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> String {
                id.0
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }
    };
}

fn id_character(at: usize, c: char) -> bool {
    c.is_ascii_alphanumeric() || (at > 0 && matches!(c, '-' | '_' | '.' | ':' | '@' | '+'))
}

text_id! {
    /// Identifies a resource within its tenant and kind. Clients may choose it where the kind allows;
    /// otherwise it is a random UUID.
    ResourceId, "id", ID_LEN_MAX,
    "ids are made of ASCII letters, digits and -_.:@+, beginning with a letter or digit",
    id_character
}

text_id! {
    /// Identifies a tenant.
    TenantId, "tenant id", 64,
    "tenant ids are made of ASCII letters, digits and -_.:@+, beginning with a letter or digit",
    id_character
}

text_id! {
    /// Identifies somebody or something that can authenticate, within a tenant.
    PrincipalId, "principal id", ID_LEN_MAX,
    "principal ids are made of ASCII letters, digits and -_.:@+, beginning with a letter or digit",
    id_character
}

text_id! {
    /// Identifies a node among the peers of a storage network: the text of its node id.
    PeerId, "peer id", ID_LEN_MAX,
    "peer ids are made of ASCII letters, digits and -_.:@+, beginning with a letter or digit",
    id_character
}

text_id! {
    /// Names a bucket. The rules are S3's for general-purpose buckets, less the reserved prefixes.
    BucketName, "bucket name", 63,
    "bucket names are made of lower-case ASCII letters, digits, - and ., beginning with a letter or digit",
    |at, c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || (at > 0 && matches!(c, '-' | '.'))
}

text_id! {
    /// Names an object within its bucket: any UTF-8 without control characters.
    ObjectKey, "object key", OBJECT_KEY_LEN_MAX,
    "object keys must not contain control characters",
    |_, c: char| !c.is_control()
}

text_id! {
    /// Names one request in logs, events and error answers.
    RequestId, "request id", 64,
    "request ids are made of ASCII letters, digits and -_.:@+, beginning with a letter or digit",
    id_character
}

impl ResourceId {
    /// A new random identifier (UUID version 4, as clients of the earlier implementation expect).
    pub fn random() -> Self {
        Self(uuid::Uuid::new_v4().to_string())
    }
}

impl RequestId {
    /// A new random identifier.
    pub fn random() -> Self {
        Self(uuid::Uuid::now_v7().to_string())
    }
}

impl TenantId {
    /// The tenant that exists from the first start.
    pub fn default_tenant() -> Self {
        Self("default".to_owned())
    }
}

impl PrincipalId {
    /// The administrator that exists from the first start.
    pub fn admin() -> Self {
        Self("admin".to_owned())
    }

    /// The node itself, as the author of what it does of its own accord.
    pub fn node() -> Self {
        Self("node".to_owned())
    }
}

impl From<PrincipalId> for ResourceId {
    /// A principal is a resource too, under the same text.
    fn from(id: PrincipalId) -> ResourceId {
        ResourceId(id.0)
    }
}

impl From<BucketName> for ResourceId {
    /// A bucket is a resource too, under the same text.
    fn from(name: BucketName) -> ResourceId {
        ResourceId(name.0)
    }
}

/// Names one resource within a tenant, as `kind/id` in its text form.
///
/// The identifier is free text here because an object's is `bucket/key`; everywhere else it is a
/// [`ResourceId`].
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ResourceRef {
    /// The kind.
    pub kind: ResourceKind,
    /// The identifier within the kind.
    pub id: String,
}

impl ResourceRef {
    /// Names a resource.
    pub fn new(kind: ResourceKind, id: impl Into<String>) -> Self {
        Self { kind, id: id.into() }
    }
}

impl std::fmt::Display for ResourceRef {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.kind, self.id)
    }
}

/// Why a text names no resource.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum InvalidResourceRef {
    /// There is no slash.
    #[error("`{0}` names no resource, expected KIND/ID")]
    Shape(String),
    /// The part before the slash is no kind.
    #[error(transparent)]
    Kind(#[from] crate::kind::UnknownKind),
}

impl std::str::FromStr for ResourceRef {
    type Err = InvalidResourceRef;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text.split_once('/') {
            Some((kind, id)) if !id.is_empty() => Ok(Self::new(kind.parse()?, id)),
            _ => Err(InvalidResourceRef::Shape(text.to_owned())),
        }
    }
}

/// Counts the versions of one record; 1 at creation, and one more with every change. It is the ETag.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Generation(pub u64);

impl Generation {
    /// The generation of a record that was just created.
    pub const FIRST: Generation = Generation(1);

    /// The generation after this one.
    pub fn next(self) -> Generation {
        Generation(self.0 + 1)
    }
}

impl std::fmt::Display for Generation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn identifiers_refuse_what_could_leave_their_place() {
        for bad in ["", "-a", "a/b", "a b", "ä", "a\n", "..", &"x".repeat(129)] {
            assert!(ResourceId::parse(bad).is_err(), "{bad:?} was accepted");
        }
        for good in ["a", "sp1", "0190-ab_c.d:e@f+g"] {
            assert_eq!(ResourceId::parse(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn a_resource_reference_reads_back_what_it_prints() {
        let reference: ResourceRef = "object/scans/a/b.bin".parse().unwrap();
        assert_eq!(reference, ResourceRef::new(ResourceKind::Object, "scans/a/b.bin"));
        assert_eq!(reference.to_string().parse::<ResourceRef>().unwrap(), reference);
        assert!("object".parse::<ResourceRef>().is_err());
        assert!("nothing/x".parse::<ResourceRef>().is_err());
    }
}
