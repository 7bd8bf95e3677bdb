//! What applications declare about resources of their own, and ask about afterwards.
//!
//! The resources are theirs: texts that mean something to an application and nothing to us. Five models are known, each of
//! which decides by itself, denies by default and says why:
//!
//! | model | who may | module |
//! | --- | --- | --- |
//! | roles (RBAC) | whoever holds a role that, or a parent of which, permits `type:action` | [`roles`] |
//! | grants (ACL) | who owns the resource, and whom an owner granted something, alone or as a group | [`grants`] |
//! | attributes (ABAC) | whom a rule about subject, resource, place, time and action allows and none denies | [`attributes`] |
//! | events | whom a policy of such events permits and none denies | [`events`] |
//! | a graph (NGAC) | who is connected with the resource in every policy class that governs it | [`graph`] |
//!
//! They say nothing about the resources of the product: those are decided about by [`crate::decide`] alone. Whoever may
//! change what is declared is a decision of that kind, too.

pub mod attributes;
pub mod events;
pub mod grants;
pub mod graph;
pub mod roles;

/// Why a declaration was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DeclarationError {
    /// There is no such thing.
    #[error("{what} `{id}` does not exist")]
    NotFound {
        /// What was looked for.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// It exists already.
    #[error("{what} `{id}` exists already")]
    Exists {
        /// What.
        what: &'static str,
        /// Its id.
        id: String,
    },
    /// A role or a node would become its own parent.
    #[error("`{child}` cannot be below `{parent}`, which is below `{child}` itself")]
    Cycle {
        /// Who was to get a parent.
        child: String,
        /// Which parent.
        parent: String,
    },
    /// The caller may not change this.
    #[error("{0}")]
    Denied(&'static str),
    /// A field breaks a rule.
    #[error("{field}: {rule}")]
    Invalid {
        /// The field.
        field: &'static str,
        /// What it must be.
        rule: &'static str,
    },
    /// A declaration would become too long.
    #[error("{what} `{id}` would take more than {max} bytes: divide it")]
    TooLong {
        /// What.
        what: &'static str,
        /// Its id, or how it begins.
        id: String,
        /// The most that one may take, in bytes.
        max: usize,
    },
    /// All declarations together would become too long.
    #[error("all declarations of this kind together would take more than {max} bytes: remove some first")]
    NoRoom {
        /// The most that they may take, in bytes.
        max: usize,
    },
    /// A resource would be left without an owner.
    #[error("the last owner of `{0}` cannot lose it")]
    LastOwner(String),
}

/// Longest text of a declaration, in bytes.
pub const TEXT_LEN_MAX: usize = 512;

pub(crate) fn check_text(field: &'static str, text: &str) -> Result<(), DeclarationError> {
    match !text.trim().is_empty() && text.len() <= TEXT_LEN_MAX && !text.chars().any(char::is_control) {
        true => Ok(()),
        false => Err(DeclarationError::Invalid {
            field,
            rule: "expected 1 to 512 bytes of text without control characters",
        }),
    }
}

/// The answer to a question, and why.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// Whether it is allowed.
    pub allowed: bool,
    /// Which declaration says so: a role, a policy, a policy class.
    pub by: Option<String>,
    /// Its part that does: an event, a permission.
    pub part: Option<String>,
    /// A sentence for people.
    pub reason: String,
}

impl Answer {
    pub(crate) fn no(reason: impl Into<String>) -> Self {
        Self { allowed: false, by: None, part: None, reason: reason.into() }
    }
}
