//! What a decision about an object was made on, besides the object's name.

use std::collections::BTreeMap;
use std::sync::Arc;

use cm_types::PrincipalId;

use crate::sharing::Acl;

/// What decisions about one version of an object rest on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ObjectFacts {
    /// Who wrote it, and owns it where lists of grants count; `None` is the owner of the bucket.
    pub owner: Option<PrincipalId>,
    /// Its grants; `None` is private.
    pub acl: Option<Acl>,
    /// Its tags.
    pub tags: BTreeMap<String, String>,
}

/// What was found when a permit for an object was decided on. Objects are replaced at any time; one that was given to others
/// than the one that was judged is not what the permit is for.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Basis {
    /// No such object.
    Absent,
    /// One of which this is known.
    Facts(Arc<ObjectFacts>),
}
