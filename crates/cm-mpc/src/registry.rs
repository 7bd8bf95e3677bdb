//! Clients that sign with a key of their own: who they are here, and what they have signed already.

use cm_db::{Direction, KeyRange, Row, Table};
use cm_types::{PrincipalId, Sha256Digest, TenantId, Timestamp};
use serde::{Deserialize, Serialize};

use crate::{ComputationError, Computations};

/// Most clients that are registered at a time.
pub const CLIENTS_MAX: usize = 1000;
/// Signed messages that are remembered; who has used so many must take a challenge of ours.
const USED_MAX: usize = 100_000;

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
    /// Binds a client's key to a principal. The first registration of a key is the one that counts.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub async fn register_client(&self, client: Client) -> Result<Registered, ComputationError> {
        let key = client.public_key.clone();
        let done = self.0.journal.db().write(move |tx| {
            if tx.get::<Clients>(&key)?.is_some() {
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

    /// Uses a signed message: whether it is the first time that this key signs it here. Messages are never forgotten, for a signature
    /// never ends; a key that has signed too many needs challenges, which end by themselves.
    ///
    /// # Errors
    /// When the journal cannot be written.
    pub async fn use_message(&self, digest: &Sha256Digest) -> Result<bool, ComputationError> {
        let (key, at) = (digest.to_string(), self.0.kernel.now());
        let used = self.0.journal.db().write(move |tx| {
            if tx.get::<Used>(&key)?.is_some() {
                return Ok(false);
            }
            if tx.range::<Used>(KeyRange::all(), Direction::Forward, USED_MAX)?.len() >= USED_MAX {
                return Ok(false);
            }
            tx.put::<Used>(&key, &UsedRow { at })?;
            Ok::<_, cm_db::DbError>(true)
        });
        Ok(used.await?)
    }
}
