//! One thing that happened.

use cm_types::{PrincipalId, RequestId, ResourceRef, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{EventError, EventVerb, Finding, What};

/// Longest stored form of an event, in bytes.
pub const BODY_LEN_MAX: usize = 16 * 1024;
/// The version of the stored form that is written.
const VERSION: u8 = 1;

/// An event that is about to be appended.
#[derive(Clone, Debug, PartialEq)]
pub struct NewEvent {
    /// To whom it happened.
    pub tenant: TenantId,
    /// Who did it; `None` for somebody unknown.
    pub actor: Option<PrincipalId>,
    /// What happened.
    pub verb: EventVerb,
    /// To what it happened.
    pub resource: Option<ResourceRef>,
    /// The request that led to it.
    pub request: Option<RequestId>,
    /// How it ended.
    pub outcome: Outcome,
    /// Details: small, and never a secret, for everybody who may read the log reads them.
    pub facts: serde_json::Map<String, serde_json::Value>,
}

impl NewEvent {
    /// An allowed event without anything optional.
    pub fn new(tenant: TenantId, verb: EventVerb) -> Self {
        Self {
            tenant,
            actor: None,
            verb,
            resource: None,
            request: None,
            outcome: Outcome::Allowed,
            facts: serde_json::Map::new(),
        }
    }
}

/// How something ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Outcome {
    /// It was permitted and done.
    Allowed,
    /// It was refused.
    Denied,
    /// It was permitted and did not succeed.
    Failed,
}

impl Outcome {
    /// The word.
    pub fn as_str(self) -> &'static str {
        match self {
            Outcome::Allowed => "allowed",
            Outcome::Denied => "denied",
            Outcome::Failed => "failed",
        }
    }
}

/// An event of the log.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// Its number, from 1 without gaps. It serves as a cursor.
    pub seq: u64,
    /// When it was appended. Not in order if the clock was set back.
    pub at: Timestamp,
    /// To whom it happened.
    pub tenant: TenantId,
    /// Who did it; `None` for somebody unknown.
    pub actor: Option<PrincipalId>,
    /// What happened.
    pub verb: EventVerb,
    /// To what it happened.
    pub resource: Option<ResourceRef>,
    /// The request that led to it.
    pub request: Option<RequestId>,
    /// How it ended.
    pub outcome: Outcome,
    /// Details.
    pub facts: serde_json::Map<String, serde_json::Value>,
}

/// Which events to read; a field that is `None` lets everything through.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Only this tenant's.
    pub tenant: Option<TenantId>,
    /// Only those done by this principal.
    pub actor: Option<PrincipalId>,
    /// Only verbs that begin so: `function.`, or a whole verb.
    pub verb_prefix: Option<String>,
    /// Only what happened to this resource.
    pub resource: Option<ResourceRef>,
    /// Only those that ended so.
    pub outcome: Option<Outcome>,
    /// Only those that happened from then on.
    pub since: Option<Timestamp>,
}

impl EventFilter {
    /// Whether the event passes.
    pub fn matches(&self, event: &Event) -> bool {
        self.tenant.as_ref().is_none_or(|tenant| *tenant == event.tenant)
            && self.actor.as_ref().is_none_or(|actor| event.actor.as_ref() == Some(actor))
            && self.verb_prefix.as_ref().is_none_or(|prefix| event.verb.as_str().starts_with(prefix))
            && self.resource.as_ref().is_none_or(|resource| event.resource.as_ref() == Some(resource))
            && self.outcome.is_none_or(|outcome| outcome == event.outcome)
            && self.since.is_none_or(|since| since <= event.at)
    }
}

/// The stored JSON of version 1. The number is a part of it so that a record in a wrong place can be
/// told from an altered one.
#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct Body {
    seq: u64,
    at: Timestamp,
    tenant: TenantId,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    actor: Option<PrincipalId>,
    verb: EventVerb,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    resource: Option<ResourceRef>,
    #[serde(skip_serializing_if = "Option::is_none", default)]
    request: Option<RequestId>,
    outcome: Outcome,
    #[serde(skip_serializing_if = "serde_json::Map::is_empty", default)]
    facts: serde_json::Map<String, serde_json::Value>,
}

/// Version byte and JSON.
pub(crate) fn encode(seq: u64, at: Timestamp, event: NewEvent) -> Result<Vec<u8>, EventError> {
    let NewEvent { tenant, actor, verb, resource, request, outcome, facts } = event;
    let body = Body { seq, at, tenant, actor, verb, resource, request, outcome, facts };
    let mut bytes = vec![VERSION];
    serde_json::to_writer(&mut bytes, &body).expect("every key is text and writing to memory succeeds");
    match bytes.len() {
        len if len > BODY_LEN_MAX => Err(EventError::TooLarge { bytes: len, max: BODY_LEN_MAX }),
        _ => Ok(bytes),
    }
}

/// Reads version byte and JSON of the record with this number.
pub(crate) fn decode(seq: u64, bytes: &[u8]) -> Result<Event, EventError> {
    let altered = |detail: String| Finding { seq, what: What::Altered, detail };
    let (&version, json) = bytes.split_first().ok_or_else(|| altered("it is empty".into()))?;
    if version != VERSION {
        return Err(EventError::Version { seq, version });
    }
    let body: Body = serde_json::from_slice(json).map_err(|error| altered(error.to_string()))?;
    let Body { seq: own, at, tenant, actor, verb, resource, request, outcome, facts } = body;
    if own != seq {
        let detail = format!("the record with number {own} stands in its place");
        return Err(Finding { seq, what: What::Reordered, detail }.into());
    }
    Ok(Event { seq, at, tenant, actor, verb, resource, request, outcome, facts })
}

#[cfg(test)]
mod tests {
    use cm_types::ResourceKind;

    use super::*;

    fn event() -> NewEvent {
        NewEvent {
            actor: Some(PrincipalId::parse("ada").unwrap()),
            resource: Some(ResourceRef::new(ResourceKind::Function, "fn1")),
            facts: serde_json::Map::from_iter([("bytes".to_owned(), 3.into())]),
            ..NewEvent::new(TenantId::default_tenant(), EventVerb::fixed("function.created"))
        }
    }

    /// What version 1 looks like on disk, for ever.
    const STORED: &[u8] = b"\x01{\"seq\":7,\"at\":\"1970-01-01T00:00:00Z\",\"tenant\":\"default\",\"actor\":\"ada\",\
        \"verb\":\"function.created\",\"resource\":{\"kind\":\"function\",\"id\":\"fn1\"},\"outcome\":\"allowed\",\
        \"facts\":{\"bytes\":3}}";

    #[test]
    fn the_stored_form_is_fixed_and_reads_back() {
        let bytes = encode(7, Timestamp::from_micros(0), event()).unwrap();
        assert_eq!(String::from_utf8_lossy(&bytes), String::from_utf8_lossy(STORED));
        let read = decode(7, STORED).unwrap();
        assert_eq!((read.seq, read.verb.as_str(), read.facts), (7, "function.created", event().facts));
        assert!(matches!(decode(8, STORED), Err(EventError::Broken(Finding { what: What::Reordered, .. }))));
        assert!(matches!(decode(7, b"\x02{}"), Err(EventError::Version { seq: 7, version: 2 })));
        assert!(matches!(decode(7, b"\x01{}"), Err(EventError::Broken(Finding { what: What::Altered, .. }))));
    }

    #[test]
    fn an_event_has_a_limit() {
        let mut event = event();
        event.facts.insert("long".into(), "x".repeat(BODY_LEN_MAX).into());
        assert!(matches!(encode(1, Timestamp::from_micros(0), event), Err(EventError::TooLarge { .. })));
    }

    #[test]
    fn a_filter_passes_what_fits_every_field() {
        let event = decode(7, STORED).unwrap();
        let check =
            |filter: EventFilter, expected| assert_eq!(filter.matches(&event), expected, "{filter:?}");
        check(EventFilter::default(), true);
        check(EventFilter { verb_prefix: Some("function.".into()), ..Default::default() }, true);
        check(EventFilter { verb_prefix: Some("bucket.".into()), ..Default::default() }, false);
        check(EventFilter { actor: Some(PrincipalId::parse("bob").unwrap()), ..Default::default() }, false);
        check(EventFilter { tenant: Some(TenantId::parse("other").unwrap()), ..Default::default() }, false);
        check(EventFilter { resource: event.resource.clone(), ..Default::default() }, true);
        check(EventFilter { since: Some(event.at), ..Default::default() }, true);
        let later = Timestamp::from_micros(event.at.as_micros() + 1);
        check(EventFilter { since: Some(later), ..Default::default() }, false);
        check(EventFilter { outcome: Some(Outcome::Denied), ..Default::default() }, false);
    }
}
