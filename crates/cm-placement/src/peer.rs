//! A peer of the storage network.

use crate::LayoutError;

/// Longest name of a failure domain, in bytes.
pub const DOMAIN_LEN_MAX: usize = 64;

/// What fails together: a machine, a rack, a room. Peers of the same domain are expected to fail at once, so copies
/// are spread over domains first.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Domain(String);

impl Domain {
    /// A domain by its name, 1 to [`DOMAIN_LEN_MAX`] bytes without control characters.
    pub fn parse(name: impl Into<String>) -> Result<Self, LayoutError> {
        let name = name.into();
        if name.is_empty() || name.len() > DOMAIN_LEN_MAX || name.chars().any(char::is_control) {
            return Err(LayoutError::Domain);
        }
        Ok(Self(name))
    }

    /// The name.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl std::fmt::Display for Domain {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// What a peer is good for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PeerState {
    /// Takes new bytes and serves what it has.
    Active,
    /// Takes nothing new; serves what it has until that has moved away.
    Draining,
    /// Will not come back: what it had counts as lost and is made anew from other copies.
    Gone,
}

impl PeerState {
    /// Whether bytes can be read from such a peer.
    pub fn serves(self) -> bool {
        !matches!(self, PeerState::Gone)
    }
}

/// What the layout says of a peer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// How many bytes it offers; its weight among the peers.
    pub capacity_bytes: u64,
    /// What it fails together with.
    pub domain: Domain,
    /// What it is good for.
    pub state: PeerState,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_domains_are_printable_and_short() {
        assert_eq!(Domain::parse("rack 7").unwrap().as_str(), "rack 7");
        for bad in ["", "a\nb", &"x".repeat(65)] {
            assert_eq!(Domain::parse(bad), Err(LayoutError::Domain), "{bad:?}");
        }
    }
}
