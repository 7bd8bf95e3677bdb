//! Policies prepared for deciding.
//!
//! A decision has to look at the statements about who asks, the kind and the resource, and at no others. Everybody who
//! is named gets a number, and so does the first segment of every pattern that has one without wildcards (for objects:
//! the bucket). An index leads from the kind, who asks and the segment to the statements that may matter; who asks has as
//! many keys as it has roles and groups, and a few more. A thousand statements are then a handful.

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

use cm_types::{Action, ResourceKind};

use super::glob::{Glob, head, reaches};
use super::interpreter::holds;
use super::request::Request;
use super::syntax::{Comparison, Document, Effect, Operand, Rule, Test, Who};
use crate::sharing::pattern::fits;

/// Where a statement stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place<'a> {
    /// The name of its policy.
    pub policy: &'a str,
    /// Its line there.
    pub line: u32,
}

/// What policies say to a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// Nothing: no statement allows or denies it.
    Silent,
    /// The first statement that allows it, and none denies it.
    Allows(Place<'a>),
    /// The first statement that denies it.
    Denies(Place<'a>),
}

/// Policies prepared for deciding.
#[derive(Clone, Debug, Default)]
pub struct Compiled {
    policies: Vec<Box<str>>,
    statements: Vec<Prepared>,
    /// Each of them stands for a statement, in the order of the statements.
    reaches: Vec<PreparedReach>,
    people: HashMap<Box<str>, Named>,
    heads: HashMap<Box<str>, u32>,
    index: HashMap<u64, Vec<u32>, BuildHasherDefault<Mixer>>,
}

/// The numbers of those who have a name; the same name may be that of a role and of a user.
#[derive(Clone, Copy, Debug, Default)]
struct Named {
    role: Option<u32>,
    group: Option<u32>,
    user: Option<u32>,
    tenant: Option<u32>,
}

#[derive(Clone, Debug)]
struct Prepared {
    policy: u32,
    line: u32,
    rule: Rule,
}

#[derive(Clone, Debug)]
struct PreparedReach {
    statement: u32,
    actions: u8,
    glob: Glob,
}

const ANYONE: u32 = 0;
const AUTHENTICATED: u32 = 1;
/// The numbers of heads: any, and that of collections, which have none.
const ANY_HEAD: u32 = 0;
const COLLECTION: u32 = 1;
/// The number of every kind, behind those of the kinds.
const ANY_KIND: u64 = 0xff;

fn key(kind: u64, who: u32, head: u32) -> u64 {
    kind << 56 | u64::from(who) << 28 | u64::from(head)
}

fn bit(action: Action) -> u8 {
    1 << action as u8
}

impl Compiled {
    /// Prepares documents, each of which has a name.
    pub fn new(documents: &[(&str, &Document)]) -> Self {
        let mut compiled = Compiled::default();
        let (mut people, mut heads) = (2, 2);
        for (policy, document) in documents {
            let at = u32::try_from(compiled.policies.len()).expect("there are fewer documents than that");
            compiled.policies.push((*policy).into());
            for statement in &document.statements {
                let (line, rule) = (statement.at.line, statement.rule.clone());
                compiled.add(Prepared { policy: at, line, rule }, &mut people, &mut heads);
            }
        }
        compiled
    }

    fn add(&mut self, prepared: Prepared, people: &mut u32, heads: &mut u32) {
        let statement = u32::try_from(self.statements.len()).expect("documents are bounded");
        let rule = &prepared.rule;
        let who: Vec<u32> = rule.who.iter().map(|who| self.number(who, people)).collect();
        let actions = rule.actions().fold(0, |all, action| all | bit(action));
        for reach in rule.what.iter().flat_map(reaches) {
            let only =
                reach.only.map_or(u8::MAX, |only| only.iter().fold(0, |all, action| all | bit(*action)));
            let actions = actions & only;
            if actions == 0 {
                continue;
            }
            let at = u32::try_from(self.reaches.len()).expect("documents are bounded");
            let glob = Glob::new(reach.pattern);
            let kind = reach.kind.map_or(ANY_KIND, |kind| kind as u64);
            let head = match Glob::head(reach.pattern) {
                None => ANY_HEAD,
                Some(text) => *self.heads.entry(text.into()).or_insert_with(|| {
                    *heads += 1;
                    *heads - 1
                }),
            };
            // Too many for kinds whose lists show more than what may be read: the search looks at that.
            let lists = rule.effect == Effect::Allow && actions & bit(Action::List) != 0;
            for who in &who {
                self.index.entry(key(kind, *who, head)).or_default().push(at);
                if lists || glob == Glob::Any {
                    self.index.entry(key(kind, *who, COLLECTION)).or_default().push(at);
                }
            }
            self.reaches.push(PreparedReach { statement, actions, glob });
        }
        self.statements.push(prepared);
    }

    fn number(&mut self, who: &Who, people: &mut u32) -> u32 {
        let (name, of): (&str, fn(&mut Named) -> &mut Option<u32>) = match who {
            Who::Anyone => return ANYONE,
            Who::Authenticated => return AUTHENTICATED,
            Who::Role(name) => (name, |named| &mut named.role),
            Who::Group(name) => (name, |named| &mut named.group),
            Who::User(name) => (name, |named| &mut named.user),
            Who::Tenant(name) => (name, |named| &mut named.tenant),
        };
        let named = self.people.entry(name.into()).or_default();
        *of(named).get_or_insert_with(|| {
            *people += 1;
            *people - 1
        })
    }

    /// Whether there is no statement.
    pub fn is_empty(&self) -> bool {
        self.statements.is_empty()
    }

    /// How many statements there are.
    pub fn len(&self) -> usize {
        self.statements.len()
    }

    /// Decides. The decision is that of [`super::interpret`].
    pub fn judge(&self, request: &Request<'_>) -> Verdict<'_> {
        let mut search = Search { compiled: self, request, denied: u32::MAX, allowed: u32::MAX };
        if !self.statements.is_empty() {
            self.each_list(request, |list| search.weigh(list));
        }
        match (search.denied, search.allowed) {
            (u32::MAX, u32::MAX) => Verdict::Silent,
            (u32::MAX, allowed) => Verdict::Allows(self.place(allowed)),
            (denied, _) => Verdict::Denies(self.place(denied)),
        }
    }

    /// Whether a statement allows who asks the action on some resource of the kind, under some conditions.
    pub fn may_concern(&self, request: &Request<'_>) -> bool {
        let wanted = bit(request.action);
        self.statements.iter().any(|prepared| {
            let rule = &prepared.rule;
            rule.effect == Effect::Allow
                && rule.who.iter().any(|who| request.is_by(who))
                && rule.what.iter().flat_map(reaches).any(|reach| {
                    let only = reach.only.is_none_or(|only| only.contains(&request.action));
                    only && reach.kind.is_none_or(|kind| kind == request.kind)
                })
                && rule.actions().any(|action| bit(action) == wanted)
        })
    }

    /// Whether a statement speaks of the holders of a role as such: by whom it is for, or by its conditions. To hold the role
    /// may then be power, by what is allowed as by what is not denied.
    pub fn names_role(&self, role: &str) -> bool {
        let is_it = |who: &Who| matches!(who, Who::Role(id) if id == role);
        self.names(is_it, |_| false)
    }

    /// Whether a statement speaks of the user with this id: by whom it is for, or by its conditions.
    pub fn names_user(&self, user: &str) -> bool {
        let is_it = |who: &Who| matches!(who, Who::User(id) if id == user);
        self.names(is_it, |test| match test {
            Test::Compare(attribute, Comparison::Like, Operand::Text(pattern)) => {
                attribute.is_subject_id() && fits(pattern, user)
            }
            Test::Compare(attribute, _, Operand::Text(text)) => attribute.is_subject_id() && text == user,
            Test::OneOf(attribute, values) => {
                attribute.is_subject_id() && values.iter().any(|value| value == user)
            }
            _ => false,
        })
    }

    /// Whether a statement compares the id of who asks with what is said of the resource or of the request: users then differ
    /// in what they may do, without being named.
    pub fn compares_users(&self) -> bool {
        self.names(
            |_| false,
            |test| match test {
                Test::Compare(one, _, Operand::Attribute(other)) => {
                    one.is_subject_id() || other.is_subject_id()
                }
                _ => false,
            },
        )
    }

    fn names(&self, who: impl Fn(&Who) -> bool, test: impl Fn(&Test) -> bool) -> bool {
        let speaks = |asked: &Test| match asked {
            Test::Who(named) => who(named),
            other => test(other),
        };
        let mut rules = self.statements.iter().map(|prepared| &prepared.rule);
        rules.any(|rule| {
            let mut conditions = [&rule.when, &rule.unless].into_iter().flatten();
            rule.who.iter().any(&who) || conditions.any(|condition| condition.asks(&speaks))
        })
    }

    fn place(&self, statement: u32) -> Place<'_> {
        let prepared = &self.statements[statement as usize];
        Place { policy: &self.policies[prepared.policy as usize], line: prepared.line }
    }

    /// The lists of the index that may matter to a request.
    fn each_list<'s>(&'s self, request: &Request<'_>, mut weigh: impl FnMut(&'s [u32])) {
        let kind = request.kind as u64;
        let heads = match request.id {
            Some(id) => [Some(ANY_HEAD), self.heads.get(head(id)).copied()],
            None => [Some(COLLECTION), None],
        };
        let mut of = |who: u32| {
            for kind in [kind, ANY_KIND] {
                for head in heads.into_iter().flatten() {
                    if let Some(list) = self.index.get(&key(kind, who, head)) {
                        weigh(list);
                    }
                }
            }
        };
        of(ANYONE);
        let Some(principal) = request.who.principal else { return };
        of(AUTHENTICATED);
        let named = |name: &str| self.people.get(name).copied().unwrap_or_default();
        let tenant = request.who.tenant.and_then(|tenant| named(tenant).tenant);
        let roles = request.who.roles.iter().map(|role| named(role.id.as_str()).role);
        let groups = request.who.groups.iter().map(|group| named(group).group);
        for who in [named(principal).user, tenant].into_iter().chain(roles).chain(groups).flatten() {
            of(who);
        }
    }
}

struct Search<'c, 'r> {
    compiled: &'c Compiled,
    request: &'c Request<'r>,
    /// The first statement of each effect that was found to count.
    denied: u32,
    allowed: u32,
}

impl Search<'_, '_> {
    fn weigh(&mut self, list: &[u32]) {
        for at in list {
            let reach = &self.compiled.reaches[*at as usize];
            if reach.actions & bit(self.request.action) == 0 {
                continue;
            }
            let rule = &self.compiled.statements[reach.statement as usize].rule;
            let lists = rule.effect == Effect::Allow && self.request.lists_what_is_readable();
            let fits = match self.request.id {
                Some(id) => reach.glob.fits(id),
                None => lists || reach.glob == Glob::Any,
            };
            if !fits {
                continue;
            }
            let first = match rule.effect {
                Effect::Deny => &mut self.denied,
                Effect::Allow => &mut self.allowed,
            };
            // Lists are in the order of statements: nothing behind could be first.
            if reach.statement >= *first {
                continue;
            }
            let counts = match (rule.effect, holds(rule, self.request)) {
                (_, Some(true)) | (Effect::Deny, None) => true,
                (_, Some(false)) | (Effect::Allow, None) => false,
            };
            if counts {
                *first = reach.statement;
            }
        }
    }
}

/// Mixes the numbers that the index is made of. They are given here one after the other, and nobody can choose them so
/// that they meet.
#[derive(Default)]
struct Mixer(u64);

impl Hasher for Mixer {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.write_u64(u64::from(*byte));
        }
    }

    fn write_u64(&mut self, number: u64) {
        // The finaliser of splitmix64 (Steele, Lea, Flood 2014).
        let mut mixed = (self.0 ^ number).wrapping_add(0x9e37_79b9_7f4a_7c15);
        mixed = (mixed ^ mixed >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        self.0 = mixed ^ mixed >> 31;
    }
}

/// All kinds have a number below that of every kind.
const _: () = assert!(ResourceKind::ALL.len() < ANY_KIND as usize);
