//! A policy of replication.

use std::collections::{BTreeMap, BTreeSet};

use cm_types::{BucketName, ObjectKey, PeerId};

use super::condition::{Condition, Readings};
use super::tree::{self, Node, Position, Text, Value};

/// Longest text of a policy, in bytes.
pub const TEXT_LEN_MAX: usize = 64 * 1024;

/// Which objects are to have copies on which peers, and when.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    what: Vec<String>,
    /// Without any, whoever holds the object.
    who: Option<BTreeSet<PeerId>>,
    place: BTreeSet<PeerId>,
    /// By name; without any, always.
    when: Vec<(String, Condition)>,
}

/// What is wrong with the text of a policy, and where.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{at}: {reason}")]
pub struct Problem {
    /// Where.
    pub at: Position,
    /// What.
    pub reason: Reason,
}

/// What can be wrong with the text of a policy.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Reason {
    /// It is no YAML.
    #[error("this is no YAML: {0}")]
    Syntax(String),
    /// Longer, deeper or more than can be meant.
    #[error("this is too much; a policy has at most {TEXT_LEN_MAX} bytes and nests as little as its example")]
    TooMuch,
    /// There is more than one document.
    #[error("a second document begins here; write each policy into a text of its own")]
    SecondDocument,
    /// Anchors and aliases mean nothing in a policy.
    #[error("anchors and aliases are not understood here; write the value out")]
    Anchor,
    /// Tags mean nothing in a policy.
    #[error("tags are not understood here; leave it out")]
    Tag,
    /// The same name stands twice in a mapping.
    #[error("`{0}` stands here for the second time")]
    Twice(String),
    /// Something that a policy must say is missing.
    #[error("`{0}` is missing")]
    Missing(&'static str),
    /// A name that means nothing.
    #[error("`{0}` is not understood; there are: apac, available-resources, who, what, where, how, when")]
    Unknown(String),
    /// Another version of the language.
    #[error("`{0}` is no version of the language; write v1")]
    Version(String),
    /// Something else should stand here.
    #[error("{0} is expected here")]
    Expected(&'static str),
    /// It names no peer.
    #[error("`{0}` can be the id of no peer")]
    Peer(String),
    /// There is no such pool or peer in `available-resources`.
    #[error("`{0}` is no pool of `available-resources`, and no POOL.PEER of one; list it there first")]
    Resource(String),
    /// It names no objects.
    #[error("`{0}` names no objects; write BUCKET, BUCKET.KEY or BUCKET.BEGINNING*")]
    Objects(String),
    /// Another way than actively.
    #[error("`{0}` is not supported; copies are made as soon as the condition holds, write ACTIVE")]
    How(String),
    /// More than everything.
    #[error("a share is at most 100 %")]
    Percent,
    /// A count is no share.
    #[error("$GET_COUNTER is a number of reads, without percent")]
    NoPercent,
}

type Pools = BTreeMap<String, BTreeSet<PeerId>>;

impl Policy {
    /// Reads a policy.
    ///
    /// # Errors
    /// The first thing that is wrong, with its line and column.
    pub fn parse(text: &str) -> Result<Self, Problem> {
        let begin = Position { line: 1, column: 1 };
        if text.len() > TEXT_LEN_MAX {
            return Err(Problem { at: begin, reason: Reason::TooMuch });
        }
        let document = tree::parse(text)?;
        let Value::Map(entries) = document.value else {
            return Err(Problem {
                at: document.at,
                reason: Reason::Expected("a mapping that begins with `apac: v1`"),
            });
        };
        const KNOWN: [&str; 7] = ["apac", "available-resources", "who", "what", "where", "how", "when"];
        if let Some((name, _)) = entries.iter().find(|(name, _)| !KNOWN.contains(&name.text.as_str())) {
            return fail(name, Reason::Unknown(name.text.clone()));
        }
        let find = |key: &str| entries.iter().find(|(name, _)| name.text == key).map(|(_, node)| node);
        let need = |key| find(key).ok_or(Problem { at: document.at, reason: Reason::Missing(key) });
        let version = word(need("apac")?)?;
        if version.text != "v1" {
            return fail(version, Reason::Version(version.text.clone()));
        }
        let pools = find("available-resources").map_or(Ok(Pools::new()), pools)?;
        if let Some(how) = find("how") {
            let how = word(how)?;
            if how.text != "ACTIVE" {
                return fail(how, Reason::How(how.text.clone()));
            }
        }
        Ok(Self {
            what: words(need("what")?)?.into_iter().map(objects).collect::<Result<_, _>>()?,
            who: find("who").map(|who| peers(who, &pools)).transpose()?,
            place: peers(need("where")?, &pools)?,
            when: find("when").map_or(Ok(Vec::new()), conditions)?,
        })
    }

    /// Who is to have a copy of the object now: nobody if the policy is about other objects or holders, or if none of its
    /// conditions holds.
    pub fn demands(
        &self,
        bucket: &BucketName,
        key: &ObjectKey,
        holders: &[PeerId],
        readings: &Readings,
    ) -> impl Iterator<Item = &PeerId> {
        let about = self.what.iter().any(|pattern| matches(pattern, bucket.as_str(), key.as_str()));
        let held = self.who.as_ref().is_none_or(|who| holders.iter().any(|holder| who.contains(holder)));
        let now = self.when.is_empty() || self.when.iter().any(|(_, condition)| condition.holds(readings));
        self.place.iter().filter(move |_| about && held && now)
    }

    /// Whether it names objects that may be in the bucket.
    pub fn is_about(&self, bucket: &BucketName) -> bool {
        let bucket = bucket.as_str();
        self.what.iter().any(|pattern| {
            let beginning = pattern.strip_suffix('*');
            let inside = |text: &str| text.strip_prefix(bucket).is_some_and(|rest| rest.starts_with('.'));
            beginning.is_some_and(|beginning| bucket.starts_with(beginning))
                || inside(beginning.unwrap_or(pattern))
                || pattern == bucket
        })
    }

    /// The conditions with their names, of which one has to hold.
    pub fn conditions(&self) -> &[(String, Condition)] {
        &self.when
    }
}

/// Whether the pattern names the object. A bucket whose name has a dot is meant as well as a key of the bucket before the dot.
fn matches(pattern: &str, bucket: &str, key: &str) -> bool {
    let (pattern, open) = match pattern.strip_suffix('*') {
        Some(beginning) => (beginning, true),
        None => (pattern, false),
    };
    // `BUCKET.KEY` is compared with the pattern piece by piece; the key is part of the name only behind the dot.
    let key_of_bucket = pattern.strip_prefix(bucket).and_then(|rest| rest.strip_prefix('.'));
    match (key_of_bucket, open) {
        (Some(beginning), true) => key.starts_with(beginning),
        (Some(whole), false) => key == whole,
        (None, true) => bucket.starts_with(pattern),
        (None, false) => bucket == pattern,
    }
}

fn fail<T>(text: &Text, reason: Reason) -> Result<T, Problem> {
    Err(Problem { at: text.at, reason })
}

fn word(node: &Node) -> Result<&Text, Problem> {
    match &node.value {
        Value::Text(text) if !text.text.is_empty() => Ok(text),
        _ => Err(Problem { at: node.at, reason: Reason::Expected("a name") }),
    }
}

/// A list of names, or one.
fn words(node: &Node) -> Result<Vec<&Text>, Problem> {
    match &node.value {
        Value::Text(_) => Ok(vec![word(node)?]),
        Value::List(items) if !items.is_empty() => items.iter().map(word).collect(),
        _ => Err(Problem { at: node.at, reason: Reason::Expected("a name or a list of names") }),
    }
}

fn objects(text: &Text) -> Result<String, Problem> {
    let beginning = text.text.strip_suffix('*').unwrap_or(&text.text);
    if beginning.is_empty() || beginning.contains('*') || beginning.chars().any(char::is_control) {
        return fail(text, Reason::Objects(text.text.clone()));
    }
    Ok(text.text.clone())
}

fn pools(node: &Node) -> Result<Pools, Problem> {
    let Value::Map(entries) = &node.value else {
        return Err(Problem {
            at: node.at,
            reason: Reason::Expected("a mapping of pools to lists of peers"),
        });
    };
    let pool = |(name, node): &(Text, Node)| {
        let peers = words(node)?.into_iter().map(|text| match text.text.parse::<PeerId>() {
            Ok(peer) => Ok(peer),
            Err(_) => fail(text, Reason::Peer(text.text.clone())),
        });
        Ok((name.text.clone(), peers.collect::<Result<_, _>>()?))
    };
    entries.iter().map(pool).collect()
}

/// Pools, or peers of pools.
fn peers(node: &Node, pools: &Pools) -> Result<BTreeSet<PeerId>, Problem> {
    let mut found = BTreeSet::new();
    for text in words(node)? {
        if let Some(pool) = pools.get(&text.text) {
            found.extend(pool.iter().cloned());
            continue;
        }
        let named = |(pool, peers): (&String, &BTreeSet<PeerId>)| {
            let peer = text.text.strip_prefix(pool.as_str())?.strip_prefix('.')?;
            peers.iter().find(|known| known.as_str() == peer).cloned()
        };
        // A peer on its own is as clear, where it is listed.
        let listed = || pools.values().flatten().find(|known| known.as_str() == text.text).cloned();
        match pools.iter().find_map(named).or_else(listed) {
            Some(peer) => found.insert(peer),
            None => return fail(text, Reason::Resource(text.text.clone())),
        };
    }
    Ok(found)
}

fn conditions(node: &Node) -> Result<Vec<(String, Condition)>, Problem> {
    const SHAPE: Reason = Reason::Expected("a list of `NAME: CONDITION`");
    let Value::List(items) = &node.value else {
        return Err(Problem { at: node.at, reason: SHAPE });
    };
    let mut found = Vec::new();
    for item in items {
        let Value::Map(entries) = &item.value else {
            return Err(Problem { at: item.at, reason: SHAPE });
        };
        for (name, node) in entries {
            found.push((name.text.clone(), Condition::parse(word(node)?)?));
        }
    }
    if found.is_empty() { Err(Problem { at: node.at, reason: SHAPE }) } else { Ok(found) }
}

#[cfg(test)]
mod tests;
