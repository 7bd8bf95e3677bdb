//! Seeds that two parties have in common, and the streams of pseudorandom elements that come out of them.

use cm_crypto::Secret;
use cm_crypto::derive::derive_key;
use cm_crypto::digest::Sha256;
use cm_crypto::exchange::{ExchangeKey, PublicExchangeKey};
use cm_crypto::secret::random_bytes;
use cm_crypto::stream::KeyStream;

use crate::committee::{JobTag, Party};
use crate::error::MpcError;
use crate::field::Field;

/// The seeds of one party for one epoch: one with each other party, and one of its own.
#[derive(Clone)]
pub struct Keys {
    me: Party,
    own: Secret<[u8; 32]>,
    pairs: Vec<Secret<[u8; 32]>>,
}

impl Keys {
    /// Agrees with every other party: X25519, then HKDF with the epoch and the numbers of both.
    ///
    /// `publics` holds the key of every party in order, one's own included.
    ///
    /// # Errors
    ///
    /// [`MpcError::Keys`] for a public key that forces a known secret, [`MpcError::Parameter`] if one's own is not in its place.
    pub fn agree(
        me: Party,
        mine: &ExchangeKey,
        publics: &[PublicExchangeKey],
        epoch: u64,
    ) -> Result<Self, MpcError> {
        if publics.get(me.index()) != Some(&mine.public()) {
            return Err(MpcError::Parameter(
                "the key of this party is not in its place among the keys of all",
            ));
        }
        let pairs = publics.iter().enumerate().map(|(index, &peer)| {
            if index == me.index() {
                return Ok(Secret::new([0; 32]));
            }
            let (low, high) = (index.min(me.index()), index.max(me.index()));
            Ok(mine.agree(peer, &format!("cryptomesh/mpc/pair/v1 {epoch} {low} {high}"))?)
        });
        Ok(Self { me, own: Secret::new(random_bytes()), pairs: pairs.collect::<Result<_, MpcError>>()? })
    }

    /// Seeds for rehearsals and tests: everybody can compute them from the number. They protect nothing.
    pub fn rehearsed(parties: usize, number: u64) -> Vec<Self> {
        let seed = |kind: &str, a: usize, b: usize| {
            derive_key(&number.to_le_bytes(), &format!("rehearsal {kind} {} {}", a.min(b), a.max(b)))
        };
        let keys = |me: usize| Self {
            me: Party::at(me),
            own: seed("own", me, me),
            pairs: (0..parties).map(|peer| seed("pair", me, peer)).collect(),
        };
        (0..parties).map(keys).collect()
    }

    /// Whose seeds they are.
    pub fn party(&self) -> Party {
        self.me
    }

    /// How many parties there are.
    pub fn parties(&self) -> usize {
        self.pairs.len()
    }

    pub(crate) fn pair(&self, peer: usize, job: JobTag, purpose: &str) -> Secret<[u8; 32]> {
        for_job(&self.pairs[peer], job, purpose)
    }

    pub(crate) fn own(&self, job: JobTag, purpose: &str) -> Secret<[u8; 32]> {
        for_job(&self.own, job, purpose)
    }
}

impl std::fmt::Debug for Keys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Keys").field("me", &self.me).finish_non_exhaustive()
    }
}

fn for_job(key: &Secret<[u8; 32]>, job: JobTag, purpose: &str) -> Secret<[u8; 32]> {
    let mut material = [0; 64];
    material[..32].copy_from_slice(key.expose());
    material[32..].copy_from_slice(&job.0);
    let material = Secret::new(material);
    derive_key(material.expose(), purpose)
}

/// What a stream is for; streams of different domains never meet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub(crate) enum Domain {
    Deal = 1,
    Random = 2,
    Zero = 3,
    Local = 4,
    Coefficients = 5,
    Challenge = 6,
    Ring = 7,
    Again = 0x80,
}

/// Streams of pseudorandom elements under one seed.
#[derive(Debug)]
pub(crate) struct Stream(KeyStream);

impl Stream {
    pub(crate) fn new(key: &Secret<[u8; 32]>) -> Self {
        Self(KeyStream::new(key))
    }

    /// The elements of one chunk of one step. `lane` tells apart what one step draws from one seed.
    pub(crate) fn elements<F: Field>(
        &self,
        domain: Domain,
        lane: u8,
        step: u32,
        chunk: u32,
        len: usize,
    ) -> Vec<F> {
        let mut bytes = vec![0; len * F::BYTES];
        let mut nonce = [0; 12];
        nonce[0] = domain as u8;
        nonce[1] = lane;
        nonce[2] = F::KIND as u8;
        nonce[4..8].copy_from_slice(&step.to_le_bytes());
        nonce[8..].copy_from_slice(&chunk.to_le_bytes());
        self.0.fill(nonce, &mut bytes);
        let mut rejected = false;
        let mut elements: Vec<F> = bytes
            .chunks_exact(F::BYTES)
            .map(|bytes| {
                F::sample(bytes).unwrap_or_else(|| {
                    rejected = true;
                    F::ZERO
                })
            })
            .collect();
        if rejected {
            // Once in 2^61 draws (2^128 for scalars): the place is drawn again from a stream of its own, so that all numbers stay equally likely.
            nonce[0] |= Domain::Again as u8;
            let mut again = vec![0; bytes.len()];
            self.0.fill(nonce, &mut again);
            for ((element, first), second) in
                elements.iter_mut().zip(bytes.chunks_exact(F::BYTES)).zip(again.chunks_exact(F::BYTES))
            {
                if F::sample(first).is_none() {
                    *element = F::sample(second).unwrap_or_default();
                }
            }
        }
        elements
    }

    /// Words of one chunk of one step.
    pub(crate) fn words(&self, lane: u8, step: u32, chunk: u32, len: usize) -> Vec<u64> {
        let mut bytes = vec![0; len * 8];
        let mut nonce = [0; 12];
        nonce[0] = Domain::Ring as u8;
        nonce[1] = lane;
        nonce[4..8].copy_from_slice(&step.to_le_bytes());
        nonce[8..].copy_from_slice(&chunk.to_le_bytes());
        self.0.fill(nonce, &mut bytes);
        bytes
            .chunks_exact(8)
            .map(|bytes| u64::from_le_bytes(bytes.try_into().expect("chunks of eight")))
            .collect()
    }
}

/// A digest of parts, each with its length.
pub(crate) fn digest_of(parts: &[&[u8]]) -> [u8; 32] {
    let mut digest = Sha256::new();
    for part in parts {
        digest.update_field(part);
    }
    *digest.finish().as_bytes()
}
