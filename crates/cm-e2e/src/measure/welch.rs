//! Whether two classes of inputs take different times, in the manner of *dudect* (Reparaz, Balasch, Verbauwhede: "Dude, is my code
//! constant time?", DATE 2017): Welch's t-test on samples whose longest are cut off.
//!
//! With samples `a` and `b` it is `t = (mean(a) - mean(b)) / sqrt(var(a)/len(a) + var(b)/len(b))`. Interrupts and other processes
//! make times longer, never shorter, so the test is made several times over the shorter part of all samples, at cuts that are the
//! same for both classes; the largest magnitude counts.

/// Up to which magnitude of `t` nothing was seen: what leakage assessments of devices go by (ISO/IEC 17825).
const NOTHING: f64 = 4.5;
/// From which magnitude on the classes surely differ: dudect's bound, for which the largest of several tests is taken.
const SURE: f64 = 10.0;
/// The parts of the samples, from the shortest on, over which the test is made.
const PARTS: [f64; 6] = [1.0, 0.99, 0.95, 0.9, 0.75, 0.5];

/// Samples of two classes.
#[derive(Clone, Debug, Default)]
pub struct Classes([Vec<f64>; 2]);

/// How two classes differ.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Contrast {
    /// The value of `t` whose magnitude is the largest; positive if the first class takes longer.
    pub t: f64,
    /// Over which part of the samples it was found.
    pub part: f64,
    /// By how much the means differ there, in the unit of the samples.
    pub difference: f64,
    /// Samples of both classes.
    pub samples: usize,
}

impl Classes {
    /// Adds a sample of the first or the second class.
    pub fn push(&mut self, second: bool, sample: f64) {
        self.0[usize::from(second)].push(sample);
    }

    /// How the classes differ; no number if one of them has fewer than two samples.
    pub fn contrast(&self) -> Contrast {
        let mut all = self.0.concat();
        all.sort_by(f64::total_cmp);
        let samples = all.len();
        let mut found = Contrast { t: f64::NAN, part: 1.0, difference: f64::NAN, samples };
        for part in PARTS {
            let kept = (samples as f64 * part).ceil() as usize;
            let Some(cut) = kept.checked_sub(1).and_then(|at| all.get(at)) else { continue };
            let (t, difference) = welch(&self.below(0, *cut), &self.below(1, *cut));
            if t.is_finite() && (found.t.is_nan() || t.abs() > found.t.abs()) {
                found = Contrast { t, part, difference, samples };
            }
        }
        found
    }

    fn below(&self, class: usize, cut: f64) -> Vec<f64> {
        self.0[class].iter().copied().filter(|sample| *sample <= cut).collect()
    }
}

impl Contrast {
    /// Whether the classes surely differ.
    pub fn is_sure(&self) -> bool {
        self.t.abs() >= SURE
    }

    /// What to make of it.
    pub fn verdict(&self) -> &'static str {
        match self.t.abs() {
            t if t < NOTHING => "no dependence seen",
            t if t < SURE => "unclear: run again on a quiet machine",
            t if t.is_nan() => "too few samples",
            _ => "DEPENDS on the secret",
        }
    }
}

fn welch(a: &[f64], b: &[f64]) -> (f64, f64) {
    let (first, second) = (moments(a), moments(b));
    let difference = first.0 - second.0;
    let spread = (first.1 / a.len() as f64 + second.1 / b.len() as f64).sqrt();
    let t = match difference == 0.0 {
        // Equal means are no difference, even where a clock is so coarse that nothing varies.
        true => 0.0,
        false => difference / spread,
    };
    (t, difference)
}

/// Mean and unbiased variance; no numbers for fewer than two samples.
fn moments(samples: &[f64]) -> (f64, f64) {
    if samples.len() < 2 {
        return (f64::NAN, f64::NAN);
    }
    let mean = samples.iter().sum::<f64>() / samples.len() as f64;
    let squares = samples.iter().map(|sample| (sample - mean).powi(2)).sum::<f64>();
    (mean, squares / (samples.len() - 1) as f64)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The second example of the article "Welch's t-test" of the English Wikipedia: t = -1.57.
    #[test]
    fn a_known_answer() {
        let a = [17.2, 20.9, 22.6, 18.1, 21.7, 21.4, 23.5, 24.2, 14.7, 21.8];
        let b = [
            21.5, 22.8, 21.0, 23.0, 21.6, 23.6, 22.5, 20.7, 23.4, 21.8, 20.7, 21.7, 21.5, 22.5, 23.6, 21.5,
            22.5, 23.5, 21.5, 21.8,
        ];
        let (t, difference) = welch(&a, &b);
        assert!((t + 1.57).abs() < 0.01, "{t}");
        assert!((difference + 1.525).abs() < 0.001, "{difference}");
    }

    /// Numbers without a pattern that matters here (SplitMix64), between 0 and 1.
    fn noise(n: u64) -> f64 {
        let z = n.wrapping_mul(0x9e37_79b9_7f4a_7c15);
        let z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((z ^ (z >> 31)) >> 11) as f64 / (1u64 << 53) as f64
    }

    fn classes(longer: f64) -> Contrast {
        let mut classes = Classes::default();
        for n in 0..4000 {
            let second = noise(3 * n) < 0.5;
            // One sample in twenty is of another process.
            let interrupted = if noise(3 * n + 1) < 0.05 { 1000.0 * noise(n) } else { 0.0 };
            let own = if second { 0.0 } else { longer };
            classes.push(second, 10.0 + noise(3 * n + 2) + own + interrupted);
        }
        classes.contrast()
    }

    #[test]
    fn a_difference_is_seen_through_noise_and_none_is_made_up() {
        let none = classes(0.0);
        assert_eq!(none.verdict(), "no dependence seen", "{none:?}");
        let some = classes(0.2);
        assert!(some.is_sure() && some.t > 0.0, "{some:?}");
        assert!(some.part < 1.0, "the noise hides it from the test over all samples: {some:?}");
        assert!((some.difference - 0.2).abs() < 0.1, "{some:?}");
        assert!(classes(-0.2).t < 0.0);
    }

    #[test]
    fn too_little_is_no_answer_and_no_spread_is_none() {
        let mut classes = Classes::default();
        assert_eq!(classes.contrast().verdict(), "too few samples");
        classes.push(false, 1.0);
        assert!(!classes.contrast().is_sure());
        for _ in 0..4 {
            classes.push(false, 1.0);
            classes.push(true, 1.0);
        }
        assert_eq!(classes.contrast().t, 0.0);
    }
}
