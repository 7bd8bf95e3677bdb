//! How records hang together, and what is signed. Everything here is part of the stored format.

use cm_crypto::digest::Sha256;
use cm_crypto::sign::{Signature, SigningKey, VerifyingKey};
use cm_db::Table;
use cm_types::Sha256Digest;

/// How many records lie between checkpoints.
pub const CHECKPOINT_EVERY: u64 = 1000;
/// The tables of the log, for the schema.
pub const TABLES: &[&str] = &[Records::NAME, HeadTable::NAME, Checkpoints::NAME];

const RECORD_DOMAIN: &[u8] = b"cryptomesh event record v1\0";
const HEAD_DOMAIN: &[u8] = b"cryptomesh event head v1\0";
const CHECKPOINT_DOMAIN: &[u8] = b"cryptomesh event checkpoint v1\0";
/// What record 1 is chained to.
pub(crate) const GENESIS: Sha256Digest = Sha256Digest::from_bytes([0; 32]);
/// Version byte of a stored head or checkpoint.
const SIGNED_VERSION: u8 = 1;

/// Number → hash ‖ version ‖ JSON.
pub(crate) struct Records;

impl Table for Records {
    const NAME: &'static str = "events";
    type Key = u64;
    type Row = serde_json::Value;
}

/// The one signed head.
pub(crate) struct HeadTable;

impl Table for HeadTable {
    const NAME: &'static str = "event_head";
    type Key = ();
    type Row = serde_json::Value;
}

/// Number → signed checkpoint.
pub(crate) struct Checkpoints;

impl Table for Checkpoints {
    const NAME: &'static str = "event_checkpoints";
    type Key = u64;
    type Row = serde_json::Value;
}

/// The end of the log at some moment: it stands for every record up to it.
///
/// Its text form, `SEQ:HASH`, fits on a line; kept where the node cannot reach it, it is an anchor for
/// [`crate::verify()`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Head {
    /// The number of the last record.
    pub seq: u64,
    /// Its hash.
    pub hash: Sha256Digest,
}

/// The text is no head.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no head of an event log, expected NUMBER:HASH")]
pub struct InvalidHead(pub String);

impl std::fmt::Display for Head {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}:{}", self.seq, self.hash)
    }
}

impl std::str::FromStr for Head {
    type Err = InvalidHead;

    fn from_str(text: &str) -> Result<Self, InvalidHead> {
        let invalid = || InvalidHead(text.to_owned());
        let (seq, hash) = text.split_once(':').ok_or_else(invalid)?;
        let seq = seq.parse().map_err(|_| invalid())?;
        if seq == 0 {
            return Err(invalid());
        }
        Ok(Head { seq, hash: hash.parse().map_err(|_| invalid())? })
    }
}

/// The keys that a log may be signed with: the node's, and those it had before.
#[derive(Clone, Debug, Default)]
pub struct VerifyingKeys(Vec<VerifyingKey>);

impl VerifyingKeys {
    /// Trusts these keys.
    pub fn new(keys: impl IntoIterator<Item = VerifyingKey>) -> Self {
        Self(keys.into_iter().collect())
    }

    fn verify(&self, message: &[u8], signature: &Signature) -> bool {
        self.0.iter().any(|key| key.verify(message, signature).is_ok())
    }
}

impl From<VerifyingKey> for VerifyingKeys {
    fn from(key: VerifyingKey) -> Self {
        Self(vec![key])
    }
}

/// The hash of a record whose version byte and JSON are `body`.
pub(crate) fn record_hash(previous: &Sha256Digest, seq: u64, body: &[u8]) -> Sha256Digest {
    let mut hash = Sha256::new();
    hash.update(RECORD_DOMAIN);
    hash.update(previous.as_bytes());
    hash.update(&seq.to_be_bytes());
    hash.update(body);
    hash.finish()
}

/// Hash and body of a stored record.
pub(crate) fn split_record(row: &[u8]) -> Option<(Sha256Digest, &[u8])> {
    let (hash, body) = row.split_first_chunk::<32>()?;
    Some((Sha256Digest::from_bytes(*hash), body))
}

/// What a signature is for; a checkpoint's does not do for a head.
#[derive(Clone, Copy)]
pub(crate) enum Purpose {
    Head,
    Checkpoint,
}

fn message(purpose: Purpose, head: &Head) -> Vec<u8> {
    let domain = match purpose {
        Purpose::Head => HEAD_DOMAIN,
        Purpose::Checkpoint => CHECKPOINT_DOMAIN,
    };
    [domain, &[SIGNED_VERSION], &head.seq.to_be_bytes(), head.hash.as_bytes()].concat()
}

/// Version ‖ number ‖ hash ‖ signature.
pub(crate) fn sign(purpose: Purpose, head: &Head, key: &SigningKey) -> Vec<u8> {
    let signature = key.sign(&message(purpose, head));
    [&[SIGNED_VERSION], head.seq.to_be_bytes().as_slice(), head.hash.as_bytes(), signature.as_bytes()]
        .concat()
}

/// The number that a stored head or checkpoint claims, without believing it.
pub(crate) fn claimed_seq(row: &[u8]) -> Option<u64> {
    row.get(1..9)?.try_into().ok().map(u64::from_be_bytes)
}

/// What a stored head or checkpoint says; for rows whose signature was checked before.
pub(crate) fn read_signed(row: &[u8]) -> Option<Head> {
    parse_signed(row).map(|(head, _)| head)
}

/// What a stored head or checkpoint says, if a trusted key signed it.
pub(crate) fn open_signed(purpose: Purpose, row: &[u8], keys: &VerifyingKeys) -> Option<Head> {
    let (head, signature) = parse_signed(row)?;
    keys.verify(&message(purpose, &head), &signature).then_some(head)
}

fn parse_signed(row: &[u8]) -> Option<(Head, Signature)> {
    let (&version, rest) = row.split_first()?;
    let (seq, rest) = rest.split_first_chunk::<8>()?;
    let (hash, signature) = rest.split_first_chunk::<32>()?;
    let signature = Signature::from_slice(signature).ok()?;
    let head = Head { seq: u64::from_be_bytes(*seq), hash: Sha256Digest::from_bytes(*hash) };
    (version == SIGNED_VERSION).then_some((head, signature))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_head_reads_back_what_it_prints() {
        let head = Head { seq: 42, hash: Sha256Digest::from_bytes([7; 32]) };
        assert_eq!(head.to_string().parse::<Head>().unwrap(), head);
        for bad in ["", "42", "x:00", "0:0707", "42:07", &format!("0:{}", head.hash)] {
            assert!(bad.parse::<Head>().is_err(), "{bad:?} was accepted");
        }
    }

    #[test]
    fn a_signature_is_for_one_purpose_and_every_byte() {
        let key = SigningKey::generate();
        let keys = VerifyingKeys::from(key.verifying_key());
        let head = Head { seq: 42, hash: Sha256Digest::from_bytes([7; 32]) };
        let row = sign(Purpose::Head, &head, &key);
        assert_eq!(open_signed(Purpose::Head, &row, &keys), Some(head));
        assert_eq!(open_signed(Purpose::Checkpoint, &row, &keys), None);
        assert_eq!(open_signed(Purpose::Head, &row, &SigningKey::generate().verifying_key().into()), None);
        for at in 0..row.len() {
            for bit in 0..8 {
                let mut row = row.clone();
                row[at] ^= 1 << bit;
                assert_eq!(open_signed(Purpose::Head, &row, &keys), None, "byte {at}, bit {bit}");
            }
        }
        assert_eq!(open_signed(Purpose::Head, &row[..row.len() - 1], &keys), None);
    }

    #[test]
    fn the_chain_is_what_old_logs_hold() {
        let hash = record_hash(&GENESIS, 1, b"\x01{}");
        let bytes = [RECORD_DOMAIN, &[0; 32], &[0, 0, 0, 0, 0, 0, 0, 1], b"\x01{}"].concat();
        assert_eq!(hash, cm_crypto::digest::sha256(&bytes));
    }
}
