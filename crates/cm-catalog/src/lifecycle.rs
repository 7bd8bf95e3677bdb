//! The lives of functions and endpoints: which state may follow which.
//!
//! A function is deployed (`initiated → deploying → completed | failed`, and from either end anew), an endpoint is warmed
//! and cooled (`cold → warming → warm → draining → cold`; what dies while it is warm or warming is cold at once). States
//! by other names take no part: clients of the earlier implementation use whatever words they like.

use cm_types::ResourceKind;

/// The deployment status of a function.
pub const DEPLOYMENT_STATUSES: [&str; 4] = ["initiated", "deploying", "completed", "failed"];
/// The state of an endpoint.
pub const ENDPOINT_STATES: [&str; 4] = ["cold", "warming", "warm", "draining"];
/// The deployment status of a function that was never deployed.
pub const DEPLOYMENT_INITIATED: &str = DEPLOYMENT_STATUSES[0];
/// The state of an endpoint that was never deployed.
pub const ENDPOINT_COLD: &str = ENDPOINT_STATES[0];

/// The states that may follow `from` in the life of something of this kind; `None` if the kind has no life, or `from` is
/// no state of it.
pub fn following(kind: ResourceKind, from: &str) -> Option<&'static [&'static str]> {
    Some(match (kind, from) {
        (ResourceKind::Function, "initiated") => &["deploying"],
        (ResourceKind::Function, "deploying") => &["completed", "failed"],
        (ResourceKind::Function, "completed" | "failed") => &["initiated", "deploying"],
        (ResourceKind::Endpoint, "cold") => &["warming"],
        (ResourceKind::Endpoint, "warming") => &["warm", "cold"],
        (ResourceKind::Endpoint, "warm") => &["draining", "cold"],
        (ResourceKind::Endpoint, "draining") => &["cold"],
        _ => return None,
    })
}

/// Whether the word is a state in the life of something of this kind.
pub fn is_state(kind: ResourceKind, word: &str) -> bool {
    following(kind, word).is_some()
}

/// Which states may follow `from`, if `to` is a state too and not one of them. Staying where one is is no step.
pub fn refusal(kind: ResourceKind, from: &str, to: &str) -> Option<&'static [&'static str]> {
    let permitted = following(kind, from)?;
    (is_state(kind, to) && from != to && !permitted.contains(&to)).then_some(permitted)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(kind: ResourceKind, steps: &str, expected: bool) {
        let words: Vec<&str> = steps.split(' ').collect();
        let refused = words.windows(2).any(|pair| refusal(kind, pair[0], pair[1]).is_some());
        assert_eq!(!refused, expected, "{steps}");
    }

    #[test]
    fn lives_lead_where_they_lead() {
        check(ResourceKind::Function, "initiated deploying completed deploying failed initiated", true);
        check(ResourceKind::Function, "initiated completed", false);
        check(ResourceKind::Function, "completed failed", false);
        check(ResourceKind::Function, "deploying initiated", false);
        check(ResourceKind::Endpoint, "cold warming warm draining cold", true);
        check(ResourceKind::Endpoint, "cold warming cold warming warm cold", true);
        check(ResourceKind::Endpoint, "cold warm", false);
        check(ResourceKind::Endpoint, "draining warm", false);
        check(ResourceKind::Endpoint, "warm warm", true);
    }

    #[test]
    fn words_that_are_no_states_take_no_part() {
        check(ResourceKind::Endpoint, "banana warm", true);
        check(ResourceKind::Function, "initiated deployed completed", true);
        check(ResourceKind::Service, "cold warm", true);
    }

    #[test]
    fn every_state_has_a_way_on() {
        for (kind, states) in
            [(ResourceKind::Function, DEPLOYMENT_STATUSES), (ResourceKind::Endpoint, ENDPOINT_STATES)]
        {
            for state in states {
                let next = following(kind, state).unwrap();
                assert!(!next.is_empty() && next.iter().all(|next| is_state(kind, next)), "{state}");
            }
        }
    }
}
