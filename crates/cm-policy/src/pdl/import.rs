//! Policies of the earlier identity service, in this language.
//!
//! Such a policy is `{policy_id, description, effect: "permit" | "deny", events: […]}`. Each of its events says who, with
//! what, where, when and what for: `{event_id, subject, asset, space, time, action}`, each `{attribute, value}`. It becomes
//! one statement. There, an event that was like enough to the one that was asked about counted; here, one counts that is
//! so. What has no counterpart is refused by its name rather than left out.

use serde::Deserialize;

use super::syntax::{
    ActionWord, Attribute, AttributeOf, Comparison, Condition, Document, Effect, Operand, Position, Rule,
    Statement, Test, What, Who,
};
use super::time::{Window, Zone};
use super::{STATEMENTS_MAX, TEXT_MAX};

/// Why a policy was not taken over.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ImportError {
    /// It is no such policy.
    #[error("not a policy of the form {{policy_id, description, effect, events}}: {0}")]
    Form(String),
    /// Too many events, or texts that are too long.
    #[error(
        "a policy must not have more than {STATEMENTS_MAX} events, nor texts longer than {TEXT_MAX} bytes"
    )]
    TooLarge,
    /// An effect that there is not.
    #[error("policy `{policy}`: effect `{effect}` is neither `permit` nor `deny`")]
    Effect {
        /// The policy.
        policy: String,
        /// Its effect.
        effect: String,
    },
    /// Something that this language does not say.
    #[error("policy `{policy}`, event `{event}`: {part} `{attribute}` = `{value}` cannot be taken over")]
    Unknown {
        /// The policy.
        policy: String,
        /// The event.
        event: String,
        /// Which part of it.
        part: &'static str,
        /// Its attribute.
        attribute: String,
        /// Its value.
        value: String,
    },
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonPolicy {
    policy_id: String,
    #[serde(default)]
    description: String,
    effect: String,
    events: Vec<JsonEvent>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct JsonEvent {
    #[serde(default)]
    event_id: String,
    subject: Pair,
    asset: Pair,
    #[serde(default)]
    space: Option<Pair>,
    #[serde(default)]
    time: Option<Pair>,
    action: Pair,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Pair {
    attribute: String,
    value: String,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum OneOrMore {
    More(Vec<JsonPolicy>),
    One(JsonPolicy),
}

/// Reads one such policy, or a list of them.
///
/// # Errors
/// What it says that cannot be said here.
pub fn abac_json(text: &str) -> Result<Document, ImportError> {
    let policies = match serde_json::from_str(text).map_err(|error| ImportError::Form(error.to_string()))? {
        OneOrMore::More(policies) => policies,
        OneOrMore::One(policy) => vec![policy],
    };
    if policies.iter().map(|policy| policy.events.len()).sum::<usize>() > STATEMENTS_MAX {
        return Err(ImportError::TooLarge);
    }
    let mut document = Document::default();
    for policy in &policies {
        let effect = match policy.effect.to_ascii_lowercase().as_str() {
            "permit" | "allow" => Effect::Allow,
            "deny" => Effect::Deny,
            effect => {
                let (policy, effect) = (policy.policy_id.clone(), effect.to_owned());
                return Err(ImportError::Effect { policy, effect });
            }
        };
        for (place, event) in policy.events.iter().enumerate() {
            let above = if place == 0 { heading(policy) } else { Vec::new() };
            let rule = event.rule(policy, effect)?;
            let behind = Some(one_line(&event.event_id)).filter(|id| !id.is_empty());
            let at = Position::default();
            document.statements.push(Statement { at, above, behind, apart: place == 0, rule });
        }
    }
    // The lines of the statements are those of the text that is written.
    super::parse(&super::format(&document)).map_err(|error| ImportError::Form(error.to_string()))
}

fn heading(policy: &JsonPolicy) -> Vec<String> {
    let all = [policy.policy_id.as_str(), policy.description.as_str()];
    all.iter().map(|text| one_line(text)).filter(|text| !text.is_empty()).collect()
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

impl JsonEvent {
    fn rule(&self, policy: &JsonPolicy, effect: Effect) -> Result<Rule, ImportError> {
        let pairs = [Some(&self.subject), Some(&self.asset), self.space.as_ref(), self.time.as_ref()];
        let long = |pair: &&Pair| pair.attribute.len() > TEXT_MAX || pair.value.len() > TEXT_MAX;
        if pairs.into_iter().flatten().any(|pair| long(&pair)) {
            return Err(ImportError::TooLarge);
        }
        let unknown = |part: &'static str, pair: &Pair| ImportError::Unknown {
            policy: policy.policy_id.clone(),
            event: self.event_id.clone(),
            part,
            attribute: pair.attribute.clone(),
            value: pair.value.clone(),
        };
        let mut tests = Vec::new();
        let who = who(&self.subject, &mut tests).ok_or_else(|| unknown("subject", &self.subject))?;
        let what = what(&self.asset, &mut tests).ok_or_else(|| unknown("asset", &self.asset))?;
        if let Some(space) = self.space.as_ref().filter(|space| !is_any(&space.value)) {
            tests.push(place(space).ok_or_else(|| unknown("space", space))?);
        }
        if let Some(time) = self.time.as_ref().filter(|time| !is_any(&time.value)) {
            tests.push(moment(time).ok_or_else(|| unknown("time", time))?);
        }
        let action = action(&self.action.value).ok_or_else(|| unknown("action", &self.action))?;
        let mut parts: Vec<Condition> = tests.into_iter().map(Condition::Test).collect();
        let when = match parts.len() {
            0 | 1 => parts.pop(),
            _ => Some(Condition::All(parts)),
        };
        Ok(Rule { effect, who: vec![who], actions: vec![action], what: vec![what], when, unless: None })
    }
}

fn is_any(value: &str) -> bool {
    matches!(value.trim().to_ascii_lowercase().as_str(), "" | "*" | "any" | "all")
}

fn says(of: AttributeOf, pair: &Pair) -> Option<Test> {
    let name = pair.attribute.trim();
    let plain =
        !name.is_empty() && !pair.value.chars().any(char::is_control) && !name.chars().any(char::is_control);
    let attribute = Attribute { of, name: name.to_owned() };
    plain.then(|| Test::Compare(attribute, Comparison::Equal, Operand::Text(pair.value.clone())))
}

fn who(subject: &Pair, tests: &mut Vec<Test>) -> Option<Who> {
    let value = subject.value.clone();
    // Nobody is not everybody.
    if value.trim().is_empty() {
        return None;
    }
    if is_any(&value) {
        return Some(Who::Anyone);
    }
    Some(match subject.attribute.trim().to_ascii_lowercase().as_str() {
        "role" => Who::Role(value),
        "group" => Who::Group(value),
        "user" | "username" | "user_id" | "id" | "subject" | "name" => Who::User(value),
        "tenant" | "account" | "account_id" => Who::Tenant(value),
        _ => {
            tests.push(says(AttributeOf::Subject, subject)?);
            Who::Authenticated
        }
    })
}

fn what(asset: &Pair, tests: &mut Vec<Test>) -> Option<What> {
    let pattern = Some(asset.value.clone()).filter(|value| !is_any(value));
    let name = asset.attribute.trim().to_ascii_lowercase();
    if let Ok(kind) = name.parse() {
        return Some(What { kind: Some(kind), pattern });
    }
    if matches!(name.as_str(), "id" | "name" | "resource" | "asset" | "key" | "path") {
        return Some(What { kind: None, pattern });
    }
    if pattern.is_some() {
        tests.push(says(AttributeOf::Label, asset)?);
    }
    Some(What { kind: None, pattern: None })
}

fn place(space: &Pair) -> Option<Test> {
    match space.attribute.trim().to_ascii_lowercase().as_str() {
        "ip" | "address" | "network" | "cidr" => {
            let networks = space.value.split(',').map(|text| crate::network::Network::parse(text.trim()));
            Some(Test::Address(networks.collect::<Option<Vec<_>>>()?))
        }
        _ => says(AttributeOf::Request, space),
    }
}

/// `08:00-18:00`, with or without a zone behind it.
fn moment(time: &Pair) -> Option<Test> {
    let (window, zone) = match time.value.trim().split_once(' ') {
        Some((window, zone)) => (window, Zone::parse(zone.trim())?),
        None => (time.value.trim(), Zone::utc()),
    };
    let (from, until) = window.split_once("..").or_else(|| window.split_once('-'))?;
    Some(Test::Time(Window::parse(from.trim(), until.trim())?, zone))
}

fn action(value: &str) -> Option<ActionWord> {
    let value = value.trim().to_ascii_lowercase();
    if is_any(&value) {
        return Some(ActionWord::Anything);
    }
    Some(match value.as_str() {
        "write" => ActionWord::Write,
        "execute" | "run" => ActionWord::One(cm_types::Action::Invoke),
        "get" | "download" | "view" => ActionWord::One(cm_types::Action::Read),
        "put" | "upload" => ActionWord::Write,
        other => ActionWord::One(other.parse().ok()?),
    })
}
