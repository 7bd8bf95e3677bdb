//! Rules about attributes: who, on what, where, when, doing what.
//!
//! A policy allows or denies, and consists of events; it applies to a request that fits one of them. One policy that denies
//! outweighs all that allow, and what none allows is denied.
//!
//! A request need not say where it comes from. What is not said cannot make an allowance apply that asks for it, and cannot
//! keep a denial from applying: who withholds a fact gains nothing. (The service whose protocol this model
//! is from let such requests pass.) When it happens is now, unless the request says otherwise.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Answer, DeclarationError, check_text};

/// The widest zone, in kilometres.
pub const RADIUS_KM_MAX: f64 = 5.0;
/// Most events of one policy.
pub const EVENTS_MAX: usize = 256;
/// What fits everything.
const ANY: &str = "*";
/// The mean radius of the Earth in kilometres (IUGG).
const EARTH_RADIUS_KM: f64 = 6371.0088;

/// What a policy does where it applies.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Effect {
    /// Allows.
    #[serde(rename = "ALLOW", alias = "allow", alias = "permit", alias = "PERMIT")]
    Allow,
    /// Denies.
    #[serde(rename = "DENY", alias = "deny")]
    Deny,
}

/// A place.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Point {
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lng: f64,
}

/// All places around one.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Zone {
    /// Its middle.
    pub center: Point,
    /// How far it reaches, in kilometres.
    pub radius_km: f64,
}

/// What a window of time repeats.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WindowMode {
    /// Always.
    #[default]
    Wildcard,
    /// From one minute of one day to another: `YYYY-MM-DDTHH:MM`.
    Datetime,
    /// Every day from one minute to another: `HH:MM`; over midnight if it ends before it begins.
    TimeOfDay,
    /// From one day to another: `YYYY-MM-DD`.
    Date,
}

/// When. Both ends are within.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Window {
    /// What it repeats.
    #[serde(default)]
    pub mode: WindowMode,
    /// Its beginning.
    #[serde(default)]
    pub start: Option<String>,
    /// Its end.
    #[serde(default)]
    pub end: Option<String>,
}

/// What a policy applies to.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Event {
    /// Its id.
    pub id: String,
    /// Who, or `*`; letters count alike in either case.
    pub subject: String,
    /// On what, or `*`.
    pub resource: String,
    /// Where; everywhere if it does not say.
    #[serde(default)]
    pub zone: Option<Zone>,
    /// When.
    #[serde(default)]
    pub window: Window,
    /// Doing what, or `*`.
    pub action: String,
}

/// A policy.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Policy {
    /// What people call it.
    pub name: String,
    /// What it does.
    pub effect: Effect,
    /// To what.
    pub events: Vec<Event>,
}

/// What is asked.
#[derive(Clone, Debug, PartialEq)]
pub struct Request {
    /// Who.
    pub subject: String,
    /// On what.
    pub resource: String,
    /// Where, if it is said.
    pub place: Option<Point>,
    /// When: `YYYY-MM-DDTHH:MM`.
    pub time: String,
    /// Doing what.
    pub action: String,
}

/// The policies of an application, by id.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Policies {
    /// By id.
    pub policies: BTreeMap<String, Policy>,
}

impl Policies {
    /// Adds a policy.
    ///
    /// # Errors
    /// Texts that are none, zones that are too wide, windows that are not written as their mode has it.
    pub fn create(&mut self, id: &str, policy: Policy) -> Result<(), DeclarationError> {
        check_text("name", &policy.name)?;
        if policy.events.is_empty() || policy.events.len() > EVENTS_MAX {
            return Err(DeclarationError::Invalid { field: "events", rule: "expected 1 to 256 events" });
        }
        policy.events.iter().try_for_each(Event::check)?;
        match self.policies.insert(id.to_owned(), policy) {
            None => Ok(()),
            Some(_) => Err(DeclarationError::Exists { what: "policy", id: id.to_owned() }),
        }
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

    /// Whether the request is allowed.
    ///
    /// # Errors
    /// A time that is not `YYYY-MM-DDTHH:MM`.
    pub fn check(&self, request: &Request) -> Result<Answer, DeclarationError> {
        let time = request.time.get(..16).filter(|text| is_datetime(text)).ok_or(BAD_TIME)?;
        let mut allowed = None;
        for (id, policy) in &self.policies {
            let unsaid = policy.effect == Effect::Deny;
            let Some(event) = policy.events.iter().find(|event| event.fits(request, time, unsaid)) else {
                continue;
            };
            let found = |allowed, reason: String| Answer {
                allowed,
                by: Some(id.clone()),
                part: Some(event.id.clone()),
                reason,
            };
            match policy.effect {
                Effect::Deny => return Ok(found(false, format!("policy `{}` denies it", policy.name))),
                Effect::Allow if allowed.is_none() => {
                    allowed = Some(found(true, format!("policy `{}` allows it", policy.name)));
                }
                Effect::Allow => {}
            }
        }
        Ok(allowed.unwrap_or_else(|| Answer::no("no policy allows it")))
    }
}

const BAD_TIME: DeclarationError =
    DeclarationError::Invalid { field: "time", rule: "expected YYYY-MM-DDTHH:MM" };

impl Event {
    fn check(&self) -> Result<(), DeclarationError> {
        check_text("subject", &self.subject)?;
        check_text("resource", &self.resource)?;
        check_text("action", &self.action)?;
        if let Some(zone) = &self.zone {
            let in_range = zone.radius_km > 0.0
                && zone.radius_km <= RADIUS_KM_MAX
                && (-90.0..=90.0).contains(&zone.center.lat)
                && (-180.0..=180.0).contains(&zone.center.lng);
            if !in_range {
                return Err(DeclarationError::Invalid {
                    field: "location",
                    rule: "expected a latitude, a longitude and a radius of more than 0 and at most 5 km",
                });
            }
        }
        self.window.check()
    }

    /// `unsaid` is the answer for a place that the request does not tell.
    fn fits(&self, request: &Request, time: &str, unsaid: bool) -> bool {
        let same = |rule: &str, asked: &str| rule == ANY || rule.to_lowercase() == asked.to_lowercase();
        let here = match (&self.zone, &request.place) {
            (None, _) => true,
            (Some(_), None) => unsaid,
            (Some(zone), Some(place)) => distance_km(zone.center, *place) <= zone.radius_km,
        };
        same(&self.subject, &request.subject)
            && same(&self.resource, &request.resource)
            && same(&self.action, &request.action)
            && here
            && self.window.holds(time)
    }
}

impl Window {
    pub(super) fn check(&self) -> Result<(), DeclarationError> {
        let written: fn(&str) -> bool = match self.mode {
            WindowMode::Wildcard => return Ok(()),
            WindowMode::Datetime => is_datetime,
            WindowMode::TimeOfDay => is_time,
            WindowMode::Date => is_date,
        };
        let good = |text: &Option<String>| text.as_deref().is_some_and(written);
        match good(&self.start) && good(&self.end) {
            true => Ok(()),
            false => Err(DeclarationError::Invalid {
                field: "time_start",
                rule: "expected time_start and time_end as HH:MM, YYYY-MM-DD or YYYY-MM-DDTHH:MM, as time_mode says",
            }),
        }
    }

    /// Whether it holds at this minute of every day; `None` for a text that is none, `HH:MM`.
    pub(super) fn holds_at(&self, minute: &str) -> Option<bool> {
        is_time(minute).then(|| self.holds(&format!("2000-01-01T{minute}")))
    }

    /// `time` is `YYYY-MM-DDTHH:MM`; such texts sort as the moments do.
    fn holds(&self, time: &str) -> bool {
        let (Some(start), Some(end)) = (self.start.as_deref(), self.end.as_deref()) else {
            return self.mode == WindowMode::Wildcard;
        };
        let now = match self.mode {
            WindowMode::Wildcard => return true,
            WindowMode::Datetime => time,
            WindowMode::TimeOfDay => &time[11..],
            WindowMode::Date => &time[..10],
        };
        match start <= end {
            true => start <= now && now <= end,
            false => self.mode == WindowMode::TimeOfDay && (now >= start || now <= end),
        }
    }
}

/// Digits where the pattern has `0`, and its own characters elsewhere.
fn looks_like(text: &str, pattern: &str) -> bool {
    text.len() == pattern.len()
        && text.bytes().zip(pattern.bytes()).all(|(byte, expected)| match expected {
            b'0' => byte.is_ascii_digit(),
            other => byte == other,
        })
}

fn is_time(text: &str) -> bool {
    looks_like(text, "00:00") && &text[..2] < "24" && &text[3..] < "60"
}

fn is_date(text: &str) -> bool {
    let in_range = |text: &str, max: &str| text > "00" && text <= max;
    looks_like(text, "0000-00-00") && in_range(&text[5..7], "12") && in_range(&text[8..], "31")
}

fn is_datetime(text: &str) -> bool {
    looks_like(text, "0000-00-00T00:00") && is_date(&text[..10]) && is_time(&text[11..])
}

/// The distance on a sphere (haversine formula; within 0.5 % of the one on the ellipsoid).
fn distance_km(a: Point, b: Point) -> f64 {
    let (lat_a, lat_b) = (a.lat.to_radians(), b.lat.to_radians());
    let (lat, lng) = (lat_b - lat_a, (b.lng - a.lng).to_radians());
    let h = (lat / 2.0).sin().powi(2) + lat_a.cos() * lat_b.cos() * (lng / 2.0).sin().powi(2);
    2.0 * EARTH_RADIUS_KM * h.sqrt().min(1.0).asin()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn event(subject: &str, action: &str) -> Event {
        Event {
            id: format!("{subject}-{action}"),
            subject: subject.to_owned(),
            resource: "db".to_owned(),
            zone: None,
            window: Window::default(),
            action: action.to_owned(),
        }
    }

    fn policy(effect: Effect, event: Event) -> Policy {
        Policy { name: "p".to_owned(), effect, events: vec![event] }
    }

    fn ask(subject: &str, action: &str, time: &str, place: Option<Point>) -> Request {
        Request {
            subject: subject.to_owned(),
            resource: "DB".to_owned(),
            place,
            time: time.to_owned(),
            action: action.to_owned(),
        }
    }

    fn allowed(policies: &Policies, request: &Request) -> bool {
        policies.check(request).unwrap().allowed
    }

    const NOON: &str = "2026-03-01T12:00";

    #[test]
    fn a_denial_outweighs_and_silence_denies() {
        let mut policies = Policies::default();
        policies.create("a", policy(Effect::Allow, event("*", "read"))).unwrap();
        assert!(allowed(&policies, &ask("alice", "READ", NOON, None)));
        assert!(!allowed(&policies, &ask("alice", "write", NOON, None)));
        policies.create("z", policy(Effect::Deny, event("ALICE", "*"))).unwrap();
        let answer = policies.check(&ask("alice", "read", NOON, None)).unwrap();
        assert_eq!((answer.allowed, answer.by.as_deref()), (false, Some("z")));
        assert!(allowed(&policies, &ask("bob", "read", NOON, None)));
        policies.remove("z").unwrap();
        assert!(allowed(&policies, &ask("alice", "read", NOON, None)));
        assert!(policies.remove("z").is_err());
    }

    #[test]
    fn windows_hold_when_they_say() {
        for (mode, start, end, time, expected) in [
            (WindowMode::TimeOfDay, "08:00", "18:00", NOON, true),
            (WindowMode::TimeOfDay, "08:00", "11:59", NOON, false),
            (WindowMode::TimeOfDay, "22:00", "06:00", "2026-03-01T23:30", true),
            (WindowMode::TimeOfDay, "22:00", "06:00", NOON, false),
            (WindowMode::Date, "2026-03-01", "2026-03-01", NOON, true),
            (WindowMode::Date, "2026-03-02", "2026-03-09", NOON, false),
            (WindowMode::Datetime, "2026-03-01T11:00", "2026-03-01T12:00", NOON, true),
            (WindowMode::Datetime, "2026-03-01T12:01", "2026-03-01T13:00", NOON, false),
        ] {
            let window = Window { mode, start: Some(start.to_owned()), end: Some(end.to_owned()) };
            let mut policies = Policies::default();
            policies.create("a", policy(Effect::Allow, Event { window, ..event("*", "read") })).unwrap();
            assert_eq!(allowed(&policies, &ask("a", "read", time, None)), expected, "{start} {end} {time}");
        }
    }

    #[test]
    fn zones_hold_around_their_middle_and_silence_gains_nothing() {
        let zone = Zone { center: Point { lat: 23.7, lng: -99.1 }, radius_km: 1.0 };
        let placed = |effect| policy(effect, Event { zone: Some(zone), ..event("*", "read") });
        let near = Point { lat: 23.705, lng: -99.1 };
        let far = Point { lat: 23.72, lng: -99.1 };
        let mut policies = Policies::default();
        policies.create("a", placed(Effect::Allow)).unwrap();
        assert!(allowed(&policies, &ask("a", "read", NOON, Some(near))));
        assert!(!allowed(&policies, &ask("a", "read", NOON, Some(far))));
        assert!(!allowed(&policies, &ask("a", "read", NOON, None)));
        policies.create("all", policy(Effect::Allow, event("*", "read"))).unwrap();
        policies.create("z", placed(Effect::Deny)).unwrap();
        assert!(!allowed(&policies, &ask("a", "read", NOON, None)));
        assert!(allowed(&policies, &ask("a", "read", NOON, Some(far))));
    }

    #[test]
    fn what_is_not_written_as_it_should_be_is_refused() {
        let mut policies = Policies::default();
        let wide = Zone { center: Point { lat: 0.0, lng: 0.0 }, radius_km: 5.1 };
        let window = |mode, start: &str, end: &str| Window {
            mode,
            start: Some(start.to_owned()),
            end: Some(end.to_owned()),
        };
        for bad in [
            Event { zone: Some(wide), ..event("*", "read") },
            event("", "read"),
            Event { window: window(WindowMode::TimeOfDay, "8:00", "18:00"), ..event("*", "read") },
            Event { window: window(WindowMode::TimeOfDay, "08:00", "24:00"), ..event("*", "read") },
            Event { window: window(WindowMode::Date, "2026-13-01", "2026-12-01"), ..event("*", "read") },
            Event { window: window(WindowMode::Datetime, "2026-03-01", "2026-03-02"), ..event("*", "read") },
        ] {
            assert!(policies.create("x", policy(Effect::Allow, bad.clone())).is_err(), "{bad:?}");
        }
        assert!(
            policies
                .create("x", Policy { events: vec![], ..policy(Effect::Allow, event("*", "r")) })
                .is_err()
        );
        assert!(policies.check(&ask("a", "read", "12:00", None)).is_err());
        assert!(policies.check(&ask("a", "read", "2026-03-01T12:0é", None)).is_err());
        assert!(policies.policies.is_empty());
    }
}
