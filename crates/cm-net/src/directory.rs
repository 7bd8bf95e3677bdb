//! Which peers there are, with what key, and where.

use std::collections::BTreeMap;

use cm_types::PeerId;

use crate::PeerKey;

/// Most peers of a directory: each has a connection in both directions.
const PEERS_MAX: usize = 1000;
/// Longest address: a DNS name of 253 bytes, a colon and a port.
const ADDRESS_LEN_MAX: usize = 259;

/// How a peer is reached and known.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Contact {
    /// The key that it must prove to hold.
    pub key: PeerKey,
    /// Host and port, resolved whenever a connection is made.
    pub address: String,
}

/// Why peers cannot be in a directory.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DirectoryError {
    /// Two peers have the same key, and could pass for each other.
    #[error("peers {0} and {1} have the same key; each peer needs one of its own")]
    SharedKey(PeerId, PeerId),
    /// The address is no host and port.
    #[error("the address of peer {0} is not HOST:PORT")]
    Address(PeerId),
    /// More peers than a directory may have.
    #[error("a directory has at most {PEERS_MAX} peers")]
    TooMany,
}

/// The peers that this node has to do with. Itself may be among them and is passed over.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Directory {
    contacts: BTreeMap<PeerId, Contact>,
    by_key: BTreeMap<PeerKey, PeerId>,
}

impl Directory {
    /// A directory of these peers.
    ///
    /// # Errors
    /// See [`DirectoryError`].
    pub fn new(contacts: impl IntoIterator<Item = (PeerId, Contact)>) -> Result<Self, DirectoryError> {
        let mut directory = Self::default();
        for (peer, contact) in contacts {
            if !is_address(&contact.address) {
                return Err(DirectoryError::Address(peer));
            }
            match directory.by_key.insert(contact.key, peer.clone()) {
                Some(other) if other != peer => return Err(DirectoryError::SharedKey(other, peer)),
                _ => {}
            }
            directory.contacts.insert(peer, contact);
            if directory.contacts.len() > PEERS_MAX {
                return Err(DirectoryError::TooMany);
            }
        }
        // Of a peer that was given twice the last contact counts, with its key alone.
        directory.by_key.retain(|key, peer| directory.contacts.get(peer).is_some_and(|c| c.key == *key));
        Ok(directory)
    }

    /// The peers with their contacts, by id.
    pub fn contacts(&self) -> impl ExactSizeIterator<Item = (&PeerId, &Contact)> {
        self.contacts.iter()
    }

    /// How a peer is reached and known.
    pub fn contact(&self, peer: &PeerId) -> Option<&Contact> {
        self.contacts.get(peer)
    }

    /// Whose key it is.
    pub fn peer_of(&self, key: &PeerKey) -> Option<&PeerId> {
        self.by_key.get(key)
    }
}

fn is_address(text: &str) -> bool {
    text.len() <= ADDRESS_LEN_MAX
        && text
            .rsplit_once(':')
            .is_some_and(|(host, port)| !host.is_empty() && port.parse::<u16>().is_ok_and(|port| port != 0))
}

#[cfg(test)]
mod tests {
    use cm_types::Sha256Digest;

    use super::*;

    fn contact(key: u8, address: &str) -> Contact {
        Contact { key: PeerKey(Sha256Digest::from_bytes([key; 32])), address: address.to_owned() }
    }

    fn id(text: &str) -> PeerId {
        text.parse().unwrap()
    }

    #[test]
    fn a_key_belongs_to_one_peer() {
        let [a, b] = [(id("a"), contact(1, "h:1")), (id("b"), contact(2, "[::1]:2"))];
        let directory = Directory::new([a.clone(), b.clone()]).unwrap();
        assert_eq!(directory.peer_of(&b.1.key), Some(&id("b")));
        assert_eq!(directory.contact(&id("a")), Some(&a.1));
        let shared = Directory::new([a.clone(), (id("b"), contact(1, "h:2"))]);
        assert_eq!(shared, Err(DirectoryError::SharedKey(id("a"), id("b"))));
        let renewed = Directory::new([a.clone(), (id("a"), contact(3, "h:1"))]).unwrap();
        assert_eq!(renewed.peer_of(&a.1.key), None, "the old key is not known any more");
        for bad in ["", "h", "h:", ":1", "h:0", "h:65536"] {
            assert_eq!(Directory::new([(id("a"), contact(1, bad))]), Err(DirectoryError::Address(id("a"))));
        }
    }
}
