//! Clients that sign with a key of their own: who they are here, and what they have signed already.

use cm_crypto::digest::sha256;
use cm_db::{Direction, KeyPrefix, KeyRange, Row, Table};
use cm_types::{PrincipalId, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{ComputationError, Computations};

/// Most clients that are registered at a time.
pub const CLIENTS_MAX: usize = 1000;
/// Signed messages that are remembered of one key; who has used so many must take a challenge of ours.
pub const MESSAGES_MAX: usize = 10_000;

pub(crate) struct Clients;

impl Table for Clients {
    const NAME: &'static str = "clients";
    type Key = String;
    type Row = Client;
}

/// A client, or a node of the earlier system.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Client {
    /// The public key by which it signs: the uncompressed point in hexadecimal digits.
    pub public_key: String,
    /// Where it says that it is.
    pub hostname: String,
    /// What people call it.
    pub alias: String,
    /// What else it says of itself.
    pub description: String,
    /// `healthy`, `dead`, `error` or `none`.
    pub health: String,
    /// Whose tenant it is in.
    pub tenant: TenantId,
    /// Who registered it, and who it is therefore here.
    pub principal: PrincipalId,
    /// Whether whoever registered it showed by a signature that they have the key.
    #[serde(default)]
    pub proven: bool,
    /// Whether somebody else tried to register the key, which nobody had proven: then nobody logs in by it until somebody does.
    #[serde(default)]
    pub disputed: bool,
}

impl Row for Client {}

pub(crate) struct Used;

impl Table for Used {
    const NAME: &'static str = "used_messages";
    type Key = String;
    type Row = UsedRow;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(crate) struct UsedRow {
    at: Timestamp,
}

impl Row for UsedRow {}

/// What became of a signed message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MessageUse {
    /// This key has not used it before.
    First,
    /// It was used before.
    Again,
    /// The key has used [`MESSAGES_MAX`] messages.
    Full,
}

/// What became of a registration.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Registered {
    /// It is known from now on.
    New,
    /// The key is known already.
    Taken,
    /// There are too many.
    Full,
}

impl Computations {
    /// Binds a client's key to a principal. The first registration of a key is the one that counts, unless a later one proves that it
    /// has the key and the first did not. Somebody else who proves nothing gets nothing, but makes the key disputed.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub async fn register_client(&self, client: Client) -> Result<Registered, ComputationError> {
        let key = client.public_key.clone();
        let done = self.0.journal.db().write(move |tx| {
            if let Some(known) = tx.get::<Clients>(&key)? {
                let is_same = known.principal == client.principal && known.tenant == client.tenant;
                if client.proven && !known.proven {
                    tx.put::<Clients>(&key, &client)?;
                    return Ok(Registered::New);
                }
                if !is_same && !known.proven && !known.disputed {
                    tx.put::<Clients>(&key, &Client { disputed: true, ..known })?;
                }
                return Ok(Registered::Taken);
            }
            if tx.range::<Clients>(KeyRange::all(), Direction::Forward, CLIENTS_MAX)?.len() >= CLIENTS_MAX {
                return Ok(Registered::Full);
            }
            tx.put::<Clients>(&key, &client)?;
            Ok::<_, cm_db::DbError>(Registered::New)
        });
        Ok(done.await?)
    }

    /// The clients that are registered, by key.
    ///
    /// # Errors
    /// When the journal cannot be read.
    pub async fn clients(&self) -> Result<Vec<Client>, ComputationError> {
        let read = self.0.journal.db().read(|tx| {
            let all = tx.range::<Clients>(KeyRange::all(), Direction::Forward, CLIENTS_MAX)?;
            Ok::<_, cm_db::DbError>(all.into_iter().map(|(_, client)| client).collect())
        });
        Ok(read.await?)
    }

    /// Says how a client is.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub async fn set_client_health(&self, key: &str, health: &str) -> Result<bool, ComputationError> {
        let (key, health) = (key.to_owned(), health.to_owned());
        let set = self.0.journal.db().write(move |tx| match tx.get::<Clients>(&key)? {
            Some(client) => {
                tx.put::<Clients>(&key, &Client { health, ..client })?;
                Ok(true)
            }
            None => Ok::<_, cm_db::DbError>(false),
        });
        Ok(set.await?)
    }

    /// Uses a signed message: whether it is the first time that this key signs it here. `message` is the bytes that the signature holds
    /// for, however they were spelled. Messages are never forgotten, for a signature never ends; a key that has signed too many needs
    /// challenges, which end by themselves.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub async fn use_message(&self, key: &str, message: &[u8]) -> Result<MessageUse, ComputationError> {
        let at = self.0.kernel.now();
        let (prefix, used) = used_key(key, message);
        // As earlier versions noted them, by their text.
        let spelled = [hex(message).into_bytes(), message.to_vec()];
        let earlier = spelled.map(|text| sha256(&[key.as_bytes(), b"\n", &text].concat()).to_string());
        let used = self.0.journal.db().write(move |tx| {
            for known in [&used, &earlier[0], &earlier[1]] {
                if tx.get::<Used>(known)?.is_some() {
                    return Ok(MessageUse::Again);
                }
            }
            let own = tx.range::<Used>(
                KeyRange::prefix(KeyPrefix::new().text(&prefix)),
                Direction::Forward,
                MESSAGES_MAX,
            )?;
            if own.len() >= MESSAGES_MAX {
                return Ok(MessageUse::Full);
            }
            tx.put::<Used>(&used, &UsedRow { at })?;
            Ok::<_, cm_db::DbError>(MessageUse::First)
        });
        Ok(used.await?)
    }
}

/// What the messages of a key begin with, and what this one is noted by.
fn used_key(key: &str, message: &[u8]) -> (String, String) {
    let prefix = format!("{}/", sha256(key.as_bytes()));
    let used = format!("{prefix}{}", sha256(&[key.as_bytes(), message].concat()));
    (prefix, used)
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
