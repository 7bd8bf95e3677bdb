//! Products out of prepared randomness (Beaver, "Efficient Multiparty Protocols Using Circuit Randomization", CRYPTO 1991), and its preparation.
//!
//! A triple is `(a, b, a·b)` with random `a`, `b`. With it a product costs two openings, and openings of degree `t` can be corrected: so multiplies the tier `robust`.
//!
//! There, a triple is made out of seeds alone: `a`, `b` and a mask `ρ` in degrees `t` and `2t` are pseudorandom sharings, and `a·b + ρ` is opened in degree `2t`.
//! Among `n ≥ 3t+1` points of that degree `t` wrong ones are always seen, though not corrected. Whoever sees some complains to all; all then
//! announce what their seeds contributed to that one triple, which is thrown away. As each seed is known to `n-t` parties, more than half of them
//! honest, the true contributions come out, and with them what each party should have sent: who sent something else is known to
//! whoever received it. A view without contradictions is a right one, so those who saw none are done.

use std::collections::BTreeSet;

use crate::committee::{Party, Tier};
use crate::error::{Check, MpcError};
use crate::field::{Field, decode, encode};
use crate::keys::Domain;
use crate::reconstruct::decode_all;
use crate::session::Session;
use crate::shared::Shared;

/// Triples that are made at once in the tier `robust`.
const BATCH_MAX: usize = 1 << 14;

/// Where the randomness of a batch came from.
struct Drawn {
    a: u32,
    b: u32,
    mask: u32,
    zero: u32,
    len: usize,
}

impl Session {
    /// Prepares triples ahead of time: they wait in the session until [`Session::multiply_prepared`] uses each of them once.
    ///
    /// # Errors
    ///
    /// What ends a run.
    pub async fn prepare_triples<F: Field>(&mut self, count: usize) -> Result<(), MpcError> {
        let target = self.ledger::<F>().triples.len() + count;
        if self.tier() == Tier::Robust {
            return self.robust_triples::<F>(target).await;
        }
        let a = self.random::<F>(count).await?;
        let b = self.random::<F>(count).await?;
        let c = self.mul(&a, &b).await?;
        self.verify_field::<F>().await?;
        self.store_triples(a.as_slice(), b.as_slice(), c.as_slice(), &BTreeSet::new());
        Ok(())
    }

    /// Makes triples until at least `target` are prepared.
    async fn robust_triples<F: Field>(&mut self, target: usize) -> Result<(), MpcError> {
        loop {
            let missing = target.saturating_sub(self.ledger::<F>().triples.len());
            if missing == 0 {
                return Ok(());
            }
            self.robust_batch::<F>(missing.min(BATCH_MAX)).await?;
        }
    }

    /// How many random bits are prepared.
    pub fn bits_prepared<F: Field>(&mut self) -> usize {
        self.ledger::<F>().bits.len()
    }

    pub(crate) fn store_bits<F: Field>(&mut self, bits: &[F]) {
        self.ledger::<F>().bits.extend(bits);
    }

    pub(crate) fn draw_bits<F: Field>(&mut self, len: usize) -> Shared<F> {
        Shared::from_shares(self.ledger::<F>().bits.drain(..len).collect())
    }

    /// Takes prepared bits out of the session, to be kept for another run.
    pub fn take_bits<F: Field>(&mut self) -> Shared<F> {
        Shared::from_shares(self.ledger::<F>().bits.drain(..).collect())
    }

    /// Brings bits that an earlier run of the same parties prepared and [`Session::take_bits`] took out. Each may be brought once, ever; [`crate::Lease`] sees to it.
    pub fn provide_bits<F: Field>(&mut self, bits: &Shared<F>) {
        self.ledger::<F>().bits.extend(bits.as_slice());
    }

    /// How many triples are prepared.
    pub fn triples_prepared<F: Field>(&mut self) -> usize {
        self.ledger::<F>().triples.len()
    }

    /// Takes prepared triples out of the session, to be kept for another run: `a`, `b` and `c` in a row for each.
    pub fn take_triples<F: Field>(&mut self) -> Shared<F> {
        Shared::from_shares(self.ledger::<F>().triples.drain(..).flatten().collect())
    }

    /// Brings triples that an earlier run of the same parties prepared and [`Session::take_triples`] took out. Each set may be brought once, ever: with
    /// a triple used twice the difference of two secrets is public. [`crate::Lease`] sees to it.
    ///
    /// # Errors
    ///
    /// [`MpcError::Lengths`] unless there are three elements for each.
    pub fn provide_triples<F: Field>(&mut self, triples: &Shared<F>) -> Result<(), MpcError> {
        let (whole, rest) = triples.as_slice().as_chunks::<3>();
        if !rest.is_empty() {
            return Err(MpcError::Lengths { expected: whole.len() * 3, got: triples.len() });
        }
        self.ledger::<F>().triples.extend(whole);
        Ok(())
    }

    /// Products, with prepared triples: two openings and nothing to verify. One round.
    ///
    /// # Errors
    ///
    /// [`MpcError::StockSpent`] when fewer are prepared; [`MpcError::Lengths`]; what ends a run.
    pub async fn multiply_prepared<F: Field>(
        &mut self,
        x: &Shared<F>,
        y: &Shared<F>,
    ) -> Result<Shared<F>, MpcError> {
        y.expect_len(x.len())?;
        let prepared = &mut self.ledger::<F>().triples;
        if prepared.len() < x.len() {
            return Err(MpcError::StockSpent { asked: x.len() as u64, left: prepared.len() as u64 });
        }
        let triples: Vec<[F; 3]> = prepared.drain(..x.len()).collect();
        let column = |place: usize| Shared::from_shares(triples.iter().map(|triple| triple[place]).collect());
        let (a, b, c) = (column(0), column(1), column(2));
        let opened = self.open_unverified(&Shared::concat([&x.sub(&a), &y.sub(&b)])).await?;
        let (d, e) = opened.split_at(x.len());
        let products: Vec<F> = d.iter().zip(e).map(|(&d, &e)| d * e).collect();
        Ok(c.add(&b.scale_by(d)).add(&a.scale_by(e)).add_public(&products))
    }

    /// Products in the tier `robust`: prepares what is missing.
    pub(super) async fn multiply_by_triples<F: Field>(
        &mut self,
        x: &Shared<F>,
        y: &Shared<F>,
    ) -> Result<Shared<F>, MpcError> {
        y.expect_len(x.len())?;
        self.robust_triples::<F>(x.len()).await?;
        self.multiply_prepared(x, y).await
    }

    fn store_triples<F: Field>(&mut self, a: &[F], b: &[F], c: &[F], burnt: &BTreeSet<usize>) {
        let kept = (0..a.len()).filter(|place| !burnt.contains(place));
        let triples: Vec<[F; 3]> = kept.map(|place| [a[place], b[place], c[place]]).collect();
        self.ledger::<F>().triples.extend(triples);
    }

    /// Makes up to `len` triples that are right whatever `t` parties do.
    async fn robust_batch<F: Field>(&mut self, len: usize) -> Result<(), MpcError> {
        let a = self.random::<F>(len).await?;
        let at_a = self.step;
        let b = self.random::<F>(len).await?;
        let at_b = self.step;
        let mask = self.random::<F>(len).await?;
        let at_mask = self.step;
        let zero = self.zeros::<F>(len).await?;
        let drawn = Drawn { a: at_a, b: at_b, mask: at_mask, zero: self.step, len };
        let product = a.as_slice().iter().zip(b.as_slice()).map(|(&a, &b)| a * b).collect();
        let mine = Shared::from_shares(product).add(&mask).add(&zero);
        let step = self.next_step()?;
        for to in self.peers() {
            self.send_elements(to, step, mine.as_slice());
        }
        let mut received = vec![(self.me, mine.as_slice().to_vec())];
        for from in self.peers() {
            received.extend(self.receive_elements(from, step, len).await?.map(|values| (from, values)));
        }
        let mut burnt = BTreeSet::new();
        let opened = loop {
            let (opened, contradiction) = self.decode_batch(&mut received, &burnt)?;
            let complaint =
                contradiction.map_or(u32::MAX, |place| u32::try_from(place).expect("batches are small"));
            let announced = self.announce(&complaint.to_le_bytes()).await?;
            let mut places = BTreeSet::new();
            for (party, said) in announced.iter().enumerate() {
                let Some(Ok(bytes)) = said.as_deref().map(<[u8; 4]>::try_from) else { continue };
                let place = u32::from_le_bytes(bytes) as usize;
                // Whoever complains with reason names a cheater each time, so nobody has reason to do it more than t times.
                if place < len && self.complaints[party] < self.t() {
                    self.complaints[party] += 1;
                    places.insert(place);
                }
            }
            if places.is_empty() {
                break opened;
            }
            let places: Vec<usize> = places.into_iter().collect();
            self.resolve_complaints(&drawn, &places, &received).await?;
            burnt.extend(places);
        };
        let opened = opened.ok_or(MpcError::Cheating(Check::Triples))?;
        let c = mask.neg().add_public(&opened);
        self.store_triples(a.as_slice(), b.as_slice(), c.as_slice(), &burnt);
        Ok(())
    }

    /// The opened values, or the first place at which the points contradict each other.
    fn decode_batch<F: Field>(
        &self,
        received: &mut Vec<(Party, Vec<F>)>,
        burnt: &BTreeSet<usize>,
    ) -> Result<(Option<Vec<F>>, Option<usize>), MpcError> {
        received.retain(|(party, _)| *party == self.me || self.wire.is_good(*party));
        let mut cleaned = received.clone();
        for (_, values) in &mut cleaned {
            for &place in burnt {
                values[place] = F::ZERO;
            }
        }
        let degree = 2 * self.t();
        let views: Vec<(Party, &[F])> =
            cleaned.iter().map(|(party, values)| (*party, values.as_slice())).collect();
        match decode_all(&views, degree, 0) {
            Ok(decoded) => Ok((Some(decoded.values), None)),
            Err(MpcError::WrongShares) => {
                let contradicts = |&place: &usize| {
                    let column: Vec<(Party, &[F])> =
                        views.iter().map(|(party, values)| (*party, &values[place..=place])).collect();
                    decode_all(&column, degree, 0).is_err()
                };
                Ok((None, (0..views[0].1.len()).find(contradicts)))
            }
            Err(error) => Err(error),
        }
    }

    /// All announce their contributions at these places; each party then knows what it should have received from whom.
    async fn resolve_complaints<F: Field>(
        &mut self,
        drawn: &Drawn,
        places: &[usize],
        received: &[(Party, Vec<F>)],
    ) -> Result<(), MpcError> {
        let t = self.t();
        let mut sources =
            vec![(Domain::Random, 0, drawn.a), (Domain::Random, 0, drawn.b), (Domain::Random, 0, drawn.mask)];
        sources.extend((0..Party::at(t).0).map(|power| (Domain::Zero, power, drawn.zero)));
        let sets = self.terms.committee().subsets();
        let mut bytes = Vec::new();
        for &(domain, lane, step) in &sources {
            for contribution in self.contributions::<F>(domain, lane, step, drawn.len, places) {
                encode(&contribution.unwrap_or_else(|| vec![F::ZERO; places.len()]), &mut bytes);
            }
        }
        let count = sources.len() * sets.len() * places.len();
        let announced = self.announce(&bytes).await?;
        let tables: Vec<Option<Vec<F>>> =
            announced.iter().map(|said| said.as_deref().and_then(|bytes| decode(bytes, count))).collect();
        for (number, &place) in places.iter().enumerate() {
            // The contribution of each source and set, by majority of the parties that have the seed.
            let contribution = |source: usize, set: usize| {
                let at = (source * sets.len() + set) * places.len() + number;
                let members = (0..self.n()).filter(|&party| sets[set] >> party & 1 == 1);
                let votes: Vec<F> =
                    members.filter_map(|party| tables[party].as_ref().map(|table| table[at])).collect();
                votes
                    .iter()
                    .copied()
                    .max_by_key(|value| votes.iter().filter(|other| *other == value).count())
                    .unwrap_or_default()
            };
            for (party, values) in received.iter().filter(|(party, _)| *party != self.me) {
                let at = crate::field::point::<F>(party.index());
                let share = |source: usize, factor: F| {
                    let term = |set: usize| {
                        contribution(source, set) * self.contribution_weight::<F>(sets[set], *party) * factor
                    };
                    (0..sets.len()).map(term).fold(F::ZERO, |sum, term| sum + term)
                };
                let zero = (0..t)
                    .map(|power| share(3 + power, at.power(power as u64 + 1)))
                    .fold(F::ZERO, |sum, term| sum + term);
                let due = share(0, F::ONE) * share(1, F::ONE) + share(2, F::ONE) + zero;
                if values[place] != due {
                    self.wire.condemn(*party);
                }
            }
        }
        Ok(())
    }
}
