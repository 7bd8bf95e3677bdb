//! Who gains and who loses what when one policy takes the place of another.
//!
//! Both are asked the same questions, made of what they speak of: everybody whom one of them names, and somebody whom
//! none does; every pattern with a text that fits it, and a text that fits none; every circumstance of a condition, so
//! and not so. Only who and what a statement speaks of that is in one of them alone is asked about: everything else is decided alike. Where there would be too many combinations of circumstances, as many as are allowed are drawn, and
//! [`Diff::is_sampled`] says so.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::net::{IpAddr, Ipv4Addr};

use cm_types::{Action, Labels, ResourceId, ResourceKind, Timestamp};

use super::glob::{Glob, reaches};
use super::syntax::{
    Attribute, AttributeOf, Condition, Document, Operand, Position, Rule, Statement, Test, Who,
};
use super::{Circumstances, Compiled, Request, Requester, Verdict};
use crate::RoleFacts;

/// Most questions that are asked of each policy.
const QUESTIONS_MAX: usize = 500_000;

/// What changes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Diff {
    /// Who gains and who loses, in the order of who, what and action.
    pub changes: Vec<Change>,
    /// Whether not all combinations of circumstances were tried.
    pub is_sampled: bool,
}

/// That somebody gains or loses something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// Who, as a document writes it; `anyone` is somebody who did not sign in.
    pub who: String,
    /// Whether they gain it.
    pub gains: bool,
    /// What they may do, or may no longer.
    pub action: Action,
    /// With what, as a document writes it.
    pub what: String,
    /// Under which circumstances, if not under all: an example of which everything matters.
    pub when: Vec<String>,
}

struct Person {
    who: Who,
    name: String,
    principal: Option<String>,
    tenant: Option<String>,
    roles: Vec<RoleFacts>,
    groups: Vec<String>,
}

struct Thing {
    name: String,
    kind: ResourceKind,
    id: String,
}

/// One thing that may be so or otherwise.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Choice {
    Mfa(bool),
    Tls(bool),
    Owner(bool),
    Now(Timestamp),
    Address(IpAddr),
    Said(u8, String, Option<String>),
}

/// Compares two documents.
pub fn diff(old: &Document, new: &Document) -> Diff {
    let rules = || old.statements.iter().chain(&new.statements).map(|statement| &statement.rule);
    let mut tests = Vec::new();
    for rule in rules() {
        for condition in [&rule.when, &rule.unless].into_iter().flatten() {
            gather(condition, &mut tests);
        }
    }
    let people = people(rules(), &tests);
    let things = things(rules());
    let dimensions = dimensions(&tests);
    let differing = Differing::new(old, new, &things);
    let concerned = people.iter().map(|person| differing.places(person).len()).sum::<usize>();
    let questions = (concerned * Action::ALL.len()).max(1);
    let (combinations, is_sampled) = combinations(&dimensions, (QUESTIONS_MAX / questions).clamp(16, 4096));
    let settings: Vec<Setting> =
        combinations.into_iter().map(|chosen| Setting::new(&dimensions, chosen)).collect();
    let sides = [Compiled::new(&[("", old)]), Compiled::new(&[("", new)])];
    let mut changes = Vec::new();
    for person in &people {
        for place in differing.places(person) {
            for action in Action::ALL {
                let thing = &things[place];
                let asked = Asked { person, thing, action, sides: &sides, dimensions: &dimensions };
                changes.extend(asked.changes(&settings));
            }
        }
    }
    Diff { changes, is_sampled }
}

/// The rules that are in one of the documents alone: who may be concerned by them with what. All others have what they had.
struct Differing<'a> {
    /// The places of the rules that are for somebody.
    by_who: HashMap<&'a Who, Vec<usize>>,
    /// The places of the things that each rule speaks of.
    reached: Vec<Vec<usize>>,
}

impl<'a> Differing<'a> {
    fn new(old: &'a Document, new: &'a Document, things: &[Thing]) -> Self {
        let written = |document: &'a Document| {
            let rules = document.statements.iter().map(|statement| &statement.rule);
            rules.map(|rule| (as_written(rule), rule)).collect::<HashMap<_, _>>()
        };
        let (old, new) = (written(old), written(new));
        let gone = old.iter().filter(|(text, _)| !new.contains_key(*text));
        let come = new.iter().filter(|(text, _)| !old.contains_key(*text));
        let (mut by_who, mut all) = (HashMap::<_, Vec<usize>>::new(), Vec::new());
        for (_, rule) in gone.chain(come) {
            for who in &rule.who {
                by_who.entry(who).or_default().push(all.len());
            }
            all.push(reached(rule, things));
        }
        Self { by_who, reached: all }
    }

    /// The places of the things with which somebody may be concerned, in their order.
    fn places(&self, person: &Person) -> BTreeSet<usize> {
        let signed_in = (person.who != Who::Anyone).then_some(&Who::Authenticated);
        let as_whom = [&person.who, &Who::Anyone].into_iter().chain(signed_in);
        let rules = as_whom.filter_map(|who| self.by_who.get(who)).flatten();
        rules.flat_map(|rule| &self.reached[*rule]).copied().collect()
    }
}

/// The places of the things that a rule speaks of.
fn reached(rule: &Rule, things: &[Thing]) -> Vec<usize> {
    let reaches = rule.what.iter().flat_map(reaches).map(|reach| (reach.kind, Glob::new(reach.pattern)));
    let reaches: Vec<_> = reaches.collect();
    let is_reached = |thing: &Thing| {
        reaches.iter().any(|(kind, glob)| kind.is_none_or(|kind| kind == thing.kind) && glob.fits(&thing.id))
    };
    things.iter().enumerate().filter(|(_, thing)| is_reached(thing)).map(|(place, _)| place).collect()
}

/// A rule as a document writes it: two that are written alike say the same.
fn as_written(rule: &Rule) -> String {
    let (at, above, behind) = (Position::default(), Vec::new(), None);
    let statement = Statement { at, above, behind, apart: false, rule: rule.clone() };
    super::format(&Document { statements: vec![statement], closing: Vec::new() })
}

struct Asked<'a> {
    person: &'a Person,
    thing: &'a Thing,
    action: Action,
    sides: &'a [Compiled; 2],
    dimensions: &'a [Vec<Choice>],
}

impl Asked<'_> {
    fn changes(&self, settings: &[Setting]) -> Vec<Change> {
        let decided: Vec<(bool, bool)> = settings.iter().map(|setting| self.decide(setting)).collect();
        let change = |gains: bool| {
            let differs = |(before, after): &(bool, bool)| before != after && *after == gains;
            let first = decided.iter().position(differs)?;
            let when = self.what_matters(settings, first, |place| differs(&decided[place]));
            let (who, what) = (self.person.name.clone(), self.thing.name.clone());
            Some(Change { who, gains, action: self.action, what, when })
        };
        [true, false].into_iter().filter_map(change).collect()
    }

    /// What of an example matters. One thing after the other is let go, as long as everything that is left agrees.
    fn what_matters(
        &self,
        settings: &[Setting],
        example: usize,
        differs: impl Fn(usize) -> bool,
    ) -> Vec<String> {
        let example = &settings[example].chosen;
        let mut matters = vec![true; self.dimensions.len()];
        for dimension in 0..matters.len() {
            matters[dimension] = false;
            let agrees = |setting: &Setting| {
                let mut kept = matters.iter().zip(&setting.chosen).zip(example);
                kept.all(|((matters, chosen), example)| !matters || chosen == example)
            };
            let mut like = settings.iter().enumerate().filter(|(_, setting)| agrees(setting));
            matters[dimension] = !like.all(|(place, _)| differs(place));
        }
        let said = self.dimensions.iter().zip(example).zip(matters);
        said.filter(|(_, matters)| *matters)
            .map(|((choices, chosen), _)| choices[*chosen].to_string())
            .collect()
    }

    fn decide(&self, setting: &Setting) -> (bool, bool) {
        let person = self.person;
        let who = Requester {
            principal: person.principal.as_deref(),
            tenant: person.tenant.as_deref(),
            roles: &person.roles,
            groups: &person.groups,
            attributes: Some(&setting.attributes),
        };
        let request = Request {
            who,
            action: self.action,
            kind: self.thing.kind,
            id: Some(&self.thing.id),
            labels: &setting.labels,
            is_owner: setting.is_owner && person.principal.is_some(),
            circumstances: &setting.said,
        };
        let allows = |side: &Compiled| matches!(side.judge(&request), Verdict::Allows(_));
        (allows(&self.sides[0]), allows(&self.sides[1]))
    }
}

/// One combination of what may be so or otherwise.
struct Setting {
    /// Which of the choices of each dimension.
    chosen: Vec<usize>,
    said: Circumstances,
    labels: Labels,
    attributes: BTreeMap<String, String>,
    is_owner: bool,
}

impl Setting {
    fn new(dimensions: &[Vec<Choice>], chosen: Vec<usize>) -> Self {
        let mut said = Circumstances::default();
        let (mut labels, mut attributes, mut is_owner) = (BTreeMap::new(), BTreeMap::new(), false);
        for (choices, chosen) in dimensions.iter().zip(&chosen) {
            match &choices[*chosen] {
                Choice::Mfa(mfa) => said.mfa = Some(*mfa),
                Choice::Tls(tls) => said.tls = Some(*tls),
                Choice::Owner(owner) => is_owner = *owner,
                Choice::Now(now) => said.now = Some(*now),
                Choice::Address(address) => said.address = Some(*address),
                Choice::Said(of, name, value) => {
                    let map = match of {
                        0 => &mut labels,
                        1 => &mut attributes,
                        _ => &mut said.attributes,
                    };
                    map.extend(value.clone().map(|value| (name.clone(), value)));
                }
            }
        }
        // What no resource can be labelled with is no label of any.
        let labels = Labels::try_from(labels).unwrap_or_default();
        Self { chosen, said, labels, attributes, is_owner }
    }
}

fn gather<'a>(condition: &'a Condition, tests: &mut Vec<&'a Test>) {
    match condition {
        Condition::Test(test) => tests.push(test),
        Condition::Not(inner) => gather(inner, tests),
        Condition::All(parts) | Condition::Any(parts) => {
            parts.iter().for_each(|part| gather(part, tests));
        }
    }
}

fn people<'a>(rules: impl Iterator<Item = &'a Rule>, tests: &[&'a Test]) -> Vec<Person> {
    let mut named: BTreeSet<Who> = rules.flat_map(|rule| rule.who.iter().cloned()).collect();
    named.extend(tests.iter().filter_map(|test| match test {
        Test::Who(who) => Some(who.clone()),
        _ => None,
    }));
    named.extend([Who::Anyone, Who::Authenticated]);
    let person = |who: Who| {
        let name = who.to_string();
        let mut person = Person {
            who: who.clone(),
            name,
            principal: None,
            tenant: None,
            roles: Vec::new(),
            groups: Vec::new(),
        };
        if who == Who::Anyone {
            return Some(person);
        }
        // Names with a blank are nobody's.
        person.principal = Some("somebody else".to_owned());
        person.tenant = Some("some other".to_owned());
        match who {
            Who::User(id) => person.principal = Some(id),
            Who::Tenant(id) => person.tenant = Some(id),
            Who::Group(name) => person.groups = vec![name],
            // A role whose name is no id is nobody's.
            Who::Role(id) => {
                let role = ResourceId::parse(id).ok()?;
                person.roles = vec![RoleFacts { name: role.to_string(), id: role, permissions: Vec::new() }];
            }
            Who::Anyone | Who::Authenticated => {}
        }
        Some(person)
    };
    named.into_iter().filter_map(person).collect()
}

fn things<'a>(rules: impl Iterator<Item = &'a Rule>) -> Vec<Thing> {
    let (mut kinds, mut patterns, mut any_kind) = (BTreeSet::new(), BTreeSet::new(), false);
    for what in rules.flat_map(|rule| &rule.what) {
        for reach in reaches(what) {
            any_kind |= reach.kind.is_none();
            kinds.extend(reach.kind);
            patterns.insert((reach.kind, reach.pattern.map(str::to_owned)));
        }
    }
    let unnamed = ResourceKind::ALL.iter().copied().find(|kind| !kinds.contains(kind));
    if let Some(kind) = unnamed.filter(|_| any_kind) {
        kinds.insert(kind);
    }
    let (mut things, mut taken) = (Vec::new(), HashSet::new());
    for kind in kinds {
        let known =
            |pattern: &&(Option<ResourceKind>, Option<String>)| pattern.0.is_none_or(|own| own == kind);
        for (_, pattern) in patterns.iter().filter(known) {
            let Some(pattern) = pattern else { continue };
            let what = super::syntax::What { kind: Some(kind), pattern: Some(pattern.clone()) };
            let id = pattern.replace(['*', '?'], "x");
            if taken.insert((kind, id.clone())) {
                things.push(Thing { name: what.to_string(), kind, id });
            }
        }
        let is_sample = Some(kind) == unnamed;
        let name = if is_sample { "anything else".to_owned() } else { format!("{kind} (any other)") };
        things.push(Thing { name, kind, id: "some other/thing".to_owned() });
    }
    things
}

/// What may be so or otherwise, each with all that makes a difference to some condition.
fn dimensions(tests: &[&Test]) -> Vec<Vec<Choice>> {
    let mut by_kind: BTreeMap<(u8, String), BTreeSet<Choice>> = BTreeMap::new();
    let mut add = |rank: u8, name: &str, choices: Vec<Choice>| {
        by_kind.entry((rank, name.to_owned())).or_default().extend(choices);
    };
    // A Monday.
    let base = Timestamp::from_micros(1_798_416_000_000_000 + 86_400_000_000 * 7);
    let later = |minutes: u64| base.after(std::time::Duration::from_secs(minutes * 60));
    for test in tests {
        match test {
            Test::Mfa => add(0, "", vec![Choice::Mfa(true), Choice::Mfa(false)]),
            Test::Tls => add(1, "", vec![Choice::Tls(true), Choice::Tls(false)]),
            Test::Owner => add(2, "", vec![Choice::Owner(true), Choice::Owner(false)]),
            // An hour is enough to tell zones apart, and windows of a few hours.
            Test::Time(..) => add(3, "", (0..24).map(|hour| Choice::Now(later(hour * 60 + 30))).collect()),
            Test::Day(..) => add(3, "", (0..7).map(|day| Choice::Now(later(day * 1440 + 720))).collect()),
            Test::Before(moment) | Test::After(moment) => {
                let before = Timestamp::from_micros(moment.as_micros() - 1);
                add(3, "", vec![Choice::Now(before), Choice::Now(*moment)]);
            }
            Test::Address(networks) => {
                let outside = Choice::Address(IpAddr::V4(Ipv4Addr::new(198, 51, 100, 7)));
                let inside = networks.iter().map(|network| Choice::Address(network.first()));
                add(4, "", inside.chain([outside]).collect());
            }
            Test::Has(attribute) => said(&mut add, attribute, &["something"]),
            Test::OneOf(attribute, values) => {
                said(&mut add, attribute, &values.iter().map(String::as_str).collect::<Vec<_>>());
            }
            Test::Compare(attribute, _, operand) => match operand {
                Operand::Text(text) => said(&mut add, attribute, &[&text.replace(['*', '?'], "x")]),
                Operand::Number(number) => {
                    let near = [number.saturating_sub(1), *number, number.saturating_add(1)];
                    let near = near.map(|number| number.to_string());
                    said(&mut add, attribute, &near.each_ref().map(String::as_str));
                }
                Operand::Attribute(other) => {
                    said(&mut add, attribute, &["something"]);
                    said(&mut add, other, &["something"]);
                }
            },
            Test::Who(_) => {}
        }
    }
    by_kind.into_values().map(|choices| choices.into_iter().collect()).collect()
}

fn said(add: &mut impl FnMut(u8, &str, Vec<Choice>), attribute: &Attribute, values: &[&str]) {
    let of = match attribute.of {
        AttributeOf::Label => 0,
        AttributeOf::Subject => 1,
        AttributeOf::Request => 2,
    };
    let choice = |value: Option<&str>| Choice::Said(of, attribute.name.clone(), value.map(str::to_owned));
    let mut choices: Vec<Choice> = values.iter().map(|value| choice(Some(value))).collect();
    choices.extend([choice(Some("something else")), choice(None)]);
    add(5 + of, &attribute.name, choices);
}

/// All combinations, or as many as are allowed, always the same; and whether some are left out.
fn combinations(dimensions: &[Vec<Choice>], most: usize) -> (Vec<Vec<usize>>, bool) {
    let all = dimensions.iter().try_fold(1usize, |all, choices| all.checked_mul(choices.len()));
    if let Some(all) = all.filter(|all| *all <= most) {
        let nth = |mut place: usize| {
            let digit = |choices: &Vec<Choice>| {
                let digit = place % choices.len();
                place /= choices.len();
                digit
            };
            dimensions.iter().map(digit).collect()
        };
        return ((0..all).map(nth).collect(), false);
    }
    // The generator of Knuth's MMIX: no secret depends on it, and it draws the same again.
    let mut state = 1u64;
    let mut draw = |below: usize| {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(state >> 33).unwrap_or(0) % below
    };
    ((0..most).map(|_| dimensions.iter().map(|choices| draw(choices.len())).collect()).collect(), true)
}

impl std::fmt::Display for Choice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let not = |so: bool| if so { "" } else { "no " };
        match self {
            Choice::Mfa(so) => write!(f, "{}mfa", not(*so)),
            Choice::Tls(so) => write!(f, "{}tls", not(*so)),
            Choice::Owner(so) => write!(f, "{}owner", if *so { "" } else { "not " }),
            Choice::Now(now) => write!(f, "at {now}"),
            Choice::Address(address) => write!(f, "from {address}"),
            Choice::Said(of, name, value) => {
                let of = ["label", "subject", "request"][usize::from(*of)];
                match value {
                    Some(value) => write!(f, "{of}.{name} = \"{value}\""),
                    None => write!(f, "no {of}.{name}"),
                }
            }
        }
    }
}
