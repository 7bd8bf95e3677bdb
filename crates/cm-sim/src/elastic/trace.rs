//! Who reads what, when.

use cm_quorum::Rng;

/// How often objects are read in comparison with each other.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Popularity {
    /// The n-th is read in proportion to `n^-s`.
    Zipf {
        /// The exponent.
        s: f64,
    },
    /// In proportion to a Pareto variable with shape 1, at most so much: as in the published benchmarks of the earlier system.
    Pareto {
        /// The limit.
        most: f64,
    },
    /// Zipf, and for a while everybody reads one object that hardly anybody has read before.
    FlashCrowd {
        /// The exponent of the rest.
        s: f64,
        /// When the crowd comes, in seconds.
        from_secs: f64,
        /// When it has gone, in seconds.
        until_secs: f64,
        /// Its reads in proportion to all others.
        strength: f64,
    },
}

/// A load.
#[derive(Clone, Debug, PartialEq)]
pub struct Trace {
    /// What tables call it.
    pub name: &'static str,
    /// What is read how often.
    pub popularity: Popularity,
    /// Reads in proportion to what all peers together can serve, without the flash crowd.
    pub load: f64,
    /// How long it lasts, in seconds.
    pub secs: f64,
}

/// One read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Read {
    pub(super) at_micros: u64,
    pub(super) object: usize,
}

/// A uniform number in (0, 1).
pub(super) fn uniform(rng: &mut Rng) -> f64 {
    ((rng.number() >> 11) as f64 + 0.5) / (1_u64 << 53) as f64
}

/// The time until the next of events that come so often per second, in seconds.
fn exponential(rng: &mut Rng, rate: f64) -> f64 {
    -uniform(rng).ln() / rate
}

/// The reads of a trace in their order, for objects that keep a peer busy for so many seconds each.
pub(super) fn reads(trace: &Trace, busy_secs: &[f64], peers: usize, rng: &mut Rng) -> Vec<Read> {
    let count = busy_secs.len();
    let mut weights: Vec<f64> = match trace.popularity {
        Popularity::Zipf { s } | Popularity::FlashCrowd { s, .. } => {
            (1..=count).map(|rank| (rank as f64).powf(-s)).collect()
        }
        Popularity::Pareto { most } => (0..count).map(|_| (1.0 / uniform(rng)).min(most)).collect(),
    };
    // So that the first object is not always the most popular one, nor on the same peer.
    for at in (1..count).rev() {
        weights.swap(at, rng.below(at as u64 + 1) as usize);
    }
    let sum: f64 = weights.iter().sum();
    let mean_busy: f64 = weights.iter().zip(busy_secs).map(|(weight, busy)| weight / sum * busy).sum();
    let rate = trace.load * peers as f64 / mean_busy;
    let mut cumulated = weights;
    for at in 1..count {
        cumulated[at] += cumulated[at - 1];
    }
    let mut reads = Vec::new();
    let mut now = 0.0;
    loop {
        now += exponential(rng, rate);
        if now >= trace.secs {
            break;
        }
        let point = uniform(rng) * sum;
        let object = cumulated.partition_point(|upto| *upto < point).min(count - 1);
        reads.push(Read { at_micros: (now * 1e6) as u64, object });
    }
    if let Popularity::FlashCrowd { from_secs, until_secs, strength, .. } = trace.popularity {
        // The last of all ranks is somewhere; any fixed object is as good, and nearly as unpopular.
        let coldest = coldest(&cumulated);
        let mut now = from_secs;
        loop {
            now += exponential(rng, rate * strength);
            if now >= until_secs {
                break;
            }
            reads.push(Read { at_micros: (now * 1e6) as u64, object: coldest });
        }
        reads.sort_by_key(|read| read.at_micros);
    }
    reads
}

fn coldest(cumulated: &[f64]) -> usize {
    let weight = |at: usize| cumulated[at] - if at == 0 { 0.0 } else { cumulated[at - 1] };
    (0..cumulated.len()).min_by(|a, b| weight(*a).total_cmp(&weight(*b))).unwrap_or(0)
}
