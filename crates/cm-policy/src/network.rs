//! Networks: addresses that begin alike.

use std::net::IpAddr;

/// Addresses that begin alike, written `10.0.0.0/8`; a single address is a network of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Network {
    address: IpAddr,
    bits: u8,
}

impl Network {
    /// Reads a network or an address; `None` for anything else.
    pub fn parse(text: &str) -> Option<Self> {
        let (address, bits) = match text.split_once('/') {
            Some((address, bits)) => (address, Some(bits.parse::<u8>().ok()?)),
            None => (text, None),
        };
        let address: IpAddr = address.parse().ok()?;
        let most = if address.is_ipv4() { 32 } else { 128 };
        let bits = bits.unwrap_or(most);
        (bits <= most).then_some(Self { address, bits })
    }

    /// Whether the address begins so. An IPv4 address within IPv6 is the address itself.
    pub fn contains(&self, found: IpAddr) -> bool {
        let found = found.to_canonical();
        match (self.address, found) {
            (IpAddr::V4(network), IpAddr::V4(found)) => {
                let mask = u32::MAX.checked_shl(32 - u32::from(self.bits)).unwrap_or(0);
                network.to_bits() & mask == found.to_bits() & mask
            }
            (IpAddr::V6(network), IpAddr::V6(found)) => {
                let mask = u128::MAX.checked_shl(128 - u32::from(self.bits)).unwrap_or(0);
                network.to_bits() & mask == found.to_bits() & mask
            }
            _ => false,
        }
    }

    /// Whether so many addresses begin so that whoever comes from one of them may be anybody: more than S3 takes for few.
    pub fn is_wide(&self) -> bool {
        self.bits < if self.address.is_ipv4() { 8 } else { 32 }
    }

    /// Some address that begins so.
    pub fn first(&self) -> IpAddr {
        self.address
    }
}

impl std::fmt::Display for Network {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.address, self.bits)
    }
}
