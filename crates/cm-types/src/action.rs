//! What can be done to a resource.

use serde::{Deserialize, Serialize};

/// One verb of the policy language. A permission names a kind and an action, `function:invoke`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Action {
    /// Bring a new resource into being.
    Create,
    /// Read one resource, its state included.
    Read,
    /// Enumerate resources of a kind; only readable ones are shown.
    List,
    /// Change a resource.
    Update,
    /// Remove a resource.
    Delete,
    /// Run a function, use an instance, log in at an endpoint.
    Invoke,
    /// Give somebody rights: assign roles, issue credentials for others.
    Grant,
}

impl Action {
    /// All actions, in the order in which help texts list them.
    pub const ALL: [Action; 7] = [
        Action::Create,
        Action::Read,
        Action::List,
        Action::Update,
        Action::Delete,
        Action::Invoke,
        Action::Grant,
    ];

    /// The name used in permissions.
    pub fn as_str(self) -> &'static str {
        match self {
            Action::Create => "create",
            Action::Read => "read",
            Action::List => "list",
            Action::Update => "update",
            Action::Delete => "delete",
            Action::Invoke => "invoke",
            Action::Grant => "grant",
        }
    }
}

impl std::fmt::Display for Action {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text names no action.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("unknown action `{0}`, expected one of create, read, list, update, delete, invoke, grant")]
pub struct UnknownAction(pub String);

impl std::str::FromStr for Action {
    type Err = UnknownAction;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Action::ALL
            .into_iter()
            .find(|action| action.as_str() == text)
            .ok_or_else(|| UnknownAction(text.to_owned()))
    }
}
