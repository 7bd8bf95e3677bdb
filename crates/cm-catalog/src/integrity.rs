//! How strictly records are held together.

/// Whether what records say of each other has to be true.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Integrity {
    /// References lead somewhere, names that identify are unique, history is never changed, and what others depend on
    /// stays unless the caller says what shall become of them.
    #[default]
    Enforced,
    /// A reference may lead nowhere, two roles may share a name, history can be corrected, and a deletion leaves behind
    /// what referred to the deleted: what clients of the earlier implementation expect. Only for a node in open mode.
    Open,
}

/// What becomes of the records that depend on one that is deleted.
///
/// A state or result always goes along with what it is a state or result of. This is about everything else.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Dependents {
    /// Nothing is deleted as long as something refers to it.
    #[default]
    Refuse,
    /// What belongs to it goes along, as microservices belong to a service. What merely uses it, as an endpoint uses a
    /// security policy, still stands against the deletion.
    Cascade,
    /// What refers to it stays, with a reference that leads nowhere. A resource whose security policy is gone is closed
    /// to everybody but its owner and administrators.
    Orphan,
}
