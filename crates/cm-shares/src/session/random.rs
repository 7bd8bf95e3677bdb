//! Shared randomness without a word: pseudorandom secret sharing.
//!
//! Cramer, Damgård and Ishai, "Share Conversion, Pseudorandom Secret-Sharing and Applications to Secure Computation", TCC 2005. Each set of `n-t`
//! parties has a seed that the other `t` do not know; a random value is the sum of what comes out of all seeds, and each party computes its
//! share of it from those that it has. Such sharings are right by construction: there is no dealer who could cheat.

use cm_crypto::Secret;
use cm_crypto::derive::derive_key;

use crate::committee::{Party, Tier};
use crate::error::{Check, MpcError};
use crate::field::{F61, Field, lagrange, point};
use crate::keys::{Domain, Stream, digest_of};
use crate::session::Session;
use crate::session::deal::chunk_elements;
use crate::shared::Shared;

/// The seeds of the sets that a party belongs to.
pub(super) struct Seeds {
    /// All sets, as bit masks in ascending order, with the stream of those that this party belongs to.
    sets: Vec<(u32, Option<Stream>)>,
}

fn holds(set: u32, party: Party) -> bool {
    set >> party.0 & 1 == 1
}

/// The value at `at` of the polynomial that is one at zero and zero at every party outside of the set.
fn weight<F: Field>(set: u32, n: usize, at: F) -> F {
    let mut points = vec![F::ZERO];
    points.extend((0..n).filter(|&index| set >> index & 1 == 0).map(point::<F>));
    lagrange(&points, at)[0]
}

impl Session {
    /// Agrees on the seeds of sets, once a run: the first party of each set sends its seed to the others, and then each two compare what they have
    /// in common. A cheating first party is no danger, for then the set is not the one whose seed `t` cheaters lack.
    async fn agree_on_seeds(&mut self) -> Result<(), MpcError> {
        if self.seeds.is_some() {
            return Ok(());
        }
        let (me, job) = (self.me, self.terms.job());
        let sets = self.terms.committee().subsets();
        let first = |set: u32| Party::at(set.trailing_zeros() as usize);
        let own = self.keys.own(job, "cryptomesh/mpc/sets/v1");
        let seed = |set: u32| derive_key(own.expose(), &format!("set {set}"));
        let step = self.next_step()?;
        for to in self.peers() {
            let common = sets.iter().filter(|&&set| first(set) == me && holds(set, to));
            let bytes: Vec<u8> = common.flat_map(|&set| *seed(set).expose()).collect();
            if !bytes.is_empty() {
                let mut frame = self.wire.frame(to, step, 0, bytes.len());
                frame.extend_from_slice(&bytes);
                self.wire.send(to, frame);
            }
        }
        // In the tier `robust` a seed that was never sent is one that everybody knows: its first party cheats, or is lost.
        let mut keys: Vec<Option<Secret<[u8; 32]>>> =
            sets.iter().map(|&set| holds(set, me).then(|| Secret::new([0; 32]))).collect();
        for from in self.terms.committee().members() {
            let led: Vec<usize> = (0..sets.len())
                .filter(|&place| first(sets[place]) == from && holds(sets[place], me))
                .collect();
            if led.is_empty() {
                continue;
            }
            if from == me {
                for place in led {
                    keys[place] = Some(seed(sets[place]));
                }
                continue;
            }
            match self.wire.receive(from, step, 0).await? {
                Some(body) if body.len() == led.len() * 32 => {
                    for (place, bytes) in led.into_iter().zip(body.chunks_exact(32)) {
                        keys[place] = Some(Secret::new(bytes.try_into().expect("chunks of 32")));
                    }
                }
                _ if self.tier() == Tier::Robust => self.wire.condemn(from),
                _ => return Err(MpcError::Malformed { party: from }),
            }
        }
        match self.tier() {
            Tier::SemiHonest => {}
            Tier::MaliciousAbort => self.compare_seeds(&sets, &keys).await?,
            Tier::Robust => self.settle_seeds(&sets, &mut keys).await?,
        }
        let streams = sets.iter().zip(&keys).map(|(&set, key)| (set, key.as_ref().map(Stream::new)));
        self.seeds = Some(Seeds { sets: streams.collect() });
        Ok(())
    }

    /// Each two parties compare a digest of the seeds that they have in common.
    async fn compare_seeds(
        &mut self,
        sets: &[u32],
        keys: &[Option<Secret<[u8; 32]>>],
    ) -> Result<(), MpcError> {
        let me = self.me;
        let common = |peer: Party| {
            let parts: Vec<&[u8]> = sets
                .iter()
                .zip(keys)
                .filter(|&(&set, _)| holds(set, peer))
                .filter_map(|(_, key)| key.as_ref().map(|key| &key.expose()[..]))
                .collect();
            (!parts.is_empty()).then(|| digest_of(&parts))
        };
        let step = self.next_step()?;
        for to in self.peers() {
            if let Some(digest) = common(to) {
                let mut frame = self.wire.frame(to, step, 0, 32);
                frame.extend_from_slice(&digest);
                self.wire.send(to, frame);
            }
        }
        for from in self.peers().filter(|&party| party != me) {
            let Some(digest) = common(from) else { continue };
            let theirs = self.wire.receive(from, step, 0).await?.ok_or(MpcError::Lost { party: from })?;
            if !cm_crypto::secret::constant_time_eq(&theirs, &digest) {
                return Err(MpcError::Cheating(Check::Seeds));
            }
        }
        Ok(())
    }

    /// Every party announces digests of its seeds. A set about which its members disagree holds a cheater, who knows its seed anyway: from now on
    /// everybody does.
    async fn settle_seeds(
        &mut self,
        sets: &[u32],
        keys: &mut [Option<Secret<[u8; 32]>>],
    ) -> Result<(), MpcError> {
        let digests: Vec<u8> = keys
            .iter()
            .flat_map(|key| {
                key.as_ref()
                    .map_or([0; 16], |key| digest_of(&[key.expose()])[..16].try_into().expect("half of 32"))
            })
            .collect();
        let announced = self.announce(&digests).await?;
        for (place, &set) in sets.iter().enumerate() {
            let digest = |party: &Party| {
                announced[party.index()].as_deref().and_then(|bytes| bytes.get(place * 16..place * 16 + 16))
            };
            let members: Vec<Party> =
                self.terms.committee().members().filter(|&party| holds(set, party)).collect();
            let agreed = members
                .iter()
                .all(|member| digest(member).is_some() && digest(member) == digest(&members[0]));
            if !agreed {
                keys[place] = Some(Secret::new([0; 32]));
            }
        }
        Ok(())
    }

    /// Values that nobody knows, uniformly distributed. No round but the first time.
    ///
    /// # Errors
    ///
    /// What ends a run.
    pub async fn random<F: Field>(&mut self, len: usize) -> Result<Shared<F>, MpcError> {
        self.agree_on_seeds().await?;
        let (step, n) = (self.next_step()?, self.n());
        let at = point::<F>(self.me.index());
        let mut sums = vec![F::ZERO; len];
        for (set, stream) in &self.seeds.as_ref().expect("agreed on above").sets {
            let Some(stream) = stream else { continue };
            let weight = weight::<F>(*set, n, at);
            for (chunk, sums) in (0u32..).zip(sums.chunks_mut(chunk_elements::<F>())) {
                let drawn = stream.elements::<F>(Domain::Random, 0, step, chunk, sums.len());
                for (sum, drawn) in sums.iter_mut().zip(drawn) {
                    *sum += drawn * weight;
                }
            }
        }
        Ok(Shared::from_shares(sums))
    }

    /// Shares of zero of degree `2t`, which hide everything about a product but its value.
    pub(super) async fn zeros<F: Field>(&mut self, len: usize) -> Result<Shared<F>, MpcError> {
        self.agree_on_seeds().await?;
        let (step, n, t) = (self.next_step()?, self.n(), self.t());
        let at = point::<F>(self.me.index());
        let mut sums = vec![F::ZERO; len];
        for (set, stream) in &self.seeds.as_ref().expect("agreed on above").sets {
            let Some(stream) = stream else { continue };
            let mut weight = weight::<F>(*set, n, at);
            for power in 0..Party::at(t).0 {
                weight = weight * at;
                for (chunk, sums) in (0u32..).zip(sums.chunks_mut(chunk_elements::<F>())) {
                    let drawn = stream.elements::<F>(Domain::Zero, power, step, chunk, sums.len());
                    for (sum, drawn) in sums.iter_mut().zip(drawn) {
                        *sum += drawn * weight;
                    }
                }
            }
        }
        Ok(Shared::from_shares(sums))
    }

    /// What each seed contributes to the elements at `places` of a step's random values: per set, in the order of sets; none for sets without this party.
    pub(super) fn contributions<F: Field>(
        &self,
        domain: Domain,
        lane: u8,
        step: u32,
        len: usize,
        places: &[usize],
    ) -> Vec<Option<Vec<F>>> {
        let size = chunk_elements::<F>();
        let draw = |stream: &Stream| {
            let element = |&place: &usize| {
                let (chunk, offset) = (place / size, place % size);
                let drawn =
                    stream.elements::<F>(domain, lane, step, chunk as u32, size.min(len - chunk * size));
                drawn[offset]
            };
            places.iter().map(element).collect()
        };
        let seeds = self.seeds.as_ref().expect("contributions are asked for after something was drawn");
        seeds.sets.iter().map(|(_, stream)| stream.as_ref().map(draw)).collect()
    }

    /// The weight of a set's contribution in a party's share.
    pub(super) fn contribution_weight<F: Field>(&self, set: u32, party: Party) -> F {
        weight(set, self.n(), point(party.index()))
    }

    /// Waits until all peers have come as far as this party: until they have taken everything that was sent before. One round.
    async fn barrier(&mut self) -> Result<(), MpcError> {
        let step = self.next_step()?;
        for to in self.peers() {
            let frame = self.wire.frame(to, step, 0, 0);
            self.wire.send(to, frame);
        }
        for from in self.peers() {
            let said = self.wire.receive(from, step, 0).await?.ok_or(MpcError::Lost { party: from })?;
            if !said.is_empty() {
                return Err(MpcError::Malformed { party: from });
            }
        }
        Ok(())
    }

    /// Randomness that everybody learns at the same time, and nobody before all have done what comes before. Two rounds; for the tier `malicious-abort`.
    ///
    /// The barrier is what makes the second half of that true. Links deliver when they like, so a cheater could keep back a frame for one party while another
    /// one, who needs nothing of it, went on and sent its share of the coin; with that the cheater would know the coin before it chose the frame that the
    /// coin tests. No honest party sends a share now before each other honest one has everything, and `t` shares tell nothing.
    pub(super) async fn coin(&mut self) -> Result<Stream, MpcError> {
        self.barrier().await?;
        let secret = self.random::<F61>(3).await?;
        let opened = self.open_unverified(&secret).await?;
        let mut bytes = Vec::new();
        crate::field::encode(&opened, &mut bytes);
        Ok(Stream::new(&Secret::new(digest_of(&[b"coin", &bytes]))))
    }
}
