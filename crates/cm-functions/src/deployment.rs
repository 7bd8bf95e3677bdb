//! How far the deployment of a function is.
//!
//! It speaks of the function and not of each of its instances: `deploying` while the first instance is being launched,
//! `completed` once one was ready, `failed` with the reason when a launch failed before any was. From then on a function
//! that is completed stays so; that a later instance of it does not come to run is told by that instance's states, for
//! what it lacks is its own, such as a place on the node or a file that only its user policy provides. A function that
//! failed is deploying again when its next instance is launched.

use serde_json::{Map, Value};

/// A step in the deployment of a function.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Deployment<'a> {
    /// An instance is being launched.
    Deploying,
    /// An instance was ready.
    Completed,
    /// An instance could not be launched.
    Failed {
        /// Why not.
        reason: &'a str,
    },
}

impl Deployment<'_> {
    /// Whether the step is one for a function whose deployment status is this.
    pub(crate) fn follows(&self, status: &str) -> bool {
        match self {
            Deployment::Deploying => status != "completed" && status != "deploying",
            Deployment::Completed | Deployment::Failed { .. } => status == "deploying",
        }
    }

    /// What the status says from then on.
    pub(crate) fn fields(&self) -> Map<String, Value> {
        let (status, reason) = match self {
            Deployment::Deploying => ("deploying", Value::Null),
            Deployment::Completed => ("completed", Value::Null),
            Deployment::Failed { reason } => ("failed", (*reason).into()),
        };
        let fields = [("deployment_status", status.into()), ("deployment_reason", reason)];
        fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_completed_function_stays_completed() {
        let failed = Deployment::Failed { reason: "no room" };
        for (from, [deploying, ended]) in [
            ("initiated", [true, false]),
            ("deploying", [false, true]),
            ("completed", [false, false]),
            ("failed", [true, false]),
        ] {
            assert_eq!(Deployment::Deploying.follows(from), deploying, "{from}");
            assert_eq!(Deployment::Completed.follows(from), ended, "{from}");
            assert_eq!(failed.follows(from), ended, "{from}");
        }
    }
}
