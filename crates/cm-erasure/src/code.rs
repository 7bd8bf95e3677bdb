//! Cutting and joining.

use std::collections::BTreeMap;

use cm_crypto::digest;
use cm_placement::Redundancy;
use cm_types::Sha256Digest;

use crate::shard::shard_len;
use crate::{ErasureError, Shard};

/// Longest chunk.
const CHUNK_LEN_MAX: usize = 256 << 20;
/// How many ways to join shards are tried until they are called inconsistent. First come neighbours, beginning with each shard in turn: one
/// liar is always left out by some of them, if there is one shard more than needed. The rest is for more liars; it finds two of
/// five in 3+2.
pub const TRIALS_MAX: usize = 128;

/// A code of `data` shards, any `data` of all `data + parity` being enough.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Code {
    data: u8,
    parity: u8,
}

/// A chunk that was put together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decoded {
    /// Its bytes; their digest is that of the chunk.
    pub bytes: Vec<u8>,
    /// The numbers of shards that agree with themselves and not with the chunk: their holders lie, or were lied to.
    pub false_shards: Vec<usize>,
}

impl Code {
    /// The code of a redundancy of k+m.
    ///
    /// # Errors
    /// [`ErasureError::NoCode`] if it is one of whole copies.
    pub fn new(redundancy: Redundancy) -> Result<Self, ErasureError> {
        let (data, parity) = redundancy.shards().ok_or(ErasureError::NoCode)?;
        let byte = |count: usize| u8::try_from(count).expect("a redundancy has at most 64 holders");
        Ok(Self { data: byte(data), parity: byte(parity) })
    }

    fn data(self) -> usize {
        self.data.into()
    }

    fn parity(self) -> usize {
        self.parity.into()
    }

    fn width(self) -> usize {
        self.data() + self.parity()
    }

    /// Cuts a chunk, whose digest the caller has computed already, into all of its shards, by number. Takes time in proportion to the
    /// bytes: not for the runtime's threads.
    ///
    /// # Errors
    /// [`ErasureError::TooLong`].
    pub fn encode(self, chunk: Sha256Digest, bytes: &[u8]) -> Result<Vec<Shard>, ErasureError> {
        let too_long = || ErasureError::TooLong { len: bytes.len(), max: CHUNK_LEN_MAX };
        if bytes.len() > CHUNK_LEN_MAX {
            return Err(too_long());
        }
        let chunk_len = u32::try_from(bytes.len()).map_err(|_| too_long())?;
        let len = shard_len(bytes.len(), self.data());
        let pieces = (0..self.data()).map(|number| {
            let begin = (number * len).min(bytes.len());
            let mut piece = bytes[begin..(begin + len).min(bytes.len())].to_vec();
            piece.resize(len, 0);
            piece
        });
        let mut pieces: Vec<_> = pieces.collect();
        pieces.extend(self.parity_of(&pieces));
        let shard =
            |(number, bytes)| Shard { data: self.data, parity: self.parity, number, chunk_len, chunk, bytes };
        Ok((0..).zip(pieces).map(shard).collect())
    }

    fn parity_of(self, pieces: &[Vec<u8>]) -> Vec<Vec<u8>> {
        reed_solomon_simd::encode(self.data(), self.parity(), pieces)
            .expect("all pieces have the same even length, and a redundancy is within the limits of the code")
    }

    /// Puts a chunk together from any of its shards, in any order. Shards of other chunks, codes or lengths are passed over, as are
    /// repetitions. As long as the data shards are there and true, this only copies and compares.
    ///
    /// # Errors
    /// [`ErasureError::TooFew`], or [`ErasureError::Inconsistent`] if no trial of [`TRIALS_MAX`] gave the chunk.
    pub fn decode(
        self,
        chunk: &Sha256Digest,
        chunk_len: usize,
        shards: &[Shard],
    ) -> Result<Decoded, ErasureError> {
        let mut by_number: BTreeMap<usize, &Shard> = BTreeMap::new();
        for shard in shards {
            let fits = (shard.data, shard.parity) == (self.data, self.parity)
                && shard.chunk == *chunk
                && shard.chunk_len() == chunk_len
                && shard.bytes.len() == shard_len(chunk_len, self.data());
            if fits {
                by_number.entry(shard.number()).or_insert(shard);
            }
        }
        let there: Vec<&Shard> = by_number.into_values().collect();
        if there.len() < self.data() {
            return Err(ErasureError::TooFew { found: there.len(), needed: self.data() });
        }
        for chosen in choices(self.data(), there.len()).take(TRIALS_MAX) {
            let pieces = self.join(chosen.iter().map(|at| there[*at]));
            let mut bytes = pieces.concat();
            let padding = bytes.split_off(chunk_len);
            // What pads the last shards is part of no digest but theirs, and parity follows from it.
            if padding.iter().all(|byte| *byte == 0) && digest::sha256(&bytes) == *chunk {
                let all_chosen = chosen.len() == there.len();
                let false_shards =
                    if all_chosen { Vec::new() } else { self.false_shards(pieces, &there, &chosen) };
                return Ok(Decoded { bytes, false_shards });
            }
        }
        Err(ErasureError::Inconsistent(*chunk))
    }

    /// The data pieces that follow from exactly as many shards.
    fn join<'a>(self, shards: impl Iterator<Item = &'a Shard>) -> Vec<Vec<u8>> {
        let (original, recovery): (Vec<_>, Vec<_>) = shards.partition(|shard| shard.number() < self.data());
        let given: BTreeMap<usize, &Shard> =
            original.into_iter().map(|shard| (shard.number(), shard)).collect();
        let mut restored = if recovery.is_empty() {
            Default::default()
        } else {
            let original = given.iter().map(|(number, shard)| (*number, &shard.bytes));
            let recovery = recovery.iter().map(|shard| (shard.number() - self.data(), &shard.bytes));
            reed_solomon_simd::decode(self.data(), self.parity(), original, recovery)
                .expect("as many different shards of one length as are needed were given")
        };
        let piece = |number| match given.get(&number) {
            Some(shard) => shard.bytes.clone(),
            None => restored.remove(&number).expect("what was not given was restored"),
        };
        (0..self.data()).map(piece).collect()
    }

    /// Which of the shards do not follow from the true pieces.
    fn false_shards(self, mut pieces: Vec<Vec<u8>>, there: &[&Shard], chosen: &[usize]) -> Vec<usize> {
        let not_chosen =
            || there.iter().enumerate().filter(|(at, _)| !chosen.contains(at)).map(|(_, shard)| shard);
        if not_chosen().any(|shard| shard.number() >= self.data()) {
            pieces.extend(self.parity_of(&pieces));
        }
        not_chosen()
            .filter(|shard| pieces[shard.number()] != shard.bytes)
            .map(|shard| shard.number())
            .collect()
    }

    /// Makes one shard anew from others of its chunk.
    ///
    /// # Errors
    /// [`ErasureError::Number`], and as [`Code::decode`].
    pub fn rebuild(
        self,
        chunk: &Sha256Digest,
        chunk_len: usize,
        shards: &[Shard],
        number: usize,
    ) -> Result<Shard, ErasureError> {
        if number >= self.width() {
            return Err(ErasureError::Number { number, width: self.width() });
        }
        let decoded = self.decode(chunk, chunk_len, shards)?;
        let mut all = self.encode(*chunk, &decoded.bytes)?;
        Ok(all.swap_remove(number))
    }
}

/// Choices of `len` out of `count`, sorted: neighbours first, the last and the first being neighbours too, then all in the
/// order of dictionaries.
fn choices(len: usize, count: usize) -> impl Iterator<Item = Vec<usize>> {
    let neighbours = (0..count).map(move |begin| {
        let mut chosen: Vec<usize> = (0..len).map(|offset| (begin + offset) % count).collect();
        chosen.sort_unstable();
        chosen
    });
    let first: Vec<usize> = (0..len).collect();
    neighbours.chain(std::iter::successors(Some(first), move |chosen| following(chosen, count)))
}

/// The choice after this one; `None` after the last.
fn following(chosen: &[usize], count: usize) -> Option<Vec<usize>> {
    let len = chosen.len();
    let at = (0..len).rev().find(|at| chosen[*at] < count - len + at)?;
    let mut next = chosen.to_vec();
    for (offset, place) in next[at..].iter_mut().enumerate() {
        *place = chosen[at] + 1 + offset;
    }
    Some(next)
}

#[cfg(test)]
mod tests;
