//! Saying something to everybody so that everybody hears the same.
//!
//! In the tier `malicious-abort` whoever hears something else ends the run (Goldwasser and Lindell, "Secure Computation without Agreement", 2002: an echo
//! of digests). In the tier `robust` there is agreement: Pease, Shostak and Lamport's exponential information gathering ("Reaching
//! Agreement in the Presence of Faults", 1980; in the form of Lynch, "Distributed Algorithms", section 6.2), `t+1` rounds for `n ≥ 3t+1`.

use std::collections::BTreeMap;

use crate::committee::{Party, Tier};
use crate::error::{Check, MpcError};
use crate::field::{Field, encode};
use crate::keys::digest_of;
use crate::session::{CHUNK_BYTES, Session};

/// What was heard, by the chain of parties through whom it came.
type Heard = BTreeMap<Vec<u8>, Option<Vec<u8>>>;

impl Session {
    /// Every party says something to all; everybody learns the same for each of them. `None` for a party that said nothing or contradicted itself.
    /// For the tier `robust`, and for values that are equally long at all honest parties: what has another length is not passed on, so that no cheater makes
    /// frames of others longer than they would be.
    pub(crate) async fn announce(&mut self, mine: &[u8]) -> Result<Vec<Option<Vec<u8>>>, MpcError> {
        let (me, n, rounds) = (self.me, self.n(), self.t() + 1);
        let mut heard = Heard::new();
        let mut said: Heard = [(Vec::new(), Some(mine.to_vec()))].into();
        for _ in 0..rounds {
            let step = self.next_step()?;
            let bytes = pack(said.values(), mine.len());
            for to in self.peers() {
                for (chunk, bytes) in (0u32..).zip(bytes.chunks(CHUNK_BYTES)) {
                    let mut frame = self.wire.frame(to, step, chunk, bytes.len());
                    frame.extend_from_slice(bytes);
                    self.wire.send(to, frame);
                }
            }
            let mut next = Heard::new();
            for from in self.terms.committee().members() {
                // What `from` says is about every chain without it, in order.
                let chains: Vec<Vec<u8>> = if said.keys().next().is_some_and(Vec::is_empty) {
                    vec![Vec::new()]
                } else {
                    heard_chains(&heard, rounds_of(&said))
                        .filter(|chain| !chain.contains(&from.0))
                        .cloned()
                        .collect()
                };
                let values = if from == me {
                    chains.iter().map(|chain| said.get(chain).cloned().flatten()).collect()
                } else {
                    let bytes = self.receive_packed(from, step, chains.len() * (1 + mine.len())).await?;
                    bytes
                        .and_then(|bytes| unpack(&bytes, mine.len()))
                        .unwrap_or_else(|| vec![None; chains.len()])
                };
                for (mut chain, value) in chains.into_iter().zip(values) {
                    chain.push(from.0);
                    next.insert(chain, value);
                }
            }
            said = next
                .iter()
                .filter(|(chain, _)| !chain.contains(&me.0))
                .map(|(chain, value)| (chain.clone(), value.clone()))
                .collect();
            heard.extend(next);
        }
        Ok((0..n).map(|origin| resolve(&heard, vec![Party::at(origin).0], n, rounds)).collect())
    }

    /// What a party says in one round, whose length is known. `None` if it says something else, which nobody honest does.
    async fn receive_packed(&self, from: Party, step: u32, len: usize) -> Result<Option<Vec<u8>>, MpcError> {
        let mut bytes = Vec::new();
        for (chunk, start) in (0u32..).zip((0..len).step_by(CHUNK_BYTES)) {
            let Some(body) = self.wire.receive(from, step, chunk).await? else { return Ok(None) };
            if body.len() != CHUNK_BYTES.min(len - start) {
                self.wire.condemn(from);
                return Ok(None);
            }
            bytes.extend_from_slice(&body);
        }
        Ok(Some(bytes))
    }

    /// A vector of one party, the same for everybody. `None` if it did not say one thing to all; only the tier `robust` goes on then.
    pub(super) async fn announce_elements<F: Field>(
        &mut self,
        from: Party,
        len: usize,
        mine: &[F],
    ) -> Result<Option<Vec<F>>, MpcError> {
        let (me, step) = (self.me, self.next_step()?);
        let received = if from == me {
            for to in self.peers() {
                self.send_elements(to, step, mine);
            }
            Some(mine.to_vec())
        } else {
            self.receive_elements(from, step, len).await?
        };
        self.settle_elements(len, received, Some(from)).await
    }

    /// Everybody holds a vector that should be the same. What comes out is the same for all. If `origin` is given, it is that party's vector or none.
    pub(super) async fn settle_elements<F: Field>(
        &mut self,
        len: usize,
        received: Option<Vec<F>>,
        origin: Option<Party>,
    ) -> Result<Option<Vec<F>>, MpcError> {
        let digest = |values: &[F]| {
            let mut bytes = Vec::new();
            encode(values, &mut bytes);
            digest_of(&[&bytes])
        };
        let mine = received.as_deref().map_or([0; 32], digest);
        match self.tier() {
            Tier::SemiHonest => Ok(received),
            Tier::MaliciousAbort => {
                let step = self.next_step()?;
                for to in self.peers() {
                    let mut frame = self.wire.frame(to, step, 0, 32);
                    frame.extend_from_slice(&mine);
                    self.wire.send(to, frame);
                }
                for from in self.peers() {
                    let theirs =
                        self.wire.receive(from, step, 0).await?.ok_or(MpcError::Lost { party: from })?;
                    if theirs[..] != mine {
                        return Err(MpcError::Cheating(Check::Echo));
                    }
                }
                Ok(received)
            }
            Tier::Robust => {
                let announced = self.announce(&mine).await?;
                let claims = |wanted: &[u8]| {
                    announced.iter().filter(|digest| digest.as_deref() == Some(wanted)).count()
                };
                // What a party of the honest ones holds can be had by all: t+1 say that they hold it.
                let settled = match origin {
                    Some(origin) => announced[origin.index()].clone(),
                    None => announced.iter().flatten().max_by_key(|digest| claims(digest)).cloned(),
                };
                let Some(settled) =
                    settled.filter(|digest| digest[..] != [0; 32] && claims(digest) > self.t())
                else {
                    return Ok(None);
                };
                let step = self.next_step()?;
                let holds = |party: Party| announced[party.index()].as_deref() == Some(&settled[..]);
                let mut result = received.filter(|_| mine[..] == settled[..]);
                if let Some(values) = &result {
                    for to in self.peers().filter(|&to| !holds(to)) {
                        self.send_elements(to, step, values);
                    }
                } else {
                    for from in self.peers().filter(|&from| holds(from)) {
                        let values = self.receive_elements(from, step, len).await?;
                        result = result.or(values.filter(|values| digest(values)[..] == settled[..]));
                    }
                }
                Ok(result)
            }
        }
    }
}

fn rounds_of(said: &Heard) -> usize {
    said.keys().next().map_or(0, Vec::len)
}

fn heard_chains(heard: &Heard, len: usize) -> impl Iterator<Item = &Vec<u8>> {
    heard.keys().filter(move |chain| chain.len() == len)
}

/// What a chain's first party said, by majority of those to whom it was passed on.
fn resolve(heard: &Heard, chain: Vec<u8>, n: usize, rounds: usize) -> Option<Vec<u8>> {
    if chain.len() == rounds {
        return heard.get(&chain).cloned().flatten();
    }
    let mut votes: BTreeMap<Option<Vec<u8>>, usize> = BTreeMap::new();
    let voters = (0..n).map(|party| Party::at(party).0).filter(|party| !chain.contains(party));
    let mut count = 0;
    for voter in voters {
        let mut longer = chain.clone();
        longer.push(voter);
        *votes.entry(resolve(heard, longer, n, rounds)).or_default() += 1;
        count += 1;
    }
    votes.into_iter().find(|&(_, votes)| 2 * votes > count).and_then(|(value, _)| value)
}

/// Each value in as many bytes as every other: whether it is there, and `len` bytes.
fn pack<'a>(values: impl Iterator<Item = &'a Option<Vec<u8>>>, len: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for value in values {
        bytes.push(u8::from(value.is_some()));
        let end = bytes.len() + len;
        bytes.extend_from_slice(value.as_deref().unwrap_or_default());
        bytes.resize(end, 0);
    }
    bytes
}

fn unpack(bytes: &[u8], len: usize) -> Option<Vec<Option<Vec<u8>>>> {
    let value = |packed: &[u8]| match packed.split_first() {
        Some((0, _)) => Some(None),
        Some((1, value)) => Some(Some(value.to_vec())),
        _ => None,
    };
    bytes.chunks_exact(1 + len).map(value).collect()
}
