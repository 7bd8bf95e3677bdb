//! Peers with which reports of threats are shared.

use cm_types::{ResourceKind, Sha256Digest};
use serde::{Deserialize, Serialize};

use crate::validation::Findings;
use crate::{FieldError, KindSpec, Limits, Reference};

/// Longest address: a DNS name of 253 bytes, a colon and a port.
const ADDRESS_LEN_MAX: usize = 259;

/// A node with which reports of threats are shared, added by an operator.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct IntelPeer {
    /// What the peer is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// Host and port.
    pub address: String,
    /// The key by which it is known on encrypted links. Without one it is spoken to in the clear.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key: Option<Sha256Digest>,
}

impl KindSpec for IntelPeer {
    const KIND: ResourceKind = ResourceKind::IntelPeer;

    fn validate(&self, _: &Limits) -> Result<(), Vec<FieldError>> {
        let mut findings = Findings::default();
        findings.description(self.description.as_deref());
        let is_address = self.address.rsplit_once(':').is_some_and(|(host, port)| {
            let plain = |c: char| c.is_ascii_alphanumeric() || matches!(c, '.' | '-' | '_' | ':' | '[' | ']');
            !host.is_empty() && host.chars().all(plain) && port.parse::<u16>().is_ok_and(|port| port != 0)
        });
        if !is_address || self.address.len() > ADDRESS_LEN_MAX {
            findings.add("spec.address", "must be HOST:PORT");
        }
        findings.finish()
    }

    fn references(&self) -> Vec<Reference> {
        Vec::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_has_a_host_and_a_port() {
        let valid = |address: &str| {
            let peer = IntelPeer { description: None, address: address.into(), key: None };
            peer.validate(&Limits::default()).is_ok()
        };
        for good in ["192.0.2.1:9001", "[2001:db8::1]:9001", "node-1.example:1"] {
            assert!(valid(good), "{good}");
        }
        for bad in ["", "192.0.2.1", ":9001", "a:0", "a:70000", "a b:1", "http://a:1"] {
            assert!(!valid(bad), "{bad}");
        }
    }
}
