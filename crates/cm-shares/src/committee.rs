//! Who computes, how many of them may conspire, and against what the computation is protected.

use crate::error::MpcError;

/// Parties of a committee, at most.
pub const PARTIES_MAX: usize = 16;

/// Sets of parties that share a seed, at most: the number of ways to choose `threshold` of all parties. It bounds the work per random number.
pub const SUBSETS_MAX: usize = 500;

/// A party by its number, counted from zero. The point at which its shares are taken is one more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Party(pub u8);

impl Party {
    /// Its place in tables.
    pub fn index(self) -> usize {
        usize::from(self.0)
    }

    pub(crate) fn at(index: usize) -> Self {
        Self(u8::try_from(index).expect("committees have at most sixteen parties"))
    }
}

impl std::fmt::Display for Party {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// `n` parties any `t` of which learn nothing together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Committee {
    parties: u8,
    threshold: u8,
}

impl Committee {
    /// A committee with the largest threshold with which it can multiply: `t = ⌊(n-1)/2⌋`.
    ///
    /// # Errors
    ///
    /// [`MpcError::Committee`] for fewer than one party or more than [`PARTIES_MAX`].
    pub fn of(parties: usize) -> Result<Self, MpcError> {
        Self::with_threshold(parties, parties.saturating_sub(1) / 2)
    }

    /// A committee with a threshold of one's own. With `2t ≥ n` shares can be made, added and put together; [`Terms::new`] refuses to compute.
    ///
    /// # Errors
    ///
    /// [`MpcError::Committee`] unless `t < n ≤` [`PARTIES_MAX`].
    pub fn with_threshold(parties: usize, threshold: usize) -> Result<Self, MpcError> {
        let refused = |need| MpcError::Committee { parties, threshold, need };
        if parties == 0 || parties > PARTIES_MAX {
            return Err(refused("there must be 1 to 16 parties"));
        }
        if threshold >= parties {
            return Err(refused("the threshold must be below the number of parties"));
        }
        Ok(Self { parties: Party::at(parties).0, threshold: Party::at(threshold).0 })
    }

    /// How many parties there are.
    pub fn parties(self) -> usize {
        usize::from(self.parties)
    }

    /// How many of them learn nothing together. One more can put a value together.
    pub fn threshold(self) -> usize {
        usize::from(self.threshold)
    }

    /// All parties in order.
    pub fn members(self) -> impl Iterator<Item = Party> {
        (0..self.parties).map(Party)
    }

    /// The sets of `n - t` parties, as bit masks in ascending order. Every set of `t` parties is missing from one of them.
    pub(crate) fn subsets(self) -> Vec<u32> {
        let size = (self.parties - self.threshold) as u32;
        (0..1u32 << self.parties).filter(|mask| mask.count_ones() == size).collect()
    }
}

/// Against whom a computation is protected. Each result names the tier under which it came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Tier {
    /// Against `t` parties that look but follow the protocol. A party that deviates can falsify results and, by that, learn inputs.
    SemiHonest,
    /// Against `t < n/2` parties that do what they like: they learn nothing and no wrong result opens, but they can prevent a result. The default.
    MaliciousAbort,
    /// Against `t < n/3` parties that do what they like or die: the right result comes, and who sent wrong shares is named.
    Robust,
}

impl Tier {
    /// The tier of this name.
    pub fn parse(name: &str) -> Option<Self> {
        [Self::SemiHonest, Self::MaliciousAbort, Self::Robust].into_iter().find(|tier| tier.as_str() == name)
    }

    /// Its name, as results and configurations carry it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::SemiHonest => "semi-honest",
            Self::MaliciousAbort => "malicious-abort",
            Self::Robust => "robust",
        }
    }
}

impl std::fmt::Display for Tier {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(self.as_str())
    }
}

/// What names one run of one computation: a digest of epoch, job and plan that never repeats.
///
/// Seeds and tags of frames depend on it, so that a frame of another run is recognised and no randomness is ever used in two runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct JobTag(pub [u8; 32]);

/// What all parties of a run agree on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    committee: Committee,
    tier: Tier,
    job: JobTag,
}

impl Terms {
    /// Terms that the committee can keep.
    ///
    /// # Errors
    ///
    /// [`MpcError::Committee`] unless `n ≥ 2t+1`; `robust` takes `n ≥ 3t+1` and `1 ≤ t ≤ 3`, `malicious-abort` takes `t ≥ 1`.
    pub fn new(committee: Committee, tier: Tier, job: JobTag) -> Result<Self, MpcError> {
        let (n, t) = (committee.parties(), committee.threshold());
        let refused = |need| Err(MpcError::Committee { parties: n, threshold: t, need });
        if n < 2 * t + 1 {
            return refused("computing takes more than twice as many parties as the threshold");
        }
        if choices(n, t) > SUBSETS_MAX {
            return refused("there are more than 500 ways to choose that many of the parties");
        }
        match tier {
            Tier::SemiHonest => {}
            Tier::MaliciousAbort if t == 0 => {
                return refused("`malicious-abort` takes a threshold of at least one");
            }
            Tier::MaliciousAbort => {}
            Tier::Robust if t == 0 || t > 3 => return refused("`robust` takes a threshold of 1 to 3"),
            Tier::Robust if n < 3 * t + 1 => {
                return refused(
                    "`robust` takes more than three times as many parties as the threshold (4 for 1)",
                );
            }
            Tier::Robust => {}
        }
        Ok(Self { committee, tier, job })
    }

    /// Who computes.
    pub fn committee(&self) -> Committee {
        self.committee
    }

    /// Against what it is protected.
    pub fn tier(&self) -> Tier {
        self.tier
    }

    /// Which run it is.
    pub fn job(&self) -> JobTag {
        self.job
    }
}

fn choices(n: usize, k: usize) -> usize {
    (0..k).fold(1, |product, i| product * (n - i) / (i + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn terms_that_cannot_be_kept_are_refused() {
        let terms = |n, t, tier| Terms::new(Committee::with_threshold(n, t)?, tier, JobTag([0; 32]));
        for (n, t, tier) in [
            (3, 1, Tier::MaliciousAbort),
            (7, 3, Tier::SemiHonest),
            (4, 1, Tier::Robust),
            (10, 3, Tier::Robust),
            (1, 0, Tier::SemiHonest),
        ] {
            assert!(terms(n, t, tier).is_ok(), "{n} {t} {tier}");
        }
        for (n, t, tier) in [
            (3, 1, Tier::Robust),
            (2, 1, Tier::SemiHonest),
            (3, 3, Tier::SemiHonest),
            (2, 0, Tier::MaliciousAbort),
            (16, 7, Tier::SemiHonest),
            (17, 1, Tier::SemiHonest),
        ] {
            assert!(terms(n, t, tier).is_err(), "{n} {t} {tier}");
        }
        assert_eq!(Committee::of(3).unwrap().threshold(), 1);
        assert_eq!(Committee::of(4).unwrap().threshold(), 1);
        assert_eq!(Committee::of(7).unwrap().threshold(), 3);
    }

    #[test]
    fn tiers_are_known_by_their_names() {
        for tier in [Tier::SemiHonest, Tier::MaliciousAbort, Tier::Robust] {
            assert_eq!(Tier::parse(tier.as_str()), Some(tier));
        }
        assert_eq!(Tier::parse("honest"), None);
    }
}
