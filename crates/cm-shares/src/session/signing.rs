//! A key that the parties have together, and signatures by it: FROST (RFC 9591) in the frames of a run.
//!
//! The library wants a channel on which everybody hears the same. That is what [`Session::tell_all`] is: in the tier `robust` by agreement, in the
//! others by an echo that ends the run when two parties heard different things. So whoever sends a wrong share of a signature is
//! found by all who look, and nobody else is blamed for it.
//!
//! A signature is by all parties, or under `robust` by those that are left: who said nothing, says something else of the result, or signs
//! wrongly is left out, and the others sign anew with fresh nonces.

use std::collections::BTreeMap;

use cm_crypto::threshold::{COMMITMENTS_LEN, Dealing, KeyShare, SIGNATURE_SHARE_LEN, ThresholdError};

use crate::committee::{Party, Tier};
use crate::error::{Check, MpcError};
use crate::keys::digest_of;
use crate::session::Session;

/// A signature of the parties.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Signed {
    /// The digest of its own that each signer has announced; `None` for parties that did not sign.
    pub own: Vec<Option<[u8; 32]>>,
    /// The signature, as [`cm_crypto::threshold::GroupKey::verify`] takes it.
    pub signature: Vec<u8>,
}

/// Length of two digests.
const DIGESTS_LEN: usize = 64;

impl Session {
    /// Makes a key of all parties together. As many of them as the committee's threshold can neither sign with it nor learn it. Three rounds.
    ///
    /// All parties must take part, in every tier: who does not is named.
    ///
    /// # Errors
    ///
    /// [`MpcError::Cheated`] with whose part does not fit; [`MpcError::Lost`]; [`MpcError::Parameter`] for a committee whose threshold is zero.
    pub async fn make_key(&mut self) -> Result<KeyShare, MpcError> {
        let no_group = |_| MpcError::Parameter("a key is made by parties with a threshold above zero");
        let (me, n, t) = (self.me.index(), self.n(), self.t());
        let (dealing, mine) = Dealing::begin(number(me), number(n), number(t)).map_err(no_group)?;
        let said = self.tell_all(&mine).await?;
        let mut announced = BTreeMap::new();
        for (at, bytes) in said.into_iter().enumerate().filter(|(at, _)| *at != me) {
            let bytes = bytes.ok_or(MpcError::Lost { party: Party::at(at) })?;
            announced.insert(number(at), bytes);
        }
        let (dealt, shares) = dealing.deal(&announced).map_err(|error| self.blame(&error, Check::Key))?;
        let step = self.next_step()?;
        let mut len = 0;
        for to in self.peers() {
            let share = shares.get(&u16::from(to.0)).expect("each other member is dealt a share").expose();
            len = share.len();
            let mut frame = self.wire.frame(to, step, 0, share.len());
            frame.extend_from_slice(share);
            self.wire.send(to, frame);
        }
        let mut received = BTreeMap::new();
        for from in self.peers() {
            let body = self.wire.receive(from, step, 0).await?.ok_or(MpcError::Lost { party: from })?;
            if body.len() != len {
                return Err(MpcError::Malformed { party: from });
            }
            received.insert(u16::from(from.0), body.to_vec());
        }
        let share = dealt.finish(&received).map_err(|error| self.blame(&error, Check::Key))?;
        // Nobody keeps a key of which another has no share: whoever has none does not come to this point.
        let key = digest_of(&[share.group_key().to_string().as_bytes()]);
        for (at, heard) in self.hear_all(&key).await?.into_iter().enumerate() {
            let party = Party::at(at);
            match heard {
                Some(heard) if heard[..] == key => {}
                Some(_) => return Err(MpcError::Cheated { party, check: Check::Key }),
                None => return Err(MpcError::Lost { party }),
            }
        }
        Ok(share)
    }

    /// Signs a result by a key of these parties. `common` is a digest of what all must have come to; `own` is one of what this party alone has, and
    /// becomes known to all. `message` makes what is signed of the digests of all, `None` for who does not sign.
    ///
    /// # Errors
    ///
    /// [`MpcError::Cheated`] with who says something else of the result, or whose share of the signature is wrong; [`MpcError::Lost`].
    /// Under `robust` only [`MpcError::TooFewShares`], when no more than the threshold are left.
    pub async fn sign(
        &mut self,
        key: &KeyShare,
        common: [u8; 32],
        own: [u8; 32],
        message: impl Fn(&[Option<[u8; 32]>]) -> [u8; 32] + Send,
    ) -> Result<Signed, MpcError> {
        let (me, n, t) = (self.me.index(), self.n(), self.t());
        if key.members() != n || usize::from(key.member()) != me || usize::from(key.threshold()) != t {
            return Err(MpcError::Parameter("the key belongs to other parties"));
        }
        let is_robust = self.tier() == Tier::Robust;
        let mut left: Vec<bool> = vec![true; n];
        // Each attempt that fails leaves out one party or more, of whom at most `t` are to be left out.
        for _ in 0..=t {
            let (nonces, mut mine) = key.commit().map_err(|error| self.blame(&error, Check::Signature))?;
            mine.extend_from_slice(&common);
            mine.extend_from_slice(&own);
            let said = self.tell_all(&mine).await?;
            let (mut commitments, mut owns) = (BTreeMap::new(), vec![None; n]);
            for (at, bytes) in said.into_iter().enumerate() {
                let parts = bytes.as_deref().and_then(|bytes| bytes.split_at_checked(COMMITMENTS_LEN));
                let parts =
                    parts.and_then(|(own, digests)| Some((own, digests.first_chunk::<DIGESTS_LEN>()?)));
                match parts {
                    Some((commitment, digests)) if digests[..32] == common && left[at] => {
                        commitments.insert(number(at), commitment.to_vec());
                        owns[at] = digests.last_chunk::<32>().copied();
                    }
                    Some(_) if left[at] => self.exclude(at, Check::Result, &mut left)?,
                    _ => left[at] = false,
                }
            }
            let (have, need) = (commitments.len(), t + 1);
            if have < need {
                return Err(MpcError::TooFewShares { have, need });
            }
            let message = message(&owns);
            let share = match key.sign(nonces, &commitments, &message) {
                Ok(share) => share,
                Err(error) => {
                    // What is no commitment is so for everybody; all come to the same end.
                    self.exclude_all(&error, &mut left)?;
                    continue;
                }
            };
            // Who hears something else than others sees for itself whether it is right.
            let said = self.hear_all(&share).await?;
            let mut shares = BTreeMap::new();
            for (at, share) in said.into_iter().enumerate() {
                if !left[at] {
                    continue;
                }
                match share.filter(|share| share.len() == SIGNATURE_SHARE_LEN) {
                    Some(share) => drop(shares.insert(number(at), share)),
                    None => left[at] = false,
                }
            }
            if shares.len() < commitments.len() {
                debug_assert!(is_robust, "in other tiers a lost party ends the run");
                continue;
            }
            match key.join(&commitments, &message, &shares) {
                Ok(signature) => return Ok(Signed { own: owns, signature }),
                Err(error) => self.exclude_all(&error, &mut left)?,
            }
        }
        let have = left.iter().filter(|is_left| **is_left).count();
        Err(MpcError::TooFewShares { have, need: n })
    }

    /// Every party says something to all, and everybody hears the same. `None` for a party that said nothing, under `robust` alone; the others end the run.
    async fn tell_all(&mut self, mine: &[u8]) -> Result<Vec<Option<Vec<u8>>>, MpcError> {
        let said = self.hear_all(mine).await?;
        if self.tier() == Tier::Robust {
            return Ok(said);
        }
        let heard: Vec<&[u8]> = said.iter().flatten().map(Vec::as_slice).collect();
        let heard = digest_of(&heard);
        let step = self.next_step()?;
        self.send_all(step, &heard);
        for from in self.peers() {
            let theirs = self.wire.receive(from, step, 0).await?.ok_or(MpcError::Lost { party: from })?;
            if theirs[..] != heard {
                return Err(MpcError::Cheating(Check::Echo));
            }
        }
        Ok(said)
    }

    /// The same, but who lies may tell each party something else; not under `robust`.
    async fn hear_all(&mut self, mine: &[u8]) -> Result<Vec<Option<Vec<u8>>>, MpcError> {
        if self.tier() == Tier::Robust {
            return self.announce(mine).await;
        }
        let step = self.next_step()?;
        let mut said = vec![None; self.n()];
        said[self.me.index()] = Some(mine.to_vec());
        self.send_all(step, mine);
        for from in self.peers() {
            let body = self.wire.receive(from, step, 0).await?.ok_or(MpcError::Lost { party: from })?;
            if body.len() != mine.len() {
                return Err(MpcError::Malformed { party: from });
            }
            said[from.index()] = Some(body.to_vec());
        }
        Ok(said)
    }

    fn send_all(&self, step: u32, bytes: &[u8]) {
        for to in self.peers() {
            let mut frame = self.wire.frame(to, step, 0, bytes.len());
            frame.extend_from_slice(bytes);
            self.wire.send(to, frame);
        }
    }

    /// Goes on without a party that deviated, or ends the run with its name.
    fn exclude(&self, at: usize, check: Check, left: &mut [bool]) -> Result<(), MpcError> {
        let party = Party::at(at);
        self.wire.condemn(party);
        left[at] = false;
        if self.tier() == Tier::Robust { Ok(()) } else { Err(MpcError::Cheated { party, check }) }
    }

    fn exclude_all(&self, error: &ThresholdError, left: &mut [bool]) -> Result<(), MpcError> {
        let ThresholdError::Culprits(culprits) = error else {
            return Err(self.blame(error, Check::Signature));
        };
        for &culprit in culprits {
            self.exclude(usize::from(culprit), Check::Signature, left)?;
        }
        Ok(())
    }

    fn blame(&self, error: &ThresholdError, check: Check) -> MpcError {
        match error {
            ThresholdError::Culprits(culprits) => {
                let party = Party::at(usize::from(culprits.first().copied().unwrap_or_default()));
                self.wire.condemn(party);
                MpcError::Cheated { party, check }
            }
            ThresholdError::Malformed | ThresholdError::Signature => MpcError::Cheating(check),
        }
    }
}

fn number(at: usize) -> u16 {
    u16::try_from(at).expect("committees have at most sixteen parties")
}
