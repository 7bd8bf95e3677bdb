//! The first node of a new network.

use cm_kernel::Database;
use cm_net::{Contact, Directory};
use cm_quorum::{ClusterId, MemberId};

use super::peer_of;
use super::state::{CLUSTER_FILE, Phase, State};
use crate::data_dir::DataDir;
use crate::{Config, NodeError, link_key};

/// Makes the node of a data directory, which must not be running, the first of a new network, with the data that it has. The network's
/// and the node's names. It begins with the node's next start.
///
/// # Errors
/// [`NodeError::InNetwork`] if it is part of one already; [`NodeError::PeerAddress`].
pub async fn found(config: &Config, address: &str) -> Result<(String, String), NodeError> {
    if !matches!(config.database, Database::InDataDir) {
        return Err(NodeError::DatabaseServer);
    }
    let (path, address) = (config.data_dir.clone(), address.to_owned());
    let founding = move || {
        let held = DataDir::hold(&path)?;
        if State::read(held.path())?.is_some() {
            return Err(NodeError::InNetwork(held.path().join(CLUSTER_FILE)));
        }
        let identity = link_key::open_or_create(held.path())?;
        let (cluster, own) = (ClusterId(random()), new_member());
        let contact = Contact { key: identity.key(), address };
        check(own, &contact)?;
        let state = State {
            phase: Phase::Founding,
            cluster: Some(cluster),
            own,
            address: contact.address.clone(),
            members: vec![(own, contact)],
        };
        state.write(held.path())?;
        Ok((cluster.to_string(), own.to_string()))
    };
    tokio::task::spawn_blocking(founding).await.map_err(|_| cm_db::DbError::Panicked)?
}

/// A name that no other node ever has.
pub(super) fn new_member() -> MemberId {
    MemberId(u64::from_be_bytes(cm_crypto::secret::random_bytes()))
}

fn random() -> u128 {
    u128::from_be_bytes(cm_crypto::secret::random_bytes())
}

/// Whether others could reach a node there.
pub(super) fn check(own: MemberId, contact: &Contact) -> Result<(), NodeError> {
    let directory = Directory::new([(peer_of(own), contact.clone())]);
    directory.map(drop).map_err(|_| NodeError::PeerAddress(contact.address.clone()))
}
