//! Policies of events: who, on what, where, when, doing what, each an attribute with a value.
//!
//! A policy permits or denies, and applies to a request that fits one of its events in every part. One policy that denies outweighs all
//! that permit, and what none permits is denied. (The service whose protocol this model is from took the first policy that fits, in the
//! order of their likeness, so that another policy could undo a denial.)

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::attributes::{Window, WindowMode};
use super::{Answer, DeclarationError, check_text};

/// Most events of one policy.
pub const EVENTS_MAX: usize = 256;
/// What fits everything.
const ANY: &str = "*";

/// What a policy does where it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Permits.
    #[serde(rename = "permit", alias = "PERMIT", alias = "allow", alias = "ALLOW")]
    Permit,
    /// Denies.
    #[serde(rename = "deny", alias = "DENY")]
    Deny,
}

impl Effect {
    /// The word for it.
    pub fn as_str(self) -> &'static str {
        match self {
            Effect::Permit => "permit",
            Effect::Deny => "deny",
        }
    }
}

/// An attribute with its value; letters count alike in either case.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Component {
    /// What it is called.
    pub attribute: String,
    /// Its value, or `*`; of a time in a policy also `HH:MM-HH:MM`.
    pub value: String,
}

/// What is asked, and what a policy applies to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Circumstances {
    /// Who.
    pub subject: Component,
    /// On what.
    pub asset: Component,
    /// Where.
    pub space: Component,
    /// When.
    pub time: Component,
    /// Doing what.
    pub action: Component,
}

/// An event that a policy applies to.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// Its id.
    pub event_id: String,
    /// What it is.
    #[serde(flatten)]
    pub circumstances: Circumstances,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Policy {
    /// What people say of it.
    pub description: String,
    /// What it does.
    pub effect: Effect,
    /// To what.
    pub events: Vec<Event>,
}

/// The policies of an application, by id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventPolicies {
    /// By id.
    pub policies: BTreeMap<String, Policy>,
}

impl EventPolicies {
    /// Adds a policy.
    ///
    /// # Errors
    /// One that is there; texts that are none.
    pub fn create(&mut self, id: &str, policy: Policy) -> Result<(), DeclarationError> {
        check_text("policy_id", id)?;
        policy.check()?;
        match self.policies.insert(id.to_owned(), policy) {
            None => Ok(()),
            Some(_) => Err(DeclarationError::Exists { what: "policy", id: id.to_owned() }),
        }
    }

    /// Puts a policy in the place of the one of this id.
    ///
    /// # Errors
    /// An unknown policy; texts that are none.
    pub fn replace(&mut self, id: &str, policy: Policy) -> Result<(), DeclarationError> {
        self.get(id)?;
        policy.check()?;
        self.policies.insert(id.to_owned(), policy);
        Ok(())
    }

    /// The policy of an id.
    ///
    /// # Errors
    /// [`DeclarationError::NotFound`].
    pub fn get(&self, id: &str) -> Result<&Policy, DeclarationError> {
        self.policies.get(id).ok_or_else(|| DeclarationError::NotFound { what: "policy", id: id.to_owned() })
    }

    /// Removes a policy.
    ///
    /// # Errors
    /// An unknown policy.
    pub fn remove(&mut self, id: &str) -> Result<(), DeclarationError> {
        self.get(id)?;
        self.policies.remove(id);
        Ok(())
    }

    /// Whether the request is permitted.
    pub fn check(&self, request: &Circumstances) -> Answer {
        let applies = |effect: Effect| {
            let policies = self.policies.iter().filter(move |(_, policy)| policy.effect == effect);
            // A time that is none cannot keep a denial from applying.
            let unknown = effect == Effect::Deny;
            let mut found = policies.filter_map(|(id, policy)| {
                let event = policy.events.iter().find(|event| event.circumstances.fits(request, unknown))?;
                Some((id.clone(), event.event_id.clone()))
            });
            found.next()
        };
        let answer = |allowed, (id, part): (String, String)| {
            let verb = if allowed { "permits" } else { "denies" };
            Answer { allowed, reason: format!("policy `{id}` {verb} it"), by: Some(id), part: Some(part) }
        };
        match (applies(Effect::Deny), applies(Effect::Permit)) {
            (Some(found), _) => answer(false, found),
            (None, Some(found)) => answer(true, found),
            (None, None) => Answer::no("no policy permits it"),
        }
    }
}

impl Policy {
    fn check(&self) -> Result<(), DeclarationError> {
        if !self.description.is_empty() {
            check_text("description", &self.description)?;
        }
        if self.events.is_empty() || self.events.len() > EVENTS_MAX {
            return Err(DeclarationError::Invalid { field: "events", rule: "expected 1 to 256 events" });
        }
        for event in &self.events {
            check_text("event_id", &event.event_id)?;
            event.circumstances.check()?;
        }
        Ok(())
    }
}

impl Circumstances {
    fn check(&self) -> Result<(), DeclarationError> {
        let Self { subject, asset, space, time, action } = self;
        let parts =
            [("subject", subject), ("asset", asset), ("space", space), ("time", time), ("action", action)];
        for (name, part) in parts {
            check_text(name, &part.attribute)?;
            check_text(name, &part.value)?;
        }
        match window(&time.value) {
            // A window that never holds would be a denial that never applies.
            Some(window) => window.check(),
            None => Ok(()),
        }
    }

    /// `unknown` is the answer for a time that is none, where the rule says a part of the day.
    fn fits(&self, request: &Circumstances, unknown: bool) -> bool {
        let parts = [
            (&self.subject, &request.subject),
            (&self.asset, &request.asset),
            (&self.space, &request.space),
            (&self.action, &request.action),
        ];
        parts.into_iter().all(|(rule, asked)| rule.names(asked) && rule.is_worth(asked))
            && self.time.names(&request.time)
            && match window(&self.time.value) {
                Some(window) => window.holds_at(request.time.value.trim()).unwrap_or(unknown),
                None => self.time.is_worth(&request.time),
            }
    }
}

impl Component {
    fn names(&self, asked: &Component) -> bool {
        same(&self.attribute, &asked.attribute)
    }

    fn is_worth(&self, asked: &Component) -> bool {
        self.value.trim() == ANY || same(&self.value, &asked.value)
    }
}

fn same(one: &str, other: &str) -> bool {
    one.trim().to_lowercase() == other.trim().to_lowercase()
}

/// The part of every day that a value with a dash is.
fn window(value: &str) -> Option<Window> {
    let (start, end) = value.split_once('-')?;
    let end_of = |text: &str| Some(text.trim().to_owned());
    Some(Window { mode: WindowMode::TimeOfDay, start: end_of(start), end: end_of(end) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn part(attribute: &str, value: &str) -> Component {
        Component { attribute: attribute.to_owned(), value: value.to_owned() }
    }

    fn of(role: &str, time: &str) -> Circumstances {
        Circumstances {
            subject: part("role", role),
            asset: part("resource", "Chart"),
            space: part("location", "*"),
            time: part("time", time),
            action: part("action", "read"),
        }
    }

    fn policy(effect: Effect, circumstances: Circumstances) -> Policy {
        let events = vec![Event { event_id: "e".to_owned(), circumstances }];
        Policy { description: String::new(), effect, events }
    }

    #[test]
    fn a_denial_outweighs_what_permits_and_nothing_is_permitted_by_itself() {
        let mut policies = EventPolicies::default();
        let check =
            |policies: &EventPolicies, role: &str, time: &str| policies.check(&of(role, time)).allowed;
        assert!(!check(&policies, "Doctor", "10:00"));
        policies.create("day", policy(Effect::Permit, of("*", "08:00-20:00"))).unwrap();
        assert!(check(&policies, "doctor", "10:00") && check(&policies, "x", "20:00"));
        assert!(!check(&policies, "doctor", "21:00") && !check(&policies, "doctor", "noon"));
        policies.create("zz", policy(Effect::Deny, of("mallory", "*"))).unwrap();
        assert!(!check(&policies, "Mallory", "10:00") && check(&policies, "doctor", "10:00"));
        let mut elsewhere = of("doctor", "10:00");
        elsewhere.subject.attribute = "user".to_owned();
        assert!(!policies.check(&elsewhere).allowed, "another attribute");
        policies.replace("zz", policy(Effect::Deny, of("*", "22:00-06:00"))).unwrap();
        policies.replace("day", policy(Effect::Permit, of("*", "*"))).unwrap();
        assert!(!check(&policies, "doctor", "23:00") && check(&policies, "doctor", "10:00"));
        assert!(!check(&policies, "doctor", "noon"), "who tells no time gains nothing");
    }

    #[test]
    fn what_makes_no_sense_is_refused() {
        let mut policies = EventPolicies::default();
        for wrong in [of("", "*"), of("x", "8-20"), of("x", "08:00-")] {
            policies.create("p", policy(Effect::Deny, wrong)).unwrap_err();
        }
        let none = Policy { description: String::new(), effect: Effect::Permit, events: Vec::new() };
        policies.create("p", none).unwrap_err();
        policies.create("p", policy(Effect::Deny, of("x", "*"))).unwrap();
        policies.create("p", policy(Effect::Deny, of("x", "*"))).unwrap_err();
        policies.replace("q", policy(Effect::Deny, of("x", "*"))).unwrap_err();
        policies.remove("p").unwrap();
        policies.remove("p").unwrap_err();
    }
}
