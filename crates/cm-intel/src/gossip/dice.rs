//! Choices among peers.

/// A small generator for choices among peers (SplitMix64). Nothing is protected by it; it makes runs repeatable.
#[derive(Clone, Debug)]
pub(super) struct Dice(pub(super) u64);

impl Dice {
    pub(super) fn roll(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// So many of them, any.
    pub(super) fn some<T: Copy>(&mut self, mut of: Vec<T>, count: usize) -> Vec<T> {
        for at in 0..count.min(of.len()) {
            let left = (of.len() - at) as u64;
            of.swap(at, at + usize::try_from(self.roll() % left).unwrap_or(0));
        }
        of.truncate(count);
        of
    }
}
