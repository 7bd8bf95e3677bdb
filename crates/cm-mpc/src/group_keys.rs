//! Keys that parties have together, for signing results: this node's shares of them, sealed to its own key.

use cm_computation::{Agreed, PlannedParty, SignatureKey};
use cm_crypto::seal::{open_message, seal_message};
use cm_crypto::threshold::KeyShare;
use cm_db::{Direction, KeyRange, Row, Table};
use cm_net::PeerKey;
use cm_types::{Sha256Digest, Timestamp};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::party::Signing;
use crate::{ComputationError, Computations};

/// Keys of groups that a node has shares of, at most.
pub const GROUP_KEYS_MAX: usize = 10_000;

pub(crate) struct GroupKeys;

impl Table for GroupKeys {
    const NAME: &'static str = "group_keys";
    type Key = String;
    type Row = GroupKeyRow;
}

/// A share of a key, by the key's public part in hexadecimal digits.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct GroupKeyRow {
    /// The members, by number: name and key of links.
    members: Vec<(String, Sha256Digest)>,
    threshold: u16,
    /// The run in which it was made.
    run: Uuid,
    made_at: Timestamp,
    /// This node's share, sealed to its key for shares; hexadecimal digits.
    sealed: String,
}

impl Row for GroupKeyRow {}

/// A key that this node has a share of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HeldKey {
    /// Its public part in hexadecimal digits: what results are verified by.
    pub key: String,
    /// The parties that have it together, by number.
    pub parties: Vec<String>,
    /// As many of them can neither sign nor learn it together.
    pub threshold: u16,
    /// The run in which they made it.
    pub run: Uuid,
    /// When.
    pub made_at: Timestamp,
}

/// By which key a result is to be signed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sign {
    /// The newest that exactly these parties have with this threshold, or a fresh one.
    Any,
    /// One that they make in the run.
    Fresh,
    /// This one, by its public part.
    Group(String),
}

fn members(parties: &[PlannedParty]) -> Vec<(String, Sha256Digest)> {
    parties.iter().map(|party| (party.name.clone(), party.link_key)).collect()
}

/// What the sealed bytes are, so that a share does not open in the place of another.
fn aad(key: &str, link_key: PeerKey) -> Vec<u8> {
    format!("cryptomesh share of a group's key v1 {key} {link_key}").into_bytes()
}

impl Computations {
    async fn group_key_rows(&self) -> Result<Vec<(String, GroupKeyRow)>, ComputationError> {
        let read = |tx: &cm_db::ReadTx<'_>| {
            tx.range::<GroupKeys>(KeyRange::all(), Direction::Forward, GROUP_KEYS_MAX)
        };
        Ok(self.0.journal.db().read(read).await?)
    }

    /// The keys that this node has shares of, the oldest first. Whoever calls this has asked the policy.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn group_keys(&self) -> Result<Vec<HeldKey>, ComputationError> {
        let held = |(key, row): (String, GroupKeyRow)| HeldKey {
            key,
            parties: row.members.into_iter().map(|(name, _)| name).collect(),
            threshold: row.threshold,
            run: row.run,
            made_at: row.made_at,
        };
        let mut keys: Vec<HeldKey> = self.group_key_rows().await?.into_iter().map(held).collect();
        keys.sort_by_key(|key| key.made_at);
        Ok(keys)
    }

    /// The key that a plan is to name.
    pub(crate) async fn choose_key(
        &self,
        sign: Sign,
        parties: &[PlannedParty],
        threshold: usize,
    ) -> Result<SignatureKey, ComputationError> {
        match sign {
            Sign::Fresh => Ok(SignatureKey::Fresh),
            Sign::Group(key) => Ok(SignatureKey::Group(key.to_ascii_lowercase())),
            Sign::Any => {
                let members = members(parties);
                let fits =
                    |row: &GroupKeyRow| row.members == members && usize::from(row.threshold) == threshold;
                let rows = self.group_key_rows().await?.into_iter().filter(|(_, row)| fits(row));
                let newest = rows.max_by_key(|(_, row)| row.made_at);
                Ok(newest.map_or(SignatureKey::Fresh, |(key, _)| SignatureKey::Group(key)))
            }
        }
    }

    /// How this node signs what it comes to with the other parties of a plan.
    ///
    /// # Errors
    /// [`ComputationError::NoGroupKey`] and [`ComputationError::OtherGroup`] when it cannot.
    pub(crate) async fn signing_for(&self, agreed: &Agreed) -> Result<Option<Signing>, ComputationError> {
        let key = match &agreed.plan().signature {
            None => return Ok(None),
            Some(SignatureKey::Fresh) => {
                let held = self.group_key_rows().await?.len();
                return if held < GROUP_KEYS_MAX {
                    Ok(Some(Signing::Fresh))
                } else {
                    Err(ComputationError::TooManyKeys(held))
                };
            }
            Some(SignatureKey::Group(key)) => key.to_ascii_lowercase(),
        };
        let wanted = key.clone();
        let found = self.0.journal.db().read(move |tx| tx.get::<GroupKeys>(&wanted)).await?;
        let row = found.ok_or_else(|| ComputationError::NoGroupKey(key.clone()))?;
        let threshold = agreed.terms("").map(|terms| terms.committee().threshold()).unwrap_or_default();
        if row.members != members(&agreed.plan().parties) || usize::from(row.threshold) != threshold {
            return Err(ComputationError::OtherGroup(key));
        }
        let (aad, own) = (aad(&key, self.link_key()), self.0.sealing_key.clone());
        let opening = self.0.tasks.spawn_blocking("mpc-key-share", move || {
            let bytes = open_message(&own, &aad, &hex::decode(&row.sealed).ok()?).ok()?;
            KeyShare::from_bytes(bytes.expose()).ok()
        });
        let share = opening.await.map_err(|_| cm_db::DbError::Panicked)?;
        share.map(|share| Some(Signing::Held(Box::new(share)))).ok_or(ComputationError::GroupKeyShare(key))
    }

    /// Keeps a share of a key that was made in a run.
    pub(crate) async fn keep_group_key(
        &self,
        agreed: &Agreed,
        run: Uuid,
        share: &KeyShare,
    ) -> Result<(), ComputationError> {
        let key = share.group_key().to_string();
        let unusable = || ComputationError::GroupKeyShare(key.clone());
        let (share_bytes, aad) = (share.to_bytes().map_err(|_| unusable())?, aad(&key, self.link_key()));
        let own = self.0.sealing_key.public_key();
        let sealing = self
            .0
            .tasks
            .spawn_blocking("mpc-key-share", move || seal_message(&own, &aad, share_bytes.expose()));
        let sealed = sealing.await.map_err(|_| cm_db::DbError::Panicked)?.map_err(|_| unusable())?;
        let row = GroupKeyRow {
            members: members(&agreed.plan().parties),
            threshold: share.threshold(),
            run,
            made_at: self.0.kernel.now(),
            sealed: hex::encode(sealed),
        };
        tracing::info!(%key, %run, "share of a key of parties kept");
        Ok(self.0.journal.db().write(move |tx| tx.put::<GroupKeys>(&key, &row)).await?)
    }
}
