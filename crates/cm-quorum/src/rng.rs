//! Random numbers that a seed determines.

use std::time::Duration;

/// SplitMix64 (Steele, Lea and Flood, *Fast Splittable Pseudorandom Number Generators*, 2014). Good enough to spread
/// elections and to choose faults; never for secrets.
#[derive(Clone, Debug)]
pub struct Rng(u64);

impl Rng {
    /// The sequence of a seed.
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// The next number.
    pub fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 if that is 0. The bias is that of a remainder, which no use here notices.
    pub fn below(&mut self, end: u64) -> u64 {
        if end == 0 { 0 } else { self.number() % end }
    }

    /// Whether something happens that happens so often in a thousand times.
    pub fn per_mille(&mut self, chance: u64) -> bool {
        self.below(1000) < chance
    }

    /// A duration from `least`, below `end`, in microseconds.
    pub fn duration(&mut self, least: Duration, end: Duration) -> Duration {
        let micros = |duration: Duration| u64::try_from(duration.as_micros()).unwrap_or(u64::MAX);
        least + Duration::from_micros(self.below(micros(end.saturating_sub(least))))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_determines_the_sequence() {
        let (mut one, mut same, mut other) = (Rng::new(7), Rng::new(7), Rng::new(8));
        let first: Vec<u64> = (0..9).map(|_| one.number()).collect();
        assert!(first.iter().all(|number| *number == same.number()));
        assert!(first.iter().any(|number| *number != other.number()));
        assert!((0..1000).all(|_| one.below(3) < 3) && one.below(0) == 0);
        let (least, end) = (Duration::from_millis(5), Duration::from_millis(6));
        assert!((0..1000).all(|_| (least..end).contains(&one.duration(least, end))));
        assert_eq!(one.duration(end, least), end);
    }
}
