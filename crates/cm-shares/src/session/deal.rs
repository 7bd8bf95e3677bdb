//! Sharing values with all others, and by that the reduction of degrees that makes a product.
//!
//! Gennaro, Rabin and Rabin, "Simplified VSS and Fast-track Multiparty Computations with Applications to Threshold Cryptography", PODC 1998: each of
//! `2t+1` parties shares the product of its shares; the product of the values is a fixed combination of those. `t` shares of each sharing come out
//! of common seeds (Cramer, Damgård and Ishai, TCC 2005, for the principle), so that a party sends `n-t-1` elements per product: one among three parties.

use std::ops::Range;

use crate::committee::Party;
use crate::error::MpcError;
use crate::field::{Field, decode};
use crate::keys::Domain;
use crate::session::ledger::seeded_by;
use crate::session::{CHUNK_BYTES, Session};
use crate::shared::Shared;
use crate::wire::{FRAME_HEADER_BYTES, STEP_FRAMES_MAX};

/// Elements per frame.
pub(super) fn chunk_elements<F: Field>() -> usize {
    CHUNK_BYTES / F::BYTES
}

/// The parts of a long vector, each of which is a step of at most [`STEP_FRAMES_MAX`] frames; one for none.
pub(super) fn step_parts<F: Field>(len: usize) -> impl Iterator<Item = Range<usize>> + use<F> {
    let size = STEP_FRAMES_MAX * chunk_elements::<F>();
    (0..len.div_ceil(size).max(1)).map(move |part| part * size..len.min((part + 1) * size))
}

/// Adds a part to the whole; most often it is the whole.
pub(super) fn append<F: Field>(whole: &mut Vec<F>, mut part: Vec<F>) {
    if whole.is_empty() {
        *whole = part;
    } else {
        whole.append(&mut part);
    }
}

impl Session {
    /// Shares of values whose shares of degree `2t` are computed by `local`, for the places from its first argument on.
    pub(super) async fn reduce_degree<F: Field>(
        &mut self,
        len: usize,
        mut local: impl FnMut(usize, &mut [F]),
    ) -> Result<Shared<F>, MpcError> {
        let dealers: Vec<Party> = (0..2 * self.t() + 1).map(Party::at).collect();
        let weight = self.ledger::<F>().dealing.weight;
        let mut reduced = Vec::new();
        for part in step_parts::<F>(len) {
            let step = self.next_step()?;
            let from_part = |start: usize, out: &mut [F]| local(part.start + start, out);
            let sums = self.deal_out(&dealers, step, part.len(), weight, from_part);
            let sums = self.deal_in(&dealers, step, sums).await?;
            append(&mut reduced, sums);
        }
        Ok(Shared::from_shares(reduced))
    }

    /// Shares of values that one party knows; `local` is asked at that party only. Without protection from a dealer that cheats.
    pub(super) async fn deal<F: Field>(
        &mut self,
        dealer: Party,
        len: usize,
        values: &[F],
    ) -> Result<Shared<F>, MpcError> {
        let mut dealt = Vec::new();
        for part in step_parts::<F>(len) {
            let step = self.next_step()?;
            let copy = |start: usize, out: &mut [F]| {
                let (start, len) = (part.start + start, out.len());
                out.copy_from_slice(&values[start..start + len]);
            };
            let sums = self.deal_out(&[dealer], step, part.len(), F::ONE, copy);
            let sums = self.deal_in(&[dealer], step, sums).await?;
            append(&mut dealt, sums);
        }
        Ok(Shared::from_shares(dealt))
    }

    /// Sends shares chunk by chunk, and adds up those which need no sending.
    fn deal_out<F: Field>(
        &mut self,
        dealers: &[Party],
        step: u32,
        len: usize,
        weight: F,
        mut local: impl FnMut(usize, &mut [F]),
    ) -> Vec<F> {
        let (me, n, t) = (self.me, self.n(), self.t());
        let deals = dealers.contains(&me);
        let seeding: Vec<Party> = dealers
            .iter()
            .copied()
            .filter(|&dealer| seeded_by(dealer, n, t).any(|party| party == me))
            .collect();
        let dealing = &F::ledger(&mut self.ledgers).dealing;
        let size = chunk_elements::<F>();
        let mut sums = vec![F::ZERO; len];
        let mut secrets = vec![F::ZERO; size.min(len)];
        for (chunk, sums) in (0u32..).zip(sums.chunks_mut(size)) {
            if deals {
                let secrets = &mut secrets[..sums.len()];
                local(chunk as usize * size, secrets);
                let draw = |peer: &Party| {
                    self.pairs[peer.index()].elements::<F>(Domain::Deal, me.0, step, chunk, sums.len())
                };
                let seeded: Vec<Vec<F>> = dealing.seeded.iter().map(draw).collect();
                for (party, row) in &dealing.rows {
                    let first = row[0] * weight;
                    let share = |place: usize| {
                        let mut sum = F::accumulate(F::Wide::default(), first, secrets[place]);
                        for (&weight, seeded) in row[1..].iter().zip(&seeded) {
                            sum = F::accumulate(sum, weight, seeded[place]);
                        }
                        F::reduce(sum)
                    };
                    if *party == me {
                        for (place, sum) in sums.iter_mut().enumerate() {
                            *sum += share(place);
                        }
                    } else {
                        let mut frame = self.wire.frame(*party, step, chunk, sums.len() * F::BYTES);
                        frame.resize(FRAME_HEADER_BYTES + sums.len() * F::BYTES, 0);
                        for (place, bytes) in
                            frame[FRAME_HEADER_BYTES..].chunks_exact_mut(F::BYTES).enumerate()
                        {
                            share(place).write(bytes);
                        }
                        self.wire.send(*party, frame);
                    }
                }
            }
            for dealer in &seeding {
                let seeded =
                    self.pairs[dealer.index()].elements::<F>(Domain::Deal, dealer.0, step, chunk, sums.len());
                for (sum, seeded) in sums.iter_mut().zip(seeded) {
                    *sum += seeded;
                }
            }
        }
        sums
    }

    /// Adds the shares that dealers send.
    async fn deal_in<F: Field>(
        &mut self,
        dealers: &[Party],
        step: u32,
        mut sums: Vec<F>,
    ) -> Result<Vec<F>, MpcError> {
        let (me, n, t) = (self.me, self.n(), self.t());
        let sends = |dealer: Party| dealer != me && seeded_by(dealer, n, t).all(|party| party != me);
        let senders: Vec<Party> = dealers.iter().copied().filter(|&dealer| sends(dealer)).collect();
        for (chunk, sums) in (0u32..).zip(sums.chunks_mut(chunk_elements::<F>())) {
            for &from in &senders {
                let body =
                    self.wire.receive(from, step, chunk).await?.ok_or(MpcError::Lost { party: from })?;
                if body.len() != sums.len() * F::BYTES {
                    return Err(MpcError::Malformed { party: from });
                }
                for (sum, bytes) in sums.iter_mut().zip(body.chunks_exact(F::BYTES)) {
                    *sum += F::read(bytes).ok_or(MpcError::Malformed { party: from })?;
                }
            }
        }
        Ok(sums)
    }

    /// Sends elements to a party, chunk by chunk.
    pub(super) fn send_elements<F: Field>(&self, to: Party, step: u32, values: &[F]) {
        for (chunk, values) in (0u32..).zip(values.chunks(chunk_elements::<F>())) {
            let mut frame = self.wire.frame(to, step, chunk, values.len() * F::BYTES);
            crate::field::encode(values, &mut frame);
            self.wire.send(to, frame);
        }
    }

    /// Takes `len` elements from a party. `None` for one that is lost or sends what are none, in the tier that survives it.
    pub(super) async fn receive_elements<F: Field>(
        &self,
        from: Party,
        step: u32,
        len: usize,
    ) -> Result<Option<Vec<F>>, MpcError> {
        let mut values = Vec::with_capacity(len);
        for (chunk, start) in (0u32..).zip((0..len).step_by(chunk_elements::<F>())) {
            let Some(body) = self.wire.receive(from, step, chunk).await? else { return Ok(None) };
            match decode::<F>(&body, chunk_elements::<F>().min(len - start)) {
                Some(chunk) => values.extend(chunk),
                None if self.tier() == crate::Tier::Robust => {
                    self.wire.condemn(from);
                    return Ok(None);
                }
                None => return Err(MpcError::Malformed { party: from }),
            }
        }
        Ok(Some(values))
    }
}
