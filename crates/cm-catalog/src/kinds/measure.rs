//! What is done about those who threaten.

use std::net::IpAddr;
use std::str::FromStr;

use cm_types::{PrincipalId, ResourceKind, Timestamp};
use serde::{Deserialize, Serialize};

use crate::validation::Findings;
use crate::{FieldError, KindSpec, Limits, Reference};

/// What is done.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Effect {
    /// Nothing, whatever other measures say: the operator vouches for it.
    Allow,
    /// Only requests with a valid credential are served, even where none is asked for otherwise.
    Challenge,
    /// No request is served.
    Deny,
}

/// A measure: what is done about a network or a principal, and until when.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measure {
    /// The network, an address or `ADDRESS/BITS`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<Network>,
    /// The principal.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub principal: Option<PrincipalId>,
    /// What is done.
    pub effect: Effect,
    /// Until when; for good unless told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// Why.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

impl KindSpec for Measure {
    const KIND: ResourceKind = ResourceKind::Measure;

    fn validate(&self, _: &Limits) -> Result<(), Vec<FieldError>> {
        let mut findings = Findings::default();
        if self.source.is_some() == self.principal.is_some() {
            findings.add("spec.source", "either this or `principal` must be given");
        }
        if self.principal.is_some() && self.effect == Effect::Challenge {
            findings.add("spec.effect", "a principal has shown a credential already; `deny` or `allow` it");
        }
        if let Some(reason) = &self.reason {
            findings.text("spec.reason", reason, 0, 1024, false);
        }
        findings.finish()
    }

    fn references(&self) -> Vec<Reference> {
        Vec::new()
    }

    fn default_name(&self) -> Option<&str> {
        None
    }
}

/// A network of addresses; one address is the smallest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Network {
    /// The first of them; IPv4 in its own form.
    address: IpAddr,
    bits: u8,
}

/// The text is no network.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is no address and no ADDRESS/BITS")]
pub struct InvalidNetwork(pub String);

impl Network {
    /// The network of one address.
    pub fn of(address: IpAddr) -> Self {
        let address = address.to_canonical();
        Self { address, bits: if address.is_ipv4() { 32 } else { 128 } }
    }

    /// Whether an address is in it. An IPv4 address in the form of IPv6 is itself.
    pub fn contains(&self, address: IpAddr) -> bool {
        let (own, other) = (self.address, address.to_canonical());
        own.is_ipv4() == other.is_ipv4() && masked(other, self.bits) == masked(own, self.bits)
    }

    /// The first address.
    pub fn address(&self) -> IpAddr {
        self.address
    }

    /// How many bits all its addresses share.
    pub fn bits(&self) -> u8 {
        self.bits
    }
}

/// The address with nothing but its first bits, as a number.
fn masked(address: IpAddr, bits: u8) -> u128 {
    match address {
        IpAddr::V4(address) => {
            let mask = u32::MAX.checked_shl(32 - u32::from(bits)).unwrap_or(0);
            u128::from(u32::from(address) & mask)
        }
        IpAddr::V6(address) => {
            let mask = u128::MAX.checked_shl(128 - u32::from(bits)).unwrap_or(0);
            u128::from(address) & mask
        }
    }
}

impl FromStr for Network {
    type Err = InvalidNetwork;

    fn from_str(text: &str) -> Result<Self, InvalidNetwork> {
        let invalid = || InvalidNetwork(text.to_owned());
        let (address, bits) =
            text.split_once('/').map_or((text, None), |(address, bits)| (address, Some(bits)));
        let whole = Self::of(address.parse().map_err(|_| invalid())?);
        let Some(bits) = bits else { return Ok(whole) };
        let bits: u8 = bits.parse().map_err(|_| invalid())?;
        if bits > whole.bits {
            return Err(invalid());
        }
        let first = masked(whole.address, bits);
        let address = match whole.address {
            IpAddr::V4(_) => IpAddr::V4(u32::try_from(first).map_err(|_| invalid())?.into()),
            IpAddr::V6(_) => IpAddr::V6(first.into()),
        };
        Ok(Self { address, bits })
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let is_one = self.bits == if self.address.is_ipv4() { 32 } else { 128 };
        if is_one { self.address.fmt(f) } else { write!(f, "{}/{}", self.address, self.bits) }
    }
}

impl TryFrom<String> for Network {
    type Error = InvalidNetwork;

    fn try_from(text: String) -> Result<Self, InvalidNetwork> {
        text.parse()
    }
}

impl From<Network> for String {
    fn from(network: Network) -> String {
        network.to_string()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn networks_hold_their_addresses() {
        for (network, printed, inside, outside) in [
            ("198.51.100.7", "198.51.100.7", "198.51.100.7", "198.51.100.8"),
            ("198.51.100.7/24", "198.51.100.0/24", "::ffff:198.51.100.9", "198.51.101.0"),
            ("0.0.0.0/0", "0.0.0.0/0", "255.255.255.255", "::1"),
            ("2001:db8::/32", "2001:db8::/32", "2001:db8:ffff::1", "2001:db9::"),
            ("::/0", "::/0", "2001:db8::1", "198.51.100.7"),
        ] {
            let network: Network = network.parse().unwrap();
            assert_eq!(network.to_string(), printed);
            assert!(network.contains(inside.parse().unwrap()), "{network} {inside}");
            assert!(!network.contains(outside.parse().unwrap()), "{network} {outside}");
        }
        for bad in
            ["", "x", "198.51.100.7/33", "2001:db8::/129", "198.51.100.7/", "198.51.100/24", "1.2.3.4/-1"]
        {
            assert!(bad.parse::<Network>().is_err(), "{bad}");
        }
    }

    #[test]
    fn a_measure_is_about_one_thing() {
        let measure = Measure {
            source: "198.51.100.7".parse().ok(),
            principal: None,
            effect: Effect::Challenge,
            until: None,
            reason: None,
        };
        let both = Measure { principal: PrincipalId::parse("bob").ok(), ..measure.clone() };
        let none = Measure { source: None, ..measure.clone() };
        let challenged = Measure { source: None, ..both.clone() };
        let denied = Measure { effect: Effect::Deny, ..challenged.clone() };
        for (measure, valid) in
            [(measure, true), (both, false), (none, false), (challenged, false), (denied, true)]
        {
            assert_eq!(measure.validate(&Limits::default()).is_ok(), valid, "{measure:?}");
        }
    }
}
