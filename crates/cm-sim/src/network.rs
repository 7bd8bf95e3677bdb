//! A network that loses, delays, repeats, reorders and parts.

use std::collections::BTreeSet;
use std::time::Duration;

use cm_quorum::Rng;

/// How bad a network is.
#[derive(Clone, Debug)]
pub struct Weather {
    /// How many of a thousand are lost.
    pub lost_per_mille: u64,
    /// How many of a thousand come twice.
    pub twice_per_mille: u64,
    /// The longest that one is under way, but for the few that take long.
    pub delay_max: Duration,
    /// How many of a thousand take up to twenty times as long.
    pub late_per_mille: u64,
}

impl Default for Weather {
    /// A good one.
    fn default() -> Self {
        Self { lost_per_mille: 0, twice_per_mille: 0, delay_max: Duration::from_millis(3), late_per_mille: 0 }
    }
}

/// What becomes of messages between numbered places.
#[derive(Clone, Debug, Default)]
pub struct Network {
    /// How bad it is everywhere.
    pub weather: Weather,
    /// From whom to whom nothing gets.
    cut: BTreeSet<(u64, u64)>,
}

impl Network {
    /// Nothing gets from one to the other any more.
    pub fn cut(&mut self, from: u64, to: u64) {
        self.cut.insert((from, to));
    }

    /// Everything gets everywhere again.
    pub fn heal(&mut self) {
        self.cut.clear();
    }

    /// After how long a message arrives, each time that it does.
    pub fn fates(&self, rng: &mut Rng, from: u64, to: u64) -> Vec<Duration> {
        if self.cut.contains(&(from, to)) || rng.per_mille(self.weather.lost_per_mille) {
            return Vec::new();
        }
        let copies = 1 + usize::from(rng.per_mille(self.weather.twice_per_mille));
        let least = Duration::from_micros(100);
        let delay = |rng: &mut Rng| {
            let factor = if rng.per_mille(self.weather.late_per_mille) { 20 } else { 1 };
            rng.duration(least, self.weather.delay_max * factor)
        };
        (0..copies).map(|_| delay(rng)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn faults_happen_about_as_often_as_they_should() {
        let mut rng = Rng::new(1);
        let weather = Weather { lost_per_mille: 100, twice_per_mille: 200, ..Weather::default() };
        let mut network = Network { weather, ..Network::default() };
        let arrivals: usize = (0..10_000).map(|_| network.fates(&mut rng, 1, 2).len()).sum();
        assert!((10_500..11_100).contains(&arrivals), "{arrivals}");
        network.cut(1, 2);
        assert!((0..100).all(|_| network.fates(&mut rng, 1, 2).is_empty()));
        assert!((0..100).any(|_| !network.fates(&mut rng, 2, 1).is_empty()), "the other way is open");
    }
}
