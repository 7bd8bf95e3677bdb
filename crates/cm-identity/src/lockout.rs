//! Failed logins, and whom they keep out.
//!
//! Who guesses passwords must be stopped, and who has an account must not be stopped by that. A lock of the account
//! alone does the first only: whoever fails often enough keeps its owner out for ever. So failures are counted thrice.
//!
//! - **For an account and a source** ([`Source`]: an address, or a network of IPv6). [`FAILURES_MAX`] in a row lock this
//!   account for this source, at first for [`LOCK_MIN`], each further failure twice as long, up to [`LOCK_MAX`].
//! - **For an account, whatever the source.** Sources from which nobody has logged in to the account share an allowance:
//!   [`STRANGERS_BURST`] failures, and one more every [`STRANGERS_REFILL`]. It bounds what a guesser gains from having many
//!   addresses. Sources that are *known*, because somebody logged in from there within [`KNOWN_FOR`], do not draw on it
//!   and are not kept out by it: the owner comes in from home while half the internet guesses.
//! - **For a source, whatever the account** (`Sprays`). It bounds what is gained by trying one password on many names.
//!   A source that is known for an account is let through to that account all the same.
//!
//! What is left: somebody who sits at the owner's own source can keep the owner out *from there*, and a guesser with very many
//! addresses can use up what strangers are allowed, so that the owner is kept out *from places where it has never been*. API
//! keys, tokens and refresh tokens are none of this business and go on working in either case.
//!
//! The rules are the same for every name, whether a principal of that name exists or not: otherwise a lock
//! would tell which names exist. Failures of existing principals are kept in the database, those of
//! unknown names in a bounded map in memory, so that inventing names does not fill the disk.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::time::Duration;

use cm_db::{InvalidRow, Row};
use cm_types::{PrincipalId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

/// Failures in a row that lock an account for a source.
pub const FAILURES_MAX: u32 = 5;
/// The first lock.
pub const LOCK_MIN: Duration = Duration::from_secs(30);
/// The longest lock; each failure after a lock doubles it until here.
pub const LOCK_MAX: Duration = Duration::from_secs(15 * 60);
/// Failures of an account that all strangers together may cause at once.
pub const STRANGERS_BURST: u32 = 20;
/// How long until they may cause one more.
pub const STRANGERS_REFILL: Duration = Duration::from_secs(30);
/// How long a source stays known to an account after a login.
pub const KNOWN_FOR: Duration = Duration::from_secs(90 * 24 * 3600);
/// Failures of one source at once, whatever the names.
pub const SPRAY_BURST: u32 = 100;
/// How long until it may fail once more.
pub const SPRAY_REFILL: Duration = Duration::from_secs(5);
/// Sources that are known to an account at once. The one not used for longest is forgotten first.
const KNOWN_MAX: usize = 16;
/// Sources whose failures are counted for an account at once. The one that failed least lately is forgotten first; what
/// a guesser gains by that is bounded by the strangers' allowance.
const SOURCES_MAX: usize = 64;
/// After how long without one failures are forgotten.
const FORGOTTEN_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Unknown names that are remembered at once. The oldest is forgotten first.
const UNKNOWN_NAMES_MAX: usize = 10_000;
/// Sources whose failures under all names are remembered at once.
const SPRAYS_MAX: usize = 10_000;
/// At most one event in so long tells of logins under unknown names.
const UNKNOWN_EVENT_EVERY: Duration = Duration::from_secs(1);

/// Where a login comes from: an IPv4 address, or the network of an IPv6 address (its first 64 bits, of which whoever
/// has one address has them all).
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Source(String);

impl Source {
    /// The source of an address.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self(address.to_string()),
            IpAddr::V6(address) => {
                let [a, b, c, d, ..] = address.segments();
                Self(format!("{a:x}:{b:x}:{c:x}:{d:x}::/64"))
            }
        }
    }

    /// Within the process: whoever asks without a connection.
    pub fn inside() -> Self {
        Self("inside".to_owned())
    }

    /// The text, for logs and events.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// How often an account failed in a row from one source.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Failures {
    source: Source,
    count: u32,
    last: Timestamp,
    locked_until: Option<Timestamp>,
}

impl Failures {
    fn locked_for(&self, now: Timestamp) -> Option<Duration> {
        // A wall clock that was set back must not make a lock longer than any lock may be.
        let remaining = self.locked_until?.since(now).min(LOCK_MAX);
        (!remaining.is_zero()).then_some(remaining)
    }

    fn fail(&mut self, now: Timestamp) {
        self.count = self.count.saturating_add(1);
        self.last = now;
        self.locked_until = self.count.checked_sub(FAILURES_MAX).map(|doublings| {
            let factor = 2u32.saturating_pow(doublings.min(16));
            now.after(LOCK_MIN.saturating_mul(factor).min(LOCK_MAX))
        });
    }
}

/// A source from which somebody logged in.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Known {
    source: Source,
    last: Timestamp,
}

/// A number of failures, and one more every while.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Allowance {
    /// When all that was spent will have come back.
    full_at: Timestamp,
}

impl Default for Allowance {
    fn default() -> Self {
        Self { full_at: Timestamp::from_micros(0) }
    }
}

impl Allowance {
    /// How long until one may be spent; `None` if it may be now.
    fn wait(self, now: Timestamp, burst: u32, refill: Duration) -> Option<Duration> {
        let whole = refill.saturating_mul(burst);
        // Owed is what has not come back yet; a clock set back makes it no more than everything.
        let owed = self.full_at.since(now).min(whole);
        let wait = (owed + refill).saturating_sub(whole);
        (!wait.is_zero()).then_some(wait)
    }

    fn spend(&mut self, now: Timestamp, burst: u32, refill: Duration) {
        let whole = refill.saturating_mul(burst);
        let owed = self.full_at.since(now).min(whole);
        self.full_at = now.after((owed + refill).min(whole));
    }
}

/// What is remembered about the logins of one account.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempts {
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    failures: Vec<Failures>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    known: Vec<Known>,
    #[serde(default)]
    strangers: Allowance,
}

impl Attempts {
    /// How long this source has to wait; `None` if it may try.
    pub fn locked_for(&self, source: &Source, now: Timestamp) -> Option<Duration> {
        let own = self.of(source).and_then(|failures| failures.locked_for(now));
        let strangers = match self.knows(source, now) {
            true => None,
            false => self.strangers.wait(now, STRANGERS_BURST, STRANGERS_REFILL),
        };
        own.max(strangers)
    }

    /// Whether somebody logged in from this source lately.
    pub fn knows(&self, source: &Source, now: Timestamp) -> bool {
        self.known.iter().any(|known| known.source == *source && now.since(known.last) < KNOWN_FOR)
    }

    /// How often this source failed in a row.
    pub fn count(&self, source: &Source) -> u32 {
        self.of(source).map_or(0, |failures| failures.count)
    }

    /// Counts one more failure.
    pub fn fail(&mut self, source: &Source, now: Timestamp) {
        if !self.knows(source, now) {
            self.strangers.spend(now, STRANGERS_BURST, STRANGERS_REFILL);
        }
        self.failures.retain(|failures| now.since(failures.last) < FORGOTTEN_AFTER);
        if let Some(failures) = self.failures.iter_mut().find(|failures| failures.source == *source) {
            failures.fail(now);
            return;
        }
        if self.failures.len() >= SOURCES_MAX
            && let Some(oldest) = index_of_oldest(&self.failures, |failures| failures.last)
        {
            self.failures.swap_remove(oldest);
        }
        let mut failures = Failures { source: source.clone(), count: 0, last: now, locked_until: None };
        failures.fail(now);
        self.failures.push(failures);
    }

    /// Remembers that somebody logged in. Forgets the source's failures, and those of nobody else.
    pub fn succeed(&mut self, source: &Source, now: Timestamp) {
        self.failures.retain(|failures| failures.source != *source);
        self.known.retain(|known| known.source != *source && now.since(known.last) < KNOWN_FOR);
        if self.known.len() >= KNOWN_MAX
            && let Some(oldest) = index_of_oldest(&self.known, |known| known.last)
        {
            self.known.swap_remove(oldest);
        }
        self.known.push(Known { source: source.clone(), last: now });
    }

    fn of(&self, source: &Source) -> Option<&Failures> {
        self.failures.iter().find(|failures| failures.source == *source)
    }
}

fn index_of_oldest<T>(all: &[T], last: impl Fn(&T) -> Timestamp) -> Option<usize> {
    (0..all.len()).min_by_key(|&at| last(&all[at]))
}

impl Row for Attempts {
    const VERSION: u8 = 2;

    /// The first version counted for the account alone, and a lock of it was one for everybody. Such a lock lasts minutes;
    /// what stays of it is that strangers have spent as much.
    fn decode_old(version: u8, json: &[u8]) -> Result<Self, InvalidRow> {
        #[derive(Deserialize)]
        struct First {
            count: u32,
            locked_until: Option<Timestamp>,
        }
        match version {
            1 => {
                let First { count, locked_until } = serde_json::from_slice(json)?;
                let mut attempts = Attempts::default();
                if let Some(until) = locked_until {
                    let spent = STRANGERS_REFILL.saturating_mul(count.min(STRANGERS_BURST));
                    attempts.strangers.full_at = until.after(spent);
                }
                Ok(attempts)
            }
            found => Err(InvalidRow::Version { found, known: Self::VERSION }),
        }
    }
}

/// What sources have failed under all names together. In memory: it bounds a flood, and who restarts a node is no guesser.
#[derive(Debug, Default)]
pub(crate) struct Sprays(HashMap<Source, Allowance>);

impl Sprays {
    pub(crate) fn wait(&self, source: &Source, now: Timestamp) -> Option<Duration> {
        self.0.get(source)?.wait(now, SPRAY_BURST, SPRAY_REFILL)
    }

    pub(crate) fn fail(&mut self, source: &Source, now: Timestamp) {
        if self.0.len() >= SPRAYS_MAX && !self.0.contains_key(source) {
            self.0.retain(|_, allowance| allowance.full_at > now);
            if self.0.len() >= SPRAYS_MAX {
                return;
            }
        }
        self.0.entry(source.clone()).or_default().spend(now, SPRAY_BURST, SPRAY_REFILL);
    }
}

/// The failures of names that do not exist.
#[derive(Debug, Default)]
pub(crate) struct UnknownNames {
    attempts: HashMap<(TenantId, PrincipalId), Attempts>,
    oldest_first: VecDeque<(TenantId, PrincipalId)>,
    event_at: Option<Timestamp>,
}

impl UnknownNames {
    pub(crate) fn get(&self, name: &(TenantId, PrincipalId)) -> Attempts {
        self.attempts.get(name).cloned().unwrap_or_default()
    }

    pub(crate) fn fail(&mut self, name: (TenantId, PrincipalId), source: &Source, now: Timestamp) {
        if let Some(attempts) = self.attempts.get_mut(&name) {
            attempts.fail(source, now);
            return;
        }
        if self.attempts.len() >= UNKNOWN_NAMES_MAX
            && let Some(oldest) = self.oldest_first.pop_front()
        {
            self.attempts.remove(&oldest);
        }
        self.oldest_first.push_back(name.clone());
        self.attempts.entry(name).or_default().fail(source, now);
    }

    /// Whether an event about an unknown name is due; if so, the next one is not for a while.
    pub(crate) fn event_due(&mut self, now: Timestamp) -> bool {
        let due = self.event_at.is_none_or(|last| now < last || now.since(last) >= UNKNOWN_EVENT_EVERY);
        if due {
            self.event_at = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests;
