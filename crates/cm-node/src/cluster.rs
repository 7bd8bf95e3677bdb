//! Nodes that keep one catalogue together without a database server.
//!
//! Each has a copy of the data and a part in the log that they agree on (`cm_db::open_quorum`); what they say to each other goes over links
//! that know peers by their keys (`cm_net`). A data directory with the file `cluster.json` is such a node's: [`found()`] and
//! [`join()`] make it, once.
//!
//! - `state`: what the data directory says.
//! - `book`: who the members are, by the newest that is known, hence whom links dial and accept.
//! - `carrier`: messages of the log over links.
//! - `open()`: from the data directory to an open database.
//! - `connect_storage`: chunks of objects on several nodes.
//! - `tend`: what a running node does for the network: newcomers are let in, members brought into line with what is wanted.

mod book;
mod carrier;
mod found;
mod join;
mod open;
mod state;
mod storage;
mod tend;

pub use found::found;
pub use join::join;
pub(crate) use open::{Opened, open};
pub(crate) use state::is_member;
pub(crate) use storage::connect_storage;
pub(crate) use tend::tend;

use cm_net::{Contact, PeerKey};
use cm_quorum::MemberId;
use cm_types::PeerId;

/// What a member is called on links.
fn peer_of(member: MemberId) -> PeerId {
    member.to_string().parse().expect("sixteen hexadecimal digits are an id")
}

/// The member that is called so on links.
fn member_of(peer: &PeerId) -> Option<MemberId> {
    let text = peer.as_str();
    let number = u64::from_str_radix(text, 16).ok().filter(|_| text.len() == 16)?;
    Some(MemberId(number)).filter(|member| member.to_string() == text)
}

/// A contact as the log says it.
fn to_text(contact: &Contact) -> String {
    format!("{}@{}", contact.key, contact.address)
}

/// A contact from what the log says.
fn from_text(text: &str) -> Option<Contact> {
    let (key, address) = text.split_once('@')?;
    let key: PeerKey = key.parse().ok()?;
    Some(Contact { key, address: address.to_owned() })
}

#[cfg(test)]
mod tests;

#[cfg(test)]
mod names {
    use super::*;

    #[test]
    fn members_are_called_the_same_everywhere() {
        for id in [0, 1, 0x00ab_cdef_0123_4567, u64::MAX] {
            assert_eq!(member_of(&peer_of(MemberId(id))), Some(MemberId(id)));
        }
        for bad in ["a", "node-1", "00ABCDEF01234567", "00abcdef012345678"] {
            assert_eq!(member_of(&bad.parse().unwrap()), None, "{bad}");
        }
        let key = PeerKey(cm_types::Sha256Digest::from_bytes([7; 32]));
        let contact = Contact { key, address: "[::1]:7070".to_owned() };
        assert_eq!(from_text(&to_text(&contact)), Some(contact));
        assert_eq!(from_text("nobody"), None);
    }
}
