//! Challenges: random numbers that evidence must answer, each once and soon.
//!
//! A challenge is a row in the catalogue's database, so that of all nodes that share one, one accepts its answer. Answering
//! marks the row in the same transaction that finds it; the row stays until it would have ended, so that a replay is
//! told from a challenge that never was. Rows that have ended go along with those that come: they never pile up.

use std::time::Duration;

use cm_crypto::secret::random_bytes;
use cm_db::{Direction, KeyRange, Row, Table, WriteTx};
use cm_types::{PrincipalId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::{Kernel, KernelError, OpContext};

/// Bytes of a challenge: as many as the earlier services' clients expect.
pub const CHALLENGE_LEN: usize = 32;
/// The longest that a challenge may last.
pub const LIFETIME_MAX: Duration = Duration::from_secs(60 * 60);
/// Most challenges of one principal that are remembered at a time, answered or not.
pub const CHALLENGES_MAX: u64 = 10_000;
/// Challenges that have ended and are removed with each new one.
const SWEEP_LEN: usize = 8;

/// The tables of this module.
pub(crate) const TABLES: &[&str] = &[Challenges::NAME, ByEnd::NAME, Counts::NAME];

/// By id.
struct Challenges;

impl Table for Challenges {
    const NAME: &'static str = "challenges";
    type Key = String;
    type Row = Issued;
}

/// In the order in which they end.
struct ByEnd;

impl Table for ByEnd {
    const NAME: &'static str = "challenges_by_end";
    type Key = (Timestamp, String);
    type Row = Ending;
}

/// How many each principal has.
struct Counts;

impl Table for Counts {
    const NAME: &'static str = "challenge_counts";
    type Key = (TenantId, PrincipalId);
    type Row = Count;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Issued {
    tenant: TenantId,
    principal: PrincipalId,
    /// In hexadecimal digits.
    nonce: String,
    expires_at: Timestamp,
    answered: bool,
}

impl Row for Issued {}

/// That a challenge ends; the table's key says it all.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Ending {}

impl Row for Ending {}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Count {
    held: u64,
}

impl Row for Count {}

/// A challenge that was issued.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Challenge {
    /// Its name.
    pub id: Uuid,
    /// The random bytes.
    pub nonce: [u8; CHALLENGE_LEN],
    /// From when on no answer is accepted.
    pub expires_at: Timestamp,
}

/// What became of an attempt to answer a challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answered {
    /// It is the first answer, and in time. There will be no other.
    First(Challenge),
    /// It was answered before.
    Again,
    /// It has ended.
    Late,
    /// There is none of this name, or it is somebody else's.
    Unknown,
}

impl Kernel {
    /// A new challenge for the caller, which lasts so long, at most [`LIFETIME_MAX`].
    ///
    /// # Errors
    /// [`KernelError::Unauthenticated`] for somebody unknown, [`KernelError::TooManyChallenges`].
    pub async fn issue_challenge(&self, op: &OpContext, lasts: Duration) -> Result<Challenge, KernelError> {
        let principal = op.principal().cloned().ok_or(KernelError::Unauthenticated)?;
        let holder = (op.tenant(), principal);
        let (clock, lasts) = (self.clock().clone(), lasts.min(LIFETIME_MAX));
        self.db()
            .write(move |tx| {
                let now = Timestamp::from(clock.now());
                sweep(tx, now)?;
                let held = tx.get::<Counts>(&holder)?.map_or(0, |count| count.held);
                if held >= CHALLENGES_MAX {
                    return Err(KernelError::TooManyChallenges { retry_after: lasts });
                }
                let challenge = Challenge {
                    id: Uuid::new_v4(),
                    nonce: random_bytes::<CHALLENGE_LEN>(),
                    expires_at: now.after(lasts),
                };
                let id = challenge.id.to_string();
                tx.put::<Counts>(&holder, &Count { held: held + 1 })?;
                let (tenant, principal) = holder;
                let nonce = hex::encode(challenge.nonce);
                let expires_at = challenge.expires_at;
                tx.put::<Challenges>(&id, &Issued { tenant, principal, nonce, expires_at, answered: false })?;
                tx.put::<ByEnd>(&(expires_at, id), &Ending {})?;
                Ok(challenge)
            })
            .await
    }

    /// Takes the one answer that a challenge of the caller's may have. Whatever becomes of the answer: the challenge is used.
    pub async fn consume_challenge(&self, op: &OpContext, id: &str) -> Result<Answered, KernelError> {
        let Ok(id) = Uuid::parse_str(id) else { return Ok(Answered::Unknown) };
        let (tenant, principal) = (op.tenant(), op.principal().cloned());
        let clock = self.clock().clone();
        self.db()
            .write(move |tx| {
                let now = Timestamp::from(clock.now());
                let key = id.to_string();
                let Some(issued) = tx.get::<Challenges>(&key)? else { return Ok(Answered::Unknown) };
                if issued.tenant != tenant || Some(&issued.principal) != principal.as_ref() {
                    return Ok(Answered::Unknown);
                }
                if issued.answered {
                    return Ok(Answered::Again);
                }
                if issued.expires_at <= now {
                    return Ok(Answered::Late);
                }
                let mut nonce = [0; CHALLENGE_LEN];
                if hex::decode_to_slice(&issued.nonce, &mut nonce).is_err() {
                    return Ok(Answered::Unknown);
                }
                let expires_at = issued.expires_at;
                tx.put::<Challenges>(&key, &Issued { answered: true, ..issued })?;
                Ok(Answered::First(Challenge { id, nonce, expires_at }))
            })
            .await
    }
}

/// Removes a few challenges that have ended.
fn sweep(tx: &mut WriteTx<'_>, now: Timestamp) -> Result<(), KernelError> {
    for (place, Ending {}) in tx.range::<ByEnd>(KeyRange::all(), Direction::Forward, SWEEP_LEN)? {
        if place.0 > now {
            break;
        }
        tx.delete::<ByEnd>(&place)?;
        let Some(issued) = tx.get::<Challenges>(&place.1)? else { continue };
        tx.delete::<Challenges>(&place.1)?;
        let holder = (issued.tenant, issued.principal);
        match tx.get::<Counts>(&holder)? {
            Some(Count { held }) if held > 1 => tx.put::<Counts>(&holder, &Count { held: held - 1 })?,
            Some(_) => {
                tx.delete::<Counts>(&holder)?;
            }
            None => {}
        }
    }
    Ok(())
}
