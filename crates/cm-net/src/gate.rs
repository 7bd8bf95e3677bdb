//! Who is let in to shake hands.

use std::collections::VecDeque;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::{Mutex, PoisonError};

use cm_runtime::CancellationToken;

use crate::Config;

/// The handshakes that are going on. Strangers are answered like peers until their handshake fails, which those who say nothing
/// put off: when there are too many, the oldest from where most of them come gives way. So whoever dawdles is in the way of his
/// like only, and a peer, which does not dawdle, is always let in.
#[derive(Debug)]
pub(crate) struct Gate {
    within: Mutex<VecDeque<(IpAddr, CancellationToken)>>,
    max: usize,
    per_address_max: usize,
}

impl Gate {
    pub(crate) fn new(config: &Config) -> Self {
        let (max, per_address_max) = (config.handshakes_max.max(1), config.handshakes_per_address_max.max(1));
        Self { within: Mutex::default(), max, per_address_max }
    }

    /// Takes up one more handshake. It is over when the token is cancelled, which whoever holds it does at its end.
    pub(crate) fn enter(&self, address: IpAddr) -> CancellationToken {
        let source = source(address);
        let mut within = self.within.lock().unwrap_or_else(PoisonError::into_inner);
        within.retain(|(_, over)| !over.is_cancelled());
        let of = |source: IpAddr| within.iter().filter(|(other, _)| *other == source).count();
        let gives_way = if of(source) >= self.per_address_max {
            within.iter().position(|(other, _)| *other == source)
        } else if within.len() >= self.max {
            let most = within.iter().map(|(other, _)| of(*other)).max();
            within.iter().position(|(other, _)| Some(of(*other)) == most)
        } else {
            None
        };
        if let Some((_, over)) = gives_way.and_then(|at| within.remove(at)) {
            over.cancel();
        }
        let over = CancellationToken::new();
        within.push_back((source, over.clone()));
        over
    }
}

/// What counts as one place from which connections come: an address, or a network of the newer kind, of which anybody has a whole
/// one.
fn source(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => Ipv6Addr::from_bits(address.to_bits() & !u128::from(u64::MAX)).into(),
        address => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_from_where_most_come_gives_way() {
        let gate =
            Gate::new(&Config { handshakes_max: 4, handshakes_per_address_max: 3, ..Config::default() });
        let [one, other, third]: [IpAddr; 3] =
            [[10, 0, 0, 1].into(), [10, 0, 0, 2].into(), [10, 0, 0, 3].into()];
        let dawdlers: Vec<_> = (0..3).map(|_| gate.enter(one)).collect();
        let newest = gate.enter(one);
        assert!(dawdlers[0].is_cancelled() && !dawdlers[1].is_cancelled(), "as many as one address may have");
        let peer = gate.enter(other);
        let last = gate.enter(third);
        assert!(dawdlers[1].is_cancelled() && !dawdlers[2].is_cancelled());
        assert!(!newest.is_cancelled() && !peer.is_cancelled() && !last.is_cancelled());
        peer.cancel();
        gate.enter(third);
        assert!(!dawdlers[2].is_cancelled(), "there is room again");
    }
}
