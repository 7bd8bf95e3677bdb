//! Which peers there are.
//!
//! This node is one; the others of its storage network, if it belongs to one, are too, by the names that the network has for
//! them. Any of them serves any object. Others may be announced, as clients of the router do it; they are remembered in memory and said to be
//! unavailable, for nothing is asked of them.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use cm_types::TenantId;
use serde::{Deserialize, Serialize};

use super::MictlanX;

/// Announced peers of one tenant.
pub(super) const ANNOUNCED_MAX: usize = 128;
/// Tenants that announce peers.
const TENANTS_MAX: usize = 256;
/// Longest text in what is said of a peer, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// A peer and where it is.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Peer {
    pub(super) node_id: String,
    pub(super) ip_addr: String,
    pub(super) port: u16,
}

/// A peer as clients of the router announce it.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
pub(super) struct Announcement {
    pub(super) protocol: String,
    pub(super) hostname: String,
    pub(super) port: i64,
    pub(super) peer_id: String,
}

/// Announced peers, by tenant and id.
#[derive(Debug, Default)]
pub(super) struct Announced(Mutex<BTreeMap<TenantId, BTreeMap<String, Announcement>>>);

impl Announced {
    fn peers(&self) -> MutexGuard<'_, BTreeMap<TenantId, BTreeMap<String, Announcement>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Remembers a peer; whether there was room.
    pub(super) fn add(&self, tenant: &TenantId, peer: Announcement) -> bool {
        let texts = [&peer.protocol, &peer.hostname, &peer.peer_id];
        let mut peers = self.peers();
        if texts.iter().any(|text| text.len() > TEXT_BYTES_MAX)
            || (peers.len() >= TENANTS_MAX && !peers.contains_key(tenant))
        {
            return false;
        }
        let own = peers.entry(tenant.clone()).or_default();
        if own.len() >= ANNOUNCED_MAX && !own.contains_key(&peer.peer_id) {
            return false;
        }
        own.insert(peer.peer_id.clone(), peer);
        true
    }

    /// Forgets a peer, if it is known.
    pub(super) fn remove(&self, tenant: &TenantId, id: &str) {
        let mut peers = self.peers();
        if let Some(own) = peers.get_mut(tenant) {
            own.remove(id);
            if own.is_empty() {
                peers.remove(tenant);
            }
        }
    }

    fn ids(&self, tenant: &TenantId) -> Vec<String> {
        self.peers().get(tenant).map(|own| own.keys().cloned().collect()).unwrap_or_default()
    }
}

impl MictlanX {
    /// The peers whose addresses this node knows: itself.
    pub(super) fn peers(&self) -> Vec<Peer> {
        let settings = self.settings();
        vec![Peer { node_id: settings.peer_id.clone(), ip_addr: settings.host.clone(), port: settings.port }]
    }

    /// The ids of the peers that answer, this one first.
    pub(super) fn peer_ids(&self) -> Vec<String> {
        let own = [self.peer_id().to_owned()];
        own.into_iter().chain(self.others().filter(|(_, is_up)| *is_up).map(|(id, _)| id)).collect()
    }

    /// The ids of so many peers: any that answers serves everything, this one first.
    pub(super) fn replicas(&self, count: u8) -> Vec<String> {
        self.peer_ids().into_iter().take(count.into()).collect()
    }

    /// How many peers can take a replica each now.
    pub(super) fn holders_count(&self) -> usize {
        let holders = self.kernel().objects().holders();
        holders.map_or(1, |holders| holders.iter().filter(|holder| holder.is_up).count())
    }

    /// The ids of peers that do not answer now, and of those that were announced and hold nothing.
    pub(super) fn unavailable(&self, tenant: &TenantId) -> Vec<String> {
        let down = self.others().filter(|(_, is_up)| !is_up).map(|(id, _)| id);
        let mut ids: Vec<String> = down.collect();
        let available = self.peer_ids();
        let announced = self.0.announced.ids(tenant).into_iter();
        let announced: Vec<String> =
            announced.filter(|id| !available.contains(id) && !ids.contains(id)).collect();
        ids.extend(announced);
        ids
    }

    /// The other peers of the storage network, and whether each may be expected to answer.
    fn others(&self) -> impl Iterator<Item = (String, bool)> {
        let holders = self.kernel().objects().holders().unwrap_or_default().into_iter();
        holders.filter(|holder| !holder.is_own).map(|holder| (holder.peer.to_string(), holder.is_up))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn announced_peers_are_bounded_and_apart_by_tenant() {
        let (announced, tenant) = (Announced::default(), TenantId::default_tenant());
        let peer = |id: &str| Announcement {
            protocol: "http".to_owned(),
            hostname: "h".to_owned(),
            port: 1,
            peer_id: id.to_owned(),
        };
        for number in 0..ANNOUNCED_MAX {
            assert!(announced.add(&tenant, peer(&number.to_string())));
        }
        assert!(!announced.add(&tenant, peer("one more")) && announced.add(&tenant, peer("0")));
        assert!(announced.add(&TenantId::parse("other").unwrap(), peer("x")));
        announced.remove(&tenant, "0");
        assert_eq!(announced.ids(&tenant).len(), ANNOUNCED_MAX - 1);
        assert!(!announced.add(&tenant, peer(&"x".repeat(300))));
    }
}
