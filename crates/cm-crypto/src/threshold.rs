//! Schnorr signatures that several members of a group make together: FROST (RFC 9591) over secp256k1, with the key dealt by the members
//! themselves (Pedersen's distributed key generation with proofs of possession, as in Komlo and Goldberg 2020).
//!
//! Any `threshold` members together can neither sign nor learn the key; one more can sign. Nobody ever holds the key. Nothing here sends
//! anything: [`Dealing`] and [`Dealt`] are the two waits of the key's making, [`KeyShare::commit`] and [`KeyShare::sign`] those of a
//! signature. What a member announces must reach all others unaltered and the same; what it deals to one member is for that one's eyes.
//!
//! Members are numbered from zero.

use std::collections::BTreeMap;

use frost_secp256k1::keys::{KeyPackage, PublicKeyPackage, dkg};
use frost_secp256k1::rand_core::{CryptoRng, Error as RandomError, RngCore};
use frost_secp256k1::{
    CheaterDetection, Error, Identifier, Signature, SigningPackage, VerifyingKey, aggregate_custom, round1,
    round2,
};

use crate::secret::{Secret, fill_random};

/// Bytes of a member's commitments for one signature.
pub const COMMITMENTS_LEN: usize = 2 * POINT_LEN;
/// Bytes of a member's share of a signature.
pub const SIGNATURE_SHARE_LEN: usize = 32;
/// Bytes of a signature: a point, then a number.
pub const SIGNATURE_LEN: usize = POINT_LEN + 32;
/// Bytes of a public key: a compressed point (SEC 1).
pub const GROUP_KEY_LEN: usize = POINT_LEN;
/// Bytes of a compressed point.
const POINT_LEN: usize = 33;
/// Members of a group, at most.
pub const MEMBERS_MAX: u16 = 64;

/// Why no key or no signature comes about.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ThresholdError {
    /// What these members sent is not what the protocol demands of them; there is no doubt about it.
    #[error("members {0:?} did not follow the protocol")]
    Culprits(Vec<u16>),
    /// Bytes that are no key, share or signature; or members that are too few, or not of the group.
    #[error("not what a member of the group sends")]
    Malformed,
    /// The signature was not made over this message by this key.
    #[error("the signature does not match")]
    Signature,
}

/// The randomness of the product in the shape that the library asks for.
struct Random;

impl RngCore for Random {
    fn next_u32(&mut self) -> u32 {
        let mut bytes = [0; 4];
        fill_random(&mut bytes);
        u32::from_le_bytes(bytes)
    }

    fn next_u64(&mut self) -> u64 {
        let mut bytes = [0; 8];
        fill_random(&mut bytes);
        u64::from_le_bytes(bytes)
    }

    fn fill_bytes(&mut self, bytes: &mut [u8]) {
        fill_random(bytes);
    }

    fn try_fill_bytes(&mut self, bytes: &mut [u8]) -> Result<(), RandomError> {
        fill_random(bytes);
        Ok(())
    }
}

impl CryptoRng for Random {}

/// What a member deals to each other member, by the other's number: for that one's eyes.
pub type SharesForOthers = BTreeMap<u16, Secret<Vec<u8>>>;

fn identifier(member: u16) -> Identifier {
    Identifier::try_from(member + 1).expect("a number above zero and far below the order")
}

/// The member that an identifier stands for.
fn member(identifier: &Identifier) -> u16 {
    let bytes = identifier.serialize();
    let low = bytes.last_chunk::<2>().map_or(0, |low| u16::from_be_bytes(*low));
    low.saturating_sub(1)
}

fn refused(error: &Error) -> ThresholdError {
    let culprits: Vec<u16> = error.culprits().iter().map(member).collect();
    if culprits.is_empty() { ThresholdError::Malformed } else { ThresholdError::Culprits(culprits) }
}

/// Reads what each member sent; who sent something else is named.
fn read<T>(
    sent: &BTreeMap<u16, Vec<u8>>,
    read: impl Fn(&[u8]) -> Result<T, Error>,
) -> Result<BTreeMap<Identifier, T>, ThresholdError> {
    let (mut all, mut culprits) = (BTreeMap::new(), Vec::new());
    for (number, bytes) in sent {
        match read(bytes) {
            Ok(value) if *number < MEMBERS_MAX => drop(all.insert(identifier(*number), value)),
            _ => culprits.push(*number),
        }
    }
    if culprits.is_empty() { Ok(all) } else { Err(ThresholdError::Culprits(culprits)) }
}

/// A member's part in the making of a key, before it has heard the others. Erased when dropped.
pub struct Dealing {
    secret: dkg::round1::SecretPackage,
}

impl std::fmt::Debug for Dealing {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dealing(..)")
    }
}

impl Dealing {
    /// A member's part, and what it announces to all. The length of that depends on the threshold alone.
    ///
    /// # Errors
    /// [`ThresholdError::Malformed`] unless `1 ≤ threshold < members ≤` [`MEMBERS_MAX`] and the member is one of them.
    pub fn begin(me: u16, members: u16, threshold: u16) -> Result<(Self, Vec<u8>), ThresholdError> {
        if threshold == 0 || threshold >= members || members > MEMBERS_MAX || me >= members {
            return Err(ThresholdError::Malformed);
        }
        let begun = dkg::part1(identifier(me), members, threshold + 1, Random);
        let (secret, announced) = begun.map_err(|error| refused(&error))?;
        let announced = announced.serialize().map_err(|error| refused(&error))?;
        Ok((Self { secret }, announced))
    }

    /// Goes on with what all others announced: what each of them is dealt.
    ///
    /// # Errors
    /// [`ThresholdError::Culprits`] with those whose announcement is none.
    pub fn deal(
        self,
        announced: &BTreeMap<u16, Vec<u8>>,
    ) -> Result<(Dealt, SharesForOthers), ThresholdError> {
        let announced = read(announced, dkg::round1::Package::deserialize)?;
        let (secret, dealt) = dkg::part2(self.secret, &announced).map_err(|error| refused(&error))?;
        let mut shares = BTreeMap::new();
        for (to, share) in dealt {
            let share = share.serialize().map_err(|error| refused(&error))?;
            shares.insert(member(&to), Secret::new(share));
        }
        Ok((Dealt { secret, announced }, shares))
    }
}

/// A member's part in the making of a key, once it has dealt. Erased when dropped.
pub struct Dealt {
    secret: dkg::round2::SecretPackage,
    announced: BTreeMap<Identifier, dkg::round1::Package>,
}

impl std::fmt::Debug for Dealt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Dealt(..)")
    }
}

impl Dealt {
    /// Ends with what all others dealt to this member.
    ///
    /// # Errors
    /// [`ThresholdError::Culprits`] with whose share does not fit to what they announced.
    pub fn finish(self, dealt: &BTreeMap<u16, Vec<u8>>) -> Result<KeyShare, ThresholdError> {
        let dealt = read(dealt, dkg::round2::Package::deserialize)?;
        let made = dkg::part3(&self.secret, &self.announced, &dealt);
        let (own, group) = made.map_err(|error| refused(&error))?;
        Ok(KeyShare { own, group })
    }
}

/// A member's share of a group's key, with what is public of it. Erased when dropped.
#[derive(Clone)]
pub struct KeyShare {
    own: KeyPackage,
    group: PublicKeyPackage,
}

impl std::fmt::Debug for KeyShare {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("KeyShare").field("group", &self.group_key()).finish_non_exhaustive()
    }
}

/// What a member keeps for one signature. It serves once, and is erased when dropped.
pub struct Nonces(round1::SigningNonces);

impl std::fmt::Debug for Nonces {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Nonces(..)")
    }
}

impl KeyShare {
    /// The bytes to keep, secret: of the share, and of what is public.
    ///
    /// # Errors
    /// [`ThresholdError::Malformed`], never for a share that was made.
    pub fn to_bytes(&self) -> Result<Secret<Vec<u8>>, ThresholdError> {
        let own = Secret::new(self.own.serialize().map_err(|error| refused(&error))?);
        let group = self.group.serialize().map_err(|error| refused(&error))?;
        let len = u32::try_from(own.expose().len()).map_err(|_| ThresholdError::Malformed)?;
        let mut bytes = Vec::with_capacity(4 + own.expose().len() + group.len());
        bytes.extend_from_slice(&len.to_le_bytes());
        bytes.extend_from_slice(own.expose());
        bytes.extend_from_slice(&group);
        Ok(Secret::new(bytes))
    }

    /// Reads what [`KeyShare::to_bytes`] wrote.
    ///
    /// # Errors
    /// [`ThresholdError::Malformed`] for anything else.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, ThresholdError> {
        let malformed = |_| ThresholdError::Malformed;
        let (len, rest) = bytes.split_first_chunk::<4>().ok_or(ThresholdError::Malformed)?;
        let len = usize::try_from(u32::from_le_bytes(*len)).map_err(|_| ThresholdError::Malformed)?;
        let (own, group) = rest.split_at_checked(len).ok_or(ThresholdError::Malformed)?;
        let own = KeyPackage::deserialize(own).map_err(malformed)?;
        let group = PublicKeyPackage::deserialize(group).map_err(malformed)?;
        let is_whole = own.verifying_key() == group.verifying_key()
            && group.verifying_shares().get(own.identifier()) == Some(own.verifying_share());
        if is_whole { Ok(Self { own, group }) } else { Err(ThresholdError::Malformed) }
    }

    /// The key by which everybody verifies signatures of the group.
    pub fn group_key(&self) -> GroupKey {
        GroupKey(*self.group.verifying_key())
    }

    /// Which member's share it is.
    pub fn member(&self) -> u16 {
        member(self.own.identifier())
    }

    /// How many members the group has.
    pub fn members(&self) -> usize {
        self.group.verifying_shares().len()
    }

    /// How many members together cannot sign yet.
    pub fn threshold(&self) -> u16 {
        self.own.min_signers().saturating_sub(1)
    }

    /// Begins a signature: what serves for it once, and what the member announces to all who sign.
    ///
    /// # Errors
    /// [`ThresholdError::Malformed`], never for a share that was made.
    pub fn commit(&self) -> Result<(Nonces, Vec<u8>), ThresholdError> {
        let (nonces, commitments) = round1::commit(self.own.signing_share(), &mut Random);
        let mut announced = Vec::with_capacity(COMMITMENTS_LEN);
        for point in [commitments.hiding(), commitments.binding()] {
            announced.extend_from_slice(&point.serialize().map_err(|error| refused(&error))?);
        }
        Ok((Nonces(nonces), announced))
    }

    fn package(
        &self,
        commitments: &BTreeMap<u16, Vec<u8>>,
        message: &[u8],
    ) -> Result<SigningPackage, ThresholdError> {
        let point = |bytes: &[u8]| round1::NonceCommitment::deserialize(bytes);
        let commitments = read(commitments, |bytes| {
            let (hiding, binding) = bytes.split_at_checked(POINT_LEN).unwrap_or_default();
            Ok(round1::SigningCommitments::new(point(hiding)?, point(binding)?))
        })?;
        let is_of_group = |signer| self.group.verifying_shares().contains_key(signer);
        if commitments.len() <= usize::from(self.threshold()) || !commitments.keys().all(is_of_group) {
            return Err(ThresholdError::Malformed);
        }
        Ok(SigningPackage::new(commitments, message))
    }

    /// The member's share of a signature over the message by those who made these commitments, by member. The member must be one of
    /// them, with the commitments that belong to the nonces.
    ///
    /// # Errors
    /// [`ThresholdError::Culprits`] with those whose commitments are none; [`ThresholdError::Malformed`] if signers are too few, none of
    /// the group, or the member is not among them.
    pub fn sign(
        &self,
        nonces: Nonces,
        commitments: &BTreeMap<u16, Vec<u8>>,
        message: &[u8],
    ) -> Result<Vec<u8>, ThresholdError> {
        let package = self.package(commitments, message)?;
        let share = round2::sign(&package, &nonces.0, &self.own).map_err(|error| refused(&error))?;
        Ok(share.serialize())
    }

    /// The signature, of the shares of all who made the commitments.
    ///
    /// # Errors
    /// [`ThresholdError::Culprits`] with everybody whose share is wrong.
    pub fn join(
        &self,
        commitments: &BTreeMap<u16, Vec<u8>>,
        message: &[u8],
        shares: &BTreeMap<u16, Vec<u8>>,
    ) -> Result<Vec<u8>, ThresholdError> {
        let package = self.package(commitments, message)?;
        let shares = read(shares, round2::SignatureShare::deserialize)?;
        let joined = aggregate_custom(&package, &shares, &self.group, CheaterDetection::AllCheaters);
        joined.and_then(|signature| signature.serialize()).map_err(|error| refused(&error))
    }
}

/// The public key of a group.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct GroupKey(VerifyingKey);

impl std::fmt::Debug for GroupKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "GroupKey({self})")
    }
}

impl std::fmt::Display for GroupKey {
    /// The compressed point in hexadecimal digits.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&hex::encode(self.0.serialize().unwrap_or_default()))
    }
}

impl std::str::FromStr for GroupKey {
    type Err = ThresholdError;

    fn from_str(text: &str) -> Result<Self, ThresholdError> {
        let bytes = hex::decode(text.trim()).map_err(|_| ThresholdError::Malformed)?;
        if bytes.len() != GROUP_KEY_LEN {
            return Err(ThresholdError::Malformed);
        }
        VerifyingKey::deserialize(&bytes).map(Self).map_err(|_| ThresholdError::Malformed)
    }
}

impl GroupKey {
    /// Whether the group signed the message.
    ///
    /// # Errors
    /// [`ThresholdError::Signature`] if not.
    pub fn verify(&self, message: &[u8], signature: &[u8]) -> Result<(), ThresholdError> {
        if signature.len() != SIGNATURE_LEN {
            return Err(ThresholdError::Signature);
        }
        let signature = Signature::deserialize(signature).map_err(|_| ThresholdError::Signature)?;
        self.0.verify(message, &signature).map_err(|_| ThresholdError::Signature)
    }
}

#[cfg(test)]
mod tests;
