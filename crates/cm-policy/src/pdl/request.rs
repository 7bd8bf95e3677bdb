//! What is asked of a policy, and what is known about it.

use std::collections::BTreeMap;
use std::net::IpAddr;

use cm_types::{Action, Labels, ResourceKind, Timestamp};

use super::syntax::{Attribute, AttributeOf, Comparison, Operand, Test, Who};
use crate::RoleFacts;
use crate::sharing::pattern::fits;

/// A question: may this one do that with those, here and now?
#[derive(Clone, Copy, Debug)]
pub struct Request<'a> {
    /// Who asks.
    pub who: Requester<'a>,
    /// What they want to do.
    pub action: Action,
    /// With a resource of which kind.
    pub kind: ResourceKind,
    /// With which; `None` is the collection of the kind.
    pub id: Option<&'a str>,
    /// Its labels.
    pub labels: &'a Labels,
    /// Whether who asks owns it.
    pub is_owner: bool,
    /// How it is asked.
    pub circumstances: &'a Circumstances,
}

/// Who asks.
#[derive(Clone, Copy, Debug, Default)]
pub struct Requester<'a> {
    /// The principal; `None` is somebody who did not say who they are.
    pub principal: Option<&'a str>,
    /// Its tenant.
    pub tenant: Option<&'a str>,
    /// Its roles, which count by their ids.
    pub roles: &'a [RoleFacts],
    /// Its groups.
    pub groups: &'a [String],
    /// What else is said about it; `None` where nobody knows what is.
    pub attributes: Option<&'a BTreeMap<String, String>>,
}

/// How something is asked. What is `None` is not known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    /// When.
    pub now: Option<Timestamp>,
    /// From where.
    pub address: Option<IpAddr>,
    /// Whether over an encrypted connection.
    pub tls: Option<bool>,
    /// Whether a second factor was used to sign in.
    pub mfa: Option<bool>,
    /// What else the request says about itself.
    pub attributes: BTreeMap<String, String>,
}

/// Circumstances of which nothing is known.
static NOTHING: Circumstances =
    Circumstances { now: None, address: None, tls: None, mfa: None, attributes: BTreeMap::new() };

impl Circumstances {
    /// Circumstances of which nothing is known.
    pub fn unknown() -> &'static Self {
        &NOTHING
    }
}

impl<'a> Request<'a> {
    /// Whether who asks is meant.
    pub(super) fn is_by(&self, who: &Who) -> bool {
        let signed_in = self.who.principal.is_some();
        match who {
            Who::Anyone => true,
            Who::Authenticated => signed_in,
            Who::User(id) => self.who.principal == Some(id),
            Who::Tenant(id) => signed_in && self.who.tenant == Some(id),
            Who::Role(id) => signed_in && self.who.roles.iter().any(|role| role.id.as_str() == id),
            Who::Group(name) => signed_in && self.who.groups.contains(name),
        }
    }

    /// Whether it is for a list that shows no more than what may be read. Whoever may list a part may then ask for it. The lists
    /// of the other kinds show all that there is, or are asked about for more than a list.
    pub(super) fn lists_what_is_readable(&self) -> bool {
        use ResourceKind as Kind;
        let filtered = match self.kind {
            Kind::PermissionPolicy
            | Kind::Service
            | Kind::Microservice
            | Kind::Function
            | Kind::Endpoint
            | Kind::Storage
            | Kind::ActiveObject
            | Kind::EndpointState
            | Kind::FunctionState
            | Kind::FunctionResult
            | Kind::Bucket
            | Kind::Measure
            | Kind::ThreatCollection => true,
            Kind::Tenant
            | Kind::Principal
            | Kind::Role
            | Kind::SecurityPolicy
            | Kind::Instance
            | Kind::Computation
            | Kind::Object
            | Kind::Event
            | Kind::ThreatEvent
            | Kind::IntelPeer => false,
        };
        filtered && self.action == Action::List
    }

    /// The value of an attribute: `None` if nobody knows, `Some(None)` if there is none.
    fn attribute(&self, attribute: &Attribute) -> Option<Option<&'a str>> {
        let name = attribute.name.as_str();
        match attribute.of {
            AttributeOf::Label => Some(self.labels.get(name)),
            AttributeOf::Subject => match name {
                "id" => Some(self.who.principal),
                "tenant" => Some(self.who.tenant),
                _ if self.who.principal.is_none() => Some(None),
                _ => self.who.attributes.map(|known| known.get(name).map(String::as_str)),
            },
            // What a request does not say about itself it may still be: some faces tell more than others.
            AttributeOf::Request => match name {
                "action" => Some(Some(self.action.as_str())),
                "kind" => Some(Some(self.kind.as_str())),
                "id" => Some(self.id),
                _ => self.circumstances.attributes.get(name).map(|value| Some(value.as_str())),
            },
        }
    }

    /// The answer to a question; `None` if nobody knows.
    pub(super) fn answer(&self, test: &Test) -> Option<bool> {
        let said = self.circumstances;
        match test {
            Test::Mfa => said.mfa,
            Test::Tls => said.tls,
            Test::Owner => Some(self.is_owner),
            Test::Who(who) => Some(self.is_by(who)),
            Test::Time(window, zone) => said.now.map(|now| window.contains(zone.clock(now).0)),
            Test::Day(days, zone) => said.now.map(|now| days.contains(zone.clock(now).1)),
            Test::Before(moment) => said.now.map(|now| now < *moment),
            Test::After(moment) => said.now.map(|now| now >= *moment),
            Test::Address(networks) => {
                said.address.map(|address| networks.iter().any(|network| network.contains(address)))
            }
            Test::Has(attribute) => self.attribute(attribute).map(|value| value.is_some()),
            Test::OneOf(attribute, values) => {
                let found = self.attribute(attribute)?;
                Some(found.is_some_and(|found| values.iter().any(|value| value == found)))
            }
            Test::Compare(attribute, comparison, operand) => {
                let found = self.attribute(attribute)?;
                let other = match operand {
                    Operand::Text(text) => Some(text.as_str()),
                    Operand::Number(number) => {
                        return Some(
                            found
                                .is_some_and(|found| numbers(found.parse().ok(), *comparison, Some(*number))),
                        );
                    }
                    Operand::Attribute(other) => self.attribute(other)?,
                };
                Some(compare(found, *comparison, other))
            }
        }
    }
}

/// What is not there is like nothing, and unlike nothing too: no comparison with it holds.
fn compare(found: Option<&str>, comparison: Comparison, other: Option<&str>) -> bool {
    let (Some(found), Some(other)) = (found, other) else { return false };
    match comparison {
        Comparison::Equal => found == other,
        Comparison::NotEqual => found != other,
        Comparison::Like => fits(other, found),
        _ => numbers(found.parse().ok(), comparison, other.parse().ok()),
    }
}

fn numbers(found: Option<i64>, comparison: Comparison, other: Option<i64>) -> bool {
    let (Some(found), Some(other)) = (found, other) else { return false };
    match comparison {
        Comparison::Equal => found == other,
        Comparison::NotEqual => found != other,
        Comparison::Less => found < other,
        Comparison::LessOrEqual => found <= other,
        Comparison::Greater => found > other,
        Comparison::GreaterOrEqual => found >= other,
        Comparison::Like => false,
    }
}
