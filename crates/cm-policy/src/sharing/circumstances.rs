//! What a request says about itself, for the conditions of policies.

use std::collections::{BTreeMap, BTreeSet};

use cm_types::{PrincipalId, TenantId, Timestamp};

/// Values by the names of condition keys, such as `aws:SourceIp` or `s3:prefix`. Names do not depend on case.
///
/// They are complete, which means that what is not among them is not so, or [incomplete](Circumstances::incomplete).
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Circumstances {
    values: BTreeMap<String, Vec<String>>,
    /// The keys of which all is known, values or none; `None` is every key. One that ends in a slash stands for all that
    /// begin so.
    told: Option<BTreeSet<String>>,
}

impl Circumstances {
    /// A request that says nothing, and of which nothing else could be said.
    pub fn new() -> Self {
        Self::default()
    }

    /// A request of which only that is known which will be added: one that came by a way that does not tell its address, say.
    /// A condition on anything else neither holds nor fails: what would deny by it denies, and what would allow does not.
    pub fn incomplete() -> Self {
        Self { values: BTreeMap::new(), told: Some(BTreeSet::new()) }
    }

    /// Adds a value. A key may have several.
    pub fn add(&mut self, key: &str, value: impl Into<String>) {
        self.tell(key);
        self.values.entry(key.to_ascii_lowercase()).or_default().push(value.into());
    }

    /// Says that the values of a key, or of all keys that begin so if it ends in a slash, are those that are added, and
    /// otherwise none.
    pub fn tell(&mut self, key: &str) {
        if let Some(told) = &mut self.told {
            told.insert(key.to_ascii_lowercase());
        }
    }

    /// Adds who asks; `None` is nobody who is known.
    pub fn add_caller(&mut self, caller: Option<(&PrincipalId, &TenantId)>) {
        for key in ["aws:username", "aws:userid", "aws:PrincipalAccount", "aws:PrincipalArn"] {
            self.tell(key);
        }
        let Some((principal, tenant)) = caller else {
            self.add("aws:PrincipalType", "Anonymous");
            return;
        };
        self.add("aws:username", principal.as_str());
        self.add("aws:userid", principal.as_str());
        self.add("aws:PrincipalType", "User");
        self.add("aws:PrincipalAccount", tenant.as_str());
        self.add("aws:PrincipalArn", format!("arn:aws:iam::{tenant}:user/{principal}"));
    }

    /// Adds the time.
    pub fn add_time(&mut self, now: Timestamp) {
        let seconds = now.as_micros().div_euclid(1_000_000);
        self.add("aws:EpochTime", seconds.to_string());
        self.add("aws:CurrentTime", seconds.to_string());
    }

    /// The values of a key; `None` if it has none, or nothing is known of it.
    pub fn get(&self, key: &str) -> Option<&[String]> {
        self.values.get(&key.to_ascii_lowercase()).map(Vec::as_slice)
    }

    /// All that was added, by keys in lower case.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &[String])> {
        self.values.iter().map(|(key, values)| (key.as_str(), values.as_slice()))
    }

    /// Whether it is known which values the key has, if any.
    pub fn knows(&self, key: &str) -> bool {
        let Some(told) = &self.told else { return true };
        let key = key.to_ascii_lowercase();
        let family = key.find('/').map(|slash| &key[..=slash]);
        told.contains(&key) || family.is_some_and(|family| told.contains(family))
    }
}
