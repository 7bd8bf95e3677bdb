//! Weighted rendezvous hashing, spread over failure domains.
//!
//! Each peer draws a lot for each digest: `-ln(u) / capacity` with `u` uniform in (0, 1), derived from both of their
//! names; the least wins. The draws are exponential variables whose rate is the capacity, so a peer wins in proportion to
//! its capacity, and nobody's draw depends on who else takes part (Schindelhauer and Schomaker, "Weighted Distributed
//! Hash Tables", 2005). The logarithm and the comparison are done in integers: floating-point logarithms differ in their
//! last bits between machines, and two nodes would disagree about a holder.
//!
//! For spread, the first of every domain comes before the second of any. A change of one peer replaces at most one
//! holder of a digest, and by or for that peer only: within a domain the others keep their order, and between domains
//! only the least of the chosen gives way.

use std::cmp::Ordering;
use std::collections::HashMap;

use cm_types::{PeerId, Sha256Digest};

use crate::{Domain, Layout, PeerState};

/// Bits after the point of the logarithm.
const FRACTION_BITS: u32 = 32;

impl Layout {
    /// The active peers that hold what has this digest, `count` of them or all that there are, the best first. The
    /// shards of an erasure code are first written in this order.
    ///
    /// With as many failure domains as holders, no two are in the same one; with fewer, each domain holds nearly as
    /// many as any other. One holder alone is chosen in proportion to capacity. The more of the peers or domains are
    /// chosen at once, the more evenly they are chosen whatever their capacities: three domains that each must hold a
    /// copy hold equally much.
    ///
    /// A digest is public: whoever chooses contents can choose where they go.
    pub fn holders(&self, digest: &Sha256Digest, count: usize) -> Vec<&PeerId> {
        let active = self.peers().filter(|(_, peer)| peer.state == PeerState::Active);
        let mut lots: Vec<Lot<'_>> = active
            .map(|(id, peer)| Lot {
                draw: negative_log2(mix(id, digest)),
                capacity_bytes: peer.capacity_bytes,
                id,
                domain: &peer.domain,
                turn: 0,
            })
            .collect();
        lots.sort_by(Lot::compare);
        let mut turns: HashMap<&Domain, usize> = HashMap::new();
        for lot in &mut lots {
            let turn = turns.entry(lot.domain).or_default();
            lot.turn = *turn;
            *turn += 1;
        }
        // Stable: within a turn the order of draws remains.
        lots.sort_by_key(|lot| lot.turn);
        lots.into_iter().take(count).map(|lot| lot.id).collect()
    }
}

struct Lot<'a> {
    draw: u64,
    capacity_bytes: u64,
    id: &'a PeerId,
    domain: &'a Domain,
    /// How many of the same domain come before.
    turn: usize,
}

impl Lot<'_> {
    /// By `draw / capacity`, exactly.
    fn compare(&self, other: &Self) -> Ordering {
        let mine = u128::from(self.draw) * u128::from(other.capacity_bytes);
        let theirs = u128::from(other.draw) * u128::from(self.capacity_bytes);
        mine.cmp(&theirs).then_with(|| self.id.cmp(other.id))
    }
}

/// A uniform number from the names of both. Digests are uniform already; the rest only has to be independent of peers.
fn mix(peer: &PeerId, digest: &Sha256Digest) -> u64 {
    // FNV-1a over the name, each step's result then finished as in SplitMix64.
    let name = peer.as_str().bytes().fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let words = digest.as_bytes().chunks_exact(8);
    words.fold(finish(name), |hash, word| {
        let word = u64::from_le_bytes(word.try_into().expect("the pieces have eight bytes"));
        finish(hash.wrapping_add(0x9e37_79b9_7f4a_7c15) ^ word)
    })
}

fn finish(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// `-log2((x + ½) / 2^64)` with [`FRACTION_BITS`] bits after the point, rounded down: the digits of the logarithm one
/// by one, by squaring.
fn negative_log2(x: u64) -> u64 {
    // 65 bits, odd: the half keeps the argument from zero and below one.
    let x = (u128::from(x) << 1) | 1;
    let whole = 127 - x.leading_zeros();
    // Normalised to [1, 2) with 63 bits after the point.
    let mut mantissa = if whole > 63 { x >> (whole - 63) } else { x << (63 - whole) };
    let mut log = u64::from(whole);
    for _ in 0..FRACTION_BITS {
        mantissa = (mantissa * mantissa) >> 63;
        let digit = mantissa >> 64;
        log = (log << 1) | u64::from(digit == 1);
        mantissa >>= digit;
    }
    (65 << FRACTION_BITS) - log
}

#[cfg(test)]
mod tests;
